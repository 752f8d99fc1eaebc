"""The market, accounts and the server: from the messages of the wire to the typed values."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from google.protobuf.field_mask_pb2 import FieldMask

from clients.decimals import NumberInvalidError, decimal_of_e8, e6_of, e8_of
from clients.fields import FieldInvalidError
from clients.messages import built
from clients.order_wire import EPOCH, money_of, price_of, time_of, trade_of
from clients.requests import SetInstrument
from clients.types import (
    Analytics,
    Book,
    BookMessage,
    FeeAccount,
    Follower,
    Instrument,
    Level,
    Obligation,
    Part,
    Position,
    Settlement,
    Snapshot,
    Statistics,
    Status,
    Ticker,
    TradeAggregate,
    TradesMessage,
)
from clients.words import SELF_TRADE_PREVENTIONS
from exchange.v1 import (
    account_service_pb2,
    admin_service_pb2,
    market_data_pb2,
    part_service_pb2,
    types_pb2,
)

NS_PER_S = 1_000_000_000


def levels_of(levels: Iterable[types_pb2.Level]) -> tuple[Level, ...]:
    return tuple(
        Level(decimal_of_e8(level.price_e8), decimal_of_e8(level.quantity_e8)) for level in levels
    )


def book_of(book: market_data_pb2.OrderBook) -> Book:
    return Book(
        instrument=book.instrument,
        bids=levels_of(book.bids),
        asks=levels_of(book.asks),
        sequence=book.sequence,
        time=time_of(book.time_ns),
    )


def book_message_of(message: market_data_pb2.StreamOrderBookResponse) -> BookMessage:
    return BookMessage(
        sequence=message.sequence,
        previous_sequence=message.previous_sequence,
        time=time_of(message.time_ns),
        snapshot=message.snapshot,
        bids=levels_of(message.bids),
        asks=levels_of(message.asks),
        checksum=message.checksum,
        partial=message.partial,
    )


def trades_message_of(message: market_data_pb2.StreamTradesResponse) -> TradesMessage:
    return TradesMessage(
        sequence=message.sequence,
        previous_sequence=message.previous_sequence,
        trades=tuple(map(trade_of, message.trades)),
        restarted=message.restarted,
    )


def ticker_of(ticker: market_data_pb2.Ticker) -> Ticker:
    return Ticker(
        instrument=ticker.instrument,
        last_price=price_of(ticker.last_price_e8),
        bid=_best_of(ticker.bid),
        ask=_best_of(ticker.ask),
        open_price=price_of(ticker.open_price_e8),
        high_price=price_of(ticker.high_price_e8),
        low_price=price_of(ticker.low_price_e8),
        volume=money_of(ticker.volume),
        notional=money_of(ticker.notional),
        change=decimal_of_e8(ticker.change_e8),
        trade_count=ticker.trade_count,
        sequence=ticker.sequence,
        time=time_of(ticker.time_ns),
    )


def statistics_of(reply: market_data_pb2.GetStatisticsResponse) -> Statistics:
    return Statistics(
        instrument=reply.instrument,
        since_time=time_of(reply.since_time_ns),
        orders=reply.orders,
        trades=reply.trades,
        volume=money_of(reply.volume),
        recent_orders=reply.recent_orders,
        recent_trades=reply.recent_trades,
        recent_s=reply.recent_seconds,
        day_trades=reply.day_trades,
        day_volume=money_of(reply.day_volume),
        open_orders=reply.open_orders,
        bid_levels=reply.bid_levels,
        ask_levels=reply.ask_levels,
        bid_depth=money_of(reply.bid_depth),
        ask_depth=money_of(reply.ask_depth),
        spread=decimal_of_e8(reply.spread_e8) if reply.bid_levels and reply.ask_levels else None,
        sequence=reply.sequence,
        time=time_of(reply.time_ns),
    )


def analytics_of(reply: market_data_pb2.GetAnalyticsResponse) -> Analytics:
    return Analytics(
        aggregates=tuple(
            TradeAggregate(
                start_time=time_of(each.start_time_ns),
                trade_count=each.trade_count,
                quantity=money_of(each.quantity),
                notional=money_of(each.notional),
                open_price=price_of(each.open_price_e8),
                high_price=price_of(each.high_price_e8),
                low_price=price_of(each.low_price_e8),
                close_price=price_of(each.close_price_e8),
                average_price=price_of(each.average_price_e8),
                vwap=price_of(each.vwap_e8),
            )
            for each in reply.aggregates
        ),
        vwap=price_of(reply.vwap_e8),
        start_time=time_of(reply.start_time_ns),
        end_time=time_of(reply.end_time_ns),
        sequence=reply.sequence,
    )


def fee_account_of(account: account_service_pb2.FeeAccount) -> FeeAccount:
    return FeeAccount(account.currency, money_of(account.balance))


def part_of(part: part_service_pb2.PartStatus) -> Part:
    behind_s = part.behind_ns / NS_PER_S
    return Part(part.name, part.state, part.events_behind, behind_s, part.problem)


def time_ns_of(time: datetime | None, field: str) -> int:
    """Nanoseconds since the epoch; 0 for None. Raises `FieldInvalidError` of a time that names no
    moment, or one that can't be sent."""
    if time is None:
        return 0
    if not isinstance(time, datetime) or time.tzinfo is None:
        raise FieldInvalidError(field, "a datetime with a time zone", time)
    time_ns = (time - EPOCH) // timedelta(microseconds=1) * 1_000
    if not 0 < time_ns < 2**63:
        raise FieldInvalidError(field, "a time after 1970-01-01T00:00Z and before 2262-04-11", time)
    return time_ns


