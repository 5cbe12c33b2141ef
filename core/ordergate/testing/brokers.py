"""Checking a broker: what it promises, tried on the real executor before a rehearsal venue.

    from ordergate import testing

    import my_broker

    def test_my_broker_keeps_its_promises():
        testing.check_broker(my_broker)

A check passed, failed, or was not tried, and says why. From all of them follows the broker's level. Nothing here speaks
to a real venue, and nothing is waited for: where time must pass, the gate's clock is moved.
"""

from __future__ import annotations

import importlib
import logging
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Final

from attrs import frozen

from ordergate.binding import Bound, bind
from ordergate.broker import Broker
from ordergate.calls import Failed, attempt
from ordergate.clock import SystemClock
from ordergate.errors import InputError, PluginError, Problem
from ordergate.hookspecs import BROKER
from ordergate.models import Absence, IdPromise
from ordergate.plugins import Admitted, admit, discover
from ordergate.settings import Gate
from ordergate.testing.bench import Bench, NotTried
from ordergate.testing.rehearsal import Rehearsal
from ordergate.testing.trials import PROVES_FINDING, PROVES_REPEATS, TRIALS, check_profile, unsaid_secrets

__all__ = ["ALL_CHECKS", "LEVELS", "Check", "Level", "Outcome", "Report", "check_broker", "conformance_of"]


class Level(StrEnum):
    """What was proved of a broker; `LEVELS` has each in words."""

    A = "A"
    B = "B"
    C = "C"
    NONE = "none"
    NOT_PROVED = "not proved"


LEVELS: Final[Mapping[Level, str]] = {
    Level.A: "a repeated id never makes a second order, and every order is found again by its id",
    Level.B: "a repeated id makes no second order while the first is open, and every order is found again by its id",
    Level.C: "an order cannot be found again by its id for certain: unknown outcomes need a person",
    Level.NONE: "a check failed: do not trade through this broker",
    Level.NOT_PROVED: "what a level rests on could not be tried",
}
"""What each level means, in words."""


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_TRIED = "not tried"


@frozen(kw_only=True)
class Check:
    """One check: `proves` is what it stands for, `why` what was seen when it failed, or why it was not tried."""

    name: str
    proves: str
    outcome: Outcome
    why: str = ""


@frozen(kw_only=True)
class Report:
    """What came of all checks of one broker, in the order they were made."""

    broker: str
    venue: str
    level: Level
    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.outcome is Outcome.FAILED)


_FIRST: Final[Mapping[str, str]] = {
    "admission": "The plugin can be admitted: its hooks, their arguments, its settings.",
    "rehearsal": "There is a rehearsal venue, and the broker's settings for it are good.",
    "profile": "Each figure has a source and a date, and the promises do not contradict each other.",
}
_SECRETS: Final = ("secrets", "No line of the key file stands in any answer, record, error, log or representation.")

ALL_CHECKS: Final[Mapping[str, str]] = {
    **_FIRST,
    **{trial.name: trial.proves for trial in TRIALS},
    _SECRETS[0]: _SECRETS[1],
}
"""The name of every check and what it proves, in the order they are made."""

Source = Rehearsal | Callable[[Path], Rehearsal]


def check_broker(
    broker: ModuleType | str,
    rehearsal: Source | None = None,
    *,
    folder: Path | None = None,
    thorough: bool = True,
    only: Collection[str] = (),
) -> Report:
    """Raise AssertionError that lists what failed; else give the report. Arguments as in `conformance_of`."""
    report = conformance_of(broker, rehearsal, folder=folder, thorough=thorough, only=only)
    if report.failures:
        lines = [f"  {check.name}: {check.why}" for check in report.failures]
        raise AssertionError("\n".join([f"broker {report.broker} does not keep its promises:", *lines]))
    return report


