from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Side(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIDE_UNSPECIFIED: _ClassVar[Side]
    SIDE_BUY: _ClassVar[Side]
    SIDE_SELL: _ClassVar[Side]

class OrderType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_TYPE_UNSPECIFIED: _ClassVar[OrderType]
    ORDER_TYPE_LIMIT: _ClassVar[OrderType]
    ORDER_TYPE_MARKET: _ClassVar[OrderType]

class TimeInForce(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIME_IN_FORCE_UNSPECIFIED: _ClassVar[TimeInForce]
    TIME_IN_FORCE_GOOD_TILL_CANCEL: _ClassVar[TimeInForce]
    TIME_IN_FORCE_IMMEDIATE_OR_CANCEL: _ClassVar[TimeInForce]
    TIME_IN_FORCE_FILL_OR_KILL: _ClassVar[TimeInForce]

class SelfTradePrevention(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SELF_TRADE_PREVENTION_UNSPECIFIED: _ClassVar[SelfTradePrevention]
    SELF_TRADE_PREVENTION_NONE: _ClassVar[SelfTradePrevention]
    SELF_TRADE_PREVENTION_CANCEL_NEWEST: _ClassVar[SelfTradePrevention]
    SELF_TRADE_PREVENTION_CANCEL_OLDEST: _ClassVar[SelfTradePrevention]
    SELF_TRADE_PREVENTION_CANCEL_BOTH: _ClassVar[SelfTradePrevention]
    SELF_TRADE_PREVENTION_DECREMENT: _ClassVar[SelfTradePrevention]

class OrderStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_STATUS_UNSPECIFIED: _ClassVar[OrderStatus]
    ORDER_STATUS_OPEN: _ClassVar[OrderStatus]
    ORDER_STATUS_PARTIALLY_FILLED: _ClassVar[OrderStatus]
    ORDER_STATUS_FILLED: _ClassVar[OrderStatus]
    ORDER_STATUS_CANCELLED: _ClassVar[OrderStatus]
    ORDER_STATUS_REJECTED: _ClassVar[OrderStatus]

class EndReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    END_REASON_UNSPECIFIED: _ClassVar[EndReason]
    END_REASON_CANCEL_REQUESTED: _ClassVar[EndReason]
    END_REASON_REPLACED_BELOW_FILLED: _ClassVar[EndReason]
    END_REASON_SESSION_ENDED: _ClassVar[EndReason]
    END_REASON_IMMEDIATE_OR_CANCEL: _ClassVar[EndReason]
    END_REASON_NO_LIQUIDITY: _ClassVar[EndReason]
    END_REASON_FILL_OR_KILL: _ClassVar[EndReason]
    END_REASON_POST_ONLY_WOULD_CROSS: _ClassVar[EndReason]
    END_REASON_SELF_TRADE_PREVENTION: _ClassVar[EndReason]

class RejectReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REJECT_REASON_UNSPECIFIED: _ClassVar[RejectReason]
    REJECT_REASON_FIELD_REQUIRED: _ClassVar[RejectReason]
    REJECT_REASON_ID_INVALID: _ClassVar[RejectReason]
    REJECT_REASON_ID_RESERVED: _ClassVar[RejectReason]
    REJECT_REASON_SIDE_INVALID: _ClassVar[RejectReason]
    REJECT_REASON_TYPE_INVALID: _ClassVar[RejectReason]
    REJECT_REASON_TIME_IN_FORCE_INVALID: _ClassVar[RejectReason]
    REJECT_REASON_SELF_TRADE_PREVENTION_INVALID: _ClassVar[RejectReason]
    REJECT_REASON_NOTHING_TO_REPLACE: _ClassVar[RejectReason]
    REJECT_REASON_SETTING_INVALID: _ClassVar[RejectReason]
    REJECT_REASON_NUMBER_INVALID: _ClassVar[RejectReason]
    REJECT_REASON_TOO_MANY: _ClassVar[RejectReason]
    REJECT_REASON_CURSOR_INVALID: _ClassVar[RejectReason]
    REJECT_REASON_STATUS_INVALID: _ClassVar[RejectReason]
    REJECT_REASON_MESSAGE_INVALID: _ClassVar[RejectReason]
    REJECT_REASON_DAY_INVALID: _ClassVar[RejectReason]
    REJECT_REASON_DAY_OUT_OF_RANGE: _ClassVar[RejectReason]
    REJECT_REASON_RECORD_DAMAGED: _ClassVar[RejectReason]
    REJECT_REASON_VALUE_INVALID: _ClassVar[RejectReason]
    REJECT_REASON_INSTRUMENT_UNKNOWN: _ClassVar[RejectReason]
    REJECT_REASON_PRICE_NOT_POSITIVE: _ClassVar[RejectReason]
    REJECT_REASON_PRICE_BELOW_MINIMUM: _ClassVar[RejectReason]
    REJECT_REASON_PRICE_ABOVE_MAXIMUM: _ClassVar[RejectReason]
    REJECT_REASON_PRICE_OFF_TICK: _ClassVar[RejectReason]
    REJECT_REASON_QUANTITY_NOT_POSITIVE: _ClassVar[RejectReason]
    REJECT_REASON_QUANTITY_BELOW_MINIMUM: _ClassVar[RejectReason]
    REJECT_REASON_QUANTITY_ABOVE_MAXIMUM: _ClassVar[RejectReason]
    REJECT_REASON_QUANTITY_OFF_LOT: _ClassVar[RejectReason]
    REJECT_REASON_LEVEL_BOUND_EXCEEDED: _ClassVar[RejectReason]
    REJECT_REASON_POSITION_BOUND_EXCEEDED: _ClassVar[RejectReason]
    REJECT_REASON_PRICE_REQUIRED: _ClassVar[RejectReason]
    REJECT_REASON_PRICE_NOT_ALLOWED: _ClassVar[RejectReason]
    REJECT_REASON_TIME_IN_FORCE_NOT_ALLOWED: _ClassVar[RejectReason]
    REJECT_REASON_POST_ONLY_NOT_ALLOWED: _ClassVar[RejectReason]
    REJECT_REASON_KEY_CONFLICT: _ClassVar[RejectReason]
    REJECT_REASON_ORDER_ID_DUPLICATE: _ClassVar[RejectReason]
    REJECT_REASON_ORDER_UNKNOWN: _ClassVar[RejectReason]
    REJECT_REASON_ORDER_CLOSED: _ClassVar[RejectReason]
    REJECT_REASON_POST_ONLY_WOULD_CROSS: _ClassVar[RejectReason]
    REJECT_REASON_SESSION_UNKNOWN: _ClassVar[RejectReason]
    REJECT_REASON_INSTRUMENT_IN_USE: _ClassVar[RejectReason]
    REJECT_REASON_INSTRUMENTS_BOUND_EXCEEDED: _ClassVar[RejectReason]
    REJECT_REASON_OVERLOADED: _ClassVar[RejectReason]
    REJECT_REASON_NOT_SERVING: _ClassVar[RejectReason]
    REJECT_REASON_DEADLINE_PASSED: _ClassVar[RejectReason]
    REJECT_REASON_SLOW_READER: _ClassVar[RejectReason]
    REJECT_REASON_NOT_AVAILABLE: _ClassVar[RejectReason]
    REJECT_REASON_FOLLOWER_MISSING: _ClassVar[RejectReason]
    REJECT_REASON_OUTCOME_UNKNOWN: _ClassVar[RejectReason]
    REJECT_REASON_JOURNAL_FULL: _ClassVar[RejectReason]
    REJECT_REASON_NOT_KEPT: _ClassVar[RejectReason]
    REJECT_REASON_RATE_LIMITED: _ClassVar[RejectReason]
    REJECT_REASON_FOLLOWER_CONNECTED: _ClassVar[RejectReason]
SIDE_UNSPECIFIED: Side
SIDE_BUY: Side
SIDE_SELL: Side
ORDER_TYPE_UNSPECIFIED: OrderType
ORDER_TYPE_LIMIT: OrderType
ORDER_TYPE_MARKET: OrderType
TIME_IN_FORCE_UNSPECIFIED: TimeInForce
TIME_IN_FORCE_GOOD_TILL_CANCEL: TimeInForce
TIME_IN_FORCE_IMMEDIATE_OR_CANCEL: TimeInForce
TIME_IN_FORCE_FILL_OR_KILL: TimeInForce
SELF_TRADE_PREVENTION_UNSPECIFIED: SelfTradePrevention
SELF_TRADE_PREVENTION_NONE: SelfTradePrevention
SELF_TRADE_PREVENTION_CANCEL_NEWEST: SelfTradePrevention
SELF_TRADE_PREVENTION_CANCEL_OLDEST: SelfTradePrevention
SELF_TRADE_PREVENTION_CANCEL_BOTH: SelfTradePrevention
SELF_TRADE_PREVENTION_DECREMENT: SelfTradePrevention
ORDER_STATUS_UNSPECIFIED: OrderStatus
ORDER_STATUS_OPEN: OrderStatus
ORDER_STATUS_PARTIALLY_FILLED: OrderStatus
ORDER_STATUS_FILLED: OrderStatus
ORDER_STATUS_CANCELLED: OrderStatus
ORDER_STATUS_REJECTED: OrderStatus
END_REASON_UNSPECIFIED: EndReason
END_REASON_CANCEL_REQUESTED: EndReason
END_REASON_REPLACED_BELOW_FILLED: EndReason
END_REASON_SESSION_ENDED: EndReason
END_REASON_IMMEDIATE_OR_CANCEL: EndReason
END_REASON_NO_LIQUIDITY: EndReason
END_REASON_FILL_OR_KILL: EndReason
END_REASON_POST_ONLY_WOULD_CROSS: EndReason
END_REASON_SELF_TRADE_PREVENTION: EndReason
REJECT_REASON_UNSPECIFIED: RejectReason
REJECT_REASON_FIELD_REQUIRED: RejectReason
REJECT_REASON_ID_INVALID: RejectReason
REJECT_REASON_ID_RESERVED: RejectReason
REJECT_REASON_SIDE_INVALID: RejectReason
REJECT_REASON_TYPE_INVALID: RejectReason
REJECT_REASON_TIME_IN_FORCE_INVALID: RejectReason
REJECT_REASON_SELF_TRADE_PREVENTION_INVALID: RejectReason
REJECT_REASON_NOTHING_TO_REPLACE: RejectReason
REJECT_REASON_SETTING_INVALID: RejectReason
REJECT_REASON_NUMBER_INVALID: RejectReason
REJECT_REASON_TOO_MANY: RejectReason
REJECT_REASON_CURSOR_INVALID: RejectReason
REJECT_REASON_STATUS_INVALID: RejectReason
REJECT_REASON_MESSAGE_INVALID: RejectReason
REJECT_REASON_DAY_INVALID: RejectReason
REJECT_REASON_DAY_OUT_OF_RANGE: RejectReason
REJECT_REASON_RECORD_DAMAGED: RejectReason
REJECT_REASON_VALUE_INVALID: RejectReason
REJECT_REASON_INSTRUMENT_UNKNOWN: RejectReason
REJECT_REASON_PRICE_NOT_POSITIVE: RejectReason
REJECT_REASON_PRICE_BELOW_MINIMUM: RejectReason
REJECT_REASON_PRICE_ABOVE_MAXIMUM: RejectReason
REJECT_REASON_PRICE_OFF_TICK: RejectReason
REJECT_REASON_QUANTITY_NOT_POSITIVE: RejectReason
REJECT_REASON_QUANTITY_BELOW_MINIMUM: RejectReason
REJECT_REASON_QUANTITY_ABOVE_MAXIMUM: RejectReason
REJECT_REASON_QUANTITY_OFF_LOT: RejectReason
REJECT_REASON_LEVEL_BOUND_EXCEEDED: RejectReason
REJECT_REASON_POSITION_BOUND_EXCEEDED: RejectReason
REJECT_REASON_PRICE_REQUIRED: RejectReason
REJECT_REASON_PRICE_NOT_ALLOWED: RejectReason
REJECT_REASON_TIME_IN_FORCE_NOT_ALLOWED: RejectReason
REJECT_REASON_POST_ONLY_NOT_ALLOWED: RejectReason
REJECT_REASON_KEY_CONFLICT: RejectReason
REJECT_REASON_ORDER_ID_DUPLICATE: RejectReason
REJECT_REASON_ORDER_UNKNOWN: RejectReason
REJECT_REASON_ORDER_CLOSED: RejectReason
REJECT_REASON_POST_ONLY_WOULD_CROSS: RejectReason
REJECT_REASON_SESSION_UNKNOWN: RejectReason
REJECT_REASON_INSTRUMENT_IN_USE: RejectReason
REJECT_REASON_INSTRUMENTS_BOUND_EXCEEDED: RejectReason
REJECT_REASON_OVERLOADED: RejectReason
REJECT_REASON_NOT_SERVING: RejectReason
REJECT_REASON_DEADLINE_PASSED: RejectReason
REJECT_REASON_SLOW_READER: RejectReason
REJECT_REASON_NOT_AVAILABLE: RejectReason
REJECT_REASON_FOLLOWER_MISSING: RejectReason
REJECT_REASON_OUTCOME_UNKNOWN: RejectReason
REJECT_REASON_JOURNAL_FULL: RejectReason
REJECT_REASON_NOT_KEPT: RejectReason
REJECT_REASON_RATE_LIMITED: RejectReason
REJECT_REASON_FOLLOWER_CONNECTED: RejectReason

class Order(_message.Message):
    __slots__ = ("order_id", "client_id", "client_reference", "instrument", "side", "type", "time_in_force", "post_only", "self_trade_prevention", "price_e8", "quantity_e8", "filled_quantity_e8", "remaining_quantity_e8", "cancelled_quantity_e8", "status", "end_reason", "placed_sequence", "created_time_ns", "updated_time_ns")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TIME_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    POST_ONLY_FIELD_NUMBER: _ClassVar[int]
    SELF_TRADE_PREVENTION_FIELD_NUMBER: _ClassVar[int]
    PRICE_E8_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_E8_FIELD_NUMBER: _ClassVar[int]
    FILLED_QUANTITY_E8_FIELD_NUMBER: _ClassVar[int]
    REMAINING_QUANTITY_E8_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_QUANTITY_E8_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    END_REASON_FIELD_NUMBER: _ClassVar[int]
    PLACED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CREATED_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    UPDATED_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    client_id: str
    client_reference: str
    instrument: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    post_only: bool
    self_trade_prevention: SelfTradePrevention
    price_e8: int
    quantity_e8: int
    filled_quantity_e8: int
    remaining_quantity_e8: int
    cancelled_quantity_e8: int
    status: OrderStatus
    end_reason: EndReason
    placed_sequence: int
    created_time_ns: int
    updated_time_ns: int
    def __init__(self, order_id: _Optional[str] = ..., client_id: _Optional[str] = ..., client_reference: _Optional[str] = ..., instrument: _Optional[str] = ..., side: _Optional[_Union[Side, str]] = ..., type: _Optional[_Union[OrderType, str]] = ..., time_in_force: _Optional[_Union[TimeInForce, str]] = ..., post_only: _Optional[bool] = ..., self_trade_prevention: _Optional[_Union[SelfTradePrevention, str]] = ..., price_e8: _Optional[int] = ..., quantity_e8: _Optional[int] = ..., filled_quantity_e8: _Optional[int] = ..., remaining_quantity_e8: _Optional[int] = ..., cancelled_quantity_e8: _Optional[int] = ..., status: _Optional[_Union[OrderStatus, str]] = ..., end_reason: _Optional[_Union[EndReason, str]] = ..., placed_sequence: _Optional[int] = ..., created_time_ns: _Optional[int] = ..., updated_time_ns: _Optional[int] = ...) -> None: ...

class Trade(_message.Message):
    __slots__ = ("trade_id", "sequence", "index", "time_ns", "instrument", "price_e8", "quantity_e8", "aggressor_side", "maker_order_id", "maker_client_id", "taker_order_id", "taker_client_id", "maker_fee", "taker_fee")
    TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    PRICE_E8_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_E8_FIELD_NUMBER: _ClassVar[int]
    AGGRESSOR_SIDE_FIELD_NUMBER: _ClassVar[int]
    MAKER_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    MAKER_CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    TAKER_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    TAKER_CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    MAKER_FEE_FIELD_NUMBER: _ClassVar[int]
    TAKER_FEE_FIELD_NUMBER: _ClassVar[int]
    trade_id: str
    sequence: int
    index: int
    time_ns: int
    instrument: str
    price_e8: int
    quantity_e8: int
    aggressor_side: Side
    maker_order_id: str
    maker_client_id: str
    taker_order_id: str
    taker_client_id: str
    maker_fee: str
    taker_fee: str
    def __init__(self, trade_id: _Optional[str] = ..., sequence: _Optional[int] = ..., index: _Optional[int] = ..., time_ns: _Optional[int] = ..., instrument: _Optional[str] = ..., price_e8: _Optional[int] = ..., quantity_e8: _Optional[int] = ..., aggressor_side: _Optional[_Union[Side, str]] = ..., maker_order_id: _Optional[str] = ..., maker_client_id: _Optional[str] = ..., taker_order_id: _Optional[str] = ..., taker_client_id: _Optional[str] = ..., maker_fee: _Optional[str] = ..., taker_fee: _Optional[str] = ...) -> None: ...

class Level(_message.Message):
    __slots__ = ("price_e8", "quantity_e8")
    PRICE_E8_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_E8_FIELD_NUMBER: _ClassVar[int]
    price_e8: int
    quantity_e8: int
    def __init__(self, price_e8: _Optional[int] = ..., quantity_e8: _Optional[int] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("reason", "code", "message", "field", "limit", "retry_safe", "value", "retry_after_s")
    REASON_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    RETRY_SAFE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    reason: RejectReason
    code: int
    message: str
    field: str
    limit: str
    retry_safe: bool
    value: str
    retry_after_s: int
    def __init__(self, reason: _Optional[_Union[RejectReason, str]] = ..., code: _Optional[int] = ..., message: _Optional[str] = ..., field: _Optional[str] = ..., limit: _Optional[str] = ..., retry_safe: _Optional[bool] = ..., value: _Optional[str] = ..., retry_after_s: _Optional[int] = ...) -> None: ...
