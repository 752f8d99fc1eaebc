from exchange.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OrderEventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_EVENT_KIND_UNSPECIFIED: _ClassVar[OrderEventKind]
    ORDER_EVENT_KIND_ACCEPTED: _ClassVar[OrderEventKind]
    ORDER_EVENT_KIND_REPLACED: _ClassVar[OrderEventKind]
    ORDER_EVENT_KIND_REDUCED: _ClassVar[OrderEventKind]
    ORDER_EVENT_KIND_CANCELLED: _ClassVar[OrderEventKind]
    ORDER_EVENT_KIND_REJECTED: _ClassVar[OrderEventKind]
    ORDER_EVENT_KIND_FILLED: _ClassVar[OrderEventKind]
ORDER_EVENT_KIND_UNSPECIFIED: OrderEventKind
ORDER_EVENT_KIND_ACCEPTED: OrderEventKind
ORDER_EVENT_KIND_REPLACED: OrderEventKind
ORDER_EVENT_KIND_REDUCED: OrderEventKind
ORDER_EVENT_KIND_CANCELLED: OrderEventKind
ORDER_EVENT_KIND_REJECTED: OrderEventKind
ORDER_EVENT_KIND_FILLED: OrderEventKind

class PlaceOrderRequest(_message.Message):
    __slots__ = ("client_id", "instrument", "side", "type", "price_e8", "quantity_e8", "time_in_force", "post_only", "self_trade_prevention", "order_id", "idempotency_key", "client_reference")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PRICE_E8_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_E8_FIELD_NUMBER: _ClassVar[int]
    TIME_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    POST_ONLY_FIELD_NUMBER: _ClassVar[int]
    SELF_TRADE_PREVENTION_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    CLIENT_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    instrument: str
    side: _types_pb2.Side
    type: _types_pb2.OrderType
    price_e8: int
    quantity_e8: int
    time_in_force: _types_pb2.TimeInForce
    post_only: bool
    self_trade_prevention: _types_pb2.SelfTradePrevention
    order_id: str
    idempotency_key: str
    client_reference: str
    def __init__(self, client_id: _Optional[str] = ..., instrument: _Optional[str] = ..., side: _Optional[_Union[_types_pb2.Side, str]] = ..., type: _Optional[_Union[_types_pb2.OrderType, str]] = ..., price_e8: _Optional[int] = ..., quantity_e8: _Optional[int] = ..., time_in_force: _Optional[_Union[_types_pb2.TimeInForce, str]] = ..., post_only: _Optional[bool] = ..., self_trade_prevention: _Optional[_Union[_types_pb2.SelfTradePrevention, str]] = ..., order_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., client_reference: _Optional[str] = ...) -> None: ...

class PlaceOrderResponse(_message.Message):
    __slots__ = ("order", "trades", "trade_count", "sequence", "repeated")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    order: _types_pb2.Order
    trades: _containers.RepeatedCompositeFieldContainer[_types_pb2.Trade]
    trade_count: int
    sequence: int
    repeated: bool
    def __init__(self, order: _Optional[_Union[_types_pb2.Order, _Mapping]] = ..., trades: _Optional[_Iterable[_Union[_types_pb2.Trade, _Mapping]]] = ..., trade_count: _Optional[int] = ..., sequence: _Optional[int] = ..., repeated: _Optional[bool] = ...) -> None: ...

class PlaceOrdersRequest(_message.Message):
    __slots__ = ("orders",)
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[PlaceOrderRequest]
    def __init__(self, orders: _Optional[_Iterable[_Union[PlaceOrderRequest, _Mapping]]] = ...) -> None: ...

class PlaceOrderOutcome(_message.Message):
    __slots__ = ("placed", "refused")
    PLACED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    placed: PlaceOrderResponse
    refused: _types_pb2.Refusal
    def __init__(self, placed: _Optional[_Union[PlaceOrderResponse, _Mapping]] = ..., refused: _Optional[_Union[_types_pb2.Refusal, _Mapping]] = ...) -> None: ...

class PlaceOrdersResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[PlaceOrderOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[PlaceOrderOutcome, _Mapping]]] = ...) -> None: ...

