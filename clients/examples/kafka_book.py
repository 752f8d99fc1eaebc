"""An order book made from a Kafka topic alone, without asking the exchange.

It reads `exchange-orderbook-updates` from the beginning: every update holds the levels that one
command changed, 0 for gone, and names the update before it; very many are several messages of the
same sequence. A repeat, which there may be after an outage, is known by its sequence and index and
passed over; a gap ends the program.

The names and values of all topics are described in `server/followers/messages.py`. Needs
messages in protobuf, which is the default.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition
from google.protobuf.message import DecodeError

from clients.bounds import whole
from clients.decimals import decimal_of_e8
from clients.examples.kafka_console import client_of, partitions_of
from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from exchange.v1.types_pb2 import Level

TOPIC = "exchange-orderbook-updates"


class KafkaBook:
    """The levels of one instrument, quantities by price, both in units of 10^-8."""

    def __init__(self, instrument: str) -> None:
        self.instrument = instrument
        self.sequence = 0
        self.index = 0
        """Of the message within the sequence."""
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def take(self, message: Message) -> None:
        """Takes the topic's next message in, of whichever instrument."""
        if message.key() != self.instrument.encode():
            return
        try:
            update = StreamOrderBookResponse.FromString(message.value() or b"")
        except DecodeError:
            raise ValueError(
                "the topic holds messages that are no protobuf (of an exchange with `--kafka-format"
                " json`?), which this example does not read"
            ) from None
        headers: dict[str, Any] = dict(message.headers() or ())
        index = int(headers["index"])
        if (update.sequence, index) <= (self.sequence, self.index):
            return  # a repeat
        if update.snapshot:
            self.bids.clear()
            self.asks.clear()
        elif update.previous_sequence != self.sequence:
            raise ValueError(
                f"{self.instrument}: after sequence {self.sequence} comes {update.sequence}, which "
                f"follows {update.previous_sequence}: something is missing between"
            )
        self.sequence, self.index = update.sequence, index
        _change(self.bids, update.bids)
        _change(self.asks, update.asks)


def _change(side: dict[int, int], levels: Iterable[Level]) -> None:
    for level in levels:
        if level.quantity_e8:
            side[level.price_e8] = level.quantity_e8
        else:
            side.pop(level.price_e8, None)


def main() -> int:
    """Prints the best levels after everything that was there, and then after each second."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    brokers = os.environ.get("KAFKA_BROKERS") or "127.0.0.1:9092"
    options.add_argument("--brokers", default=brokers, help="(KAFKA_BROKERS; %(default)s)")
    options.add_argument("--instrument", default="BTC-USD", help="(%(default)s)")
    options.add_argument(
        "--seconds", type=whole(1, 86_400), default=float("inf"), help="end after so many (never)"
    )
    given = options.parse_args()
    consumer = Consumer(client_of(given.brokers, "book-example"))
    consumer.assign([TopicPartition(TOPIC, number, 0) for number in partitions_of(consumer, TOPIC)])
    book = KafkaBook(given.instrument)
    shown, ends = -1, time.monotonic() + given.seconds
    try:
        while time.monotonic() < ends:
            messages = consumer.consume(1_000, timeout=1)
            for message in messages:
                if message.error() is None:
                    book.take(message)
            if book.sequence != shown and len(messages) < 1_000:
                shown = book.sequence
                bid, ask = max(book.bids, default=0), min(book.asks, default=0)
                print(f"{shown}: bid {decimal_of_e8(bid)}, ask {decimal_of_e8(ask)}", flush=True)
    except KeyboardInterrupt:
        pass  # how it is meant to end
    except ValueError as wrong:
        print(f"ended: {wrong}", file=sys.stderr)
        return 1
    finally:
        consumer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
