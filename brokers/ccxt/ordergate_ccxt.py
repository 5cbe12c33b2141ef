"""An ordergate broker: any spot exchange that ccxt knows.

ccxt speaks to more than a hundred exchanges through one set of calls, and hides what differs between them. A gate must
not have it hidden, so nothing of ccxt is taken on trust where money moves: while an order is being placed one request
may leave, that request must carry the order's own id, its exact size and its limit, and what the venue answered is read
from the venue's own words. What each exchange promises stands in one table, `VENUES`; an exchange that is not in it can
be traded, but then only a person can say that an order never arrived.

Top to bottom: settings, the hooks the gate calls, the client, the one request of an order, how answers are read, the
exchanges one by one, the table.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from attrs import Attribute, define, evolve, field, frozen

from ordergate import (
    Absence,
    AccountReport,
    BrokerError,
    BrokerProfile,
    FeesFrom,
    Figure,
    Holding,
    IdPromise,
    InputError,
    Market,
    MarketStatus,
    NotSent,
    OpenOrder,
    OrderStatus,
    Price,
    RateLimited,
    Receipt,
    Side,
    VenueOrder,
    hookimpl,
)
from ordergate.amounts import ZERO, plain, round_down
from ordergate.clock import Clock, SystemClock, iso
from ordergate.keys import read_key_file
from ordergate.nonces import Nonces

__all__ = ["VENUES", "Client", "Settings", "Venue", "venue_of"]

_ANSWERS_WITHIN: Final = 8.0  # seconds ccxt waits for a connection, and for each part of an answer
_TURN_WITHIN: Final = 3.0  # seconds a call waits for its turn where an exchange wants rising nonces
_MARKETS_LAST: Final = 60.0  # seconds; the gate asks for a market once an hour, and for several in a row
_LEAVE_ALONE: Final = 15.0  # seconds, where an exchange that is asked too often does not say for how long
_LEAVE_ALONE_MOST: Final = 3600.0
_CLOCK_FOR: Final = 3600.0  # seconds for which a clock that was measured is trusted
_QUICK: Final = 800  # milliseconds for a look at it, which must not hold up an exit
_STEP: Final = 0.5  # seconds by which the wall clock may leave the monotonic one before it counts as having been set
_IDLE: Final = 4  # SDK objects kept for the next calls
_SHOWN: Final = 300  # characters of a venue's answer that an error repeats

# What ccxt raises of Python's own when an answer is not as it expects, and when the certificates are gone.
_ODD: Final = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)


# ------------------------------------------------------------------------------------------------------------- settings


@cache
def _exchanges() -> tuple[str, ...]:
    """The exchanges ccxt knows, told by its files: importing it takes up to a second."""
    found = importlib.util.find_spec("ccxt")
    folder = Path(str(found.origin)).parent if found else Path()
    return tuple(sorted(file.stem for file in folder.glob("*.py") if file.stem != "__init__"))


def _known(_: object, attribute: Attribute[str], value: str) -> None:
    names = _exchanges()
    if not names:
        raise InputError(attribute.name, value, "ccxt is not installed; `pip install ccxt`")
    if value not in names:
        near = difflib.get_close_matches(value.lower(), names, n=3, cutoff=0.5)
        raise InputError(attribute.name, value, f"use one of ccxt's names, such as {', '.join(near or ['kraken'])}")


def _with_scheme(value: str) -> str:
    return value if not value or "://" in value else f"https://{value}"


def _address(_: object, attribute: Attribute[str], value: str) -> None:
    fix = "give https://HOST without a path; plain http serves for a venue on this machine alone"
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError where it is none
    except ValueError:
        raise InputError(attribute.name, value, fix) from None
    # What parsers read differently, or requests would take for a password, is no address.
    odd = any(mark in value for mark in "@?#\\")
    if not value or (not odd and parts.scheme == "https" and parts.hostname and not parts.path.strip("/")):
        return
    if not odd and parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1"):
        return
    raise InputError(attribute.name, value, fix)


@frozen(kw_only=True)
class Settings:
    """`[accounts.NAME.ccxt]`. There is no way to hand options to ccxt: they could turn protections off."""

    exchange: str = field(
        validator=_known,
        metadata={"help": "ccxt's name of the exchange, such as kraken or binance.", "example": "kraken"},
    )
    key_file: Path = field(
        converter=Path,
        metadata={
            "help": "File of mode 0600: line 1 the key, line 2 the secret, line 3 a passphrase or user id where the "
            "exchange has one; or the JSON file Coinbase gives.",
            "example": "exchange.key",
        },
    )
    base_url: str = field(
        default="",
        converter=_with_scheme,
        validator=_address,
        metadata={
            "help": "Another address of the exchange, such as its sandbox; not set, the one ccxt knows.",
            "example": "http://127.0.0.1:8080",
        },
    )
    ca_file: Path | None = field(
        default=None,
        metadata={"help": "Certificates to trust instead of the usual ones, for that address.", "example": "ca.pem"},
    )


# ---------------------------------------------------------------------------------------------------------------- hooks


@hookimpl
def broker_settings() -> type[Settings]:
    return Settings


@hookimpl
def broker_profile(settings: Settings) -> BrokerProfile:
    return venue_of(settings.exchange).profile(settings.exchange)


@hookimpl
def connect(settings: Settings) -> Client:
    """Read the key and import ccxt; nothing is sent. Raises InputError for a key file that does not serve."""
    sdk = importlib.import_module("ccxt")  # here, because it takes up to a second
    keys = _keys(settings, getattr(sdk, settings.exchange)().requiredCredentials)
    nonces = Nonces(settings.key_file.with_name(f"{settings.key_file.name}.nonce"))
    return Client(settings=settings, venue=venue_of(settings.exchange), sdk=sdk, keys=keys, nonces=nonces)


@hookimpl
def get_account(client: Client) -> AccountReport:
    with client.asking() as line:
        identity = client.identity(line)
        holdings = client.venue.holdings(line.exchange)
        resting = client.venue.resting(line.exchange)
        return AccountReport(
            identity=identity,
            holdings=tuple(holding for holding in holdings if holding.total),
            open_orders=tuple(_open_order(client.venue, one) for one in resting),
        )


@hookimpl
def get_prices(client: Client, symbols: Sequence[str]) -> list[Price]:
    with client.asking() as line:
        exchange, dated = line.exchange, exchange_has(line.exchange, "fetchBidsAsks")
        names = {_theirs(symbol): symbol for symbol in symbols if _theirs(symbol) in exchange.markets}
        if not names:
            return []
        if dated:
            found = exchange.fetch_bids_asks(list(names))
        elif exchange_has(exchange, "fetchTickers"):
            found = exchange.fetch_tickers(list(names))
        else:
            found = {name: exchange.fetch_ticker(name) for name in names}
    prices = []
    for name, symbol in names.items():
        bid, ask, at = (found.get(name, {}).get(word) for word in ("bid", "ask", "timestamp"))
        if bid is not None and ask is not None:
            # The moment of a ticker is often that of the last trade; only a quote's own moment says how old it is.
            told = float(at) / 1000 if dated and at is not None else None
            prices.append(Price(symbol=symbol, bid=Decimal(bid), ask=Decimal(ask), at=told))
    return prices


@hookimpl
def get_market(client: Client, symbol: str) -> Market | None:
    with client.asking(fresh=True) as line:
        found = line.exchange.markets.get(_theirs(symbol))
        if found is None or found.get("spot") is not True:
            return None
        market: Market | None = client.venue.market(line.exchange, symbol, found)
    return market


@hookimpl
def place_order(client: Client, order: VenueOrder) -> Receipt:
    """Send once. Rejected only for answers that the table lists; everything else after the first byte is raised."""
    with client.sending(order) as (line, send):
        try:
            answer = _create(client, line.exchange, order)
        except (client.sdk.BaseError, *_ODD) as error:
            refusal = client.venue.refusal(line.status, line.read()) if send.arrived else None
            if refusal is not None:
                return _receipt(order, OrderStatus.REJECTED, code=refusal[0], message=client.masked(refusal[1]))
            raise send.failed(client.told(line, error)) from None
        taken = _taken(client.venue, order, answer)
        return taken if taken.status.is_final else _seen_since(client, line, order, taken)


@hookimpl
def find_order(client: Client, order: VenueOrder) -> Receipt | None:
    with client.asking() as line:
        return _found(client.venue, line.exchange, order)


@hookimpl
def cancel_order(client: Client, order: VenueOrder) -> Receipt:
    """Cancel by the order's own id where the exchange can, else by the venue's once it has been found."""
    venue = client.venue
    with client.asking() as line:
        exchange, name = line.exchange, _theirs(order.symbol)
        order_id, params = "", {venue.cancels_by: venue.on_wire(order.client_order_id)}
        if not venue.cancels_by:
            found = _found(venue, exchange, order)
            if found is None:
                raise BrokerError(
                    f"{exchange.id} does not show order {order.client_order_id}, so it cannot be cancelled"
                )
            if found.status.is_final:
                return found
            order_id, params = str(found.order_id), {}
        # An order that is already done refuses to be cancelled; how it stands is asked in either case.
        refused = ""
        try:
            exchange.cancel_order(order_id, name, params)
        except client.sdk.ExchangeError as error:
            refused = client.told(line, error)
        found = _found(venue, exchange, order)
    if found is None or (refused and not found.status.is_final):
        raise BrokerError(refused or f"{exchange.id} does not show order {order.client_order_id} after its cancel")
    return found


@hookimpl
def get_fees(client: Client, symbol: str) -> list[Figure]:
    """The account's own rates where the exchange tells them; ccxt's constants are years old and never used."""
    profile = client.venue.profile(client.settings.exchange)
    name = _theirs(symbol)
    with client.asking() as line:
        if exchange_has(line.exchange, "fetchTradingFee"):
            told = line.exchange.fetch_trading_fee(name)
        elif exchange_has(line.exchange, "fetchTradingFees"):
            told = line.exchange.fetch_trading_fees().get(name) or {}
        else:
            return [profile.maker_fee, profile.taker_fee]
    if any(told.get(word) in (None, "") for word in ("maker", "taker")):
        raise BrokerError(f"{client.settings.exchange} does not tell the account's fees for {symbol}")
    today = iso(client.clock.now())[:10]
    source = f"the account's own rates, asked at {client.settings.exchange}"
    return [Figure(Decimal(told[word]), source, today) for word in ("maker", "taker")]


@hookimpl
def get_permissions(client: Client) -> list[str] | None:
    """None where the table knows no question for it; the docs then ask for a key that cannot withdraw."""
    if client.venue.permissions is None:
        return None
    with client.asking() as line:
        allowed: list[str] = client.venue.permissions(line.exchange)
    return allowed


@hookimpl
def get_time(client: Client) -> float | None:
    with client.asking() as line:
        if not exchange_has(line.exchange, "fetchTime"):
            return None
        told = float(line.exchange.fetch_time()) / 1000
    # Some tell whole seconds, and are then half a second further on average.
    return told + 0.5 if told.is_integer() else told


@hookimpl
def list_orders(client: Client, since: float) -> list[Receipt]:
    """Raises BrokerError where the exchange lists orders of one market at a time only."""
    if client.venue.orders_since is None:
        raise BrokerError(f"{client.settings.exchange} has no list of all orders that this broker reads")
    with client.asking() as line:
        listed = client.venue.orders_since(line.exchange, since)
        # Some count in whole seconds, and some by when an order was closed.
        return [_receipt_of(client.venue, None, one) for one in listed if one["timestamp"] + 1 > since * 1000]


@hookimpl
def rehearse(folder: Path) -> Any:
    """Kraken, as ccxt speaks to it."""
    from ordergate.testing.kraken import rehearsal

    rehearsed = rehearsal(folder)
    return evolve(rehearsed, settings={**rehearsed.settings, "exchange": "kraken"})


# ----------------------------------------------------------------------------------------------------------- the client


@define(eq=False)
class _Line:
    """One SDK object, for one call at a time: ccxt keeps what it hears last on the object. `send` is set while it
    places an order.
    """

    exchange: Any
    send: _Send | None = None
    status: int = 0
    body: str = ""
    retry_after: str = ""

    def read(self) -> Any:
        """The last answer as JSON, numbers as text; just its text when it is not JSON."""
        try:
            return json.loads(self.body, parse_float=str, parse_int=str)
        except ValueError:
            return self.body.strip()


@frozen(kw_only=True, eq=False)
class Client:
    """What the gate keeps. Any thread may use it: each call has an SDK object to itself, so one that hangs holds up no
    other.
    """

    settings: Settings
    venue: Venue
    sdk: Any = field(repr=False)
    keys: Mapping[str, str] = field(repr=False)
    nonces: Nonces = field(repr=False)
    clock: Clock = field(factory=SystemClock, repr=False)
    _idle: deque[_Line] = field(factory=lambda: deque(maxlen=_IDLE), init=False, repr=False)
    _loaded: list[tuple[float, Any]] = field(factory=list, init=False, repr=False)
    _identity: list[str] = field(factory=list, init=False, repr=False)
    _numbers: deque[int] = field(factory=lambda: deque(maxlen=1), init=False, repr=False)
    _ahead: list[tuple[float, float, float]] = field(factory=list, init=False, repr=False)
    """By how many seconds the exchange's clock is ahead of the monotonic one, when that was measured there, and how far
    the wall clock was ahead of it then.
    """
    _loading: threading.Lock = field(factory=threading.Lock, init=False, repr=False)

    def identity(self, line: _Line) -> str:
        """The venue's own name for the funds, asked once; a print of the key where it has none."""
        if not self._identity:
            told = self.venue.identity(line.exchange) if self.venue.identity else None
            key = next(iter(self.keys.values()))
            self._identity.append(told or f"{self.settings.exchange}-key-{_print(key)}")
        return self._identity[0]

    @contextmanager
    def asking(self, *, fresh: bool = False) -> Iterator[_Line]:
        """A line with markets loaded, for questions and cancels. ccxt's errors, which hold addresses and bodies, leave
        it as ours, and so do those of Python over an answer that is not as it should be.
        """
        line = self._take()
        try:
            self._keep_time(line)
            self._load_markets(line, fresh=fresh)
            yield line
        except (self.sdk.BaseError, *_ODD) as error:
            raise self.failed(line, error) from None
        finally:
            self._idle.append(line)

    @contextmanager
    def sending(self, order: VenueOrder) -> Iterator[tuple[_Line, _Send]]:
        """A line through which exactly one request can leave, and only that of the order."""
        line = self._take()
        try:
            try:
                self._keep_time(line)
                self._load_markets(line, for_order=True)
            except BrokerError as error:
                raise NotSent(f"the markets could not be loaded: {error}") from None
            line.send = _Send(order=order, venue=self.venue, clock=self.clock)
            line.status, line.body = 0, ""
            yield line, line.send
        finally:
            line.send = None
            self._idle.append(line)

    def time_there(self) -> float:
        """The exchange's time, by which its deadlines run out; this machine's where it could not be measured."""
        return self.clock.monotonic() + self._ahead[0][0] if self._ahead else self.clock.now()

    def _keep_time(self, line: _Line) -> None:
        """Measure the exchange's clock where orders carry its time: an exit goes also by a clock that is off."""
        if not self.venue.goes_by_time:
            return
        now = self.clock.monotonic()
        apart = self.clock.now() - now
        kept = self._ahead[0] if self._ahead else None
        if kept is None or now - kept[1] > _CLOCK_FOR or abs(apart - kept[2]) >= _STEP:
            line.exchange.timeout = _QUICK
            try:
                there = float(line.exchange.fetch_time()) / 1000
                there += 0.5 if there.is_integer() else 0.0
                heard = self.clock.monotonic()
                self._ahead[:] = [(there - (now + heard) / 2, heard, self.clock.now() - heard)]
            except (self.sdk.BaseError, BrokerError, *_ODD):
                if kept is not None and abs(apart - kept[2]) >= _STEP:
                    self._ahead.clear()  # this machine's own clock will have to do
            finally:
                line.exchange.timeout = int(_ANSWERS_WITHIN * 1000)
                line.status, line.body, line.retry_after = 0, "", ""
        line.exchange.options["timeDifference"] = int((self.clock.now() - self.time_there()) * 1000)

    def told(self, line: _Line, error: Exception) -> str:
        """What went wrong, without addresses and headers: they hold keys and signatures."""
        what = f"{line.exchange.id}: {type(error).__name__}"
        if line.status:
            said = " ".join(line.body.split())[:_SHOWN] or "an empty answer"
            why = "" if isinstance(error, self.sdk.BaseError) else f" ({str(error)[:_SHOWN]}) over what it answered"
            return self.masked(f"{what}{why}, HTTP {line.status}: {said}")
        if isinstance(error, self.sdk.NetworkError) or "://" in str(error):
            return self.masked(": ".join(filter(None, (f"{what}, no answer", _cause(error)))))
        return self.masked(f"{what}: {error}")

    def failed(self, line: _Line, error: Exception) -> BrokerError:
        text = self.told(line, error)
        if isinstance(error, self.sdk.RateLimitExceeded | self.sdk.DDoSProtection):
            after = line.retry_after
            wait = float(after) if after.isascii() and after.isdigit() and len(after) < 8 else _LEAVE_ALONE
            return RateLimited(min(wait, _LEAVE_ALONE_MOST), text)
        return BrokerError(text)

    def masked(self, text: str) -> str:
        for secret in self.keys.values():
            text = text.replace(secret, "***")
        return text

    def rising(self, number: float) -> int:
        """The number, or one above the last where that is more: for exchanges that count the calls under a key."""
        with self._loading:
            self._numbers.append(max(int(number), self._numbers[-1] + 1 if self._numbers else 0))
            return self._numbers[-1]

    def close(self) -> None:
        """Close the connections that are kept for further calls; they open again when they are needed."""
        for line in tuple(self._idle):
            line.exchange.session.close()

    # ------------------------------------------------------------------------------------------------------- its lines

    def _take(self) -> _Line:
        try:
            line = self._idle.pop()
        except IndexError:
            line = _new_line(self)
        line.status, line.body, line.retry_after = 0, "", ""
        return line

    def _load_markets(self, line: _Line, *, fresh: bool = False, for_order: bool = False) -> None:
        """Markets are loaded once for all lines, and again only for the question about a market: no order and no exit
        waits for a reload. One that comes first needs no currencies, which name balances.
        """
        with self._loading:
            kept = self._loaded[0] if self._loaded else None
        if kept is None and for_order:
            _share(self._with_markets(currencies=False), line.exchange)
            return
        now = self.clock.monotonic()
        if kept is None or (fresh and now - kept[0] > _MARKETS_LAST):
            kept = now, self._with_markets()
            with self._loading:
                self._loaded[:] = [kept]
        if line.exchange.markets is not kept[1].markets:
            _share(kept[1], line.exchange)

    def _with_markets(self, *, currencies: bool = True) -> Any:
        """An SDK object that has the markets, and is used for nothing else: no call changes what another one reads.

        It has no key, because with one ccxt asks for more than markets, such as fees, and is lost without the answer.
        """
        line = _new_line(evolve(self, keys={}))
        line.exchange.has = {**line.exchange.has, **({} if currencies else {"fetchCurrencies": False})}
        try:
            line.exchange.load_markets(True)
            for market in line.exchange.markets.values():
                # ccxt shows no price of a market that is not wholly open; what is held there still has one.
                market["stated"], market["active"] = market.get("active"), True
        except (self.sdk.BaseError, *_ODD) as error:
            raise self.failed(line, error) from None
        finally:
            line.exchange.session.close()
        return line.exchange


