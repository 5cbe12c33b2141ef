"""Every code a person can meet stands in docs/error-codes.md, and nothing stands there that the source does not say.

The source is asked, not a list: whatever is passed for a parameter or field named `code`, the `code` of every exception
class, and the (code, sentence) pairs that stop buys. A code made in a way the finder does not know fails the test.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ordergate.outcome import ERRORS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "error-codes.md").read_text(encoding="utf-8")
VENUES = ROOT / "core" / "ordergate" / "testing"  # they speak the words of exchanges, which are the exchanges' own
SOURCES = sorted(
    [
        *(path for path in (ROOT / "core" / "ordergate").rglob("*.py") if VENUES not in path.parents),
        *(ROOT / "plugins" / "ordergate_rules").glob("*.py"),
    ]
)

CODE = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)*")
PASSED_ON = {"code", "kind", "status", "error.code", "failed.code", "self.code", "stops[0][0]", "verdict.code"}
"""Where a code is only handed on: it was found where it began."""
NO_CODES = {"Answer", "SystemExit", "_end_with"}
"""Calls whose `code` is the exit code of a process."""

Finding = tuple[str, str]
"""A code, and where it stands."""


class Finder:
    """Reads the sources twice: who takes a code and which names hold one, then what is passed to them."""

    def __init__(self, sources: dict[str, str]) -> None:
        self.trees = {where: ast.parse(text) for where, text in sources.items()}
        self.constants: dict[str, str] = {}
        self.takers: dict[str, int] = {}
        self.unclear: list[str] = []
        for each in self.trees.values():
            self._learn(each)

    def codes(self) -> list[Finding]:
        return [finding for where, tree in self.trees.items() for finding in self._of_module(where, tree)]

    def _learn(self, tree: ast.Module) -> None:
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(target, ast.Name) and isinstance(node.value.value, str):
                    self.constants[target.id] = node.value.value
        for inner in ast.walk(tree):
            if isinstance(inner, ast.ClassDef):
                for method in (each for each in inner.body if isinstance(each, ast.FunctionDef)):
                    self._learn_function(inner.name if method.name == "__init__" else method.name, method, bound=1)
            elif isinstance(inner, ast.FunctionDef) and not _is_method(inner):
                self._learn_function(inner.name, inner, bound=0)

    def _learn_function(self, name: str, function: ast.FunctionDef, *, bound: int) -> None:
        parameters = [argument.arg for argument in function.args.args]
        # A parameter is one for codes when it is called so, or is itself passed on as `code=`.
        keywords = [keyword for node in ast.walk(function) if isinstance(node, ast.Call) for keyword in node.keywords]
        taken = {"code"} | {ast.unparse(keyword.value) for keyword in keywords if keyword.arg == "code"}
        place = next((number for number, parameter in enumerate(parameters) if parameter in taken), None)
        if place is not None:
            self.takers[name] = place - (bound if parameters[0] in ("self", "cls") else 0)

    def _of_module(self, where: str, tree: ast.Module) -> Iterator[Finding]:
        for node in ast.walk(tree):
            here = f"{where}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.ClassDef):
                yield from self._of_exception(here, node)
            elif isinstance(node, ast.Call):
                yield from self._of_call(here, node)
            elif isinstance(node, ast.FunctionDef):
                if node.returns and "Stop" in ast.unparse(node.returns):
                    yield from self._of_stops(where, node)
                yield from self._of_errors_told(where, node)

    def _of_exception(self, here: str, node: ast.ClassDef) -> Iterator[Finding]:
        for statement in node.body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "code":
                yield from self._said(here, statement.value)

    def _of_call(self, here: str, call: ast.Call) -> Iterator[Finding]:
        name = ast.unparse(call.func).rpartition(".")[2]
        if name in NO_CODES:
            return
        place = self.takers.get(name)
        if place is not None and place < len(call.args) and not any(isinstance(a, ast.Starred) for a in call.args):
            yield from self._said(here, call.args[place])
        for keyword in call.keywords:
            if keyword.arg == "code":
                yield from self._said(here, keyword.value)
        if name == "append" and ast.unparse(call.func) == "stops.append" and isinstance(call.args[0], ast.Tuple):
            yield from self._said(here, call.args[0].elts[0])

    def _of_stops(self, where: str, function: ast.FunctionDef) -> Iterator[Finding]:
        for node in ast.walk(function):
            if isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[0], ast.Constant):
                yield from self._said(f"{where}:{node.lineno}", node.elts[0])

    def _of_errors_told(self, where: str, function: ast.FunctionDef) -> Iterator[Finding]:
        """What a function assigns to the name that it then tells as `{"error": name}`."""
        told: set[str] = set()
        for node in ast.walk(function):
            if isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                told |= {ast.unparse(value) for key, value in pairs if key and ast.unparse(key) == "'error'"}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign):
                for target, value in _assigned(node):
                    if target in told and isinstance(value, ast.Constant):
                        yield from self._said(f"{where}:{node.lineno}", value)

    def _said(self, here: str, value: ast.expr) -> Iterator[Finding]:
        text = ast.unparse(value)
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value, here
        elif isinstance(value, ast.Name) and value.id in self.constants:
            yield self.constants[value.id], here
        elif isinstance(value, ast.IfExp):
            yield from self._said(here, value.body)
            yield from self._said(here, value.orelse)
        elif text not in PASSED_ON | {"None"}:
            self.unclear.append(f"{here}: {text}")


def _assigned(node: ast.Assign) -> list[tuple[str, ast.expr]]:
    """Names and values of an assignment, of several side by side too."""
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return list(zip(map(ast.unparse, target.elts), value.elts, strict=True))
    return [(ast.unparse(target), value)]


def _is_method(function: ast.FunctionDef) -> bool:
    return bool(function.args.args) and function.args.args[0].arg in ("self", "cls")


def documented() -> set[str]:
    """The codes in the first column of the page's tables; exit codes are numbers and stand apart."""
    cells = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    return {cell for cell in cells if CODE.fullmatch(cell)}