def instrument_of(instrument: market_data_pb2.Instrument) -> Instrument:
    return Instrument(
        name=instrument.name,
        tick=decimal_of_e8(instrument.tick_e8),
        lot=decimal_of_e8(instrument.lot_e8),
        price_min=decimal_of_e8(instrument.price_min_e8),
        price_max=decimal_of_e8(instrument.price_max_e8),
        quantity_min=decimal_of_e8(instrument.quantity_min_e8),
        quantity_max=decimal_of_e8(instrument.quantity_max_e8),
        maker_fee=rate_of_e6(instrument.maker_fee_e6),
        taker_fee=rate_of_e6(instrument.taker_fee_e6),
        self_trade_prevention=SELF_TRADE_PREVENTIONS.word(instrument.self_trade_prevention),
    )


def set_instrument_message(change: SetInstrument) -> admin_service_pb2.SetInstrumentRequest:
    """The request that sets what is not None; raises `NumberInvalidError`, or `ValueError` of a
    word."""
    into = built(market_data_pb2.Instrument, name=change.name)
    # The name too: a mask without any path would set all fields.
    paths = ["name"]
    for field in ("tick", "lot", "price_min", "price_max", "quantity_min", "quantity_max"):
        value = getattr(change, field)
        if value is None:
            continue
        units = e8_of(value, field)
        if units <= 0:  # On the wire 0 stands for a default.
            raise NumberInvalidError(field, "greater than 0", value)
        setattr(into, f"{field}_e8", units)
        paths.append(f"{field}_e8")
    for field in ("maker_fee", "taker_fee"):
        rate = getattr(change, field)
        if rate is not None:
            setattr(into, f"{field}_e6", e6_of(rate, field))
            paths.append(f"{field}_e6")
    if change.self_trade_prevention is not None:
        mode = SELF_TRADE_PREVENTIONS.name(change.self_trade_prevention)
        into.self_trade_prevention = mode  # type: ignore[assignment]
        paths.append("self_trade_prevention")
    return admin_service_pb2.SetInstrumentRequest(
        instrument=into, update_mask=FieldMask(paths=paths)
    )


def rate_of_e6(rate_e6: int) -> Decimal:
    return Decimal(f"{rate_e6}E-6")  # as text: arithmetic would round to the caller's context


def position_of(position: account_service_pb2.Position) -> Position:
    return Position(
        instrument=position.instrument,
        net_quantity=decimal_of_e8(position.net_quantity_e8),
        total_cost=money_of(position.total_cost),
        average_price=money_of(position.average_price),
        realised_pnl=money_of(position.realised_pnl),
        unrealised_pnl=money_of(position.unrealised_pnl),
        fees=money_of(position.fees),
        updated_time=time_of(position.updated_time_ns),
    )


def obligation_of(obligation: admin_service_pb2.Obligation) -> Obligation:
    return Obligation(
        instrument=obligation.instrument,
        account=obligation.account,
        quantity=Decimal(obligation.quantity),
        money=Decimal(obligation.money),
        fees=Decimal(obligation.fees),
        fill_count=obligation.fill_count,
    )


def settlement_of(messages: Sequence[admin_service_pb2.SettleDayResponse]) -> Settlement:
    head = messages[0]
    return Settlement(
        date=head.date,
        through_sequence=head.through_sequence,
        trade_count=head.trade_count,
        digest=head.digest,
        obligations=tuple(
            obligation_of(each) for message in messages for each in message.obligations
        ),
    )


def snapshot_of(reply: admin_service_pb2.CreateSnapshotResponse) -> Snapshot:
    return Snapshot(reply.sequence, reply.state_hash, reply.file)


def status_of(status: admin_service_pb2.GetStatusResponse) -> Status:
    return Status(
        version=status.version,
        rules_version=status.rules_version,
        durable_sequence=status.durable_sequence,
        applied_sequence=status.applied_sequence,
        epoch=status.epoch,
        uptime_s=status.uptime_ns / NS_PER_S,
        open_orders=status.open_orders,
        keys=status.keys,
        keys_guaranteed=status.keys_guaranteed,
        window_s=status.window_ns / NS_PER_S,
        closed_orders=status.closed_orders,
        followers=tuple(
            Follower(
                follower.name,
                follower.sequence,
                time_of(follower.reported_time_ns) if follower.reported_time_ns else None,
                follower.connected,
            )
            for follower in status.followers
        ),
        degraded=tuple(status.degraded),
        recovery=status.recovery,
        open_sessions=status.open_sessions,
        snapshot_sequence=status.snapshot_sequence,
        journal_first_sequence=status.journal_first_sequence,
    )


def _best_of(level: types_pb2.Level) -> Level | None:
    if not level.price_e8:
        return None
    return Level(decimal_of_e8(level.price_e8), decimal_of_e8(level.quantity_e8))