def _cause(error: BaseException | None) -> str:
    """The first cause of an error, in the words of this machine's network: they hold no address and no secret."""
    said = ""
    while error is not None:
        said = (isinstance(error, OSError) and error.strerror) or said
        error = error.__cause__ or error.__context__
    return said


def _print(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _share(source: Any, exchange: Any) -> None:
    exchange.set_markets_from_exchange(source)
    # What loading left beside the markets: other names of pairs and currencies.
    exchange.options = {**exchange.options, **source.options}
    exchange.commonCurrencies = source.commonCurrencies


def _new_line(client: Client) -> _Line:
    """An SDK object on which everything that could resend, redirect, wait or lose a digit is off."""
    settings, venue = client.settings, client.venue
    exchange = getattr(client.sdk, settings.exchange)(
        {
            **client.keys,
            "enableRateLimit": False,  # it would sleep for seconds inside a call
            "timeout": int(_ANSWERS_WITHIN * 1000),
            "options": {"defaultType": "spot", **venue.options},
            "logger": _SILENT,  # at debug level it would write keys and signatures
        }
    )
    exchange.number = str  # before any market is loaded: amounts stay the text they came as
    exchange.options["maxRetriesOnFailure"] = 0
    exchange.session.max_redirects = 0
    exchange.session.trust_env = False
    if settings.ca_file is not None:
        exchange.validateServerSsl = str(settings.ca_file)
    if settings.base_url:
        exchange.urls["api"] = _moved(exchange.urls["api"], settings.base_url.rstrip("/"))
    # Sizes come rounded from the gate; another rounding could only change what was judged.
    exchange.amount_to_precision = exchange.price_to_precision = exchange.cost_to_precision = _as_it_is
    line = _Line(exchange)
    _guard(line, client)
    return line


_SILENT: Final = logging.getLogger("ordergate_ccxt.silent")
_SILENT.disabled = True


def _as_it_is(_: object, amount: object) -> object:
    return amount


def _moved(addresses: Any, base: str) -> Any:
    """The same paths at another address, however deep they stand."""
    if isinstance(addresses, Mapping):
        return {name: _moved(address, base) for name, address in addresses.items()}
    return base + urlsplit(addresses).path if isinstance(addresses, str) else addresses


def _guard(line: _Line, client: Client) -> None:
    """Stand between the SDK object and the network."""
    exchange = line.exchange
    fetch, fetch2, nonces = exchange.fetch, exchange.fetch2, client.nonces

    def guarded(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        if line.send is not None:
            line.send.let_out(url, body)
        line.status, line.body, line.retry_after = 0, "", ""
        answer = fetch(url, method, headers, body)
        if line.send is None and (not isinstance(answer, dict | list) or answer == {}):
            # To ccxt an answer that says nothing is an account without money, or a market without orders.
            raise BrokerError(f"{exchange.id} answered with HTTP {line.status} and nothing that can be read")
        return answer

    def heard(code: int, *rest: Any) -> Any:
        _, _, _, headers, body, *_ = rest
        line.status, line.body, line.retry_after = code, body, str(headers.get("Retry-After", ""))
        if line.send is not None:
            line.send.arrived = True
        return body

    def in_turn(path: str, api: Any = "public", *more: Any, **named: Any) -> Any:
        private = "private" in ([api] if isinstance(api, str) else api)
        with nonces.turn(_TURN_WITHIN) if private else nullcontext(0) as nonce:
            exchange.incrementing_nonce = lambda: nonce
            return fetch2(path, api, *more, **named)

    exchange.fetch, exchange.on_rest_response = guarded, heard
    exchange.incrementing_nonce = lambda: client.rising(exchange.nonce())  # one count for all lines
    if client.venue.rising_nonces:
        exchange.fetch2 = in_turn
    for scheme in ("http://", "https://"):
        manager = exchange.session.get_adapter(scheme).poolmanager
        manager.pool_classes_by_scheme = {
            name: _watched(pool, line) for name, pool in manager.pool_classes_by_scheme.items()
        }


def _watched(pool: Any, line: _Line) -> Any:
    """The same kind of connections, which tell the order when they stand: before that, not one byte has left."""
    connection = pool.ConnectionCls

    def connected(self: Any) -> None:
        if line.send is None:
            connection.connect(self)
            return
        line.send.connecting = True
        connection.connect(self)
        line.send.still_in_time()
        line.send.connecting = False

    watched = type(connection.__name__, (connection,), {"connect": connected})
    return type(pool.__name__, (pool,), {"ConnectionCls": watched})


def _keys(settings: Settings, needs: Mapping[str, bool]) -> dict[str, str]:
    text = read_key_file(settings.key_file).strip()
    shown = str(settings.key_file)
    if text.startswith("{"):
        try:
            told = json.loads(text)
            pair = str(told.get("name") or told["id"]), str(told["privateKey"])
        except (ValueError, LookupError, TypeError, AttributeError):
            raise InputError("key_file", shown, "as JSON it needs `name` and `privateKey`") from None
        return dict(zip(("apiKey", "secret"), pair, strict=True))
    names = [name for name in _CREDENTIALS if needs.get(name)]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) != len(names):
        fix = f"{settings.exchange} needs {len(names)} lines: {', '.join(_CREDENTIALS[name] for name in names)}"
        fix += "; or the JSON file as Coinbase gives it" if settings.exchange == "coinbase" else ""
        raise InputError("key_file", shown, fix)
    # A PEM on one line has its line ends written out.
    return {name: line.replace("\\n", "\n") for name, line in zip(names, lines, strict=True)}


_CREDENTIALS: Final = {
    name: f"the {told}"
    for name, told in (
        ("apiKey", "key"),
        ("secret", "secret"),
        ("password", "passphrase"),
        ("uid", "user id"),
        ("accountId", "account id"),
        ("login", "login"),
        ("walletAddress", "wallet address"),
        ("privateKey", "private key"),
        ("token", "token"),
    )
}


# ---------------------------------------------------------------------------------------- the one request of an order


@define(eq=False)
class _Send:
    """What may leave while an order is being placed, and what is known of it."""

    order: VenueOrder
    venue: Venue
    clock: Clock
    left: bool = False
    """The request was handed to the network."""
    connecting: bool = False
    """Its connection does not stand yet."""
    arrived: bool = False
    """An answer came back."""

    def let_out(self, url: str, body: Any) -> None:
        """Let the order's own request pass. Raises NotSent for any other one, and BrokerError for a second one."""
        if self.left:
            raise BrokerError("ccxt wanted to send a second request for one order; it was stopped")
        said = list(_said(url, body))
        wire_id = self.venue.on_wire(self.order.client_order_id)
        if not any(value == wire_id and self.venue.id_field in ("", name) for name, value in said):
            where = f" as {self.venue.id_field}" if self.venue.id_field else ""
            raise NotSent(f"the request does not carry the order's id{where}, so it was not sent")
        # `cost` is ccxt's own word: where it stands in a request, it was passed through and means nothing there.
        numbers = {_number(value) for name, value in said if name != "cost"}
        wanted = [self.order.spend, self.order.amount, self.order.limit]
        lost = [plain(amount) for amount in wanted if amount is not None and amount not in numbers]
        if lost:
            raise NotSent(f"the request does not carry {' and '.join(lost)} as it was judged, so it was not sent")
        self.still_in_time()
        self.left = True

    def still_in_time(self) -> None:
        if self.clock.now() > self.order.send_by:
            raise NotSent("its send-by time had passed before the first byte")

    def failed(self, text: str) -> BrokerError:
        return BrokerError(text) if self.left and not self.connecting else NotSent(text)


def _said(url: str, body: Any) -> Iterator[tuple[str, str]]:
    """Every name and value of a request, wherever it stands."""
    yield from parse_qsl(urlsplit(url).query, keep_blank_values=True)
    if isinstance(body, Mapping):
        yield from _leaves("", body)
    elif body:
        text = body.decode() if isinstance(body, bytes) else str(body)
        try:
            yield from _leaves("", json.loads(text, parse_float=str, parse_int=str))
        except ValueError:
            yield from parse_qsl(text, keep_blank_values=True)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for inner, one in value.items():
            yield from _leaves(str(inner), one)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(name, one)
    else:
        yield name, str(value)


def _number(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _create(client: Client, exchange: Any, order: VenueOrder) -> Any:
    """Have ccxt send it. Raises NotSent for what this exchange cannot be told exactly."""
    venue, side = client.venue, order.side.value
    name = _theirs(order.symbol)
    if name not in exchange.markets:
        raise NotSent(f"{exchange.id} has no market {order.symbol}")
    there = client.time_there()
    left = order.send_by - max(client.clock.now(), there)  # this machine's clock may have been set back since
    params = {venue.id_param: venue.on_wire(order.client_order_id), **venue.lasts_until(left, there)}
    if order.amount is not None:
        limit = None if order.limit is None else plain(order.limit)
        kind = "market" if limit is None else "limit"
        return exchange.create_order(name, kind, side, plain(order.amount), limit, params)
    # Elsewhere the amount to spend would be taken for an amount to buy.
    if order.spend is None or order.limit is not None or not exchange_has(exchange, "createMarketBuyOrderWithCost"):
        raise NotSent(f"{exchange.id} takes no market order that names what to spend; name an amount and a limit")
    return exchange.create_market_buy_order_with_cost(name, plain(order.spend), params)


def exchange_has(exchange: Any, ability: str) -> bool:
    """True for what the exchange itself can do; what ccxt emulates is no answer of the exchange."""
    return exchange.has.get(ability) is True


# ------------------------------------------------------------------------------------------------- reading what is said


def _theirs(symbol: str) -> str:
    return symbol.replace("-", "/", 1)


def _ours(symbol: object) -> str:
    base, slash, quote = str(symbol).partition("/")
    if not slash or not quote.isalnum():
        raise ValueError(f"{symbol} is no spot market")
    return f"{base}-{quote}"


def _decimal(value: object) -> Decimal:
    """An amount as it was told, zero where it was not. Raises InvalidOperation for what is no number."""
    return ZERO if value in (None, "") else Decimal(str(value))


@frozen(kw_only=True)
class Terms:
    """What a venue tells of an order beyond ccxt's common words, in the order's own currencies."""

    filled: Decimal
    value: Decimal
    fees: Decimal
    spend: Decimal | None = None
    status: OrderStatus | None = None


def _receipt(order: VenueOrder, status: OrderStatus, **more: Any) -> Receipt:
    return Receipt(client_order_id=order.client_order_id, symbol=order.symbol, side=order.side, status=status, **more)


def _taken(venue: Venue, order: VenueOrder, answer: Mapping[str, Any]) -> Receipt:
    """The receipt of an order whose answer says that it was taken. Raises for an answer that does not say so."""
    if not isinstance(answer.get("id"), str) or not answer["id"]:
        raise BrokerError("the answer lacks the order's id, so it is not known whether it was taken")
    if answer.get("status") is not None:
        return _receipt_of(venue, order, answer)
    told = answer.get("clientOrderId")
    receipt = _receipt(order, OrderStatus.OPEN, order_id=answer["id"])
    if told is not None and told != venue.on_wire(order.client_order_id):
        return evolve(receipt, client_order_id=str(told))
    if answer.get("side") is not None:
        receipt = evolve(receipt, side=Side(answer["side"]))
    return evolve(receipt, symbol=_ours(answer["symbol"])) if "/" in str(answer.get("symbol")) else receipt


def _seen_since(client: Client, line: _Line, order: VenueOrder, taken: Receipt) -> Receipt:
    """What the venue shows of an order it has just taken, or the bare fact that it took it. Raises BrokerError where
    the two contradict.
    """
    line.send = None
    line.exchange.timeout = 2000
    try:
        seen = _found(client.venue, line.exchange, order, quickly=True)
    except (client.sdk.BaseError, BrokerError, *_ODD):
        return taken
    finally:
        line.exchange.timeout = int(_ANSWERS_WITHIN * 1000)
    if seen is not None and seen.order_id != taken.order_id:
        raise BrokerError(f"the answer named order {taken.order_id}, and under its id stands {seen.order_id}")
    return seen or taken


def _found(venue: Venue, exchange: Any, order: VenueOrder, *, quickly: bool = False) -> Receipt | None:
    """The order as the venue shows it, in its listings or else through its fills. One without a date was found resting,
    and is looked for in the listings alone.
    """
    wire_id = venue.on_wire(order.client_order_id)
    seen = [*venue.look(exchange, order, wire_id)]
    listed = any(one.get("clientOrderId") == wire_id for one in seen)
    if venue.traded and not listed and not quickly and order.send_by > 0:
        seen += venue.traded(exchange, order, {one["id"] for one in seen})
    receipts = {one["id"]: _receipt_of(venue, order, one) for one in seen if one.get("clientOrderId") == wire_id}
    if len(receipts) > 1:
        raise BrokerError(f"{exchange.id} shows {len(receipts)} orders under the id {order.client_order_id}")
    return next(iter(receipts.values()), None)


def _receipt_of(venue: Venue, order: VenueOrder | None, one: Mapping[str, Any]) -> Receipt:
    """An order as the venue shows it. Raises ValueError and the like where it does not show what a receipt needs."""
    terms = venue.terms(one)
    told = str(one.get("clientOrderId") or "")
    if order is not None and told == venue.on_wire(order.client_order_id):
        told = order.client_order_id
    sized = terms.spend is None and one.get("amount") is not None
    return Receipt(
        client_order_id=told,
        symbol=_ours(one["symbol"]),
        side=Side(one["side"]),
        status=terms.status or _status(one, terms.filled),
        order_id=str(one["id"]),
        filled_amount=terms.filled,
        filled_value=terms.value,
        fees=terms.fees,
        spend=terms.spend,
        amount=Decimal(one["amount"]) if sized else None,
        limit=Decimal(one["price"]) if one.get("type") == "limit" and one.get("price") is not None else None,
    )


def _status(one: Mapping[str, Any], filled: Decimal) -> OrderStatus:
    """How an order stands, from ccxt's word for it. Raises ValueError for a word that is none of them."""
    words = {
        "open": OrderStatus.PARTLY_FILLED if filled else OrderStatus.OPEN,
        "closed": OrderStatus.FILLED,
        "canceled": OrderStatus.CANCELLED,
        "expired": OrderStatus.EXPIRED,
        "rejected": OrderStatus.REJECTED,
    }
    if one.get("status") not in words:
        raise ValueError(f"an order has the status {one.get('status')!r}")
    return words[one["status"]]


def _open_order(venue: Venue, one: Mapping[str, Any]) -> OpenOrder:
    terms = venue.terms(one)
    told = one.get("clientOrderId")
    return OpenOrder(
        order_id=str(one["id"]),
        symbol=_ours(one["symbol"]),
        side=Side(one["side"]),
        # What is left of an order that names what to spend is not told in the base currency.
        amount_left=ZERO if terms.spend is not None else max(ZERO, _decimal(one.get("amount")) - terms.filled),
        limit=Decimal(one["price"]) if one.get("type") == "limit" and one.get("price") is not None else None,
        client_order_id=venue.off_wire(str(told)) if told else None,
    )


# ------------------------------------------------------------------------------------------------ any exchange at all


def _no_refusal(status: int, answer: Any) -> tuple[str, str] | None:  # noqa: ARG001 - nothing proves anything here
    return None


def _no_deadline(left: float, there: float) -> dict[str, object]:  # noqa: ARG001 - the exchange takes none
    return {}


def _holdings(exchange: Any, rows: str = "") -> list[Holding]:
    """`rows` is where the venue's answer lists them; without that word an account that is not shown looks empty."""
    balance = exchange.fetch_balance()
    if rows and rows not in balance["info"]:
        raise BrokerError(f"{exchange.id} answered without any balances")
    found = []
    for code, total in balance["total"].items():
        free, used = balance["free"].get(code), balance["used"].get(code)
        if free is None and used is None:
            # How much of it can be used is not told, so none of it can.
            found.append(Holding(currency=code, available=ZERO, locked=_decimal(total)))
        else:
            found.append(Holding(currency=code, available=max(ZERO, _decimal(free)), hold=max(ZERO, _decimal(used))))
    return found


def _resting(exchange: Any) -> list[Any]:
    if not exchange_has(exchange, "fetchOpenOrders"):
        raise BrokerError(f"{exchange.id} cannot be asked for all open orders")
    orders: list[Any] = exchange.fetch_open_orders()
    return orders


def _look(exchange: Any, order: VenueOrder, wire_id: str) -> list[Any]:
    """Everything the exchange lists of the market. Not seeing an order here proves nothing."""
    found: list[Any] = []
    for ability, method in _LISTS.items():
        if exchange_has(exchange, ability) and not any(one.get("clientOrderId") == wire_id for one in found):
            found += getattr(exchange, method)(_theirs(order.symbol))
    return found


_LISTS: Final = {
    "fetchOpenOrders": "fetch_open_orders",
    "fetchClosedOrders": "fetch_closed_orders",
    "fetchCanceledOrders": "fetch_canceled_orders",
    "fetchOrders": "fetch_orders",
}


def _terms(one: Mapping[str, Any]) -> Terms:
    filled = _decimal(one.get("filled"))
    return Terms(filled=filled, value=_decimal(one.get("cost")) if filled else ZERO, fees=_fees(one))


def _fees(one: Mapping[str, Any]) -> Decimal:
    """Fees in the quote currency. What was taken in a third currency has no worth that the order tells, and is left
    out.
    """
    base, _, quote = str(one.get("symbol")).partition("/")
    total = ZERO
    for fee in one.get("fees") or ([one["fee"]] if one.get("fee") else []):
        amount = _decimal(fee.get("cost"))
        total += amount if fee.get("currency") == quote else ZERO
        total += amount * _decimal(one.get("average")) if fee.get("currency") == base else ZERO
    return max(ZERO, total)


def _market(exchange: Any, symbol: str, found: Mapping[str, Any]) -> Market:
    base, quote = symbol.split("-")
    price_step = _step(exchange, found["precision"].get("price"))
    cost = found["precision"].get("cost")
    least, most = (
        {word: found["limits"].get(word, {}).get(end) for word in ("amount", "cost")} for end in ("min", "max")
    )
    return Market(
        symbol=symbol,
        base=base,
        quote=quote,
        amount_step=_step(exchange, found["precision"].get("amount")),
        spend_step=price_step if cost is None else _step(exchange, cost),
        price_step=price_step,
        min_amount=_decimal(least["amount"]),
        min_spend=_decimal(least["cost"]),
        max_amount=_decimal(most["amount"]) or None,
        max_spend=_decimal(most["cost"]) or None,
        status=MarketStatus.OFFLINE if found.get("stated") is False else MarketStatus.ONLINE,
    )


def _step(exchange: Any, precision: object) -> Decimal:
    """The step that a precision means on this exchange. Raises BrokerError where steps are not fixed."""
    if precision is None:
        raise BrokerError(f"{exchange.id} does not tell the step of a market")
    if exchange.precisionMode == _TICK_SIZE:
        return Decimal(str(precision))
    if exchange.precisionMode == _DECIMAL_PLACES:
        return Decimal(1).scaleb(-int(str(precision)))
    raise BrokerError(f"{exchange.id} counts significant digits, so its markets have no fixed steps")


_DECIMAL_PLACES: Final = 2  # ccxt's own numbers for how it means a precision
_TICK_SIZE: Final = 4


# --------------------------------------------------------------------------------------------------------------- Kraken


def _kraken_refusal(status: int, answer: Any) -> tuple[str, str] | None:
    """HTTP 200, errors that are all on the list, and no order beside them."""
    if status != 200 or not isinstance(answer, dict) or answer.get("result"):
        return None
    errors = answer.get("error")
    if not isinstance(errors, list) or not errors or not all(isinstance(error, str) for error in errors):
        return None
    if not all(_kraken_refuses(error) for error in errors):
        return None
    return errors[0], "; ".join(errors)


def _kraken_refuses(error: str) -> bool:
    """True for a text of the list, whole or followed by what it is about."""
    listed = any(error == text or error.startswith((f"{text}:", f"{text} ")) for text in _KRAKEN_REFUSES)
    return listed and "not unique" not in error


# An id that is "not unique" names an order that rests there already: that is something to look up, not a refusal.
_KRAKEN_REFUSES: Final = (
    "EAPI:Invalid key",
    "EAPI:Invalid signature",
    "EAPI:Invalid nonce",
    "EAPI:Rate limit exceeded",
    "EAccount:Invalid permissions",
    "EGeneral:Invalid arguments",
    "EGeneral:Permission denied",
    "EGeneral:Temporary lockout",
    "EOrder:Cost minimum not met",
    "EOrder:Insufficient funds",
    "EOrder:Invalid price",
    "EOrder:Order minimum not met",
    "EOrder:Orders limit exceeded",
    "EOrder:Rate limit exceeded",
    "EOrder:Tick size check failed",
    "EQuery:Unknown asset pair",
    "EService:Deadline elapsed",
    "EService:Market in cancel_only mode",
    "EService:Market in limit_only mode",
    "EService:Market in post_only mode",
    "EService: Throttled",
)


def _kraken_deadline(left: float, there: float) -> dict[str, object]:
    """The moment after which the engine takes it no more. Kraken wants it 2 to 60 seconds ahead when it arrives, so an
    order that leaves at the last moment needs more than the send-by time.
    """
    return {"deadline": iso(there + min(max(left, 0.0) + 2.5, 59))}


def _kraken_identity(exchange: Any) -> str | None:
    """A print of the account's own number, which all of its keys share."""
    number = exchange.privatePostGetApiKeyInfo()["result"].get("iban")
    return f"kraken-account-{_print(number)}" if isinstance(number, str) and number else None


def _kraken_holdings(exchange: Any) -> list[Holding]:
    """`BTC.F`, `SOL.S` and the like are staked, lent or pending: worth what the plain one is, and not to be sold."""
    found: dict[str, Holding] = {}
    for one in _holdings(exchange, "result"):
        stem, dot, _ = one.currency.partition(".")
        seen = found.get(stem, Holding(currency=stem, available=ZERO))
        if dot:
            found[stem] = evolve(seen, locked=seen.locked + one.total)
        elif stem != "KFEE":  # a credit for fees, no money
            found[stem] = evolve(seen, available=one.available, hold=one.hold)
    return list(found.values())


def _kraken_resting(exchange: Any, **query: str) -> list[Any]:
    """All open orders. To ccxt's own call an answer that lists none is the same as one that is none."""
    told = exchange.privatePostOpenOrders(query)["result"]["open"]
    return [exchange.parse_order({"id": txid, **one}) for txid, one in told.items()]


def _kraken_look(exchange: Any, order: VenueOrder, wire_id: str) -> list[Any]:  # noqa: ARG001 - the id says it all
    """Open ones, then closed ones: an order that closes between the two questions is seen by the second."""
    return [*_kraken_resting(exchange, cl_ord_id=wire_id), *_kraken_closed(exchange, cl_ord_id=wire_id)]


def _kraken_since(exchange: Any, since: float) -> list[Any]:
    listed = [*_kraken_resting(exchange), *_kraken_closed(exchange, start=str(int(since)))]
    return list({one["id"]: one for one in listed}.values())


def _kraken_closed(exchange: Any, **query: str) -> list[Any]:
    found = _kraken_pages(exchange.privatePostClosedOrders, "closed", **query)
    return [exchange.parse_order({"id": txid, **one}) for txid, one in found.items()]


def _kraken_pages(ask: Callable[[Any], Any], name: str, **query: str) -> dict[str, Any]:
    """All pages of a listing. ccxt's own call reads the first, and not how many there are."""
    found: dict[str, Any] = {}
    for _ in range(100):
        page = ask({**query, "ofs": str(len(found))})["result"]
        found |= page[name]
        if len(found) >= int(page["count"]):
            return found
        if not page[name]:
            break
    raise BrokerError(f"kraken did not show all pages of what it lists as {name}")


def _kraken_traded(exchange: Any, order: VenueOrder, listed: Collection[str]) -> list[Any]:
    """Orders that only their fills speak of: a fill does not name the sender's id, so each is read by its number."""
    others = exchange.markets_by_id.keys() - {exchange.market(_theirs(order.symbol))["id"]}
    since = str(max(0, int(order.send_by - _KRAKEN_FILLS_SINCE)))
    fills = _kraken_pages(exchange.privatePostTradesHistory, "trades", start=since).values()
    mine = [fill["ordertxid"] for fill in fills if fill["pair"] not in others and fill["type"] == order.side.value]
    numbers = [txid for txid in dict.fromkeys(mine) if txid not in listed]
    found: dict[str, Any] = {}
    for first in range(0, len(numbers), 50):  # as many as one question may name
        found |= exchange.privatePostQueryOrders({"txid": ",".join(numbers[first : first + 50])})["result"]
    lost = [txid for txid in numbers if txid not in found]
    if lost:
        raise BrokerError(f"kraken does not show {', '.join(lost)}, though there are fills of it")
    return [exchange.parse_order({"id": txid, **found[txid]}) for txid in numbers]


_KRAKEN_FILLS_SINCE: Final = 600.0  # seconds before the send-by time: the longest send window, and clocks that differ


def _kraken_terms(one: Mapping[str, Any]) -> Terms:
    """An order sized in what it spends has that as its `vol`; whether `vol_exec` is then base or quote has changed."""
    info = one["info"]
    filled, value, price = (_decimal(info.get(word)) for word in ("vol_exec", "cost", "price"))
    spends = "viqc" in str(info.get("oflags"))
    if spends and filled and price and abs(filled - value) < abs(filled * price - value):
        filled = round_down(value / price, _KRAKEN_LOT)
    return Terms(
        filled=filled,
        value=value,
        fees=_decimal(info.get("fee")),
        spend=_decimal(info.get("vol")) if spends else None,
    )


_KRAKEN_LOT: Final = Decimal("0.00000001")


def _kraken_market(exchange: Any, symbol: str, found: Mapping[str, Any]) -> Market:  # noqa: ARG001 - as for all
    """From Kraken's own fields: with amounts as text, ccxt compares precisions as words."""
    base, quote = symbol.split("-")
    info = found["info"]
    price_step = Decimal(1).scaleb(-int(info["pair_decimals"]))
    status = str(info.get("status"))
    return Market(
        symbol=symbol,
        base=base,
        quote=quote,
        amount_step=Decimal(1).scaleb(-int(info["lot_decimals"])),
        spend_step=Decimal(1).scaleb(-int(info["cost_decimals"])),
        price_step=_decimal(info.get("tick_size")) or price_step,
        min_amount=_decimal(info.get("ordermin")),
        min_spend=_decimal(info.get("costmin")),
        status=MarketStatus(status) if status in list(MarketStatus) else MarketStatus.OFFLINE,
    )


def _kraken_permissions(exchange: Any) -> list[str]:
    told = {str(word).lower() for word in exchange.privatePostGetApiKeyInfo()["result"]["permissions"]}
    allowed = ["view"] if told >= {"query-funds", "query-open-trades", "query-closed-trades"} else []
    # Where not one of Kraken's words is known any more, that a key may not trade shows at its first order.
    renamed = bool(told) and not told & {"query-funds", "query-open-trades", "query-closed-trades", "modify-trades"}
    # An order that cannot be looked up again must not be placed.
    allowed += ["trade"] if renamed or told >= {"query-open-trades", "query-closed-trades", "modify-trades"} else []
    leaves = {word for word in told if "withdraw" in word}
    moves = {word for word in told - leaves - {"query-funds"} if "transfer" in word or word.endswith("-funds")}
    return allowed + ["transfer"] * bool(moves) + ["withdraw"] * bool(leaves)


# ------------------------------------------------------------------------------------------------------------- Coinbase


def _coinbase_refusal(status: int, answer: Any) -> tuple[str, str] | None:
    """A 200 that says `success: false` with a listed reason, or a refused key or request in Coinbase's own words."""
    if status == 401 and answer == "Unauthorized":
        return "UNAUTHENTICATED", "Unauthorized"
    if not isinstance(answer, dict) or answer.get("success") is True or answer.get("success_response"):
        return None
    if status in (400, 403, 429):
        word = str(answer.get("error"))
        text = str(answer.get("message") or answer.get("error_details") or word)
        return (word, text) if word in _COINBASE_REFUSES_REQUESTS else None
    refused = answer.get("error_response")
    if status != 200 or answer.get("success") is not False or not isinstance(refused, dict):
        return None
    names = ("preview_failure_reason", "new_order_failure_reason", "error")
    told = [reason for name in names if (reason := str(refused.get(name) or "")) and not reason.startswith("UNKNOWN_")]
    if not told or not all(reason.removeprefix("PREVIEW_") in _COINBASE_REFUSES for reason in told):
        return None
    return told[0], str(refused.get("message") or refused.get("error_details") or told[0])


_COINBASE_REFUSES_REQUESTS: Final = frozenset(
    {"INVALID_ARGUMENT", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", "rate_limit_exceeded"}
)
_COINBASE_REFUSES: Final = frozenset(
    {
        "INSUFFICIENT_FUND",
        "INVALID_BASE_SIZE_PRECISION",
        "INVALID_BASE_SIZE_TOO_LARGE",
        "INVALID_BASE_SIZE_TOO_SMALL",
        "INVALID_LIMIT_PRICE",
        "INVALID_LIMIT_PRICE_POST_ONLY",
        "INVALID_PRICE_PRECISION",
        "INVALID_PRODUCT_ID",
        "INVALID_QUOTE_SIZE_PRECISION",
        "INVALID_QUOTE_SIZE_TOO_LARGE",
        "INVALID_QUOTE_SIZE_TOO_SMALL",
        "INVALID_SIZE_PRECISION",
        "ORDER_ENTRY_DISABLED",
        "UNSUPPORTED_ORDER_CONFIGURATION",
    }
)


def _coinbase_identity(exchange: Any) -> str:
    """The portfolio that the key is bound to."""
    told = exchange.v3PrivateGetBrokerageKeyPermissions()["portfolio_uuid"]
    if not isinstance(told, str) or not told:
        raise BrokerError("coinbase does not say which portfolio the key is bound to")
    return told


_COINBASE_SPOT: Final = frozenset({None, "ACCOUNT_PLATFORM_UNSPECIFIED", "ACCOUNT_PLATFORM_CONSUMER"})


def _coinbase_holdings(exchange: Any) -> list[Holding]:
    """From the rows themselves: wallets that are not ready, vaults and staked ones are locked."""
    told = exchange.fetch_balance({"v3": True})["info"]
    if told.get("has_next"):
        raise BrokerError("coinbase did not show all accounts")
    found: dict[str, Holding] = {}
    for row in told["accounts"]:
        code = exchange.safe_currency_code(row["currency"])
        free, hold = _decimal(row["available_balance"]["value"]), _decimal((row.get("hold") or {}).get("value"))
        kind = str(row.get("type"))
        usable = row.get("ready") is not False and not any(word in kind for word in ("VAULT", "STAK"))
        # Money of the derivatives wallets is there, and no spot order can use it.
        usable = usable and row.get("active") is not False and row.get("platform") in _COINBASE_SPOT
        seen = found.get(code, Holding(currency=code, available=ZERO))
        found[code] = Holding(
            currency=code,
            available=seen.available + (free if usable else ZERO),
            hold=seen.hold + (hold if usable else ZERO),
            locked=seen.locked + (ZERO if usable else free + hold),
        )
    return list(found.values())


def _coinbase_pages(ask: Callable[[Any], Any], name: str, **query: object) -> list[Any]:
    """All rows of a listing; ccxt's own calls read its first page only."""
    found: list[Any] = []
    for _ in range(100):
        page = ask({"limit": 250, **query})
        found += page[name]
        # Of fills there are more while there is a cursor.
        if not page.get("has_next", bool(page.get("cursor"))):
            return found
        if not page.get("cursor") or page["cursor"] == query.get("cursor"):
            break
        query["cursor"] = page["cursor"]
    raise BrokerError(f"coinbase did not show all {name}")


def _coinbase_orders(exchange: Any, **query: object) -> list[Any]:
    """Spot orders; the listing has those for futures among them."""
    rows = _coinbase_pages(exchange.v3PrivateGetBrokerageOrdersHistoricalBatch, "orders", **query)
    return [exchange.parse_order(one) for one in rows if one.get("product_type", "SPOT") == "SPOT"]


def _coinbase_resting(exchange: Any) -> list[Any]:
    return _coinbase_orders(exchange, order_status="OPEN")


def _coinbase_look(exchange: Any, order: VenueOrder, wire_id: str) -> list[Any]:  # noqa: ARG001 - no search by id
    """The market's orders since shortly before this one."""
    since = {"start_date": _coinbase_begin(order)} if order.send_by > 0 else {}
    # Not by market: BTC-USD and BTC-USDC share one book, and which of the names a listing goes by is written nowhere.
    return _coinbase_orders(exchange, **since)


def _coinbase_traded(exchange: Any, order: VenueOrder, listed: Collection[str]) -> list[Any]:
    """Orders that only their fills speak of: a fill does not name the sender's id, so each is read by its number."""
    fills = _coinbase_pages(
        exchange.v3PrivateGetBrokerageOrdersHistoricalFills,
        "fills",
        start_sequence_timestamp=_coinbase_begin(order),
    )
    numbers = [number for number in dict.fromkeys(fill["order_id"] for fill in fills) if number not in listed]
    ask = exchange.v3PrivateGetBrokerageOrdersHistoricalOrderId
    return [exchange.parse_order(ask({"order_id": number})["order"]) for number in numbers]


def _coinbase_begin(order: VenueOrder) -> str:
    """An hour before the order; that covers clocks that differ."""
    return iso(max(0.0, order.send_by - 3600))


def _coinbase_since(exchange: Any, since: float) -> list[Any]:
    return _coinbase_orders(exchange, start_date=iso(since))


def _coinbase_terms(one: Mapping[str, Any]) -> Terms:
    info = one["info"]
    filled = _decimal(info.get("filled_size"))
    spend = ((info.get("order_configuration") or {}).get("market_market_ioc") or {}).get("quote_size")
    working = OrderStatus.PARTLY_FILLED if filled else OrderStatus.OPEN
    words = {
        "PENDING": working,
        "QUEUED": working,
        "CANCEL_QUEUED": working,
        "EXPIRED": OrderStatus.EXPIRED,
        "FAILED": OrderStatus.CANCELLED if filled else OrderStatus.REJECTED,
    }
    return Terms(
        filled=filled,
        value=_decimal(info.get("filled_value")),
        fees=_decimal(info.get("total_fees")),
        spend=None if spend in (None, "") else Decimal(spend),
        status=words.get(str(info.get("status"))),
    )


def _coinbase_market(exchange: Any, symbol: str, found: Mapping[str, Any]) -> Market | None:  # noqa: ARG001 - as for all
    """None for what is delisted: it has no price any more, and one such coin must not keep all others out."""
    base, quote = symbol.split("-")
    info = found["info"]
    if info.get("status") == "delisted":
        return None
    stops = {
        "is_disabled": MarketStatus.OFFLINE,
        "trading_disabled": MarketStatus.OFFLINE,
        "view_only": MarketStatus.OFFLINE,
        "cancel_only": MarketStatus.CANCEL_ONLY,
        "limit_only": MarketStatus.LIMIT_ONLY,
        "post_only": MarketStatus.POST_ONLY,
    }
    return Market(
        symbol=symbol,
        base=base,
        quote=quote,
        amount_step=Decimal(info["base_increment"]),
        spend_step=Decimal(info["quote_increment"]),
        price_step=Decimal(info.get("price_increment") or info["quote_increment"]),
        min_amount=_decimal(info.get("base_min_size")),
        min_spend=_decimal(info.get("quote_min_size")),
        max_amount=_decimal(info.get("base_max_size")) or None,
        max_spend=_decimal(info.get("quote_max_size")) or None,
        status=next((status for word, status in stops.items() if info.get(word)), MarketStatus.ONLINE),
    )


def _coinbase_permissions(exchange: Any) -> list[str]:
    told = exchange.v3PrivateGetBrokerageKeyPermissions()
    return [word for word in ("view", "trade", "transfer") if told[f"can_{word}"]]


# -------------------------------------------------------------------------------------------------------------- Binance


def _binance_refusal(status: int, answer: Any) -> tuple[str, str] | None:
    """HTTP 4xx with a listed code. A duplicate id names an order that is there: something to look up."""
    if not 400 <= status < 500 or not isinstance(answer, dict):
        return None
    code, text = str(answer.get("code")), str(answer.get("msg"))
    if code not in _BINANCE_REFUSES or "uplicate" in text:
        return None
    return code, text


# -1000, -1001, -1006, -1007 and -1008 say that the venue itself does not know, and are none of these.
_BINANCE_REFUSES: Final = frozenset(
    "-1002 -1003 -1013 -1014 -1015 -1021 -1022 -1100 -1101 -1102 -1103 -1104 -1105 -1106 -1111 -1112 -1114 -1115 -1116"
    " -1117 -1118 -1121 -1128 -1130 -1131 -2010 -2014 -2015".split()
)


def _binance_deadline(left: float, there: float) -> dict[str, object]:  # noqa: ARG001 - ccxt dates it
    """Milliseconds from the request's timestamp in which it is taken, on its way to the matching engine too."""
    return {"recvWindow": min(60_000, int(max(left, 2.5) * 1000))}


def _binance_identity(exchange: Any) -> str | None:
    uid = exchange.privateGetAccount().get("uid")
    return f"binance-account-{uid}" if uid else None


def _binance_holdings(exchange: Any) -> list[Holding]:
    return _holdings(exchange, "balances")


def _binance_look(exchange: Any, order: VenueOrder, wire_id: str) -> list[Any]:
    name = _theirs(order.symbol)
    try:
        one = exchange.fetch_order("", name, {"origClientOrderId": wire_id})
    except _not_found(exchange):
        return []
    return [_with_fees(exchange, name, one)]


def _with_fees(exchange: Any, name: str, one: dict[str, Any]) -> dict[str, Any]:
    """An order that is looked up does not tell its fees; its fills do."""
    if not _decimal(one["info"].get("executedQty")):
        return one
    fills = exchange.fetch_my_trades(name, None, 1000, {"orderId": one["id"]})
    return {**one, "fee": None, "fees": [fill["fee"] for fill in fills if fill.get("fee")]}


def _binance_since(exchange: Any, since: float) -> list[Any]:
    """Binance lists orders of one market at a time: those of what is held now, and whatever still rests."""
    held = {one.currency for one in _binance_holdings(exchange) if one.total}
    names = [name for name, market in exchange.markets.items() if market["spot"] and market["base"] in held]
    found = [one for name in names if name.endswith(_MONEY) for one in exchange.fetch_orders(name, int(since * 1000))]
    return list({one["id"]: one for one in [*found, *exchange.fetch_open_orders()]}.values())


_MONEY: Final = ("/USDT", "/USDC", "/USD", "/EUR")


def _not_found(exchange: Any) -> Any:
    """The class ccxt has for the code -2013, which Binance gives for an order it does not have."""
    return exchange.exceptions["exact"].get("-2013") or exchange.exceptions["spot"]["exact"]["-2013"]


def _binance_terms(one: Mapping[str, Any]) -> Terms:
    info = one["info"]
    spend = _decimal(info.get("origQuoteOrderQty"))
    status = OrderStatus.EXPIRED if str(info.get("status")).startswith("EXPIRED") else None
    return Terms(
        filled=_decimal(info.get("executedQty")),
        value=max(ZERO, _decimal(info.get("cummulativeQuoteQty"))),
        fees=_fees(one),
        spend=spend or None,
        status=status,
    )


def _binance_market(exchange: Any, symbol: str, found: Mapping[str, Any]) -> Market:
    market = _market(exchange, symbol, found)
    return evolve(market, spend_step=Decimal(1).scaleb(-int(found["info"]["quoteAssetPrecision"])))


def _binance_permissions(exchange: Any) -> list[str]:
    told = exchange.sapiGetAccountApiRestrictions()
    words = {
        "enableReading": "view",
        "enableSpotAndMarginTrading": "trade",
        "enableInternalTransfer": "transfer",
        "permitsUniversalTransfer": "transfer",
        "enableWithdrawals": "withdraw",
    }
    return list(dict.fromkeys(word for name, word in words.items() if told.get(name) is True))


# ------------------------------------------------------------------------------------------------------------ the table


def _figure(value: str, source: str, as_of: str) -> Figure:
    return Figure(Decimal(value), source, as_of)


_THRESHOLD: Final = "ordergate's own choice: under it this venue's fees eat a position"
_GUESS: Final = "ordergate's own assumption, on the high side; the exchange is asked for the account's rates"


@frozen(kw_only=True, eq=False)
class Venue:
    """What one exchange promises and how it is spoken to; the defaults are for one that nobody has looked at."""

    id_param: str = "clientOrderId"
    """ccxt's parameter for the client order id."""
    id_field: str = ""
    """Its name on the wire, which is checked in every order; empty where any will do."""
    dashes: bool = True
    """False where the id must be 32 letters and digits."""
    cancels_by: str = ""
    """ccxt's parameter for cancelling by that id; empty where the venue's own id is needed."""
    id_promise: IdPromise = IdPromise.NONE
    absence: Absence = Absence.PERSON
    honoured: float = 0.0
    rests_on: str = (
        "only a person can say that an order is not there: nobody has read what this exchange promises of ids"
    )
    fee_threshold: Figure = field(factory=lambda: _figure("10", _THRESHOLD, "2026-11-22"))
    maker_fee: Figure = field(factory=lambda: _figure("0.01", _GUESS, "2026-11-22"))
    taker_fee: Figure = field(factory=lambda: _figure("0.01", _GUESS, "2026-11-22"))
    fees_from: FeesFrom = FeesFrom.ON_TOP
    balance_lag: float = 2.0
    absence_looks: int = 4
    absence_pause: float = 0.5
    facts_every: float = 0.0
    rising_nonces: bool = False
    options: Mapping[str, object] = field(factory=dict)
    """Of ccxt: spot markets alone, and no question before an order."""
    refusal: Callable[[int, Any], tuple[str, str] | None] = _no_refusal
    lasts_until: Callable[[float, float], dict[str, object]] = _no_deadline
    """ccxt's parameters for how long an order may be taken, of the seconds left of it and the exchange's time."""
    goes_by_time: bool = False
    """Whether an order carries a moment by the exchange's clock, which is then measured."""
    identity: Callable[[Any], str | None] | None = None
    holdings: Callable[[Any], list[Holding]] = _holdings
    resting: Callable[[Any], Iterable[Mapping[str, Any]]] = _resting
    look: Callable[[Any, VenueOrder, str], Iterable[Mapping[str, Any]]] = _look
    traded: Callable[[Any, VenueOrder, Collection[str]], Iterable[Mapping[str, Any]]] | None = None
    """Orders beside those that were listed, by their fills: where a listing may lack what was filled."""
    orders_since: Callable[[Any, float], Iterable[Mapping[str, Any]]] | None = None
    terms: Callable[[Mapping[str, Any]], Terms] = _terms
    market: Callable[[Any, str, Mapping[str, Any]], Market | None] = _market
    permissions: Callable[[Any], list[str]] | None = None

    def on_wire(self, client_order_id: str) -> str:
        return client_order_id if self.dashes else client_order_id.replace("-", "")

    def off_wire(self, told: str) -> str:
        """The id as the gate writes it; one that it did not give stays as it is."""
        if self.dashes or len(told) != 32:
            return told
        return "-".join((told[:8], told[8:12], told[12:16], told[16:20], told[20:]))

    def profile(self, exchange: str) -> BrokerProfile:
        return BrokerProfile(
            venue=f"{exchange} (ccxt)",
            fee_threshold=self.fee_threshold,
            maker_fee=self.maker_fee,
            taker_fee=self.taker_fee,
            fees_from=self.fees_from,
            id_promise=self.id_promise,
            absence=self.absence,
            honoured=self.honoured,
            balance_lag=self.balance_lag,
            absence_looks=self.absence_looks,
            absence_pause=self.absence_pause,
            rests_on=self.rests_on,
            facts_every=self.facts_every,
        )


_SPOT: Final = {"fetchMarkets": {"types": ["spot"]}}
_PERSON: Final = (
    "only a person can say that an order is not there: ids go on the wire, but no look-up by them is proven"
)

VENUES: Final[Mapping[str, Venue]] = {
    "kraken": Venue(
        id_field="cl_ord_id",
        cancels_by="clientOrderId",
        id_promise=IdPromise.UNIQUE_WHILE_OPEN,
        absence=Absence.LOOKUP,
        honoured=6.0,  # a deadline is 2.5 s after the send-by time, and clocks may differ by two
        rests_on="documented: the engine takes no order after its deadline, open and closed orders are found by "
        "cl_ord_id, and fills name their order; reported, not documented: for how long closed ones are",
        maker_fee=_figure("0.004", "Kraken Pro spot fee schedule, lowest tier", "2026-10-01"),
        taker_fee=_figure("0.008", "Kraken Pro spot fee schedule, lowest tier", "2026-10-01"),
        absence_looks=2,  # each is four calls of the 15 that a small account has at once, and five after other fills
        absence_pause=2.0,
        facts_every=6.0,  # two counted calls per reading, and a small account wins one back in three seconds
        rising_nonces=True,
        refusal=_kraken_refusal,
        lasts_until=_kraken_deadline,
        goes_by_time=True,
        identity=_kraken_identity,
        holdings=_kraken_holdings,
        resting=_kraken_resting,
        look=_kraken_look,
        traded=_kraken_traded,
        orders_since=_kraken_since,
        terms=_kraken_terms,
        market=_kraken_market,
        permissions=_kraken_permissions,
    ),
    "coinbase": Venue(
        id_param="client_order_id",  # `clientOrderId` is dropped without a word
        id_field="client_order_id",
        id_promise=IdPromise.ALWAYS_UNIQUE,
        absence=Absence.LOOKUP,
        honoured=130.0,  # a signed request lives for 120 s; ten more for a venue that is lenient about it
        rests_on="documented: a request's token is good for 120 s, and an id makes one order; inferred: the listings "
        "of orders and of fills show every one by then, as there is no search by id",
        fee_threshold=_figure("5", _THRESHOLD, "2026-11-22"),
        maker_fee=_figure("0.005", "Coinbase Advanced fee tiers, 'Intro'", "2026-09-17"),
        taker_fee=_figure("0.009", "Coinbase Advanced fee tiers, 'Intro'", "2026-09-17"),
        fees_from=FeesFrom.INSIDE,
        refusal=_coinbase_refusal,
        identity=_coinbase_identity,
        holdings=_coinbase_holdings,
        resting=_coinbase_resting,
        look=_coinbase_look,
        traded=_coinbase_traded,
        orders_since=_coinbase_since,
        terms=_coinbase_terms,
        market=_coinbase_market,
        permissions=_coinbase_permissions,
    ),
    "binance": Venue(
        id_field="newClientOrderId",
        cancels_by="origClientOrderId",
        id_promise=IdPromise.UNIQUE_WHILE_OPEN,
        absence=Absence.LOOKUP,
        honoured=5.0,  # clocks may differ by two seconds
        rests_on="documented: no order is taken later than recvWindow after its timestamp, and orders are found by "
        "their id, finished ones too; inferred: a look-up shows an order within the seconds of a proof",
        maker_fee=_figure("0.001", "Binance spot fee schedule, regular user", "2026-11-22"),
        taker_fee=_figure("0.001", "Binance spot fee schedule, regular user", "2026-11-22"),
        fees_from=FeesFrom.INSIDE,  # taken out of what is bought
        options={**_SPOT, "fetchCurrencies": False, "warnOnFetchOpenOrdersWithoutSymbol": False},
        refusal=_binance_refusal,
        lasts_until=_binance_deadline,
        goes_by_time=True,
        identity=_binance_identity,
        holdings=_binance_holdings,
        look=_binance_look,
        orders_since=_binance_since,
        terms=_binance_terms,
        market=_binance_market,
        permissions=_binance_permissions,
    ),
    "okx": Venue(id_field="clOrdId", dashes=False, rests_on=_PERSON, options=_SPOT, fees_from=FeesFrom.INSIDE),
    "bybit": Venue(
        id_field="orderLinkId",
        rests_on=_PERSON,
        options={**_SPOT, "enableUnifiedMargin": False, "enableUnifiedAccount": True, "unifiedMarginStatus": 6},
        fees_from=FeesFrom.INSIDE,
    ),
    "kucoin": Venue(id_field="clientOid", rests_on=_PERSON, options={**_SPOT, "uta": False}),
    "bitget": Venue(id_field="clientOid", rests_on=_PERSON, options={**_SPOT, "uta": False}, fees_from=FeesFrom.INSIDE),
    "mexc": Venue(id_field="newClientOrderId", rests_on=_PERSON, options=_SPOT),
    "bitstamp": Venue(id_field="client_order_id", rests_on=_PERSON),
    "cryptocom": Venue(id_param="client_oid", id_field="client_oid", rests_on=_PERSON),
    "upbit": Venue(id_field="identifier", rests_on=_PERSON),
    "whitebit": Venue(id_field="clientOrderId", rests_on=_PERSON),
}

_ANY: Final = Venue()


def venue_of(exchange: str) -> Venue:
    """What is known of an exchange, and for one that is not in the table what may be assumed of any."""
    return VENUES.get(exchange, _ANY)
