"""Rehearsed faults: each one fails the way it says, as often as it was told to, and then no more."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

import ordergate_paper as paper
from ordergate import BrokerError, InputError, OrderStatus, Receipt, VenueOrder
from ordergate.calls import Overran, within

Connect = Callable[..., paper.PaperVenue]
MakeOrder = Callable[..., VenueOrder]

PRICES = {"BTC-USD": "50000", "ETH-USD": "3500"}


def test_c01_took_it_no_reply_leaves_one_order_to_be_found(connect: Connect, order: MakeOrder) -> None:
    client, sent = connect(prices=PRICES), order("buy", "BTC-USD", spend="10")
    paper.set_fault(client, "no_answer_after")

    with pytest.raises(TimeoutError, match="no_answer_after"):
        paper.place_order(client, sent)

    found = paper.find_order(client, sent)
    assert found is not None
    assert (found.status, paper.count_orders(client)) == (OrderStatus.FILLED, 1)


def test_c02_never_arrived_leaves_nothing_to_be_found(connect: Connect, order: MakeOrder) -> None:
    client, sent = connect(prices=PRICES), order("buy", "BTC-USD", spend="10")
    paper.set_fault(client, "no_answer_before")

    with pytest.raises(TimeoutError):
        paper.place_order(client, sent)

    assert paper.find_order(client, sent) is None
    assert (paper.count_orders(client), paper.count_requests(client)) == (0, 1)


@pytest.mark.parametrize(("fault", "taken"), [("hang_before", 0), ("hang_after", 1)])
def test_c15_deadline_a_hang_blocks_until_the_caller_gives_up(
    connect: Connect, order: MakeOrder, fault: str, taken: int
) -> None:
    client = connect(prices=PRICES)
    paper.set_fault(client, fault)

    with pytest.raises(Overran):
        within(0.5, paper.place_order, client, order("buy", "BTC-USD", spend="10"))

    client.released.set()
    assert paper.count_orders(client) == taken
    # The venue is not blocked by what hangs.
    assert paper.place_order(client, order("buy", "BTC-USD", spend="10")).status is OrderStatus.FILLED


def test_a_released_hang_ends_as_a_time_out(connect: Connect, order: MakeOrder) -> None:
    client = connect(prices=PRICES)
    client.released.set()
    paper.set_fault(client, "hang_after")

    with pytest.raises(TimeoutError, match="hang_after"):
        paper.place_order(client, order("buy", "BTC-USD", spend="10"))


def test_a_rehearsed_rejection_takes_no_order_and_says_the_code(connect: Connect, order: MakeOrder) -> None:
    client = connect(prices=PRICES)
    paper.set_fault(client, "reject", code="EGeneral:Permission denied")

    receipt = paper.place_order(client, order("buy", "BTC-USD", spend="10"))

    assert (receipt.status, receipt.code) == (OrderStatus.REJECTED, "EGeneral:Permission denied")
    assert paper.count_orders(client) == 0


def test_c05_lying_answers_come_after_the_order_was_taken(connect: Connect, order: MakeOrder) -> None:
    client, sent = connect(prices=PRICES), order("buy", "BTC-USD", spend="10")
    answers: list[object] = []
    for fault in ("nonsense_type", "nonsense_other_order", "nonsense_other_size"):
        paper.reset(client)
        paper.set_fault(client, fault)
        answers.append(paper.place_order(client, sent))
        assert paper.count_orders(client) == 1
    no_receipt, other_order, other_size = answers

    assert not isinstance(no_receipt, Receipt)
    assert isinstance(other_order, Receipt)
    assert other_order.client_order_id != sent.client_order_id
    assert isinstance(other_size, Receipt)
    assert (other_size.client_order_id, other_size.spend) == (sent.client_order_id, Decimal(20))
    found = paper.find_order(client, sent)
    assert found is not None
    assert found.spend == sent.spend


def test_c07_parser_bomb_raises_after_the_order_was_taken(connect: Connect, order: MakeOrder) -> None:
    client = connect(prices=PRICES)
    paper.set_fault(client, "nonsense_error")

    with pytest.raises(TypeError):
        paper.place_order(client, order("buy", "BTC-USD", spend="10"))
    assert paper.count_orders(client) == 1


def test_late_visibility_hides_an_order_for_some_look_ups(connect: Connect, order: MakeOrder) -> None:
    client, sent = connect(prices=PRICES), order("buy", "BTC-USD", spend="10")
    receipt = paper.place_order(client, sent)
    paper.set_fault(client, "late_visibility", times=2)

    assert [paper.find_order(client, sent) for _ in range(3)] == [None, None, receipt]


def test_f02_no_balance_and_f01_no_price_and_stale_price(connect: Connect) -> None:
    client = connect(prices=PRICES)
    for fault in ("accounts_down", "prices_down"):
        paper.set_fault(client, fault)
    with pytest.raises(BrokerError, match="accounts_down"):
        paper.get_account(client)
    with pytest.raises(BrokerError, match="prices_down"):
        paper.get_prices(client, ["BTC-USD"])
    paper.set_fault(client, "stale_prices", symbol="ETH-USD")

    stale = paper.get_prices(client, ["BTC-USD", "ETH-USD"])

    assert [price.at for price in stale] == [None, client.clock.now() - 3600]
    assert [price.at for price in paper.get_prices(client, ["BTC-USD", "ETH-USD"])] == [None, None]
    assert paper.get_account(client).holdings


def test_a_fault_is_used_up_by_its_own_market_only(connect: Connect, order: MakeOrder) -> None:
    client = connect(prices=PRICES)
    paper.set_fault(client, "reject", times=2, symbol="ETH-USD")

    codes = [
        paper.place_order(client, order("buy", symbol, spend="10")).code
        for symbol in ("BTC-USD", "ETH-USD", "ETH-USD", "ETH-USD")
    ]

    assert codes == [None, "REHEARSED_REJECTION", "REHEARSED_REJECTION", None]


def test_a_standing_fault_stays_for_every_client_until_cleared(connect: Connect, order: MakeOrder) -> None:
    client = connect(prices=PRICES)
    paper.set_fault(client.path, "reject", times=None)

    others = [connect(prices=PRICES) for _ in range(3)]
    codes = {paper.place_order(other, order("buy", "BTC-USD", spend="10")).code for other in others}
    (notice,) = client.notices
    paper.clear_faults(client.path)

    assert codes == {"REHEARSED_REJECTION"}
    assert "told to fail: reject in every symbol, until cleared" in notice
    assert paper.place_order(client, order("buy", "BTC-USD", spend="10")).status is OrderStatus.FILLED


def test_telling_a_fault_again_replaces_it(connect: Connect, order: MakeOrder) -> None:
    client = connect(prices=PRICES)
    paper.set_fault(client, "reject", times=5, code="FIRST")
    paper.set_fault(client, "reject", times=1, code="SECOND")

    codes = [paper.place_order(client, order("buy", "BTC-USD", spend="10")).code for _ in range(2)]

    assert codes == ["SECOND", None]


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("explode", {}, "fault: 'explode' .* use one of no_answer_before"),
        ("reject", {"times": 0}, "times: 0"),
        ("reject", {"times": True}, "times: True"),
        ("reject", {"symbol": "btc-usd"}, "did you mean BTC-USD"),
        ("accounts_down", {"symbol": "BTC-USD"}, "balances belong to no symbol"),
        ("hang_after", {"code": "X"}, "only the fault reject"),
    ],
)
def test_a_fault_that_makes_no_sense_is_not_set(
    connect: Connect, name: str, options: dict[str, object], says: str
) -> None:
    client = connect()

    with pytest.raises(InputError, match=says):
        paper.set_fault(client, name, **options)  # type: ignore[arg-type]
    assert client.notices == ()
