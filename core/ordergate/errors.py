"""Every exception ordergate raises on purpose, and what each is for.

    OrdergateError
    ├── InputError            an order or an argument that cannot be taken as it stands
    │   └── IdConflict        the client order id already names another order
    ├── ConfigError           the config file cannot be used; carries every problem found
    ├── PluginError           a plugin cannot be admitted
    ├── BrokerError           a venue or its plugin did not answer as it must (reads only: a send is never an error)
    │   ├── NotSent           for brokers to raise: certainly not one byte of the order left this machine
    │   └── RateLimited       for brokers to raise: the venue wants to be left alone for some seconds
    └── LedgerError           the ledger cannot be used
        ├── LedgerBusy        other processes kept it locked for longer than the bounded retries
        ├── LedgerDamaged     it is no database, or its journal does not verify
        └── LedgerVersion     its schema is older or newer than this program understands

A refused or rejected order is no exception: it is an answer (`Decision`).
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

__all__ = [
    "BrokerError",
    "ConfigError",
    "IdConflict",
    "InputError",
    "LedgerBusy",
    "LedgerDamaged",
    "LedgerError",
    "LedgerVersion",
    "NotSent",
    "OrdergateError",
    "PluginError",
    "Problem",
    "RateLimited",
    "shortened",
]


class OrdergateError(Exception):
    """Base of all errors; `code` is stable and documented, the text is for people."""

    code = "ERROR"


class InputError(OrdergateError):
    """A field of an order or a command cannot be taken: names the field, the value and the fix."""

    code = "INVALID_INPUT"

    def __init__(self, field: str, value: object, fix: str) -> None:
        self.field, self.value, self.fix = field, value, fix
        what = "it is missing" if value is None else f"{_shown(value)} is not usable"
        super().__init__(f"{field}: {what}: {fix}")


class IdConflict(InputError):
    """The same client order id was recorded for another order."""

    code = "ID_CONFLICT"


@frozen
class Problem:
    """One thing wrong with a set-up: where it stands, what it is, how to mend it."""

    where: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.fix}"


class ConfigError(OrdergateError):
    """The config cannot be used for what was asked; `problems` lists everything that was found."""

    code = "INVALID_CONFIG"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class PluginError(OrdergateError):
    """A plugin cannot be admitted; `code` says which of the documented reasons it is."""

    def __init__(self, name: str, code: str, what: str, fix: str) -> None:
        self.name, self.code, self.what, self.fix = name, code, what, fix
        super().__init__(f"plugin {name}: {what}. {fix}")


class BrokerError(OrdergateError):
    """A venue, or the plugin that speaks to it, did not give a usable answer to a question."""

    code = "BROKER_FAILED"


class NotSent(BrokerError):
    """Raised by a broker's `place_order` only where certainly not one byte of the order has left this machine: no route
    to the venue, a certificate that is not its own, the send-by time over. The outcome is then known: nothing was sent.
    """

    code = "NOT_SENT"


class RateLimited(BrokerError):
    """Raised by a broker when the venue refuses questions for a while; `seconds` is for how long it is left alone."""

    code = "RATE_LIMITED"

    def __init__(self, seconds: float, message: str) -> None:
        self.seconds = seconds
        super().__init__(message)


class LedgerError(OrdergateError):
    """The ledger cannot be read or written: full, read-only, missing rights, I/O errors."""

    code = "LEDGER_UNAVAILABLE"


class LedgerBusy(LedgerError):
    """Others kept the ledger locked, or kept changing the account, for longer than the bounded retries."""

    code = "LEDGER_BUSY"


class LedgerDamaged(LedgerError):
    """The file is no ledger, or what it holds contradicts itself."""

    code = "LEDGER_DAMAGED"


class LedgerVersion(LedgerError):
    """The ledger's schema is not the one this program writes."""

    code = "LEDGER_VERSION"


def _shown(value: object) -> str:
    # Python refuses to print integers of thousands of digits; an error about one must not be that error.
    huge = isinstance(value, int) and value.bit_length() > 4096
    text = f"an integer of {value.bit_length()} bits" if huge and isinstance(value, int) else repr(value)
    return shortened(text)


def shortened(text: str) -> str:
    """The text, or both its ends where it is long: of a path the last part says most."""
    return text if len(text) <= 60 else f"{text[:28]}…{text[-24:]} ({len(text)} characters)"
