"""Judging one order: the gate's own checks and every rule's verdict, all on one frozen snapshot.

Pure but for the rules' threads: the same `Inputs` always give the same verdicts, which is what lets a recorded decision
be explained, and replayed, later. Nothing here writes, sends or asks a venue.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from attrs import Factory, evolve, frozen

from ordergate.amounts import ZERO, money, round_down
from ordergate.band import Band, find_band, smallest
from ordergate.calls import Failed
from ordergate.decision import FactsSummary
from ordergate.errors import InputError, PluginError
from ordergate.facts import Facts
from ordergate.ledger import Reservation
from ordergate.models import Account, BrokerProfile, History, Market, Side, Tier, Verdict
from ordergate.order import Order
from ordergate.panel import Panel, refusal
from ordergate.settings import Gate
from ordergate.sizing import Asked, Sized, size_up, venue_objection
from ordergate.valuation import Claims, Valuation, merge

__all__ = ["Inputs", "Judgement", "band", "judge"]

STATE: Final = "gate.state"
FACTS: Final = "gate.facts"
TIER: Final = "gate.tier"
MARKET: Final = "gate.market"
FUNDS: Final = "gate.funds"


@frozen(kw_only=True)
class Inputs:
    """Everything a verdict depends on. `age` is how old the facts are, in seconds; `stops` are the (code, sentence) of
    whatever forbids buying before any number is looked at: a halt, a broken set-up, an order of unknown outcome.
    Reservations and history follow from the journal up to its row `seq`.
    """

    account: str
    order: Order
    gate: Gate
    tiers: tuple[Tier, ...]
    profile: BrokerProfile
    valuation: Valuation
    """The facts, valued by this gate and profile."""
    age: float
    seq: int = 0
    reservations: tuple[Reservation, ...] = ()
    stops: tuple[tuple[str, str], ...] = ()
    history: History = Factory(History)

    @property
    def facts(self) -> Facts:
        return self.valuation.facts


@frozen(kw_only=True)
class Judgement:
    """`sized` is None when the order could not even be valued. `gone` names reservations these facts have outlived."""

    approved: bool
    verdicts: tuple[Verdict, ...]
    summary: FactsSummary
    sized: Sized | None = None
    smallest: Decimal | None = None
    smallest_in: str | None = None
    unsearched: bool = False
    """True when the rules took too long to be asked about every size: there may be one that passes."""
    gone: tuple[str, ...] = ()
    meddled: bool = False


@frozen(kw_only=True)
class _Case:
    """An order that can be judged: facts, tier and prices are there."""

    inputs: Inputs
    market: Market
    account: Account
    tier: Tier
    free: Mapping[str, Decimal]
    """Of each currency, what is available and not claimed."""

    def sized(self, asked: Asked) -> Sized:
        inputs = self.inputs
        return size_up(asked, self.market, inputs.profile, inputs.facts.taker.value, inputs.valuation.rates)


def judge(inputs: Inputs, panel: Panel, *, find_smallest: bool = True) -> Judgement:
    """Every verdict on the order. Run inside `amounts.exact()`."""
    judgement, sizes = _judged(inputs, panel)
    if judgement.approved or not find_smallest or sizes is None:
        return judgement
    least, unsearched = None, False
    if _size_matters(judgement, panel):
        try:
            least = panel.search(lambda ask: smallest(sizes.refusing(ask), sizes.top()))
        except Failed:
            unsearched = not panel.overran  # a rule that overran refuses every size from now on
    passing = None if least is None else least * sizes.unit
    return evolve(judgement, smallest=passing, smallest_in=sizes.currency, unsearched=unsearched)


def band(inputs: Inputs, panel: Panel) -> tuple[Judgement, Band | None, Decimal, str]:
    """The sizes that would pass now, in steps, with the step and its currency. Run inside `amounts.exact()`."""
    judgement, sizes = _judged(inputs, panel)
    if sizes is None or not _size_matters(judgement, panel):
        return judgement, None, ZERO, ""
    try:
        found = panel.search(lambda ask: find_band(sizes.refusing(ask), sizes.top()))
    except Failed as failed:
        what, fix = f"the rules could not be asked about every size: {failed}", "Look for the one that is slow or fails"
        raise PluginError("rules", "rule_overran", what, fix) from failed
    return judgement, found, sizes.unit, sizes.currency


def _size_matters(judgement: Judgement, panel: Panel) -> bool:
    """False when state, facts, tier or a rule that overran refuse whatever the size."""
    return all(verdict.approved for verdict in judgement.verdicts[:3]) and not panel.overran


def _judged(inputs: Inputs, panel: Panel) -> tuple[Judgement, _Sizes | None]:
    """The verdicts on the order as it stands, and what is needed to ask about other sizes, where it could be judged."""
    valuation, known = inputs.valuation, inputs.facts.report is not None
    claims = valuation.claims(inputs.reservations)
    account = merge(inputs.account, valuation, claims, inputs.gate)
    tier = _tier(inputs, account) if known else None
    ages = valuation.ages(inputs.age)
    summary = FactsSummary(
        equity=account.equity if known else None,
        cash=account.cash if known else None,
        positions=account.positions.values(),
        tier=tier.name if tier else None,
        ages=ages,
        unvalued=valuation.unvalued,
    )
    state, first = _state(inputs, panel), (_facts(valuation, ages), _tier_verdict(inputs, account, tier))
    if tier is None or not known or valuation.market is None:
        unjudged = [
            refusal(rule.name, "not_judged", "It cannot judge without facts and a tier.") for rule in panel.rules
        ]
        verdicts = (state, *first, *unjudged)
        return Judgement(approved=False, verdicts=verdicts, summary=summary, gone=claims.gone), None
    free = _free(valuation, claims)
    case = _Case(inputs=inputs, market=valuation.market, account=account, tier=tier, free=free)
    asked = _asked(case)
    sized = case.sized(asked)
    answers = panel.ask(_values(case, sized))
    rules, meddled = answers.verdicts, bool(answers.meddlers)
    if meddled:
        state = refusal(
            STATE, "rule_meddled", "A rule changed what it was given to judge; nothing it touched can be trusted."
        )
    checks = (state, *first, _market_verdict(sized, case), _funds_verdict(sized, case))
    # Whoever is missing has not approved: those who approve must be exactly the active rules, and not nobody.
    approving = frozenset(verdict.rule for verdict in rules if verdict.approved is True)
    approved = all(check.approved for check in checks) and bool(panel.names) and approving == panel.names
    judgement = Judgement(
        approved=approved,
        verdicts=(*checks, *rules),
        summary=summary,
        sized=sized,
        gone=claims.gone,
        meddled=meddled,
    )
    return judgement, _Sizes.of(case, asked)


# ------------------------------------------------------------------------------------------------ the gate's own checks


def _state(inputs: Inputs, panel: Panel) -> Verdict:
    stops = list(inputs.stops)
    if not panel.rules:
        stops.append(("no_active_rules", "No rule is active, so nothing can approve a buy; name rules in gate.rules."))
    if not stops:
        return _passed(STATE)
    return refusal(STATE, stops[0][0], " ".join(sentence for _, sentence in stops))


def _passed(check: str, observed: Decimal | None = None, limit: Decimal | None = None) -> Verdict:
    return Verdict(approved=True, code="approved", message="", observed=observed, limit=limit, rule=check)


def _facts(valuation: Valuation, ages: Mapping[str, float]) -> Verdict:
    flaws = [*valuation.flaws, *valuation.stale(ages)]
    oldest, limit = Decimal(str(max(ages.values()))), Decimal(str(valuation.facts_age))
    if not flaws:
        return _passed(FACTS, oldest, limit)
    sentence = f"The facts cannot be trusted: {'; '.join(flaws)}."
    return refusal(FACTS, "no_trusted_facts", sentence, observed=oldest, limit=limit)


def _tier(inputs: Inputs, account: Account) -> Tier | None:
    reached = [tier for tier in inputs.tiers if account.equity >= tier.equity]
    if not reached:
        return None
    tier, ceiling = reached[-1], inputs.gate.max_positions
    return tier if ceiling is None else evolve(tier, max_positions=min(tier.max_positions, ceiling))


def _tier_verdict(inputs: Inputs, account: Account, tier: Tier | None) -> Verdict:
    if inputs.facts.report is None:
        return refusal(TIER, "no_tier", "Without the account's balances there is no equity and no tier.")
    least = inputs.tiers[0].equity
    if tier is None:
        return refusal(
            TIER,
            "below_tiers",
            f"The equity of {money(account.equity)} USD is under the first tier, which begins at {money(least)} USD.",
            observed=account.equity,
            limit=least,
        )
    return _passed(TIER, account.equity, tier.equity)


def _market_verdict(sized: Sized, case: _Case) -> Verdict:
    objection = venue_objection(sized, case.market)
    if objection is None:
        observed, limit = sized.spend if sized.spend is not None else sized.amount, case.market.min_spend
        if sized.spend is None:
            limit = case.market.min_amount
        return _passed(MARKET, observed, limit)
    sentence, observed, limit = objection
    return refusal(MARKET, "venue_limits", f"The venue would reject it: {sentence}.", observed=observed, limit=limit)


def _funds_verdict(sized: Sized, case: _Case) -> Verdict:
    gives = sized.purchase.gives
    free = case.free.get(gives, ZERO)
    if sized.needs <= free:
        return _passed(FUNDS, sized.needs, free)
    return refusal(
        FUNDS,
        "not_enough_funds",
        f"It may take {money(sized.needs)} {gives}, fees included, over the {money(free)} {gives} that are free.",
        observed=sized.needs,
        limit=free,
    )


# -------------------------------------------------------------------------------------------------------------- inside


def _free(valuation: Valuation, claims: Claims) -> Mapping[str, Decimal]:
    claimed = {
        currency: valuation.available.get(currency, ZERO) - needs for currency, needs in claims.needs.items() if needs
    }
    return ChainMap(claimed, valuation.available) if claimed else valuation.available


def _asked(case: _Case) -> Asked:
    order, amount = case.inputs.order, case.inputs.order.amount
    if order.all:
        amount = round_down(max(ZERO, case.free.get(case.market.base, ZERO)), case.market.amount_step)
        if amount == 0:
            raise InputError("all", True, f"there is no {case.market.base} to sell")
    return Asked(order.side, order.spend, amount, order.limit, order.principal)


def _values(case: _Case, sized: Sized) -> dict[str, Any]:
    """What rules judge. The panel gives them copies: what is sent, recorded and used next is out of their reach."""
    return {
        "order": sized.purchase,
        "market": case.market,
        "account": case.account,
        "tier": case.tier,
        "broker": case.inputs.profile,
        "history": case.inputs.history,
    }


@frozen
class _Sizes:
    """The same order at other sizes, counted in steps of `unit`, which is in `currency`."""

    case: _Case
    asked: Asked
    unit: Decimal
    currency: str

    @classmethod
    def of(cls, case: _Case, asked: Asked) -> _Sizes:
        market = case.market
        if asked.spend is not None:
            return cls(case, asked, market.spend_step, market.quote)
        return cls(case, asked, market.amount_step, market.base)

    def top(self) -> int:
        """A number of steps that funds, or the venue's maximum, certainly refuse: nothing above it needs a look."""
        market, limit = self.case.market, self.asked.limit
        if self.asked.side is Side.SELL:
            most = self.case.free.get(market.base, ZERO) / market.amount_step
        else:
            cash = max(ZERO, self.case.free.get(market.quote, ZERO))
            slack = market.amount_step * (limit or ZERO)
            unit = market.spend_step if self.asked.spend is not None else market.amount_step * (limit or market.ask)
            most = (cash + slack) / unit
        return max(0, int(most)) + 1

    def refusing(self, ask: Callable[[Mapping[str, Any]], frozenset[str]]) -> Callable[[int], frozenset[str]]:
        """Who refuses the order at a size of so many steps."""
        case = self.case

        def refusing(steps: int) -> frozenset[str]:
            sized = case.sized(self.asked.resized(steps * self.unit))
            names = set(ask(_values(case, sized)))
            objection = venue_objection(sized, case.market)
            if objection is not None:
                # The venue's minimum and its maximum are two bounds, and must not look like one that refuses all.
                over = objection[1] > objection[2]
                names.add(f"{MARKET} maximum" if over else MARKET)
            if sized.needs > case.free.get(sized.purchase.gives, ZERO):
                names.add(FUNDS)
            return frozenset(names)

        return refusing
