"""Rules to attack a gate with, each from a fake distribution of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent

import pytest


@pytest.fixture
def rule(install: Callable[..., Path]) -> Callable[..., str]:
    """rule("odd", "return None") installs a rule whose validate_order has this body, and gives back its name.

    `takes` are its arguments; `above` stands at the top of its module.
    """

    def put(name: str, body: str, *, takes: str = "order", above: str = "") -> str:
        head = f"from ordergate import Verdict, hookimpl\n{dedent(above)}\n\n@hookimpl\ndef validate_order({takes}):\n"
        source = head + indent(dedent(body).strip(), "    ") + "\n"
        install(f"fake-{name}", entries={name: f"fake_{name}"}, modules={f"fake_{name}.py": source})
        return name

    return put