class ReplaceOrderRequest(_message.Message):
    __slots__ = ("client_id", "order_id", "price_e8", "quantity_e8", "idempotency_key")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_E8_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_E8_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    order_id: str
    price_e8: int
    quantity_e8: int
    idempotency_key: str
    def __init__(self, client_id: _Optional[str] = ..., order_id: _Optional[str] = ..., price_e8: _Optional[int] = ..., quantity_e8: _Optional[int] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class ReplaceOrderResponse(_message.Message):
    __slots__ = ("order", "trades", "trade_count", "sequence", "repeated")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    order: _types_pb2.Order
    trades: _containers.RepeatedCompositeFieldContainer[_types_pb2.Trade]
    trade_count: int
    sequence: int
    repeated: bool
    def __init__(self, order: _Optional[_Union[_types_pb2.Order, _Mapping]] = ..., trades: _Optional[_Iterable[_Union[_types_pb2.Trade, _Mapping]]] = ..., trade_count: _Optional[int] = ..., sequence: _Optional[int] = ..., repeated: _Optional[bool] = ...) -> None: ...

class CancelOrderRequest(_message.Message):
    __slots__ = ("client_id", "order_id", "idempotency_key")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    order_id: str
    idempotency_key: str
    def __init__(self, client_id: _Optional[str] = ..., order_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class CancelOrderResponse(_message.Message):
    __slots__ = ("order", "sequence", "repeated")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    order: _types_pb2.Order
    sequence: int
    repeated: bool
    def __init__(self, order: _Optional[_Union[_types_pb2.Order, _Mapping]] = ..., sequence: _Optional[int] = ..., repeated: _Optional[bool] = ...) -> None: ...

class CancelOrdersRequest(_message.Message):
    __slots__ = ("client_id", "instrument", "side")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    instrument: str
    side: _types_pb2.Side
    def __init__(self, client_id: _Optional[str] = ..., instrument: _Optional[str] = ..., side: _Optional[_Union[_types_pb2.Side, str]] = ...) -> None: ...

class CancelOrdersResponse(_message.Message):
    __slots__ = ("orders", "cancelled_count", "sequence")
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_COUNT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[_types_pb2.Order]
    cancelled_count: int
    sequence: int
    def __init__(self, orders: _Optional[_Iterable[_Union[_types_pb2.Order, _Mapping]]] = ..., cancelled_count: _Optional[int] = ..., sequence: _Optional[int] = ...) -> None: ...

class GetOrderRequest(_message.Message):
    __slots__ = ("order_id",)
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    def __init__(self, order_id: _Optional[str] = ...) -> None: ...

class GetOrderResponse(_message.Message):
    __slots__ = ("order", "sequence")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    order: _types_pb2.Order
    sequence: int
    def __init__(self, order: _Optional[_Union[_types_pb2.Order, _Mapping]] = ..., sequence: _Optional[int] = ...) -> None: ...

class ListOrdersRequest(_message.Message):
    __slots__ = ("client_id", "instrument", "side", "status", "page_size", "page_token", "working")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WORKING_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    instrument: str
    side: _types_pb2.Side
    status: _types_pb2.OrderStatus
    page_size: int
    page_token: str
    working: bool
    def __init__(self, client_id: _Optional[str] = ..., instrument: _Optional[str] = ..., side: _Optional[_Union[_types_pb2.Side, str]] = ..., status: _Optional[_Union[_types_pb2.OrderStatus, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., working: _Optional[bool] = ...) -> None: ...

class ListOrdersResponse(_message.Message):
    __slots__ = ("orders", "next_page_token", "sequence")
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[_types_pb2.Order]
    next_page_token: str
    sequence: int
    def __init__(self, orders: _Optional[_Iterable[_Union[_types_pb2.Order, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class TradingSessionRequest(_message.Message):
    __slots__ = ("open", "commands")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    open: TradingSessionOpen
    commands: _containers.RepeatedCompositeFieldContainer[SessionCommand]
    def __init__(self, open: _Optional[_Union[TradingSessionOpen, _Mapping]] = ..., commands: _Optional[_Iterable[_Union[SessionCommand, _Mapping]]] = ...) -> None: ...

class TradingSessionOpen(_message.Message):
    __slots__ = ("cancel_on_disconnect", "client_id")
    CANCEL_ON_DISCONNECT_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    cancel_on_disconnect: bool
    client_id: str
    def __init__(self, cancel_on_disconnect: _Optional[bool] = ..., client_id: _Optional[str] = ...) -> None: ...

class SessionCommand(_message.Message):
    __slots__ = ("request_id", "place", "replace", "cancel", "cancel_all")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    CANCEL_ALL_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    place: PlaceOrderRequest
    replace: ReplaceOrderRequest
    cancel: CancelOrderRequest
    cancel_all: CancelOrdersRequest
    def __init__(self, request_id: _Optional[int] = ..., place: _Optional[_Union[PlaceOrderRequest, _Mapping]] = ..., replace: _Optional[_Union[ReplaceOrderRequest, _Mapping]] = ..., cancel: _Optional[_Union[CancelOrderRequest, _Mapping]] = ..., cancel_all: _Optional[_Union[CancelOrdersRequest, _Mapping]] = ...) -> None: ...

class TradingSessionResponse(_message.Message):
    __slots__ = ("opened", "outcomes")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    opened: TradingSessionOpened
    outcomes: _containers.RepeatedCompositeFieldContainer[SessionOutcome]
    def __init__(self, opened: _Optional[_Union[TradingSessionOpened, _Mapping]] = ..., outcomes: _Optional[_Iterable[_Union[SessionOutcome, _Mapping]]] = ...) -> None: ...

class TradingSessionOpened(_message.Message):
    __slots__ = ("session_id", "sequence")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    session_id: int
    sequence: int
    def __init__(self, session_id: _Optional[int] = ..., sequence: _Optional[int] = ...) -> None: ...

class SessionOutcome(_message.Message):
    __slots__ = ("request_id", "placed", "replaced", "cancelled", "cancelled_all", "refused")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PLACED_FIELD_NUMBER: _ClassVar[int]
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_ALL_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    placed: PlaceOrderResponse
    replaced: ReplaceOrderResponse
    cancelled: CancelOrderResponse
    cancelled_all: CancelOrdersResponse
    refused: _types_pb2.Refusal
    def __init__(self, request_id: _Optional[int] = ..., placed: _Optional[_Union[PlaceOrderResponse, _Mapping]] = ..., replaced: _Optional[_Union[ReplaceOrderResponse, _Mapping]] = ..., cancelled: _Optional[_Union[CancelOrderResponse, _Mapping]] = ..., cancelled_all: _Optional[_Union[CancelOrdersResponse, _Mapping]] = ..., refused: _Optional[_Union[_types_pb2.Refusal, _Mapping]] = ...) -> None: ...

class StreamOrderEventsRequest(_message.Message):
    __slots__ = ("client_id", "instrument", "after_sequence")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    instrument: str
    after_sequence: int
    def __init__(self, client_id: _Optional[str] = ..., instrument: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class StreamOrderEventsResponse(_message.Message):
    __slots__ = ("sequence", "previous_sequence", "events", "restarted")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    RESTARTED_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    previous_sequence: int
    events: _containers.RepeatedCompositeFieldContainer[OrderEvent]
    restarted: bool
    def __init__(self, sequence: _Optional[int] = ..., previous_sequence: _Optional[int] = ..., events: _Optional[_Iterable[_Union[OrderEvent, _Mapping]]] = ..., restarted: _Optional[bool] = ...) -> None: ...

class OrderEvent(_message.Message):
    __slots__ = ("sequence", "index", "time_ns", "kind", "order", "trade", "change_e8", "reason")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    TRADE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_E8_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    index: int
    time_ns: int
    kind: OrderEventKind
    order: _types_pb2.Order
    trade: _types_pb2.Trade
    change_e8: int
    reason: _types_pb2.EndReason
    def __init__(self, sequence: _Optional[int] = ..., index: _Optional[int] = ..., time_ns: _Optional[int] = ..., kind: _Optional[_Union[OrderEventKind, str]] = ..., order: _Optional[_Union[_types_pb2.Order, _Mapping]] = ..., trade: _Optional[_Union[_types_pb2.Trade, _Mapping]] = ..., change_e8: _Optional[int] = ..., reason: _Optional[_Union[_types_pb2.EndReason, str]] = ...) -> None: ...