def conformance_of(
    broker: ModuleType | str,
    rehearsal: Source | None = None,
    *,
    folder: Path | None = None,
    thorough: bool = True,
    only: Collection[str] = (),
    watch: Callable[[str], object] = str,
) -> Report:
    """Try everything that can be tried of a broker: a module, or the name of an installed plugin.

    `rehearsal` is the venue, or what makes one in a folder; left out, the broker's own hook `rehearse` makes it.
    `folder` holds all files; left out, a temporary one does. Not `thorough`: the slower checks are left out. With
    `only`, none but those of these names are made, and what comes before all. `watch` is told the name of each check
    before it is made. Raises InputError for a name that no check has.
    """
    unknown = sorted(set(only) - ALL_CHECKS.keys())
    if unknown:
        raise InputError("only", unknown[0], f"use {', '.join(ALL_CHECKS)}")
    with ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ordergate-")))
        name = stack.enter_context(_offered(broker, place))
        checking = _Checking(name, watch, frozenset(only) or ALL_CHECKS.keys())
        try:
            checking.run(place, rehearsal, stack, thorough=thorough)
        except _Over:
            checking.skip_the_rest()
        return checking.report()


class _Over(Exception):
    """What comes after it cannot be tried any more."""


class _Checking:
    """One run: what came of each check so far."""

    def __init__(self, name: str, watch: Callable[[str], object], wanted: Collection[str]) -> None:
        self._name, self._watch, self._wanted = name, watch, wanted
        self._checks: dict[str, Check] = {}
        self._broker: Broker | None = None
        self._why = "the broker could not be admitted"

    def run(self, folder: Path, rehearsal: Source | None, stack: ExitStack, *, thorough: bool) -> None:
        plugin = self._admitted()
        venue = self._venue(plugin, rehearsal, folder, stack)
        self._broker = self._ready(plugin, venue.settings if venue else {}, folder)
        if self._broker is not None:
            self._try("profile", partial(check_profile, self._broker.profile))
        if venue is None or self._broker is None:
            raise _Over
        bench = Bench(name=self._name, rehearsal=venue, folder=folder)
        with _log_into(bench.said):
            for trial in TRIALS:
                if trial.name not in self._wanted:
                    continue
                if not thorough and not trial.quick:
                    self._note(trial.name, Outcome.NOT_TRIED, "a quick run leaves it out")
                    continue
                self._try(trial.name, partial(trial.run, bench))
                bench.said.append(self._checks[trial.name].why)
                bench.end()
        if _SECRETS[0] in self._wanted:
            self._try(_SECRETS[0], partial(unsaid_secrets, bench))
        self._why = "it was not asked for"
        raise _Over

    def skip_the_rest(self) -> None:
        for name in ALL_CHECKS:
            if name not in self._checks:
                self._note(name, Outcome.NOT_TRIED, self._why)

    def report(self) -> Report:
        checks = tuple(self._checks[name] for name in ALL_CHECKS)
        venue = self._broker.profile.venue if self._broker else ""
        return Report(broker=self._name, venue=venue, level=self._level(checks), checks=checks)

    # ------------------------------------------------------------------------------------------------ the first three

    def _admitted(self) -> Admitted:
        self._watch("admission")
        try:
            plugin = admit(BROKER, self._name)
        except PluginError as error:
            self._note("admission", Outcome.FAILED, str(error))
            raise _Over from error
        self._note("admission", Outcome.PASSED)
        return plugin

    def _venue(self, plugin: Admitted, given: Source | None, folder: Path, stack: ExitStack) -> Rehearsal | None:
        self._watch("rehearsal")
        if isinstance(given, Rehearsal):
            return given
        if given is None and "rehearse" not in plugin.hooks:
            self._why = "it has no hook rehearse, and no rehearsal venue was given"
            self._note("rehearsal", Outcome.NOT_TRIED, self._why)
            return None
        own = folder / "venue"
        own.mkdir()
        try:
            made = attempt(given, own) if given else attempt(plugin.hooks["rehearse"].call, {"folder": own})
        except Failed as failed:
            self._why = f"its rehearsal venue could not be started: {failed}"
            missing = isinstance(failed.cause, InputError)  # something is to be installed first
            self._note("rehearsal", Outcome.NOT_TRIED if missing else Outcome.FAILED, self._why)
            return None
        if not isinstance(made, Rehearsal):
            self._why = f"rehearse answered with {type(made).__name__}, not ordergate.testing.Rehearsal"
            self._note("rehearsal", Outcome.FAILED, self._why)
            return None
        return stack.enter_context(made)

    def _ready(self, plugin: Admitted, settings: Mapping[str, object], folder: Path) -> Broker | None:
        """The broker with its settings bound and its profile read; notes what is wrong with either."""
        value: object = None
        problems: tuple[Problem, ...] = ()
        if plugin.settings_class is not None:
            bound: Bound[object] = bind(
                plugin.settings_class, settings, f"accounts.main.{self._name}", folder, account="main"
            )
            value, problems = bound.value, bound.problems
        made: Broker | Problem | None = None
        if not problems:
            made = Broker.ready("main", plugin, value, None, Gate(deadline=30.0), SystemClock())
        wrong = [*problems, *([made] if isinstance(made, Problem) else [])]
        if "rehearsal" in self._checks:  # there is no venue; without settings nothing more can be said
            if wrong:
                self._note("profile", Outcome.NOT_TRIED, "it takes settings, which only a rehearsal would give")
        elif wrong:
            self._why = "; ".join(map(str, wrong))
            self._note("rehearsal", Outcome.FAILED, self._why)
        else:
            self._note("rehearsal", Outcome.PASSED)
        return made if isinstance(made, Broker) else None

    # ------------------------------------------------------------------------------------------------------ all others

    def _try(self, name: str, run: Callable[[], None]) -> None:
        self._watch(name)
        try:
            attempt(run)
        except Failed as failed:
            cause = failed.cause
            if not isinstance(cause, Exception):
                raise cause from None  # somebody pressed Ctrl-C
            if isinstance(cause, NotTried):
                self._note(name, Outcome.NOT_TRIED, str(cause))
            else:
                self._note(name, Outcome.FAILED, str(cause) if isinstance(cause, AssertionError) else str(failed))
        else:
            self._note(name, Outcome.PASSED)

    def _note(self, name: str, outcome: Outcome, why: str = "") -> None:
        self._checks[name] = Check(name=name, proves=ALL_CHECKS[name], outcome=outcome, why=why)

    def _level(self, checks: Sequence[Check]) -> Level:
        if any(check.outcome is Outcome.FAILED for check in checks):
            return Level.NONE
        passed = {check.name for check in checks if check.outcome is Outcome.PASSED}
        if self._broker is None or PROVES_FINDING not in passed:
            return Level.NOT_PROVED
        profile = self._broker.profile
        if profile.absence is Absence.PERSON or profile.id_promise is IdPromise.NONE:
            return Level.C
        if PROVES_REPEATS not in passed:
            return Level.NOT_PROVED
        return Level.A if profile.id_promise is IdPromise.ALWAYS_UNIQUE else Level.B


@contextmanager
def _offered(broker: ModuleType | str, folder: Path) -> Iterator[str]:
    """The name under which the gate finds the broker. A module that no distribution offers is offered meanwhile."""
    if isinstance(broker, str):
        yield broker
        return
    module = broker.__name__
    installed = [provider.name for provider in discover((BROKER,)) if provider.module == module]
    if installed:
        yield installed[0]
        return
    name = module.rpartition(".")[2].removeprefix("ordergate_")
    site = folder / "site"
    info = site / f"{name}-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{BROKER.group}]\n{name} = {module}\n", encoding="utf-8")
    before = sys.modules.get(module)
    sys.modules[module] = broker
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()
    try:
        yield name
    finally:
        sys.path.remove(str(site))
        if before is None:
            del sys.modules[module]
        else:
            sys.modules[module] = before


@contextmanager
def _log_into(said: list[str]) -> Iterator[None]:
    """Every log record of this process, formatted with its exception."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(self.format(record))

    root, listener = logging.getLogger(), Listener(logging.DEBUG)
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(listener)
