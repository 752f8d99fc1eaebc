from exchange.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Instrument(_message.Message):
    __slots__ = ("name", "tick_e8", "lot_e8", "price_min_e8", "price_max_e8", "quantity_min_e8", "quantity_max_e8", "maker_fee_e6", "taker_fee_e6", "self_trade_prevention")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TICK_E8_FIELD_NUMBER: _ClassVar[int]
    LOT_E8_FIELD_NUMBER: _ClassVar[int]
    PRICE_MIN_E8_FIELD_NUMBER: _ClassVar[int]
    PRICE_MAX_E8_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_MIN_E8_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_MAX_E8_FIELD_NUMBER: _ClassVar[int]
    MAKER_FEE_E6_FIELD_NUMBER: _ClassVar[int]
    TAKER_FEE_E6_FIELD_NUMBER: _ClassVar[int]
    SELF_TRADE_PREVENTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    tick_e8: int
    lot_e8: int
    price_min_e8: int
    price_max_e8: int
    quantity_min_e8: int
    quantity_max_e8: int
    maker_fee_e6: int
    taker_fee_e6: int
    self_trade_prevention: _types_pb2.SelfTradePrevention
    def __init__(self, name: _Optional[str] = ..., tick_e8: _Optional[int] = ..., lot_e8: _Optional[int] = ..., price_min_e8: _Optional[int] = ..., price_max_e8: _Optional[int] = ..., quantity_min_e8: _Optional[int] = ..., quantity_max_e8: _Optional[int] = ..., maker_fee_e6: _Optional[int] = ..., taker_fee_e6: _Optional[int] = ..., self_trade_prevention: _Optional[_Union[_types_pb2.SelfTradePrevention, str]] = ...) -> None: ...

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

class GetOrderBookRequest(_message.Message):
    __slots__ = ("instrument", "levels")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    levels: int
    def __init__(self, instrument: _Optional[str] = ..., levels: _Optional[int] = ...) -> None: ...

class GetOrderBookResponse(_message.Message):
    __slots__ = ("book",)
    BOOK_FIELD_NUMBER: _ClassVar[int]
    book: OrderBook
    def __init__(self, book: _Optional[_Union[OrderBook, _Mapping]] = ...) -> None: ...

class OrderBook(_message.Message):
    __slots__ = ("instrument", "bids", "asks", "sequence", "time_ns")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    BIDS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    bids: _containers.RepeatedCompositeFieldContainer[_types_pb2.Level]
    asks: _containers.RepeatedCompositeFieldContainer[_types_pb2.Level]
    sequence: int
    time_ns: int
    def __init__(self, instrument: _Optional[str] = ..., bids: _Optional[_Iterable[_Union[_types_pb2.Level, _Mapping]]] = ..., asks: _Optional[_Iterable[_Union[_types_pb2.Level, _Mapping]]] = ..., sequence: _Optional[int] = ..., time_ns: _Optional[int] = ...) -> None: ...

class GetOrderBooksRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[GetOrderBookRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[GetOrderBookRequest, _Mapping]]] = ...) -> None: ...

class GetOrderBooksResponse(_message.Message):
    __slots__ = ("books",)
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    books: _containers.RepeatedCompositeFieldContainer[OrderBook]
    def __init__(self, books: _Optional[_Iterable[_Union[OrderBook, _Mapping]]] = ...) -> None: ...

class ListTradesRequest(_message.Message):
    __slots__ = ("instrument", "page_size", "page_token", "client_id")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    page_size: int
    page_token: str
    client_id: str
    def __init__(self, instrument: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., client_id: _Optional[str] = ...) -> None: ...

