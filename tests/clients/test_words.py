"""The typed enums cover the wire's."""

import pytest
from google.protobuf.descriptor import EnumDescriptor

from clients.words import (
    END_REASONS,
    EVENT_KINDS,
    ORDER_TYPES,
    SELF_TRADE_PREVENTIONS,
    SIDES,
    STATUSES,
    TIMES_IN_FORCE,
    Words,
)
from exchange.v1 import order_service_pb2, types_pb2

TYPES = types_pb2.DESCRIPTOR.enum_types_by_name
PAIRS = [
    (SIDES, TYPES["Side"]),
    (ORDER_TYPES, TYPES["OrderType"]),
    (TIMES_IN_FORCE, TYPES["TimeInForce"]),
    (SELF_TRADE_PREVENTIONS, TYPES["SelfTradePrevention"]),
    (STATUSES, TYPES["OrderStatus"]),
    (END_REASONS, TYPES["EndReason"]),
    (EVENT_KINDS, order_service_pb2.DESCRIPTOR.enum_types_by_name["OrderEventKind"]),
]


@pytest.mark.parametrize(("words", "wire"), PAIRS, ids=[wire.name for _, wire in PAIRS])
def test_every_wire_value_has_a_word(words: Words, wire: EnumDescriptor) -> None:  # type: ignore[type-arg]
    for value in wire.values:
        word = words.find(value.number)
        assert (word is None) == (value.number == 0), value.name
        assert words.name(word) == value.name
    with pytest.raises(ValueError, match="9999 is not known here"):
        words.word(9999)


def test_wrong_word_names_the_right_ones() -> None:
    with pytest.raises(ValueError, match="side must be one of buy, sell; got 'bid'"):
        SIDES.name("bid")
