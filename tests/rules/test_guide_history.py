"""The rule that looks back in docs/write-a-rule.md is one, and the tests shown for it pass."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "write-a-rule.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_rule_that_looks_back_passes_the_tests_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (rule,) = [text for text in BLOCKS if "history.orders" in text]
    (shown,) = [text for text in BLOCKS if "import ordergate_per_market" in text]
    (tmp_path / "ordergate_per_market.py").write_text(rule, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ordergate_per_market", raising=False)
    scope: dict[str, Callable[[], None]] = {}
    exec(compile(shown, "write-a-rule.md", "exec"), scope)  # noqa: S102 - the page's own example

    tests = [name for name in scope if name.startswith("test_")]
    assert len(tests) == 2
    for name in tests:
        scope[name]()
    del sys.modules["ordergate_per_market"]
