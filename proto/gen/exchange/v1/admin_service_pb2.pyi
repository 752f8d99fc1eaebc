from exchange.v1 import market_data_pb2 as _market_data_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SetInstrumentRequest(_message.Message):
    __slots__ = ("instrument", "update_mask")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    instrument: _market_data_pb2.Instrument
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, instrument: _Optional[_Union[_market_data_pb2.Instrument, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class SetInstrumentResponse(_message.Message):
    __slots__ = ("instrument", "sequence")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    instrument: _market_data_pb2.Instrument
    sequence: int
    def __init__(self, instrument: _Optional[_Union[_market_data_pb2.Instrument, _Mapping]] = ..., sequence: _Optional[int] = ...) -> None: ...

class SetFeesRequest(_message.Message):
    __slots__ = ("instrument", "maker_fee_e6", "taker_fee_e6")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    MAKER_FEE_E6_FIELD_NUMBER: _ClassVar[int]
    TAKER_FEE_E6_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    maker_fee_e6: int
    taker_fee_e6: int
    def __init__(self, instrument: _Optional[str] = ..., maker_fee_e6: _Optional[int] = ..., taker_fee_e6: _Optional[int] = ...) -> None: ...

class SetFeesResponse(_message.Message):
    __slots__ = ("instrument", "sequence")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    instrument: _market_data_pb2.Instrument
    sequence: int
    def __init__(self, instrument: _Optional[_Union[_market_data_pb2.Instrument, _Mapping]] = ..., sequence: _Optional[int] = ...) -> None: ...

class CreateSnapshotRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CreateSnapshotResponse(_message.Message):
    __slots__ = ("sequence", "state_hash", "file")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STATE_HASH_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    state_hash: str
    file: str
    def __init__(self, sequence: _Optional[int] = ..., state_hash: _Optional[str] = ..., file: _Optional[str] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("version", "rules_version", "durable_sequence", "applied_sequence", "epoch", "uptime_ns", "open_orders", "keys", "keys_guaranteed", "window_ns", "closed_orders", "followers", "degraded", "recovery", "open_sessions", "snapshot_sequence", "journal_first_sequence", "keys_after_sequence")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RULES_VERSION_FIELD_NUMBER: _ClassVar[int]
    DURABLE_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    UPTIME_NS_FIELD_NUMBER: _ClassVar[int]
    OPEN_ORDERS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    KEYS_GUARANTEED_FIELD_NUMBER: _ClassVar[int]
    WINDOW_NS_FIELD_NUMBER: _ClassVar[int]
    CLOSED_ORDERS_FIELD_NUMBER: _ClassVar[int]
    FOLLOWERS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_FIELD_NUMBER: _ClassVar[int]
    OPEN_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    KEYS_AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    version: str
    rules_version: int
    durable_sequence: int
    applied_sequence: int
    epoch: int
    uptime_ns: int
    open_orders: int
    keys: int
    keys_guaranteed: int
    window_ns: int
    closed_orders: int
    followers: _containers.RepeatedCompositeFieldContainer[FollowerStatus]
    degraded: _containers.RepeatedScalarFieldContainer[str]
    recovery: str
    open_sessions: int
    snapshot_sequence: int
    journal_first_sequence: int
    keys_after_sequence: int
    def __init__(self, version: _Optional[str] = ..., rules_version: _Optional[int] = ..., durable_sequence: _Optional[int] = ..., applied_sequence: _Optional[int] = ..., epoch: _Optional[int] = ..., uptime_ns: _Optional[int] = ..., open_orders: _Optional[int] = ..., keys: _Optional[int] = ..., keys_guaranteed: _Optional[int] = ..., window_ns: _Optional[int] = ..., closed_orders: _Optional[int] = ..., followers: _Optional[_Iterable[_Union[FollowerStatus, _Mapping]]] = ..., degraded: _Optional[_Iterable[str]] = ..., recovery: _Optional[str] = ..., open_sessions: _Optional[int] = ..., snapshot_sequence: _Optional[int] = ..., journal_first_sequence: _Optional[int] = ..., keys_after_sequence: _Optional[int] = ...) -> None: ...

class FollowerStatus(_message.Message):
    __slots__ = ("name", "sequence", "reported_time_ns", "connected")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REPORTED_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    name: str
    sequence: int
    reported_time_ns: int
    connected: bool
    def __init__(self, name: _Optional[str] = ..., sequence: _Optional[int] = ..., reported_time_ns: _Optional[int] = ..., connected: _Optional[bool] = ...) -> None: ...

class StreamJournalRequest(_message.Message):
    __slots__ = ("follower", "after_sequence", "until_now", "after_time_ns", "journal")
    FOLLOWER_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_NOW_FIELD_NUMBER: _ClassVar[int]
    AFTER_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_FIELD_NUMBER: _ClassVar[int]
    follower: str
    after_sequence: int
    until_now: bool
    after_time_ns: int
    journal: str
    def __init__(self, follower: _Optional[str] = ..., after_sequence: _Optional[int] = ..., until_now: _Optional[bool] = ..., after_time_ns: _Optional[int] = ..., journal: _Optional[str] = ...) -> None: ...

class StreamJournalResponse(_message.Message):
    __slots__ = ("frames", "position", "durable_sequence", "snapshot_requested_sequence")
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    DURABLE_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_REQUESTED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    frames: bytes
    position: int
    durable_sequence: int
    snapshot_requested_sequence: int
    def __init__(self, frames: _Optional[bytes] = ..., position: _Optional[int] = ..., durable_sequence: _Optional[int] = ..., snapshot_requested_sequence: _Optional[int] = ...) -> None: ...

class ReportFollowerRequest(_message.Message):
    __slots__ = ("follower", "sequence", "snapshot", "keep_after_sequence", "snapshot_problem", "snapshot_failed_sequence")
    FOLLOWER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    KEEP_AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FAILED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    follower: str
    sequence: int
    snapshot: SnapshotReport
    keep_after_sequence: int
    snapshot_problem: str
    snapshot_failed_sequence: int
    def __init__(self, follower: _Optional[str] = ..., sequence: _Optional[int] = ..., snapshot: _Optional[_Union[SnapshotReport, _Mapping]] = ..., keep_after_sequence: _Optional[int] = ..., snapshot_problem: _Optional[str] = ..., snapshot_failed_sequence: _Optional[int] = ...) -> None: ...

class SnapshotReport(_message.Message):
    __slots__ = ("sequence", "state_hash", "file")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STATE_HASH_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    state_hash: str
    file: str
    def __init__(self, sequence: _Optional[int] = ..., state_hash: _Optional[str] = ..., file: _Optional[str] = ...) -> None: ...

class ReportFollowerResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RemoveFollowerRequest(_message.Message):
    __slots__ = ("follower",)
    FOLLOWER_FIELD_NUMBER: _ClassVar[int]
    follower: str
    def __init__(self, follower: _Optional[str] = ...) -> None: ...

class RemoveFollowerResponse(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class SetLogLevelRequest(_message.Message):
    __slots__ = ("level",)
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    level: str
    def __init__(self, level: _Optional[str] = ...) -> None: ...

class SetLogLevelResponse(_message.Message):
    __slots__ = ("previous_level",)
    PREVIOUS_LEVEL_FIELD_NUMBER: _ClassVar[int]
    previous_level: str
    def __init__(self, previous_level: _Optional[str] = ...) -> None: ...

class SettleDayRequest(_message.Message):
    __slots__ = ("date",)
    DATE_FIELD_NUMBER: _ClassVar[int]
    date: str
    def __init__(self, date: _Optional[str] = ...) -> None: ...

class SettleDayResponse(_message.Message):
    __slots__ = ("date", "through_sequence", "trade_count", "digest", "obligations")
    DATE_FIELD_NUMBER: _ClassVar[int]
    THROUGH_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    OBLIGATIONS_FIELD_NUMBER: _ClassVar[int]
    date: str
    through_sequence: int
    trade_count: int
    digest: str
    obligations: _containers.RepeatedCompositeFieldContainer[Obligation]
    def __init__(self, date: _Optional[str] = ..., through_sequence: _Optional[int] = ..., trade_count: _Optional[int] = ..., digest: _Optional[str] = ..., obligations: _Optional[_Iterable[_Union[Obligation, _Mapping]]] = ...) -> None: ...

class Obligation(_message.Message):
    __slots__ = ("instrument", "account", "quantity", "money", "fees", "fill_count")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    MONEY_FIELD_NUMBER: _ClassVar[int]
    FEES_FIELD_NUMBER: _ClassVar[int]
    FILL_COUNT_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    account: str
    quantity: str
    money: str
    fees: str
    fill_count: int
    def __init__(self, instrument: _Optional[str] = ..., account: _Optional[str] = ..., quantity: _Optional[str] = ..., money: _Optional[str] = ..., fees: _Optional[str] = ..., fill_count: _Optional[int] = ...) -> None: ...
