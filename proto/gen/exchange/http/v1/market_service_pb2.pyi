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
    __slots__ = ("instrument", "limit", "page_token", "client_id")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    limit: str
    page_token: str
    client_id: str
    def __init__(self, instrument: _Optional[str] = ..., limit: _Optional[str] = ..., page_token: _Optional[str] = ..., client_id: _Optional[str] = ...) -> None: ...

class ListTradesResponse(_message.Message):
    __slots__ = ("instrument", "trades", "count", "sequence", "next_page_token")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    trades: _containers.RepeatedCompositeFieldContainer[_types_pb2.Trade]
    count: int
    sequence: int
    next_page_token: str
    def __init__(self, instrument: _Optional[str] = ..., trades: _Optional[_Iterable[_Union[_types_pb2.Trade, _Mapping]]] = ..., count: _Optional[int] = ..., sequence: _Optional[int] = ..., next_page_token: _Optional[str] = ...) -> None: ...

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

class GetTickerRequest(_message.Message):
    __slots__ = ("instrument",)
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    def __init__(self, instrument: _Optional[str] = ...) -> None: ...

class GetTickerResponse(_message.Message):
    __slots__ = ("instrument", "last", "bid", "bid_quantity", "ask", "ask_quantity", "open", "high", "low", "change", "volume", "notional", "trade_count", "timestamp", "sequence")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    BID_FIELD_NUMBER: _ClassVar[int]
    BID_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    ASK_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    NOTIONAL_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    last: float
    bid: float
    bid_quantity: float
    ask: float
    ask_quantity: float
    open: float
    high: float
    low: float
    change: float
    volume: float
    notional: float
    trade_count: int
    timestamp: str
    sequence: int
    def __init__(self, instrument: _Optional[str] = ..., last: _Optional[float] = ..., bid: _Optional[float] = ..., bid_quantity: _Optional[float] = ..., ask: _Optional[float] = ..., ask_quantity: _Optional[float] = ..., open: _Optional[float] = ..., high: _Optional[float] = ..., low: _Optional[float] = ..., change: _Optional[float] = ..., volume: _Optional[float] = ..., notional: _Optional[float] = ..., trade_count: _Optional[int] = ..., timestamp: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class GetAnalyticsRequest(_message.Message):
    __slots__ = ("instrument", "start_time", "end_time", "interval", "include_empty")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_EMPTY_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    start_time: str
    end_time: str
    interval: str
    include_empty: bool
    def __init__(self, instrument: _Optional[str] = ..., start_time: _Optional[str] = ..., end_time: _Optional[str] = ..., interval: _Optional[str] = ..., include_empty: _Optional[bool] = ...) -> None: ...

class GetAnalyticsResponse(_message.Message):
    __slots__ = ("instrument", "start_time", "end_time", "interval_minutes", "aggregates", "overall_vwap", "sequence")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_MINUTES_FIELD_NUMBER: _ClassVar[int]
    AGGREGATES_FIELD_NUMBER: _ClassVar[int]
    OVERALL_VWAP_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    start_time: str
    end_time: str
    interval_minutes: int
    aggregates: _containers.RepeatedCompositeFieldContainer[TradeAggregate]
    overall_vwap: float
    sequence: int
    def __init__(self, instrument: _Optional[str] = ..., start_time: _Optional[str] = ..., end_time: _Optional[str] = ..., interval_minutes: _Optional[int] = ..., aggregates: _Optional[_Iterable[_Union[TradeAggregate, _Mapping]]] = ..., overall_vwap: _Optional[float] = ..., sequence: _Optional[int] = ...) -> None: ...

class TradeAggregate(_message.Message):
    __slots__ = ("time_bucket", "trade_count", "total_quantity", "avg_price", "min_price", "max_price", "total_volume", "vwap", "open", "close")
    TIME_BUCKET_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    AVG_PRICE_FIELD_NUMBER: _ClassVar[int]
    MIN_PRICE_FIELD_NUMBER: _ClassVar[int]
    MAX_PRICE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_VOLUME_FIELD_NUMBER: _ClassVar[int]
    VWAP_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    time_bucket: str
    trade_count: int
    total_quantity: float
    avg_price: float
    min_price: float
    max_price: float
    total_volume: float
    vwap: float
    open: float
    close: float
    def __init__(self, time_bucket: _Optional[str] = ..., trade_count: _Optional[int] = ..., total_quantity: _Optional[float] = ..., avg_price: _Optional[float] = ..., min_price: _Optional[float] = ..., max_price: _Optional[float] = ..., total_volume: _Optional[float] = ..., vwap: _Optional[float] = ..., open: _Optional[float] = ..., close: _Optional[float] = ...) -> None: ...

class GetStatisticsRequest(_message.Message):
    __slots__ = ("instrument",)
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    def __init__(self, instrument: _Optional[str] = ...) -> None: ...

class GetStatisticsResponse(_message.Message):
    __slots__ = ("instrument", "open_orders", "orders", "trades", "volume", "orders_per_second", "trades_per_second", "trades_24h", "volume_24h", "bid_levels", "ask_levels", "bid_depth", "ask_depth", "spread", "since", "timestamp", "sequence")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    OPEN_ORDERS_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    ORDERS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    TRADES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    TRADES_24H_FIELD_NUMBER: _ClassVar[int]
    VOLUME_24H_FIELD_NUMBER: _ClassVar[int]
    BID_LEVELS_FIELD_NUMBER: _ClassVar[int]
    ASK_LEVELS_FIELD_NUMBER: _ClassVar[int]
    BID_DEPTH_FIELD_NUMBER: _ClassVar[int]
    ASK_DEPTH_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    open_orders: int
    orders: float
    trades: float
    volume: float
    orders_per_second: float
    trades_per_second: float
    trades_24h: int
    volume_24h: float
    bid_levels: int
    ask_levels: int
    bid_depth: float
    ask_depth: float
    spread: float
    since: str
    timestamp: str
    sequence: int
    def __init__(self, instrument: _Optional[str] = ..., open_orders: _Optional[int] = ..., orders: _Optional[float] = ..., trades: _Optional[float] = ..., volume: _Optional[float] = ..., orders_per_second: _Optional[float] = ..., trades_per_second: _Optional[float] = ..., trades_24h: _Optional[int] = ..., volume_24h: _Optional[float] = ..., bid_levels: _Optional[int] = ..., ask_levels: _Optional[int] = ..., bid_depth: _Optional[float] = ..., ask_depth: _Optional[float] = ..., spread: _Optional[float] = ..., since: _Optional[str] = ..., timestamp: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class StreamTradesRequest(_message.Message):
    __slots__ = ("instrument", "from_sequence")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    from_sequence: str
    def __init__(self, instrument: _Optional[str] = ..., from_sequence: _Optional[str] = ...) -> None: ...

class StreamTradesResponse(_message.Message):
    __slots__ = ("trades", "sequence", "previous_sequence", "restarted")
    TRADES_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RESTARTED_FIELD_NUMBER: _ClassVar[int]
    trades: _containers.RepeatedCompositeFieldContainer[_types_pb2.Trade]
    sequence: int
    previous_sequence: int
    restarted: bool
    def __init__(self, trades: _Optional[_Iterable[_Union[_types_pb2.Trade, _Mapping]]] = ..., sequence: _Optional[int] = ..., previous_sequence: _Optional[int] = ..., restarted: _Optional[bool] = ...) -> None: ...

class StreamOrderBookRequest(_message.Message):
    __slots__ = ("instrument",)
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    def __init__(self, instrument: _Optional[str] = ...) -> None: ...

class StreamOrderBookResponse(_message.Message):
    __slots__ = ("instrument", "type", "bids", "asks", "sequence", "previous_sequence", "timestamp", "checksum", "partial")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    BIDS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    type: str
    bids: _containers.RepeatedCompositeFieldContainer[LevelChange]
    asks: _containers.RepeatedCompositeFieldContainer[LevelChange]
    sequence: int
    previous_sequence: int
    timestamp: str
    checksum: int
    partial: bool
    def __init__(self, instrument: _Optional[str] = ..., type: _Optional[str] = ..., bids: _Optional[_Iterable[_Union[LevelChange, _Mapping]]] = ..., asks: _Optional[_Iterable[_Union[LevelChange, _Mapping]]] = ..., sequence: _Optional[int] = ..., previous_sequence: _Optional[int] = ..., timestamp: _Optional[str] = ..., checksum: _Optional[int] = ..., partial: _Optional[bool] = ...) -> None: ...

class LevelChange(_message.Message):
    __slots__ = ("price", "quantity")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    price: float
    quantity: float
    def __init__(self, price: _Optional[float] = ..., quantity: _Optional[float] = ...) -> None: ...

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
