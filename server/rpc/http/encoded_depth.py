"""The book of the reply to a place or a replace as the bytes of its `orderbook` field.

Rendered for every record that holds an order, so it is written by hand: as messages of the
generated code the 40 levels cost two and a half times as much. A level is three doubles, none of
them 0, so each has the same 27 bytes: `price` (field 1), `quantity` (2) and `cumulative` (3), each
a tag of one byte and eight bytes little-endian. A test compares the bytes with those of the
generated code.
"""

from struct import Struct
from typing import Final

from exchange.http.v1 import order_service_pb2, types_pb2
from server.core.book import Book
from server.core.types import BUY, E8, SELL
from server.event_messages import LENGTH_DELIMITED, delimited
from server.rpc.http.doubles import EXACT, double_of

FIXED64: Final = 1


def tag(message: type[types_pb2.Level | types_pb2.Depth], field: str, wire_type: int) -> int:
    return message.DESCRIPTOR.fields_by_name[field].number << 3 | wire_type


BIDS: Final = tag(types_pb2.Depth, "bids", LENGTH_DELIMITED)
ASKS: Final = tag(types_pb2.Depth, "asks", LENGTH_DELIMITED)
PRICE: Final = tag(types_pb2.Level, "price", FIXED64)
QUANTITY: Final = tag(types_pb2.Level, "quantity", FIXED64)
CUMULATIVE: Final = tag(types_pb2.Level, "cumulative", FIXED64)
ORDERBOOK: Final = order_service_pb2.PlaceOrderResponse.DESCRIPTOR.fields_by_name[
    "orderbook"
].number
"""The same in both replies."""

LEVEL: Final = Struct("<BBBdBdBd")
"""The tag and length of the level, then its fields."""
LEVEL_BYTES: Final = LEVEL.size - 2


def encoded_depth(book: Book, levels: int) -> bytes:
    """Encode the field with the best levels of both sides; there even where both are empty."""
    pack = LEVEL.pack
    parts = []
    for side_tag, side in ((BIDS, BUY), (ASKS, SELL)):
        cumulative_e8 = 0
        for price_e8, quantity_e8 in book.depth(side, levels):
            cumulative_e8 += quantity_e8
            # The divisions are what `double_of` does for what needs no rounding.
            parts.append(
                pack(
                    side_tag,
                    LEVEL_BYTES,
                    PRICE,
                    price_e8 / E8 if price_e8 < EXACT else double_of(price_e8),
                    QUANTITY,
                    quantity_e8 / E8 if quantity_e8 < EXACT else double_of(quantity_e8),
                    CUMULATIVE,
                    cumulative_e8 / E8 if cumulative_e8 < EXACT else double_of(cumulative_e8),
                )
            )
    return delimited(ORDERBOOK, b"".join(parts))
