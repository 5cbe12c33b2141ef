"""Verifying a ledger and saying what was found: `audit verify` and `ledger verify`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ordergate.cli.face import DONE, FAILED, Answer, Face, named_by_user
from ordergate.cli.page import Block, Line, Page
from ordergate.errors import InputError

if TYPE_CHECKING:
    from ordergate.ledger import Ledger

__all__ = ["read_heads", "verified"]

Heads = Mapping[str, tuple[int, str]]


def verified(face: Face, ledger: Ledger, kept: Heads | None) -> Answer:
    """Fold the whole journal again; `kept` are heads that were kept outside, to be found in it."""
    with face.progress("Verifying the journal") as at:
        broken = ledger.verify()
        heads = ledger.heads()
        flaw = None if broken is None else str(broken)
        if flaw is None and kept is not None:
            at("Comparing with the heads kept outside")
            flaw = _against(ledger, heads, kept)
    rows = sum(seq for seq, _ in heads.values())
    data = {
        "holds": flaw is None,
        "rows": rows,
        "accounts": len(heads),
        "compared": kept is not None,
        "break": flaw,
    }

    def page() -> Page:
        if flaw is not None:
            return [Line(f"The journal does not hold: {flaw}.", "bad")]
        lines: list[Block] = [Line(f"The journal holds: {rows} rows of {len(heads)} accounts verified.", "good")]
        if kept is None:
            hint = "A cut tail shows only against heads kept outside: `ordergate audit head --out FILE`."
            lines.append(Line(hint, "dim"))
        return lines

    return Answer(data=data, page=page, code=DONE if flaw is None else FAILED)


def read_heads(path: Path) -> Heads:
    """Heads from a file that `audit head --out` wrote. Raises InputError for any other."""
    fix = "name a file written by `ordergate audit head --out`"
    with named_by_user("against", path):
        if path.exists() and not path.is_file():
            raise InputError("against", str(path), fix)
        text = path.read_text(encoding="utf-8", errors="replace")
    try:
        heads: dict[str, Any] = json.loads(text)["heads"]
        return {name: (int(one["row"]), str(one["hash"])) for name, one in heads.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError("against", str(path), fix) from error


def _against(ledger: Ledger, heads: Heads, kept: Heads) -> str | None:
    """What was kept outside must still stand in the journal; more may have been added since."""
    for name, (row, hashed) in kept.items():
        last, newest = heads.get(name, (0, ""))
        if last < row:
            return f"account {name}, row {last + 1}: it is missing; {row} rows were there when the heads were kept"
        found = newest if row == last else next((one.hash for one in ledger.entries(name, after=row - 1)), "")
        if row and found != hashed:
            return f"account {name}, row {row}: it is another row than when the heads were kept"
    return None
