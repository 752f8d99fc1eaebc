"""Orders through one trading session, in their order, many in each message.

What is counted is when an order's message was answered, and an order takes as long as its message.
A few messages are under way at a time, so that the exchange applies one while another becomes
durable and a third travels; more would only wait.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from itertools import islice

from clients.client import ExchangeClient
from clients.errors import OutcomeUnknownError
from clients.load.figures import Figures
from clients.order_wire import CODES
from clients.session import Request, Response
from exchange.v1 import order_service_pb2 as orders_pb2
from exchange.v1 import types_pb2

MESSAGES_MAX = 8  # under way
CONNECT_S = 5.0
ANSWER_S = 30.0  # after the last order went out
REASON_PREFIX = "REJECT_REASON_"


async def send_over_session(
    address: str,
    orders: Iterator[orders_pb2.PlaceOrderRequest],
    figures: Figures,
    *,
    batch: int,
    seconds: float,
    stop: asyncio.Event,
) -> None:
    """Sends until the orders or the seconds are over, or `stop` is set; waits for the answers."""
    async with ExchangeClient(address) as exchange:
        await exchange.connect(CONNECT_S)
        began = time.perf_counter()
        load = _Load(orders, figures, batch, began + seconds, stop)
        try:
            async with asyncio.timeout(seconds + ANSWER_S), exchange.trading_session() as session:
                async for answer in session.exchange(load.messages(), MESSAGES_MAX * batch + 1):
                    load.answered(answer)
        except OutcomeUnknownError as error:
            figures.fail(f"session lost: {error.message}", load.unanswered)
        except TimeoutError:
            figures.fail(f"no answer within {ANSWER_S:g} s", load.unanswered)
        finally:
            figures.seconds = time.perf_counter() - began


class _Load:
    """What has been sent and when, and what has been answered."""

    def __init__(
        self,
        orders: Iterator[orders_pb2.PlaceOrderRequest],
        figures: Figures,
        batch: int,
        deadline: float,
        stop: asyncio.Event,
    ) -> None:
        self._orders = orders
        self._figures = figures
        self._batch = batch
        self._deadline = deadline
        self._stop = stop
        self._room = asyncio.Semaphore(MESSAGES_MAX)
        # When each message went out, and how many of its orders are unanswered.
        self._sent: deque[list[float]] = deque()

    @property
    def unanswered(self) -> int:
        return int(sum(left for _, left in self._sent))

    async def messages(self) -> AsyncIterator[Request]:
        while not self._stop.is_set():
            await self._room.acquire()
            now = time.perf_counter()
            commands = [
                orders_pb2.SessionCommand(place=order)
                for order in islice(self._orders, self._batch)
            ]
            if not commands or now >= self._deadline:
                return
            self._figures.sent += len(commands)
            self._sent.append([now, len(commands)])
            yield Request(commands=commands)

    def answered(self, answer: Response) -> None:
        now = time.perf_counter()
        for outcome in answer.outcomes:
            self._count(outcome)
            oldest = self._sent[0]
            self._figures.answers_ms.append((now - oldest[0]) * 1e3)
            oldest[1] -= 1
            if not oldest[1]:
                self._sent.popleft()
                self._room.release()

    def _count(self, outcome: orders_pb2.SessionOutcome) -> None:
        figures = self._figures
        if outcome.WhichOneof("outcome") == "placed":
            placed = outcome.placed
            figures.accepted += 1
            figures.rejected += placed.order.status == types_pb2.ORDER_STATUS_REJECTED
            figures.repeated += placed.repeated
            figures.trades += placed.trade_count
        else:
            refused = outcome.refused
            named = refused.reason in types_pb2.RejectReason.values()
            reason = types_pb2.RejectReason.Name(refused.reason) if named else ""
            kind = reason.removeprefix(REASON_PREFIX) or CODES[refused.code].name
            figures.refuse(kind, refused.message)
