"""What a new exchange takes: the Kraken folder, copied and renamed, then built, installed and traded with."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[2]


def copied(place: Path) -> Path:
    """The folder under another name: distribution, module, entry point and settings table. Nothing else is changed."""
    folder = place / "ordergate-newvenue"
    shutil.copytree(ROOT / "brokers" / "kraken", folder, ignore=shutil.ignore_patterns("__pycache__"))
    module = folder / "ordergate_newvenue.py"
    (folder / "ordergate_kraken.py").rename(module)
    project = (folder / "pyproject.toml").read_text(encoding="utf-8")
    project = project.replace("ordergate-kraken", "ordergate-newvenue").replace(
        "ordergate_kraken", "ordergate_newvenue"
    )
    project = re.sub(r"^kraken = ", "newvenue = ", project, flags=re.MULTILINE)
    (folder / "pyproject.toml").write_text(project, encoding="utf-8")
    return folder


SCRIPT = """
    import json, pathlib, sys
    from ordergate import Executor, Order, testing
    from ordergate.plugins import discover
    from ordergate.testing.kraken import rehearsal

    answers = {"offered": [[one.name, one.distribution] for one in discover() if one.kind.name == "broker"]}
    with rehearsal(pathlib.Path("venue")) as venue:
        account = {"broker": "newvenue", "newvenue": dict(venue.settings)}
        values = {"gate": {"rules": ["min_allocation", "average_position"]}, "accounts": {"main": account}}
        with Executor.from_values(values) as executor:
            refused = executor.submit(Order.buy("BTC-USD", spend="20"))
            answers["refused"] = [refused.status, sorted(verdict.rule for verdict in refused.refusals)]
            answers["sent before"] = venue.requests()
            bought = executor.submit(Order.buy("BTC-USD", spend="100", client_order_id="first"))
            venue.fail("cut", on="place")
            lost = executor.submit(Order.buy("BTC-USD", spend="90", client_order_id="second"))
            venue.clear()
            executor.reconcile()
            settled = executor.submit(Order.buy("BTC-USD", spend="90", client_order_id="second"))
            sold = executor.submit(Order.sell("BTC-USD", all=True))
            executor.reconcile()
            answers["outcomes"] = [bought.approved, lost.status, settled.status, settled.replayed, sold.approved]
            answers["orders"] = [[one.side, str(one.spend or one.amount), one.status] for one in venue.orders()]
            answers["sent"] = venue.requests()
    report = testing.conformance_of("newvenue", only=["facts", "units", "repeated id", "cut, taken", "cut, not taken"])
    answers["level"] = report.level
    answers["failures"] = [[check.name, check.why] for check in report.failures]
    answers["sdk"] = [name for name in ("krakenex", "ccxt", "coinbase") if name in sys.modules]
    print(json.dumps(answers))
"""


def test_the_kraken_folder_copied_and_renamed_is_a_broker(
    add_broker: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    programs = add_broker(copied(tmp_path), tmp_path)

    command = (programs / "python", "-I", "-c", dedent(SCRIPT))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert answers["offered"] == [["newvenue", "ordergate-newvenue"], ["paper", "ordergate"]]
    assert answers["refused"] == ["refused", ["min_allocation"]]
    assert answers["sent before"] == 0
    assert answers["outcomes"] == [True, "unknown", "filled", True, True]
    assert [order[:2] for order in answers["orders"][:2]] == [["buy", "100"], ["buy", "90"]]
    assert (answers["orders"][2][0], len(answers["orders"]), answers["sent"]) == ("sell", 3, 3)
    assert (answers["level"], answers["failures"]) == ("B", [])
    assert answers["sdk"] == ["krakenex"]


@pytest.mark.parametrize("file", ["ordergate_kraken.py", "pyproject.toml", "README.md"])
def test_the_folder_needs_nothing_outside_of_itself(file: str) -> None:
    text = (ROOT / "brokers" / "kraken" / file).read_text(encoding="utf-8")

    assert "tool.uv" not in text
    assert not re.search(r"\.\./", text)
