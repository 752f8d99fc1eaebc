"""The typed enums and the wire's of the same names: `Side.BUY`, `buy` and `SIDE_BUY`."""

from enum import StrEnum
from typing import Generic, TypeVar

from google.protobuf.descriptor import EnumDescriptor

from clients.fields import FieldInvalidError
from clients.types import (
    EndReason,
    OrderEventKind,
    OrderStatus,
    OrderType,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from exchange.v1 import order_service_pb2, types_pb2

E = TypeVar("E", bound=StrEnum)


class Words(Generic[E]):
    """One typed enum beside its wire enum, whose names all begin with `prefix`; `field` is what
    a caller calls it."""

    def __init__(self, kind: type[E], wire: EnumDescriptor, prefix: str, field: str = "") -> None:
        self._kind = kind
        self._prefix = prefix
        self._field = field or prefix.lower().rstrip("_")
        self._by_number = {wire.values_by_name[prefix + word.name].number: word for word in kind}

    def name(self, word: E | str | None) -> str:
        """The wire's name of a word, which the generated code takes for the number."""
        if word is None:
            return self._prefix + "UNSPECIFIED"
        try:
            return self._prefix + self._kind(word).name
        except ValueError:
            raise FieldInvalidError(self._field, f"one of {', '.join(self._kind)}", word) from None

    def word(self, number: int) -> E:
        """The word for a number that an answer must have."""
        word = self._by_number.get(number)
        if word is None:
            raise ValueError(
                f"{self._kind.__name__} {number} is not known here; the exchange is newer than "
                "this client: update the client"
            )
        return word

    def find(self, number: int) -> E | None:
        """The word for a number, None for none or one of a later release."""
        return self._by_number.get(number)


_TYPES = types_pb2.DESCRIPTOR.enum_types_by_name
_ORDERS = order_service_pb2.DESCRIPTOR.enum_types_by_name

SIDES = Words(Side, _TYPES["Side"], "SIDE_")
ORDER_TYPES = Words(OrderType, _TYPES["OrderType"], "ORDER_TYPE_", "type")
TIMES_IN_FORCE = Words(TimeInForce, _TYPES["TimeInForce"], "TIME_IN_FORCE_")
SELF_TRADE_PREVENTIONS = Words(
    SelfTradePrevention, _TYPES["SelfTradePrevention"], "SELF_TRADE_PREVENTION_"
)
STATUSES = Words(OrderStatus, _TYPES["OrderStatus"], "ORDER_STATUS_", "status")
END_REASONS = Words(EndReason, _TYPES["EndReason"], "END_REASON_")
EVENT_KINDS = Words(OrderEventKind, _ORDERS["OrderEventKind"], "ORDER_EVENT_KIND_")
