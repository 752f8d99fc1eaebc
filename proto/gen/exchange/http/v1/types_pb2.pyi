from google.rpc import error_details_pb2 as _error_details_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Order(_message.Message):
    __slots__ = ("order_id", "client_id", "instrument", "side", "type", "price", "quantity", "filled_quantity", "remaining_quantity", "cancelled_quantity", "status", "reject_reason", "time_in_force", "post_only", "created_at", "updated_at", "end_reason")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    FILLED_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    REMAINING_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REJECT_REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    POST_ONLY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    END_REASON_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    client_id: str
    instrument: str
    side: str
    type: str
    price: float
    quantity: float
    filled_quantity: float
    remaining_quantity: float
    cancelled_quantity: float
    status: str
    reject_reason: str
    time_in_force: str
    post_only: bool
    created_at: str
    updated_at: str
    end_reason: str
    def __init__(self, order_id: _Optional[str] = ..., client_id: _Optional[str] = ..., instrument: _Optional[str] = ..., side: _Optional[str] = ..., type: _Optional[str] = ..., price: _Optional[float] = ..., quantity: _Optional[float] = ..., filled_quantity: _Optional[float] = ..., remaining_quantity: _Optional[float] = ..., cancelled_quantity: _Optional[float] = ..., status: _Optional[str] = ..., reject_reason: _Optional[str] = ..., time_in_force: _Optional[str] = ..., post_only: _Optional[bool] = ..., created_at: _Optional[str] = ..., updated_at: _Optional[str] = ..., end_reason: _Optional[str] = ...) -> None: ...

class Trade(_message.Message):
    __slots__ = ("trade_id", "buy_order_id", "sell_order_id", "instrument", "price", "quantity", "timestamp", "sequence", "side", "maker_fee", "taker_fee", "role")
    TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    BUY_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SELL_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    MAKER_FEE_FIELD_NUMBER: _ClassVar[int]
    TAKER_FEE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    trade_id: str
    buy_order_id: str
    sell_order_id: str
    instrument: str
    price: float
    quantity: float
    timestamp: str
    sequence: int
    side: str
    maker_fee: float
    taker_fee: float
    role: str
    def __init__(self, trade_id: _Optional[str] = ..., buy_order_id: _Optional[str] = ..., sell_order_id: _Optional[str] = ..., instrument: _Optional[str] = ..., price: _Optional[float] = ..., quantity: _Optional[float] = ..., timestamp: _Optional[str] = ..., sequence: _Optional[int] = ..., side: _Optional[str] = ..., maker_fee: _Optional[float] = ..., taker_fee: _Optional[float] = ..., role: _Optional[str] = ...) -> None: ...

class Level(_message.Message):
    __slots__ = ("price", "quantity", "cumulative")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    CUMULATIVE_FIELD_NUMBER: _ClassVar[int]
    price: float
    quantity: float
    cumulative: float
    def __init__(self, price: _Optional[float] = ..., quantity: _Optional[float] = ..., cumulative: _Optional[float] = ...) -> None: ...

class Depth(_message.Message):
    __slots__ = ("bids", "asks")
    BIDS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    bids: _containers.RepeatedCompositeFieldContainer[Level]
    asks: _containers.RepeatedCompositeFieldContainer[Level]
    def __init__(self, bids: _Optional[_Iterable[_Union[Level, _Mapping]]] = ..., asks: _Optional[_Iterable[_Union[Level, _Mapping]]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("error", "code", "message", "details")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    error: str
    code: int
    message: str
    details: _containers.RepeatedCompositeFieldContainer[_error_details_pb2.ErrorInfo]
    def __init__(self, error: _Optional[str] = ..., code: _Optional[int] = ..., message: _Optional[str] = ..., details: _Optional[_Iterable[_Union[_error_details_pb2.ErrorInfo, _Mapping]]] = ...) -> None: ...
