from exchange.http.v1 import types_pb2 as _types_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetOrderBookRequest(_message.Message):
    __slots__ = ("instrument", "levels")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    levels: str
    def __init__(self, instrument: _Optional[str] = ..., levels: _Optional[str] = ...) -> None: ...

class GetOrderBookResponse(_message.Message):
    __slots__ = ("instrument", "bids", "asks", "timestamp", "sequence")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    BIDS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    bids: _containers.RepeatedCompositeFieldContainer[_types_pb2.Level]
    asks: _containers.RepeatedCompositeFieldContainer[_types_pb2.Level]
    timestamp: str
    sequence: int
    def __init__(self, instrument: _Optional[str] = ..., bids: _Optional[_Iterable[_Union[_types_pb2.Level, _Mapping]]] = ..., asks: _Optional[_Iterable[_Union[_types_pb2.Level, _Mapping]]] = ..., timestamp: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class ListTradesRequest(_message.Message):
    __slots__ = ("instrument", "limit")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    limit: str
    def __init__(self, instrument: _Optional[str] = ..., limit: _Optional[str] = ...) -> None: ...

class ListTradesResponse(_message.Message):
    __slots__ = ("instrument", "trades", "count", "sequence")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    trades: _containers.RepeatedCompositeFieldContainer[_types_pb2.Trade]
    count: int
    sequence: int
    def __init__(self, instrument: _Optional[str] = ..., trades: _Optional[_Iterable[_Union[_types_pb2.Trade, _Mapping]]] = ..., count: _Optional[int] = ..., sequence: _Optional[int] = ...) -> None: ...

class GetBestQuotesRequest(_message.Message):
    __slots__ = ("instrument",)
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    def __init__(self, instrument: _Optional[str] = ...) -> None: ...

class GetBestQuotesResponse(_message.Message):
    __slots__ = ("instrument", "bid_price", "bid_quantity", "ask_price", "ask_quantity", "spread", "mid", "timestamp", "sequence")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    BID_PRICE_FIELD_NUMBER: _ClassVar[int]
    BID_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    ASK_PRICE_FIELD_NUMBER: _ClassVar[int]
    ASK_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    MID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    bid_price: float
    bid_quantity: float
    ask_price: float
    ask_quantity: float
    spread: float
    mid: float
    timestamp: str
    sequence: int
    def __init__(self, instrument: _Optional[str] = ..., bid_price: _Optional[float] = ..., bid_quantity: _Optional[float] = ..., ask_price: _Optional[float] = ..., ask_quantity: _Optional[float] = ..., spread: _Optional[float] = ..., mid: _Optional[float] = ..., timestamp: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class ListPositionsRequest(_message.Message):
    __slots__ = ("client_id",)
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    def __init__(self, client_id: _Optional[str] = ...) -> None: ...

class ListPositionsResponse(_message.Message):
    __slots__ = ("client_id", "positions", "sequence")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    positions: _containers.RepeatedCompositeFieldContainer[Position]
    sequence: int
    def __init__(self, client_id: _Optional[str] = ..., positions: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., sequence: _Optional[int] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("instrument", "net_quantity", "total_cost", "avg_price", "realised_pnl", "unrealised_pnl", "fees", "last_updated")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    NET_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COST_FIELD_NUMBER: _ClassVar[int]
    AVG_PRICE_FIELD_NUMBER: _ClassVar[int]
    REALISED_PNL_FIELD_NUMBER: _ClassVar[int]
    UNREALISED_PNL_FIELD_NUMBER: _ClassVar[int]
    FEES_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATED_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    net_quantity: float
    total_cost: float
    avg_price: float
    realised_pnl: float
    unrealised_pnl: float
    fees: float
    last_updated: str
    def __init__(self, instrument: _Optional[str] = ..., net_quantity: _Optional[float] = ..., total_cost: _Optional[float] = ..., avg_price: _Optional[float] = ..., realised_pnl: _Optional[float] = ..., unrealised_pnl: _Optional[float] = ..., fees: _Optional[float] = ..., last_updated: _Optional[str] = ...) -> None: ...

class CreateSnapshotRequest(_message.Message):
    __slots__ = ("instrument",)
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    def __init__(self, instrument: _Optional[str] = ...) -> None: ...

class CreateSnapshotResponse(_message.Message):
    __slots__ = ("instrument", "snapshot", "timestamp", "sequence", "snapshot_sequence", "file")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    snapshot: _types_pb2.Depth
    timestamp: str
    sequence: int
    snapshot_sequence: int
    file: str
    def __init__(self, instrument: _Optional[str] = ..., snapshot: _Optional[_Union[_types_pb2.Depth, _Mapping]] = ..., timestamp: _Optional[str] = ..., sequence: _Optional[int] = ..., snapshot_sequence: _Optional[int] = ..., file: _Optional[str] = ...) -> None: ...

class ListInstrumentsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListInstrumentsResponse(_message.Message):
    __slots__ = ("instruments", "sequence")
    INSTRUMENTS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    instruments: _containers.RepeatedCompositeFieldContainer[Instrument]
    sequence: int
    def __init__(self, instruments: _Optional[_Iterable[_Union[Instrument, _Mapping]]] = ..., sequence: _Optional[int] = ...) -> None: ...

class Instrument(_message.Message):
    __slots__ = ("instrument", "tick_size", "lot_size", "min_price", "max_price", "min_quantity", "max_quantity", "maker_fee_rate", "taker_fee_rate", "self_trade_prevention")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    TICK_SIZE_FIELD_NUMBER: _ClassVar[int]
    LOT_SIZE_FIELD_NUMBER: _ClassVar[int]
    MIN_PRICE_FIELD_NUMBER: _ClassVar[int]
    MAX_PRICE_FIELD_NUMBER: _ClassVar[int]
    MIN_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    MAX_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    MAKER_FEE_RATE_FIELD_NUMBER: _ClassVar[int]
    TAKER_FEE_RATE_FIELD_NUMBER: _ClassVar[int]
    SELF_TRADE_PREVENTION_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    tick_size: float
    lot_size: float
    min_price: float
    max_price: float
    min_quantity: float
    max_quantity: float
    maker_fee_rate: float
    taker_fee_rate: float
    self_trade_prevention: str
    def __init__(self, instrument: _Optional[str] = ..., tick_size: _Optional[float] = ..., lot_size: _Optional[float] = ..., min_price: _Optional[float] = ..., max_price: _Optional[float] = ..., min_quantity: _Optional[float] = ..., max_quantity: _Optional[float] = ..., maker_fee_rate: _Optional[float] = ..., taker_fee_rate: _Optional[float] = ..., self_trade_prevention: _Optional[str] = ...) -> None: ...
