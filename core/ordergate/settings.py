"""The gate's own settings: every key of `[gate]` with its default, its bounds and the reason, and the tiers.

Only values and their bounds stand here. Reading a file, collecting what is wrong with it and finding
contradictions between keys belongs to `ordergate.config`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

import attrs
from attrs import field, frozen

from ordergate.errors import InputError
from ordergate.models import Tier

__all__ = ["DEFAULT_TIERS", "TIER_HELP", "Gate", "Pattern", "Within", "check_tier", "refuse_password"]


# ----------------------------------------------------------------------------------------------------- bounds


@frozen(kw_only=True)
class Within:
    """Validator: a finite number from `low` to `high`, both included; `above` excludes the lower one.

    None passes, where the field allows it. Raises InputError naming the field, the value and both bounds.
    """

    low: Decimal
    high: Decimal
    above: bool = False

    def __call__(self, _: object, attribute: attrs.Attribute[Any], value: Decimal | float | None) -> None:
        if value is None:
            return
        if not Decimal(value).is_finite() or not self.low <= value <= self.high or (self.above and value == self.low):
            start = f"above {self.low}" if self.above else f"at least {self.low}"
            raise InputError(attribute.name, value, f"give a number {start} and at most {self.high}")


@frozen(kw_only=True)
class Pattern:
    """Validator: text of this form, or a tuple of different texts that all have it."""

    form: str
    fix: str

    def __call__(self, _: object, attribute: attrs.Attribute[Any], value: str | tuple[str, ...]) -> None:
        texts = (value,) if isinstance(value, str) else value
        for number, text in enumerate(texts):
            if not re.fullmatch(self.form, text, re.ASCII):
                raise InputError(attribute.name, text, self.fix)
            if text in texts[:number]:
                raise InputError(attribute.name, text, "it stands twice; name it once")


def _above_zero(high: int) -> Within:
    return Within(low=Decimal(0), high=Decimal(high), above=True)


_NAMES: Final = Pattern(form=r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", fix="use the name that `ordergate plugins` shows")
_CURRENCIES: Final = Pattern(
    form=r"[A-Z0-9]{1,20}", fix="write a currency in capital ASCII letters and digits, such as USD"
)


def refuse_password(field_name: str, url: str) -> None:
    """Raises InputError, without the password, for a ledger's URL that holds one. An @ elsewhere is written %40."""
    hidden = re.sub(r"(://[^/@:?]*:)[^@]*(@)|(password=)[^&]*()", r"\1\3***\2", url)
    if hidden != url:
        fix = "take the password out; PostgreSQL's own ~/.pgpass, PGPASSFILE or PGSERVICEFILE hold it"
        raise InputError(field_name, hidden, fix)


@frozen(kw_only=True)
class LedgerUrl(Pattern):
    """Validator: the URL of a ledger, without a password. An error never shows one."""

    def __call__(self, instance: object, attribute: attrs.Attribute[Any], value: str | tuple[str, ...]) -> None:
        refuse_password(attribute.name, str(value))
        super().__call__(instance, attribute, value)


_LEDGER: Final = LedgerUrl(
    # A ledger in memory would forget what was sent; `?` and `#` would begin options, and there are none.
    form=r"sqlite:///(?!:memory:)[^?#\x00-\x1f]*[^?#/\x00-\x1f]|postgres(?:ql)?://[!-~]+",
    fix="write sqlite:///FILE (counted from the config's folder), sqlite:////ABSOLUTE/FILE or postgresql://USER@HOST/NAME",
)


# ------------------------------------------------------------------------------------------------------- gate


def _about(text: str, why: str, unit: str = "") -> dict[str, str]:
    return {"help": text, "why": why, "unit": unit}


def _seconds(default: float, high: int, text: str, why: str) -> Any:
    return field(default=float(default), validator=_above_zero(high), metadata=_about(text, why, "seconds"))