@pytest.fixture(scope="module")
def finder() -> Finder:
    return Finder({str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in SOURCES})


def test_every_code_in_the_source_is_documented(finder: Finder) -> None:
    missing = [f"{code} ({here})" for code, here in finder.codes() if code not in documented()]

    assert missing == []
    assert finder.unclear == [], "say the code where the finder can read it, or teach it the new way"


def test_every_error_of_a_decision_is_documented() -> None:
    assert set(ERRORS) <= documented()


def test_every_documented_code_is_in_the_source(finder: Finder) -> None:
    found = {code for code, _ in finder.codes()} | set(ERRORS)

    assert documented() - found == set()


def test_no_code_is_explained_twice() -> None:
    cells = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)

    assert sorted(set(cells)) == sorted(cells)


TAKERS = """
DOWN = 'by_constant'

class Bad(Exception):
    code = 'OF_CLASS'
    def __init__(self, name, code): ...

def refusal(rule, code): ...

def changed(kind, scope):
    return StateChange(kind=kind, code=kind)

class Desk:
    def freeze(self, account, code): ...
    def doubts(self) -> list[Stop]:
        return [('of_stop', 'text')]
"""
CALLS = """
refusal('x', 'by_position')
refusal('x', DOWN)
raise Bad('x', 'OF_CALL')
Receipt(code='by_name')
stops.append(('appended', text))
desk.freeze(name, 'of_method')
refusal('x', code)
refusal('x', 'a' if late else 'b')
changed('handed_on', '*')
raise SystemExit(code=3)

def told(error):
    code, name = 1, 'TOLD'
    return {'error': name}
"""


def test_the_finder_sees_every_way_to_say_a_code() -> None:
    finder = Finder({"takers.py": TAKERS, "calls.py": CALLS})
    expected = "by_constant OF_CLASS of_stop by_position OF_CALL by_name appended of_method a b handed_on TOLD"

    assert {code for code, _ in finder.codes()} == set(expected.split())
    assert finder.unclear == []


def test_the_finder_says_what_it_cannot_read() -> None:
    finder = Finder({"one.py": "def refusal(rule, code): ...\nrefusal('x', table[name])\n"})

    assert finder.codes() == []
    assert finder.unclear == ["one.py:2: table[name]"]
