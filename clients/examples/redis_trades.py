"""Every trade of an instrument, once and in order, read from a Redis that others may share.

A gateway on another machine hears from Redis what happens, so that the exchange sends each trade
once, however many listen. Redis keeps nothing of it: after a restart, an outage or a cut connection
messages are missing, and nobody says so. Each message names what it follows on, though
(`server/followers/redis_messages.py` describes them), so what is missing is seen, and asked of the
exchange. The same happens at the beginning, and after each second without a message, so that a
Redis that is away, or a publisher that has ended, makes trades late and never lost. That Redis is
away is said once, on standard error.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.exceptions import RedisError

from clients.client import ExchangeClient
from clients.examples.command_line import parser, run
from clients.market_wire import trades_message_of
from clients.types import Trade, TradesMessage
from exchange.v1.market_data_pb2 import StreamTradesResponse

QUIET_S = 1.0


class RedisTrades:
    """Trades after a sequence; by default from now on."""

    def __init__(
        self,
        exchange: ExchangeClient,
        url: str,
        instrument: str = "BTC-USD",
        after_sequence: int | None = None,
        on_outage: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        """`on_outage` is called once for each time that Redis is away."""
        self.sequence = after_sequence
        """Every trade up to here has been handed out."""
        self.repair_count = 0
        """How often the exchange was asked for trades that were missing."""
        self._exchange = exchange
        self._url = url
        self._instrument = instrument
        self._last = (-1, -1)
        self._on_outage = on_outage
        self._is_away = False

    async def trades(self) -> AsyncGenerator[Trade, None]:
        """Give trades until the reader leaves, also through outages of Redis."""
        if self.sequence is None:
            self.sequence = (await self._exchange.status()).durable_sequence
        while True:
            client = Redis.from_url(
                self._url, socket_connect_timeout=QUIET_S, health_check_interval=1
            )
            try:
                async with aclosing(self._heard(client)) as heard:
                    async for trade in heard:
                        yield trade
            except (RedisError, OSError) as error:
                # The exchange is not away.
                if not self._is_away:
                    self._is_away = True
                    self._on_outage(error)
            finally:
                await client.aclose()
            async for trade in self._repaired():
                yield trade
            await asyncio.sleep(QUIET_S)

    async def _heard(self, client: Redis) -> AsyncGenerator[Trade, None]:
        # Whoever publishes is heard in all databases, so the name says of which one it is.
        database = client.connection_pool.connection_kwargs.get("db")
        exchange = f"exchange@{database}" if database else "exchange"
        async with client.pubsub() as subscription:
            await subscription.subscribe(f"{exchange}:trades:{self._instrument}")
            while True:
                # The confirmation is no message: what was before it is asked for like a gap.
                async with asyncio.timeout(2 * QUIET_S):
                    found = await subscription.get_message(
                        ignore_subscribe_messages=True, timeout=QUIET_S
                    )
                self._is_away = False
                message = None
                if found is not None:
                    message = trades_message_of(StreamTradesResponse.FromString(found["data"]))
                if message is None or message.previous_sequence > (self.sequence or 0):
                    async for trade in self._repaired():
                        yield trade
                if message is not None:
                    for trade in self._new(message):
                        yield trade

    async def _repaired(self) -> AsyncGenerator[Trade, None]:
        """What the exchange has that was not handed out yet."""
        end = (await self._exchange.status()).durable_sequence
        if end <= (self.sequence or 0):
            return
        self.repair_count += 1
        stream = self._exchange.stream_trades(self._instrument, self.sequence)
        async with aclosing(stream) as messages:
            async for message in messages:
                for trade in self._new(message):
                    yield trade
                if message.sequence >= end:
                    return

    def _new(self, message: TradesMessage) -> list[Trade]:
        new = [it for it in message.trades if self._last < (it.sequence, it.index)]
        new = [it for it in new if it.sequence > (self.sequence or 0)]
        if new:
            self._last = (new[-1].sequence, new[-1].index)
        self.sequence = max(self.sequence or 0, message.sequence)
        return new


async def show(exchange: ExchangeClient, options: argparse.Namespace) -> None:
    """Print one line for each trade."""
    feed = RedisTrades(exchange, options.redis_url, options.instrument, on_outage=say_outage)
    async with aclosing(feed.trades()) as trades:
        async for trade in trades:
            line = f"{trade.sequence} {trade.aggressor_side} {trade.quantity} {trade.price}"
            print(line, flush=True)


def say_outage(error: Exception) -> None:
    """For people who watch."""
    why = str(error) or type(error).__name__
    print(
        f"no Redis ({why}): trades are asked of the exchange until it is there, and come later",
        file=sys.stderr,
        flush=True,
    )


def _url(text: str) -> str:
    try:
        parse_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"must be like redis://127.0.0.1:6379/0; got {text!r}: {error}"
        ) from None
    return text


def main(arguments: list[str] | None = None) -> int:
    """Run it from a terminal."""
    own = parser(__doc__ or "")
    url = os.environ.get("REDIS_URL") or "redis://127.0.0.1:6379"
    own.add_argument("--redis-url", type=_url, default=url, help="where Redis is (REDIS_URL)")
    options = own.parse_args(arguments)
    return run(lambda exchange: show(exchange, options), options)


if __name__ == "__main__":
    sys.exit(main())