@frozen(kw_only=True)
class Gate:
    """Every key of `[gate]`. Amounts are USD, times are seconds; a value out of bounds raises InputError."""

    rules: tuple[str, ...] = field(
        default=(),
        validator=_NAMES,
        metadata=_about(
            "The active rules. Every one of them must approve a buy; at least one must be named.",
            "Installed is not active: what judges your orders is what you named, no more and no less.",
        ),
    )
    observers: tuple[str, ...] = field(
        default=(),
        validator=_NAMES,
        metadata=_about(
            "The active observers: plugins that hear of every decision and change nothing.",
            "Nobody listens unless you asked for it.",
        ),
    )
    ledger: str = field(
        default="sqlite:///ordergate.db",
        validator=_LEDGER,
        metadata=_about(
            "Where intents, reservations and decisions are kept. Every process that trades the same accounts "
            "must name the same one.",
            "One file beside the config needs no server and is shared by all processes of the machine.",
        ),
    )
    sender_lease: float = _seconds(
        30,
        600,
        "In a PostgreSQL ledger: for how long a buy makes its process the only one that sends buys for the account. "
        "At least `send_within` and `deadline` together.",
        "When it runs out, whatever the process had decided has expired too, so another one may send.",
    )
    fallback: Path = field(
        default=Path("ordergate-fallback"),
        metadata=_about(
            "Folder for exits that the ledger could not take; imported before the next buy.",
            "An exit must pass, and be written down, also when the ledger is full or damaged. Best on another disk.",
        ),
    )
    halt_file: Path = field(
        default=Path("ordergate.halt"),
        metadata=_about(
            "While a file of this name exists, no buy passes.",
            "The one switch that anybody can throw without a program: `touch ordergate.halt`.",
        ),
    )
    cash: tuple[str, ...] = field(
        default=("USD", "USDC", "USDT", "EUR", "GBP"),
        validator=_CURRENCIES,
        metadata=_about(
            "Currencies that are money to pay with, never positions. USD must be among them.",
            "The currencies that the supported venues quote their main markets in.",
        ),
    )
    at_par: tuple[str, ...] = field(
        default=(),
        validator=_CURRENCIES,
        metadata=_about(
            "Cash currencies counted as exactly 1 USD where the venue has no market for them.",
            "Empty, because a coin that lost its peg must not be taken for a dollar unless you say so.",
        ),
    )
    dust: Decimal = field(
        default=Decimal(1),
        validator=_above_zero(1000),
        metadata=_about(
            "A holding worth less counts in equity, but not as a position.",
            "Crumbs left by rounding and fees would otherwise fill the position cap.",
            "USD",
        ),
    )
    max_positions: int | None = field(
        default=None,
        validator=Within(low=Decimal(0), high=Decimal(10_000)),
        metadata=_about(
            "Ceiling on the positions of every account; the smaller of this and the tier's cap wins.",
            "Not set, the tier alone decides.",
            "positions",
        ),
    )
    facts_age: float = _seconds(
        10,
        300,
        "Balances, holdings, open orders and prices older than this refuse a buy.",
        "Long enough for one slow answer of a venue, short enough that a price is still that price.",
    )
    facts_cache: float = field(
        default=0.0,
        validator=Within(low=Decimal(0), high=Decimal(300)),
        metadata=_about(
            "For how long fetched facts may serve further orders; at most `facts_age`.",
            "Zero: every decision is made on facts fetched for it.",
            "seconds",
        ),
    )
    market_age: float = _seconds(
        3600,
        604_800,
        "A market's limits and steps are fetched again after this time.",
        "Venues announce changes of limits and steps days ahead; an hour spares a call per order.",
    )
    deadline: float = _seconds(
        10,
        120,
        "The most that one call to a venue may take in total, whatever timeouts its SDK has.",
        "Healthy venues answer within a second or two; ten is an outage, and the outcome is unknown.",
    )
    send_within: float = _seconds(
        5,
        300,
        "An approved order that was not sent this long after the decision is not sent any more.",
        "A process that was stopped and woke up later must not send what was judged on old facts.",
    )
    exit_facts: float = _seconds(
        3,
        60,
        "How long an exit waits for facts before it goes as it was asked; at most `deadline`.",
        "Facts make an exit better (cut to the step and the holding), but must never hold it up.",
    )
    exit_settle: float = _seconds(
        5,
        60,
        "How long an exit waits while an earlier sell of the symbol is of unknown outcome.",
        "A few seconds settle most time-outs; after that selling too little is worse than asking twice.",
    )
    rule_budget: float = _seconds(
        0.5,
        30,
        "A rule that answers later than this refuses the buy and sets the gate to exits only.",
        "Rules only calculate: a thousandth of this is usual, so half a second means that one hangs.",
    )
    clock_skew: float = _seconds(
        2,
        60,
        "How far this machine's clock may be from the venue's; beyond it buys are refused.",
        "Orders carry a moment after which the venue must not take them, and proofs of absence rest on it.",
    )
    foreign_orders: Literal["alarm", "stop"] = field(
        default="alarm",
        validator=attrs.validators.in_(("alarm", "stop")),
        metadata=_about(
            "When the venue shows orders that the gate never sent: an alarm, or an alarm and no more buys.",
            "Many people also trade by hand; on an account that only bots use, write stop.",
        ),
    )


# ------------------------------------------------------------------------------------------------------ tiers


def _tier(name: str, equity: int, max_positions: int, min_position: int) -> Tier:
    return Tier(name=name, equity=Decimal(equity), max_positions=max_positions, min_position=Decimal(min_position))


DEFAULT_TIERS: Final = (
    _tier("STARTER", 50, 1, 10),
    _tier("SAVER", 100, 1, 10),
    _tier("INVESTOR", 250, 3, 20),
    _tier("INCOME", 1_000, 5, 50),
    _tier("LIVABLE", 5_000, 6, 50),
    _tier("BALLER", 25_000, 8, 100),
)
"""Used when the config has no `[[tiers]]`. Equity and minimum in USD; our own figures, 2026-11-22."""

_TIER_CHECKS: Final[dict[str, Callable[[Any, Any, Any], None]]] = {
    "name": Pattern(
        form=r"[A-Za-z0-9][A-Za-z0-9_ -]{0,31}", fix="use 1 to 32 ASCII letters, digits, blanks, '_' or '-'"
    ),
    "equity": Within(low=Decimal(0), high=Decimal(10**12)),
    "max_positions": Within(low=Decimal(1), high=Decimal(10_000)),
    "min_position": _above_zero(10**9),
    # Under a twentieth a position cannot matter to the account; over a tenth the caps could not be filled.
    "min_allocation": Within(low=Decimal("0.05"), high=Decimal("0.10")),
}

TIER_HELP: Final = {
    "name": ("", "What decisions and listings call the tier."),
    "equity": (
        "USD",
        "Where the tier begins. Each tier begins above the one before it.",
    ),
    "max_positions": ("positions", "The most positions an account of this tier may have."),
    "min_position": ("USD", "The smallest size of a buy in this tier."),
    "min_allocation": ("fraction", "The smallest size of a buy as a fraction of equity, from 0.05 to 0.10."),
}


def check_tier(tier: Tier) -> tuple[InputError, ...]:
    """What is out of bounds in one tier; the order of several is for the config reader to check."""
    found = []
    for attribute in attrs.fields(Tier):
        try:
            _TIER_CHECKS[attribute.name](tier, attribute, getattr(tier, attribute.name))
        except InputError as error:
            found.append(error)
    return tuple(found)
