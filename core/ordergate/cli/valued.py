"""One account as it stands at the venue now, valued as the gate values it, with what approved buys still claim."""

from __future__ import annotations

from attrs import evolve, frozen

from ordergate.amounts import exact
from ordergate.cli.face import broker_of
from ordergate.errors import LedgerError
from ordergate.executor import Executor
from ordergate.facts import Facts, valuing_symbols
from ordergate.ledger import Reservation
from ordergate.models import Account, Market, Tier
from ordergate.valuation import Valuation, merge, value

__all__ = ["Valued", "look"]


@frozen(kw_only=True)
class Valued:
    """`tier` is None below the first one. `warnings` say in words what is missing or cannot be trusted."""

    name: str
    facts: Facts
    valuation: Valuation
    account: Account
    tier: Tier | None
    warnings: tuple[str, ...]
    cash: tuple[str, ...]

    def market_of(self, currency: str) -> Market | None:
        """The market that values a currency, and in which it would be sold."""
        names = valuing_symbols(currency, self.cash)
        return next((market for name in names if (market := self.facts.market(name)) is not None), None)


def look(executor: Executor, account: str | None) -> Valued:
    """Ask the venue and the ledger. Raises InputError or ConfigError for an account that cannot be asked at all."""
    broker = broker_of(executor, account)
    gate, name = executor.config.gate, broker.account
    warnings: list[str] = []
    reservations: tuple[Reservation, ...] = ()
    try:
        reservations = executor.desk.ledger().state(name).reservations
    except LedgerError as error:
        warnings.append(f"Claims of approved buys are not known: {error}.")
    with exact():
        facts = executor.desk.reader(name).read(None)
        valuation = value(facts, gate, broker.profile)
        seen = merge(name, valuation, valuation.claims(reservations), gate)
    flaws = [*valuation.flaws, *valuation.stale(valuation.ages(0.0))]
    warnings += [f"The facts cannot be trusted: {flaw}." for flaw in flaws]
    reached = [tier for tier in executor.config.tiers if seen.equity >= tier.equity]
    tier = reached[-1] if reached and facts.report is not None else None
    if tier is not None and gate.max_positions is not None:
        tier = evolve(tier, max_positions=min(tier.max_positions, gate.max_positions))
    return Valued(
        name=name,
        facts=facts,
        valuation=valuation,
        account=seen,
        tier=tier,
        warnings=tuple(warnings),
        cash=gate.cash,
    )
