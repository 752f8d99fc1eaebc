"""Prints what is in a Kafka topic of the exchange, a line for each message.

    python -m clients.examples.kafka_console --topic exchange-trades --until-now

Each line has the sequence of the command and the index within it, which together tell repeats, the
type, the instrument, and the value as JSON. Which topic holds what is described in
`server/followers/messages.py`. Messages in protobuf and in JSON are both understood.
"""

import argparse
import os
import sys
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from google.protobuf.json_format import MessageToJson

from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from exchange.v1.order_service_pb2 import OrderEvent
from exchange.v1.types_pb2 import Order, Trade

VALUES: dict[str, type[Order | Trade | OrderEvent | StreamOrderBookResponse]] = {
    "exchange-orders": Order,
    "exchange-trades": Trade,
    "exchange-order-events": OrderEvent,
    "exchange-orderbook-updates": StreamOrderBookResponse,
}
ANSWER_S = 10.0  # for the brokers to say what there is


def line(topic: str, message: Message) -> str:
    """Show a message to people."""
    found: dict[str, Any] = dict(message.headers() or ())
    headers = {name: value.decode() for name, value in found.items()}
    key, value = (message.key() or b"").decode(), message.value() or b""
    if value[:1] == b"{":
        text = value.decode()
    else:
        content = VALUES[topic].FromString(value)
        text = MessageToJson(content, preserving_proto_field_name=True, indent=None)
    return f"{headers['sequence']}.{headers['index']} {headers['type']} {key} {text}"


def client_of(brokers: str, group: str) -> dict[str, str | int | float | bool]:
    """The configuration of a consumer, which leaves it to the program to say what is wrong."""
    return {"bootstrap.servers": brokers, "group.id": group, "log_level": 0}


def partitions_of(consumer: Consumer, topic: str) -> list[int]:
    """The topic's partitions; where there are none the program ends, saying why."""
    try:
        found = consumer.list_topics(topic, timeout=ANSWER_S).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
    except KafkaException as error:
        raise SystemExit(f"topic {topic} can't be read: {error.args[0].str()}") from None
    return list(found.partitions)


def main() -> int:
    """Prints the topic from its beginning, and then what comes."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    brokers = os.environ.get("KAFKA_BROKERS") or "127.0.0.1:9092"
    options.add_argument("--brokers", default=brokers, help="(KAFKA_BROKERS; %(default)s)")
    options.add_argument("--topic", choices=VALUES, default="exchange-trades", help="(%(default)s)")
    options.add_argument(
        "--until-now", action="store_true", help="end after what is there, instead of waiting"
    )
    given = options.parse_args()
    consumer = Consumer(client_of(given.brokers, "console-example"))
    places = [
        TopicPartition(given.topic, number, 0) for number in partitions_of(consumer, given.topic)
    ]
    left = 0
    for place in places:
        place.offset, high = consumer.get_watermark_offsets(place, timeout=ANSWER_S)
        left += high - place.offset
    consumer.assign(places)
    try:
        while left > 0 or not given.until_now:
            message = consumer.poll(1)
            if message is not None and message.error() is None:
                print(line(given.topic, message), flush=True)
                left -= 1
    except KeyboardInterrupt:
        pass  # how it is meant to end
    finally:
        consumer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
