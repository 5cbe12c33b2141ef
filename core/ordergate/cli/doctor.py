"""`doctor`: would this set-up be safe to arm? Findings in plain words, each with its fix. Reads only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal

import click
from attrs import frozen

from ordergate.amounts import money
from ordergate.cli.face import DONE, FAILED, Answer, Face, shared
from ordergate.cli.numbers import usd
from ordergate.cli.page import Block, Cell, Line, Page, Table, Tone, Toned
from ordergate.clock import iso
from ordergate.errors import BrokerError, LedgerError
from ordergate.fitness import EXCESS, skew_of, skew_told
from ordergate.models import Absence
from ordergate.phrases import sentence

if TYPE_CHECKING:
    from ordergate.broker import Broker
    from ordergate.cli.valued import Valued
    from ordergate.executor import Executor
    from ordergate.ledger import Ledger

__all__ = ["Finding", "doctor"]

Level = Literal["ok", "warning", "stop"]
_TONES: Final[dict[Level, Tone]] = {"ok": "good", "warning": "warn", "stop": "bad"}
_FIRST_YEAR: Final = 1_767_225_600.0  # 2026-01-01: a clock before this was never set


@frozen
class Finding:
    """One thing looked at. `stop` means that buys should not, or cannot, be let through as it is."""

    level: Level
    subject: str
    text: str
    fix: str = ""


@click.command()
@shared
@click.pass_obj
def doctor(face: Face) -> int:
    """Would this set-up be safe to arm? Looks at config, plugins, ledger, accounts and keys. Exit code 1 when something
    stops.
    """
    with face.executor() as executor, face.progress("Looking at the config") as at:
        found = [*_config(executor), *_plugins(executor), *_clock(executor)]
        at("Verifying the ledger")
        found += _ledger(executor)
        found += _beside(executor)
        for name, broker in executor.setup.brokers.items():
            at(f"Asking the venue of account {name}")
            found += _account(executor, broker)
    stops = sum(one.level == "stop" for one in found)
    warnings = sum(one.level == "warning" for one in found)
    data = {
        "safe": stops == 0,
        "stops": stops,
        "warnings": warnings,
        "findings": [
            {"level": one.level, "subject": one.subject, "text": one.text, "fix": one.fix or None} for one in found
        ],
    }

    def page() -> Page:
        rows: list[tuple[Cell, ...]] = [
            (Toned(one.level, _TONES[one.level]), one.subject, f"{one.text} {one.fix}".strip()) for one in found
        ]
        verdict: Block = Line("Nothing stops: this set-up can be armed.", "good")
        if stops:
            verdict = Line(f"Do not arm it yet: {stops} stop, {warnings} warn.", "bad")
        elif warnings:
            verdict = Line(f"Nothing stops; {warnings} warn. Read them before you arm it.", "warn")
        return [Table(("", "what", "finding"), rows), verdict]

    return face.show(Answer(data=data, page=page, code=FAILED if stops else DONE))


# ---------------------------------------------------------------------------------------- what needs nobody to be asked


def _config(executor: Executor) -> Iterator[Finding]:
    setup = executor.setup
    problems = dict.fromkeys([*setup.problems, *(one for broken in setup.broken.values() for one in broken)])
    for problem in problems:
        yield Finding("stop", "config", f"{problem.where}: {problem.what}.", problem.fix)
    if not problems:
        yield Finding("ok", "config", f"{executor.config.path} has no problems.")
    for name in setup.broken:
        yield Finding("stop", f"account {name}", "Its section is broken: it can neither buy nor sell.")


def _plugins(executor: Executor) -> Iterator[Finding]:
    setup = executor.setup
    for code, why in setup.refusals:
        yield Finding("stop", "plugins", f"{why} ({code})")
    names = [rule.name for rule in setup.panel.rules]
    if names:
        yield Finding("ok", "rules", f"{', '.join(names)} must all approve a buy.")
    else:
        yield Finding("stop", "rules", "No rule is active: nothing can approve a buy.", "Name rules in gate.rules.")
    unpinned = [one.name for one in setup.admitted if not one.pinned]
    if unpinned:
        text = f"Not pinned, so an update can change what runs: {', '.join(unpinned)}."
        yield Finding("warning", "pins", text, "`ordergate plugins pin NAME` pins an installed version.")
    elif setup.admitted:
        yield Finding("ok", "pins", "Every active plugin is pinned.")


def _clock(executor: Executor) -> Iterator[Finding]:
    now = executor.clock.now()
    if now < _FIRST_YEAR:
        yield Finding("stop", "clock", f"It says {iso(now)}.", "Set the machine's clock.")
        return
    try:
        newest = max((entry.at for entry in executor.desk.ledger().entries(newest=1)), default=0.0)
    except LedgerError:
        newest = 0.0  # the ledger's own finding says so
    if newest > now:
        text = f"It says {iso(now)}, and the journal's newest row is of {iso(newest)}: it went back."
        yield Finding("stop", "clock", text, "Set the machine's clock.")
    else:
        yield Finding("ok", "clock", f"It says {iso(now)}.")


def _ledger(executor: Executor) -> Iterator[Finding]:
    url = executor.config.gate.ledger
    try:
        ledger = executor.desk.ledger()
        broken = ledger.verify()
        if broken is not None:
            yield Finding("stop", "ledger", f"{url} does not hold: {broken}.", "Restore a backup.")
            return
        yield Finding("ok", "ledger", f"{url} opens, and its journal verifies.")
        yield from _trading(executor, ledger)
        yield from _unfinished(executor, ledger)
    except LedgerError as error:
        yield Finding("stop", "ledger", f"{error}.", "Without a ledger no buy passes.")


def _trading(executor: Executor, ledger: Ledger) -> Iterator[Finding]:
    names = {*executor.config.accounts, "*"}
    halted = [why for name, (state, why) in ledger.trading().items() if state == "exits_only" and name in names]
    for why in halted:
        yield Finding("stop", "trading", f"Halted, {why}: only exits pass.", "`ordergate resume` ends it.")
    if not halted:
        yield Finding("ok", "trading", "No halt is recorded.")


def _unfinished(executor: Executor, ledger: Ledger) -> Iterator[Finding]:
    from ordergate.settlement import is_doubtful

    now = executor.clock.now()
    for name in ledger.accounts():
        for one in ledger.unfinished(name):
            if is_doubtful(one, now):
                text = f"Order {one.client_order_id} in {one.symbol} is of unknown outcome since {iso(one.at)}."
                yield Finding("stop", f"account {name}", text, "`ordergate reconcile` asks the venue.")
            elif name not in executor.config.accounts:
                text = f"It is gone from the config, and order {one.client_order_id} is not finished."
                yield Finding("stop", f"account {name}", text, "Put it back until its orders are settled.")


def _beside(executor: Executor) -> Iterator[Finding]:
    """The files beside the ledger: the fallback and the halt file; and what the gate does about foreign orders."""
    desk, gate = executor.desk, executor.config.gate
    waiting, folder = desk.store.fallback.waiting(), desk.store.fallback.folder
    standing = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    if not standing.is_dir() or not os.access(standing, os.W_OK | os.X_OK):
        text = f"{standing} cannot be written: an exit could not be recorded while the ledger is down."
        yield Finding("stop", "fallback", text, "Give this user the right, or set gate.fallback.")
    elif waiting:
        text = f"{waiting} rows wait in {desk.store.fallback.path}."
        yield Finding("warning", "fallback", text, "`ordergate reconcile` imports them; so does the next buy.")
    else:
        yield Finding("ok", "fallback", f"{folder} can be written, and nothing waits there.")
    if desk.alarms.halted_by_file():
        text = f"{desk.alarms.halt_file} exists, or cannot be looked at: only exits pass."
        yield Finding("stop", "halt file", text, "Remove it to end the halt.")
    else:
        yield Finding("ok", "halt file", f"{desk.alarms.halt_file.name} does not exist.")
    does = "an alarm" if gate.foreign_orders == "alarm" else "an alarm, and no more buys"
    yield Finding("ok", "foreign orders", f"Orders the gate never sent raise {does} (gate.foreign_orders).")


# --------------------------------------------------------------------------------------------------- what a venue says


def _account(executor: Executor, broker: Broker) -> Iterator[Finding]:
    from ordergate.cli.valued import look

    subject = f"account {broker.account}"
    valued = look(executor, broker.account)
    if valued.facts.report is None:
        text = f"It cannot be looked at: {'; '.join(valued.facts.failures)}."
        yield Finding("stop", subject, text, "Check the broker's settings, the key, and the network.")
        return
    yield Finding("ok", subject, f"The broker {broker.plugin.name} ({broker.profile.venue}) answers.")
    yield from _facts(valued, subject)
    yield from _tier(executor, valued, subject)
    yield from _funds_name(executor, valued, subject)
    yield from _permissions(broker, subject)
    yield from _skew(executor, broker, subject)
    yield _unknowns(broker, subject)
    yield from _strangers(executor, valued, subject)
    for notice in broker.notices():
        yield Finding("warning", subject, notice)
    if broker.plugin.name == "paper":
        yield Finding("ok", subject, "It is a paper venue: a rehearsal, no money moves.")


def _facts(valued: Valued, subject: str) -> Iterator[Finding]:
    if valued.valuation.flaws:
        text = f"Its facts cannot be trusted: {'; '.join(dict.fromkeys(valued.valuation.flaws))}."
        yield Finding("stop", subject, text, "No buy passes until the venue gives them.")
    else:
        yield Finding("ok", subject, "Its facts are complete.")
    if valued.valuation.unvalued:
        text = f"No market at the venue, counted as nothing: {', '.join(valued.valuation.unvalued)}."
        yield Finding("warning", subject, text)


def _tier(executor: Executor, valued: Valued, subject: str) -> Iterator[Finding]:
    equity = valued.account.equity
    if valued.tier is None:
        least = executor.config.tiers[0].equity
        text = f"Its equity of {usd(equity)} USD is under the first tier, which begins at {money(least)} USD."
        yield Finding("stop", subject, text, "Add funds, or change the tiers.")
    else:
        held = f"{len(valued.account.positions)} of {valued.tier.max_positions} positions"
        yield Finding("ok", subject, f"Tier {valued.tier.name} with {usd(equity)} USD, {held}.")


def _funds_name(executor: Executor, valued: Valued, subject: str) -> Iterator[Finding]:
    """One name for one lot of funds, always the same."""
    report = valued.facts.report
    if report is None:
        return
    try:
        bound = executor.desk.ledger().accounts()
    except LedgerError:
        return  # the ledger's own finding says so
    before = bound.get(valued.name)
    others = [name for name, identity in bound.items() if identity == report.identity and name != valued.name]
    if before is not None and before != report.identity:
        text = f"It was bound to the funds {before}; the broker now speaks of {report.identity}."
        yield Finding("stop", subject, text, "Give other funds another account name.")
    for other in others:
        yield Finding("stop", subject, f"Account {other} is bound to the same funds.", "Keep one of the two names.")


def _permissions(broker: Broker, subject: str) -> Iterator[Finding]:
    try:
        allowed = broker.get_permissions()
    except BrokerError as error:
        text = f"What its key may do could not be asked: {error}."
        yield Finding("stop", subject, text, "No buy passes until the venue says it.")
        return
    if allowed is None:
        text = "This broker cannot say what the key may do."
        yield Finding("warning", subject, text, "Make sure at the venue that it can neither withdraw nor transfer.")
        return
    excess = sorted(EXCESS.intersection(allowed))
    if excess:
        fix = "Make a key that can view and trade, and nothing else."
        yield Finding("stop", subject, f"Its key may {' and '.join(excess)}.", fix)
    elif "trade" not in allowed:
        yield Finding("stop", subject, "Its key may not trade.", "Make a key that can view and trade.")
    else:
        yield Finding("ok", subject, f"Its key may {', '.join(allowed)}, and neither withdraw nor transfer.")


def _skew(executor: Executor, broker: Broker, subject: str) -> Iterator[Finding]:
    """How far this machine's clock is from the venue's."""
    try:
        skew = skew_of(broker, executor.clock)
    except BrokerError as error:
        yield Finding("stop", subject, f"The venue's clock could not be read: {error}.", "No buy passes without it.")
        return
    if skew is None:
        return
    allowed = executor.config.gate.clock_skew
    text = skew_told(skew)
    if abs(skew) > allowed:
        yield Finding("stop", subject, f"{text}, over the {allowed:g} s of gate.clock_skew.", "Set the clock.")
    else:
        yield Finding("ok", subject, f"{text}.")


def _unknowns(broker: Broker, subject: str) -> Finding:
    """What becomes of an order whose answer was lost."""
    profile = broker.profile
    why = f" {sentence(profile.rests_on)}" if profile.rests_on else ""
    if profile.absence is Absence.PERSON:
        text = f"An order of unknown outcome that the venue does not show can only be settled by a person.{why}"
        return Finding("warning", subject, text, "`ordergate reconcile --settle` writes that down.")
    after = profile.honoured + broker.clock_skew  # this machine's clock may be ahead of the venue's
    text = f"An order of unknown outcome counts as absent when it is not found {after:g} s after its "
    return Finding("ok", subject, f"{text}send-by time.{why}")


def _strangers(executor: Executor, valued: Valued, subject: str) -> Iterator[Finding]:
    """Open orders at the venue that the gate never sent."""
    report = valued.facts.report
    if report is None or not report.open_orders:
        return
    wire_ids = tuple(order.client_order_id for order in report.open_orders if order.client_order_id)
    try:
        ours = executor.desk.ledger().known_wire_ids(valued.name, wire_ids)
    except LedgerError:
        return  # the ledger's own finding says so
    foreign = [order.order_id for order in report.open_orders if order.client_order_id not in ours]
    if foreign:
        stops = executor.config.gate.foreign_orders == "stop"
        text = f"The venue shows open orders that the gate never sent: {', '.join(foreign)}."
        fix = "Find out who sent them." + (" Until they are gone no buy passes." if stops else "")
        yield Finding("stop" if stops else "warning", subject, text, fix)
