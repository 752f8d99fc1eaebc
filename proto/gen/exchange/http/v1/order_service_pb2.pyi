from exchange.http.v1 import types_pb2 as _types_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import any_pb2 as _any_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PlaceOrderRequest(_message.Message):
    __slots__ = ("client_id", "instrument", "side", "type", "price", "quantity", "time_in_force", "post_only", "order_id", "idempotency_key", "self_trade_prevention", "unreadable")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    TIME_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    POST_ONLY_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    SELF_TRADE_PREVENTION_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    instrument: str
    side: str
    type: str
    price: float
    quantity: float
    time_in_force: str
    post_only: bool
    order_id: str
    idempotency_key: str
    self_trade_prevention: str
    unreadable: Unreadable
    def __init__(self, client_id: _Optional[str] = ..., instrument: _Optional[str] = ..., side: _Optional[str] = ..., type: _Optional[str] = ..., price: _Optional[float] = ..., quantity: _Optional[float] = ..., time_in_force: _Optional[str] = ..., post_only: _Optional[bool] = ..., order_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., self_trade_prevention: _Optional[str] = ..., unreadable: _Optional[_Union[Unreadable, _Mapping]] = ...) -> None: ...

class Unreadable(_message.Message):
    __slots__ = ("field", "value", "limit")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    field: str
    value: str
    limit: str
    def __init__(self, field: _Optional[str] = ..., value: _Optional[str] = ..., limit: _Optional[str] = ...) -> None: ...

class PlaceOrderResponse(_message.Message):
    __slots__ = ("order", "trades", "trade_count", "sequence", "orderbook", "repeated")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ORDERBOOK_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    order: _types_pb2.Order
    trades: _containers.RepeatedCompositeFieldContainer[_types_pb2.Trade]
    trade_count: int
    sequence: int
    orderbook: _types_pb2.Depth
    repeated: bool
    def __init__(self, order: _Optional[_Union[_types_pb2.Order, _Mapping]] = ..., trades: _Optional[_Iterable[_Union[_types_pb2.Trade, _Mapping]]] = ..., trade_count: _Optional[int] = ..., sequence: _Optional[int] = ..., orderbook: _Optional[_Union[_types_pb2.Depth, _Mapping]] = ..., repeated: _Optional[bool] = ...) -> None: ...

class PlaceOrdersRequest(_message.Message):
    __slots__ = ("orders",)
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[PlaceOrderRequest]
    def __init__(self, orders: _Optional[_Iterable[_Union[PlaceOrderRequest, _Mapping]]] = ...) -> None: ...

class PlaceOrdersResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[PlaceOrderResult]
    def __init__(self, results: _Optional[_Iterable[_Union[PlaceOrderResult, _Mapping]]] = ...) -> None: ...

class PlaceOrderResult(_message.Message):
    __slots__ = ("order", "trades", "trade_count", "sequence", "error", "code", "message", "details", "repeated")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    order: _types_pb2.Order
    trades: _containers.RepeatedCompositeFieldContainer[_types_pb2.Trade]
    trade_count: int
    sequence: int
    error: str
    code: int
    message: str
    details: _containers.RepeatedCompositeFieldContainer[_any_pb2.Any]
    repeated: bool
    def __init__(self, order: _Optional[_Union[_types_pb2.Order, _Mapping]] = ..., trades: _Optional[_Iterable[_Union[_types_pb2.Trade, _Mapping]]] = ..., trade_count: _Optional[int] = ..., sequence: _Optional[int] = ..., error: _Optional[str] = ..., code: _Optional[int] = ..., message: _Optional[str] = ..., details: _Optional[_Iterable[_Union[_any_pb2.Any, _Mapping]]] = ..., repeated: _Optional[bool] = ...) -> None: ...

class ReplaceOrderRequest(_message.Message):
    __slots__ = ("order_id", "client_id", "idempotency_key", "price", "quantity")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    client_id: str
    idempotency_key: str
    price: float
    quantity: float
    def __init__(self, order_id: _Optional[str] = ..., client_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., price: _Optional[float] = ..., quantity: _Optional[float] = ...) -> None: ...

class ReplaceOrderResponse(_message.Message):
    __slots__ = ("order", "trades", "trade_count", "sequence", "orderbook", "repeated")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ORDERBOOK_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    order: _types_pb2.Order
    trades: _containers.RepeatedCompositeFieldContainer[_types_pb2.Trade]
    trade_count: int
    sequence: int
    orderbook: _types_pb2.Depth
    repeated: bool
    def __init__(self, order: _Optional[_Union[_types_pb2.Order, _Mapping]] = ..., trades: _Optional[_Iterable[_Union[_types_pb2.Trade, _Mapping]]] = ..., trade_count: _Optional[int] = ..., sequence: _Optional[int] = ..., orderbook: _Optional[_Union[_types_pb2.Depth, _Mapping]] = ..., repeated: _Optional[bool] = ...) -> None: ...

class CancelOrderRequest(_message.Message):
    __slots__ = ("order_id", "client_id", "idempotency_key", "instrument")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    client_id: str
    idempotency_key: str
    instrument: str
    def __init__(self, order_id: _Optional[str] = ..., client_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., instrument: _Optional[str] = ...) -> None: ...

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
    side: str
    def __init__(self, client_id: _Optional[str] = ..., instrument: _Optional[str] = ..., side: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("client_id", "instrument", "side", "status", "page_size", "page_token", "user_id")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    instrument: str
    side: str
    status: str
    page_size: str
    page_token: str
    user_id: str
    def __init__(self, client_id: _Optional[str] = ..., instrument: _Optional[str] = ..., side: _Optional[str] = ..., status: _Optional[str] = ..., page_size: _Optional[str] = ..., page_token: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class ListOrdersResponse(_message.Message):
    __slots__ = ("orders", "next_page_token", "sequence")
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[_types_pb2.Order]
    next_page_token: str
    sequence: int
    def __init__(self, orders: _Optional[_Iterable[_Union[_types_pb2.Order, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...