class ListTradesResponse(_message.Message):
    __slots__ = ("trades", "next_page_token", "sequence")
    TRADES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    trades: _containers.RepeatedCompositeFieldContainer[_types_pb2.Trade]
    next_page_token: str
    sequence: int
    def __init__(self, trades: _Optional[_Iterable[_Union[_types_pb2.Trade, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class GetTickerRequest(_message.Message):
    __slots__ = ("instrument",)
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    def __init__(self, instrument: _Optional[str] = ...) -> None: ...

class GetTickerResponse(_message.Message):
    __slots__ = ("ticker",)
    TICKER_FIELD_NUMBER: _ClassVar[int]
    ticker: Ticker
    def __init__(self, ticker: _Optional[_Union[Ticker, _Mapping]] = ...) -> None: ...

class Ticker(_message.Message):
    __slots__ = ("instrument", "last_price_e8", "bid", "ask", "open_price_e8", "high_price_e8", "low_price_e8", "volume", "notional", "change_e8", "trade_count", "sequence", "time_ns")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    LAST_PRICE_E8_FIELD_NUMBER: _ClassVar[int]
    BID_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    OPEN_PRICE_E8_FIELD_NUMBER: _ClassVar[int]
    HIGH_PRICE_E8_FIELD_NUMBER: _ClassVar[int]
    LOW_PRICE_E8_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    NOTIONAL_FIELD_NUMBER: _ClassVar[int]
    CHANGE_E8_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    last_price_e8: int
    bid: _types_pb2.Level
    ask: _types_pb2.Level
    open_price_e8: int
    high_price_e8: int
    low_price_e8: int
    volume: str
    notional: str
    change_e8: int
    trade_count: int
    sequence: int
    time_ns: int
    def __init__(self, instrument: _Optional[str] = ..., last_price_e8: _Optional[int] = ..., bid: _Optional[_Union[_types_pb2.Level, _Mapping]] = ..., ask: _Optional[_Union[_types_pb2.Level, _Mapping]] = ..., open_price_e8: _Optional[int] = ..., high_price_e8: _Optional[int] = ..., low_price_e8: _Optional[int] = ..., volume: _Optional[str] = ..., notional: _Optional[str] = ..., change_e8: _Optional[int] = ..., trade_count: _Optional[int] = ..., sequence: _Optional[int] = ..., time_ns: _Optional[int] = ...) -> None: ...

class GetAnalyticsRequest(_message.Message):
    __slots__ = ("instrument", "start_time_ns", "end_time_ns", "interval_minutes", "include_empty")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    START_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    END_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_MINUTES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_EMPTY_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    start_time_ns: int
    end_time_ns: int
    interval_minutes: int
    include_empty: bool
    def __init__(self, instrument: _Optional[str] = ..., start_time_ns: _Optional[int] = ..., end_time_ns: _Optional[int] = ..., interval_minutes: _Optional[int] = ..., include_empty: _Optional[bool] = ...) -> None: ...

class GetAnalyticsResponse(_message.Message):
    __slots__ = ("aggregates", "sequence", "vwap_e8", "start_time_ns", "end_time_ns")
    AGGREGATES_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    VWAP_E8_FIELD_NUMBER: _ClassVar[int]
    START_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    END_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    aggregates: _containers.RepeatedCompositeFieldContainer[TradeAggregate]
    sequence: int
    vwap_e8: int
    start_time_ns: int
    end_time_ns: int
    def __init__(self, aggregates: _Optional[_Iterable[_Union[TradeAggregate, _Mapping]]] = ..., sequence: _Optional[int] = ..., vwap_e8: _Optional[int] = ..., start_time_ns: _Optional[int] = ..., end_time_ns: _Optional[int] = ...) -> None: ...

class TradeAggregate(_message.Message):
    __slots__ = ("start_time_ns", "trade_count", "quantity", "notional", "open_price_e8", "high_price_e8", "low_price_e8", "close_price_e8", "average_price_e8", "vwap_e8")
    START_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    NOTIONAL_FIELD_NUMBER: _ClassVar[int]
    OPEN_PRICE_E8_FIELD_NUMBER: _ClassVar[int]
    HIGH_PRICE_E8_FIELD_NUMBER: _ClassVar[int]
    LOW_PRICE_E8_FIELD_NUMBER: _ClassVar[int]
    CLOSE_PRICE_E8_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_PRICE_E8_FIELD_NUMBER: _ClassVar[int]
    VWAP_E8_FIELD_NUMBER: _ClassVar[int]
    start_time_ns: int
    trade_count: int
    quantity: str
    notional: str
    open_price_e8: int
    high_price_e8: int
    low_price_e8: int
    close_price_e8: int
    average_price_e8: int
    vwap_e8: int
    def __init__(self, start_time_ns: _Optional[int] = ..., trade_count: _Optional[int] = ..., quantity: _Optional[str] = ..., notional: _Optional[str] = ..., open_price_e8: _Optional[int] = ..., high_price_e8: _Optional[int] = ..., low_price_e8: _Optional[int] = ..., close_price_e8: _Optional[int] = ..., average_price_e8: _Optional[int] = ..., vwap_e8: _Optional[int] = ...) -> None: ...

class GetStatisticsRequest(_message.Message):
    __slots__ = ("instrument",)
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    def __init__(self, instrument: _Optional[str] = ...) -> None: ...

class GetStatisticsResponse(_message.Message):
    __slots__ = ("open_orders", "sequence", "instrument", "time_ns", "since_time_ns", "orders", "trades", "volume", "recent_orders", "recent_trades", "recent_seconds", "day_trades", "day_volume", "bid_levels", "ask_levels", "bid_depth", "ask_depth", "spread_e8")
    OPEN_ORDERS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    RECENT_ORDERS_FIELD_NUMBER: _ClassVar[int]
    RECENT_TRADES_FIELD_NUMBER: _ClassVar[int]
    RECENT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DAY_TRADES_FIELD_NUMBER: _ClassVar[int]
    DAY_VOLUME_FIELD_NUMBER: _ClassVar[int]
    BID_LEVELS_FIELD_NUMBER: _ClassVar[int]
    ASK_LEVELS_FIELD_NUMBER: _ClassVar[int]
    BID_DEPTH_FIELD_NUMBER: _ClassVar[int]
    ASK_DEPTH_FIELD_NUMBER: _ClassVar[int]
    SPREAD_E8_FIELD_NUMBER: _ClassVar[int]
    open_orders: int
    sequence: int
    instrument: str
    time_ns: int
    since_time_ns: int
    orders: int
    trades: int
    volume: str
    recent_orders: int
    recent_trades: int
    recent_seconds: int
    day_trades: int
    day_volume: str
    bid_levels: int
    ask_levels: int
    bid_depth: str
    ask_depth: str
    spread_e8: int
    def __init__(self, open_orders: _Optional[int] = ..., sequence: _Optional[int] = ..., instrument: _Optional[str] = ..., time_ns: _Optional[int] = ..., since_time_ns: _Optional[int] = ..., orders: _Optional[int] = ..., trades: _Optional[int] = ..., volume: _Optional[str] = ..., recent_orders: _Optional[int] = ..., recent_trades: _Optional[int] = ..., recent_seconds: _Optional[int] = ..., day_trades: _Optional[int] = ..., day_volume: _Optional[str] = ..., bid_levels: _Optional[int] = ..., ask_levels: _Optional[int] = ..., bid_depth: _Optional[str] = ..., ask_depth: _Optional[str] = ..., spread_e8: _Optional[int] = ...) -> None: ...

class StreamOrderBookRequest(_message.Message):
    __slots__ = ("instrument", "after_sequence")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    after_sequence: int
    def __init__(self, instrument: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class StreamOrderBookResponse(_message.Message):
    __slots__ = ("sequence", "previous_sequence", "time_ns", "snapshot", "bids", "asks", "checksum", "partial")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    BIDS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    previous_sequence: int
    time_ns: int
    snapshot: bool
    bids: _containers.RepeatedCompositeFieldContainer[_types_pb2.Level]
    asks: _containers.RepeatedCompositeFieldContainer[_types_pb2.Level]
    checksum: int
    partial: bool
    def __init__(self, sequence: _Optional[int] = ..., previous_sequence: _Optional[int] = ..., time_ns: _Optional[int] = ..., snapshot: _Optional[bool] = ..., bids: _Optional[_Iterable[_Union[_types_pb2.Level, _Mapping]]] = ..., asks: _Optional[_Iterable[_Union[_types_pb2.Level, _Mapping]]] = ..., checksum: _Optional[int] = ..., partial: _Optional[bool] = ...) -> None: ...

class StreamTradesRequest(_message.Message):
    __slots__ = ("instrument", "after_sequence")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    after_sequence: int
    def __init__(self, instrument: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class StreamTradesResponse(_message.Message):
    __slots__ = ("sequence", "previous_sequence", "trades", "restarted")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    RESTARTED_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    previous_sequence: int
    trades: _containers.RepeatedCompositeFieldContainer[_types_pb2.Trade]
    restarted: bool
    def __init__(self, sequence: _Optional[int] = ..., previous_sequence: _Optional[int] = ..., trades: _Optional[_Iterable[_Union[_types_pb2.Trade, _Mapping]]] = ..., restarted: _Optional[bool] = ...) -> None: ...

class StreamTickerRequest(_message.Message):
    __slots__ = ("instrument",)
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    def __init__(self, instrument: _Optional[str] = ...) -> None: ...

class StreamTickerResponse(_message.Message):
    __slots__ = ("ticker",)
    TICKER_FIELD_NUMBER: _ClassVar[int]
    ticker: Ticker
    def __init__(self, ticker: _Optional[_Union[Ticker, _Mapping]] = ...) -> None: ...
