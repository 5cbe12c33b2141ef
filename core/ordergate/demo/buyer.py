"""One buy in a process of its own: `python -m ordergate.demo.buyer CONFIG ACCOUNT SYMBOL SPEND CLIENT_ORDER_ID`.

The demo starts it, and kills it while the venue has its order and it has no receipt yet.
"""

from __future__ import annotations

import sys

from ordergate import Executor, Order

__all__ = ["buy"]


def buy(config: str, account: str, symbol: str, spend: str, client_order_id: str) -> None:
    with Executor.from_config(config) as executor:
        executor.submit(Order.buy(symbol, spend=spend, account=account, client_order_id=client_order_id))


if __name__ == "__main__":
    buy(*sys.argv[1:])
