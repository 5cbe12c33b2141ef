"""Refuses buys in markets that are not wanted."""

from __future__ import annotations

from attrs import field, frozen

from ordergate import InputError, Purchase, Verdict, hookimpl
from ordergate.settings import Pattern

_LISTED = Pattern(
    form=r"(?:[A-Z0-9]{1,20}|\*)-(?:[A-Z0-9]{1,20}|\*)",
    fix="write BASE-QUOTE in capital letters and digits, with * for any: BTC-USD, BTC-* or *-USD",
)


@frozen
class Settings:
    """Which markets may be bought in; at least one of the two lists must be set."""

    allow: tuple[str, ...] = field(
        default=(),
        validator=_LISTED,
        metadata={"help": "Markets that may be bought in, with * for any, such as BTC-* or *-USD; none: all."},
    )
    deny: tuple[str, ...] = field(
        default=(), validator=_LISTED, metadata={"help": "Markets that may not be, also where allow names them."}
    )

    def __attrs_post_init__(self) -> None:
        if not self.allow and not self.deny:
            raise InputError("allow", "nothing", "name at least one market in allow or in deny")


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(order: Purchase, settings: Settings) -> Verdict:
    """Look up what is bought with what: `sell ETH-BTC` buys BTC with ETH, so it counts as BTC-ETH."""
    bought = f"{order.takes}-{order.gives}"
    names = dict.fromkeys((bought, order.symbol))  # to deny a market is to deny it on either side
    denied = next((form for form in settings.deny for name in names if _fits(name, form)), None)
    if denied is not None:
        return Verdict.refuse("symbol_denied", f"Nothing is bought as {bought}: {denied} is denied.")
    if settings.allow and not any(_fits(bought, form) for form in settings.allow):
        return Verdict.refuse(
            "symbol_not_allowed", f"{bought} is not among what is allowed: {', '.join(settings.allow)}."
        )
    return Verdict.approve()


def _fits(name: str, form: str) -> bool:
    return all(wanted in ("*", part) for part, wanted in zip(name.split("-"), form.split("-"), strict=True))
