"""Judging one order: the gate's own checks and every rule's verdict, all on one frozen snapshot.

Pure but for the rules' threads: the same `Inputs` always give the same verdicts, which is what lets a recorded decision
be explained, and replayed, later. Nothing here writes, sends or asks a venue.
"""

from __future__ import annotations

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
from ordergate.models import Account, BrokerProfile, History, Market, Price, Side, Tier, Verdict
from ordergate.order import Order
from ordergate.panel import Panel, refusal
from ordergate.settings import Gate
from ordergate.sizing import Asked, Sized, size_up, venue_objection
from ordergate.untouched import copied
from ordergate.valuation import Valuation, claims_of, lag_of, merge, value

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
    facts: Facts
    age: float
    seq: int = 0
    reservations: tuple[Reservation, ...] = ()
    stops: tuple[tuple[str, str], ...] = ()
    history: History = Factory(History)


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
    valuation: Valuation
    available: Mapping[str, Decimal]

    def sized(self, asked: Asked) -> Sized:
        return size_up(asked, self.market, self.inputs.profile, self.inputs.facts.taker.value, self.valuation.rates)


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
    books = _books(inputs)
    account, summary, gone = books.account, books.summary, books.gone
    state = _state(inputs, panel)
    facts = _facts(inputs, books.valuation)
    tier = _tier(inputs, account) if inputs.facts.report else None
    tier_verdict = _tier_verdict(inputs, account, tier)
    summary = evolve(summary, tier=tier.name if tier else None)
    case = _case(inputs, books, tier)
    if case is None:
        unjudged = [
            refusal(rule.name, "not_judged", "It cannot judge without facts and a tier.") for rule in panel.rules
        ]
        verdicts = (state, facts, tier_verdict, *unjudged)
        return Judgement(approved=False, verdicts=verdicts, summary=summary, gone=gone), None
    asked = _asked(case)
    sized = case.sized(asked)
    answers = panel.ask(lambda: _values(case, sized))
    rules, meddled = answers.verdicts, bool(answers.meddlers)
    if meddled:
        state = refusal(
            STATE, "rule_meddled", "A rule changed what it was given to judge; nothing it touched can be trusted."
        )
    checks = (state, facts, tier_verdict, _market_verdict(sized, case), _funds_verdict(sized, case))
    # Whoever is missing has not approved: those who approve must be exactly the active rules, and not nobody.
    approving = frozenset(verdict.rule for verdict in rules if verdict.approved is True)
    approved = all(check.approved for check in checks) and bool(panel.names) and approving == panel.names
    judgement = Judgement(
        approved=approved, verdicts=(*checks, *rules), summary=summary, sized=sized, gone=gone, meddled=meddled
    )
    return judgement, _Sizes.of(case, asked)


# ------------------------------------------------------------------------------------------------ the gate's own checks


def _state(inputs: Inputs, panel: Panel) -> Verdict:
    stops = list(inputs.stops)
    if not panel.rules:
        stops.append(("no_active_rules", "No rule is active, so nothing can approve a buy; name rules in gate.rules."))
    if not stops:
        return evolve(Verdict.approve(), rule=STATE)
    return refusal(STATE, stops[0][0], " ".join(sentence for _, sentence in stops))


def _facts(inputs: Inputs, valuation: Valuation) -> Verdict:
    flaws = list(valuation.flaws)
    symbol = inputs.order.symbol
    market = inputs.facts.market(symbol)
    if symbol in inputs.facts.no_market:
        flaws.append(f"the venue has no market {symbol}")
    elif market and market.quote not in valuation.rates:
        flaws.append(f"nothing at the venue says what {market.quote} is worth in USD (gate.at_par can)")
    oldest = Decimal(str(max(valuation.ages.values())))
    numbers = {"observed": oldest, "limit": Decimal(str(inputs.gate.facts_age))}
    if flaws:
        return refusal(
            FACTS, "no_trusted_facts", f"The facts cannot be trusted: {'; '.join(dict.fromkeys(flaws))}.", **numbers
        )
    return evolve(Verdict.approve(**numbers), rule=FACTS)


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
    return evolve(Verdict.approve(observed=account.equity, limit=tier.equity), rule=TIER)


def _market_verdict(sized: Sized, case: _Case) -> Verdict:
    objection = venue_objection(sized, case.market)
    if objection is None:
        observed, limit = sized.spend if sized.spend is not None else sized.amount, case.market.min_spend
        if sized.spend is None:
            limit = case.market.min_amount
        return evolve(Verdict.approve(observed=observed, limit=limit), rule=MARKET)
    sentence, observed, limit = objection
    return refusal(MARKET, "venue_limits", f"The venue would reject it: {sentence}.", observed=observed, limit=limit)


def _funds_verdict(sized: Sized, case: _Case) -> Verdict:
    gives = sized.purchase.gives
    free = case.available.get(gives, ZERO)
    if sized.needs <= free:
        return evolve(Verdict.approve(observed=sized.needs, limit=free), rule=FUNDS)
    return refusal(
        FUNDS,
        "not_enough_funds",
        f"It may take {money(sized.needs)} {gives}, fees included, over the {money(free)} {gives} that are free.",
        observed=sized.needs,
        limit=free,
    )


# -------------------------------------------------------------------------------------------------------------- inside


@frozen(kw_only=True)
class _Books:
    """The account reckoned once: valued, with claims merged in, and what of each currency is free of them."""

    valuation: Valuation
    account: Account
    free: Mapping[str, Decimal]
    gone: tuple[str, ...]
    summary: FactsSummary


def _books(inputs: Inputs) -> _Books:
    valuation = value(inputs.facts, inputs.gate, inputs.age)
    claims, gone = claims_of(
        inputs.facts, inputs.reservations, valuation.rates, inputs.gate.cash, lag_of(inputs.profile, inputs.gate)
    )
    account = merge(inputs.account, valuation, claims, inputs.gate)
    free = dict(valuation.available)
    for claim in claims:
        free[claim.gives] = free.get(claim.gives, ZERO) - claim.needs
    known = inputs.facts.report is not None
    summary = FactsSummary(
        equity=account.equity if known else None,
        cash=account.cash if known else None,
        positions=tuple(account.positions.values()),
        tier=None,
        ages=valuation.ages,
        unvalued=valuation.unvalued,
    )
    return _Books(valuation=valuation, account=account, free=free, gone=gone, summary=summary)


def _case(inputs: Inputs, books: _Books, tier: Tier | None) -> _Case | None:
    market = inputs.facts.market(inputs.order.symbol)
    price = next((price for price in inputs.facts.prices if price.symbol == inputs.order.symbol), None)
    usable = price is not None and _is_price(price) and market is not None and market.quote in books.valuation.rates
    if tier is None or inputs.facts.report is None or market is None or not usable:
        return None
    return _Case(
        inputs=inputs,
        market=evolve(market, price=price),
        account=books.account,
        tier=tier,
        valuation=books.valuation,
        available=books.free,
    )


def _is_price(price: Price) -> bool:
    return all(type(number) is Decimal and number.is_finite() and number > 0 for number in (price.bid, price.ask))


def _asked(case: _Case) -> Asked:
    order, amount = case.inputs.order, case.inputs.order.amount
    if order.all:
        amount = round_down(max(ZERO, case.available.get(case.market.base, ZERO)), case.market.amount_step)
        if amount == 0:
            raise InputError("all", True, f"there is no {case.market.base} to sell")
    return Asked(order.side, order.spend, amount, order.limit, order.principal)


def _values(case: _Case, sized: Sized) -> dict[str, Any]:
    """What rules judge. Always copies: what is sent, recorded and used for the next order is out of their reach."""
    return {
        "order": copied(sized.purchase),
        "market": copied(case.market),
        "account": copied(case.account),
        "tier": copied(case.tier),
        "broker": copied(case.inputs.profile),
        "history": copied(case.inputs.history),
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
            most = self.case.available.get(market.base, ZERO) / market.amount_step
        else:
            cash = max(ZERO, self.case.available.get(market.quote, ZERO))
            slack = market.amount_step * (limit or ZERO)
            unit = market.spend_step if self.asked.spend is not None else market.amount_step * (limit or market.ask)
            most = (cash + slack) / unit
        return max(0, int(most)) + 1

    def refusing(self, ask: Callable[[Mapping[str, Any]], frozenset[str]]) -> Callable[[int], frozenset[str]]:
        """Who refuses the order at a size of so many steps."""
        case = self.case
        values = _values(case, case.sized(self.asked))

        def refusing(steps: int) -> frozenset[str]:
            sized = case.sized(self.asked.resized(steps * self.unit))
            names = set(ask({**values, "order": copied(sized.purchase)}))
            objection = venue_objection(sized, case.market)
            if objection is not None:
                # The venue's minimum and its maximum are two bounds, and must not look like one that refuses all.
                over = objection[1] > objection[2]
                names.add(f"{MARKET} maximum" if over else MARKET)
            if sized.needs > case.available.get(sized.purchase.gives, ZERO):
                names.add(FUNDS)
            return frozenset(names)

        return refusing
