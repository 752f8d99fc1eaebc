"""How answers look on a terminal: aligned columns for people, JSON for programs.

JSON holds the fields of `clients.types` by their names: decimals as strings, exact; times in
RFC 3339; whole numbers as numbers. A client's own trades say its `role` too.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from clients.errors import ExchangeError
from clients.terminal import Cell, Line, Span, Style, line, table
from clients.types import (
    Book,
    CancelledAll,
    Follower,
    Instrument,
    Level,
    Order,
    OrderStatus,
    Placed,
    Position,
    Replaced,
    SelfTradePrevention,
    Settlement,
    Side,
    Statistics,
    Status,
    Ticker,
    Trade,
)

ORDER_COLUMNS = ("order", "client", "side", "quantity", "instrument", "price", "filled", "status")
FILL_COLUMNS = ("time", "order", "side", "quantity", "price", "role", "fee")
TRADE_COLUMNS = ("time", "side", "quantity", "price", "maker", "taker")
POSITION_COLUMNS = ("instrument", "net", "average price", "realised", "unrealised", "fees")
FOLLOWER_COLUMNS = ("follower", "sequence", "behind", "reported", "connected")
INSTRUMENT_COLUMNS = (
    "instrument",
    "tick",
    "lot",
    "prices",
    "quantities",
    "maker fee",
    "taker fee",
    "self-trade",
)
OBLIGATION_COLUMNS = ("instrument", "account", "quantity", "money", "fees", "fills")
SIDE_STYLES = {Side.BUY: Style.GOOD, Side.SELL: Style.BAD}
STATUS_STYLES = {
    OrderStatus.FILLED: Style.GOOD,
    OrderStatus.CANCELLED: Style.QUIET,
    OrderStatus.REJECTED: Style.BAD,
}


class Answer(NamedTuple):
    """What a command found, and how people read it."""

    value: object
    lines: list[Line]
    ended: ExchangeError | None = None
    """Why there is no more of it, where there is more."""


def json_of(value: object, indent: int | None = 2) -> str:
    """Indented, so that people can read it too; None: on one line."""
    return json.dumps(plain(value), indent=indent)


def plain(value: object) -> object:
    """Make the value of what JSON has."""
    if dataclasses.is_dataclass(value):
        return {
            field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return time_text(value)
    return value


def placed_lines(placed: Placed | Replaced) -> list[Line]:
    """Show the order, and its trades on arrival."""
    lines = order_lines(placed.order)
    if placed.repeated:
        lines.append(line("as first answered: this key was used before"))
    if placed.trades:
        lines += [(), *trades_lines(placed.trades)]
    if placed.trade_count > len(placed.trades):
        lines.append(line(f"and {placed.trade_count - len(placed.trades)} more trades"))
    return lines


def cancelled_lines(cancelled: CancelledAll) -> list[Line]:
    """Say how many orders were cancelled, and which, as they ended."""
    lines = [line(f"{cancelled.cancelled_count} cancelled")]
    return lines + orders_lines(cancelled.orders) if cancelled.orders else lines


def order_lines(order: Order) -> list[Line]:
    """One order, a line for what it is and a line for what became of it."""
    terms = [order.time_in_force.value]
    terms += ["post-only"] if order.post_only else []
    price = "market" if order.price is None else f"@ {decimal_text(order.price)}"
    ended = f" ({order.end_reason.value.replace('_', ' ')})" if order.end_reason else ""
    became = (
        f"filled {decimal_text(order.filled_quantity)}, "
        f"remaining {decimal_text(order.remaining_quantity)}, "
        f"cancelled {decimal_text(order.cancelled_quantity)}"
    )
    return [
        line(
            Span(order.order_id, Style.HEADING),
            f"  {order.client_id} ",
            side_span(order.side),
            f" {decimal_text(order.quantity)} {order.instrument} {price} {' '.join(terms)}",
        ),
        line(status_span(order.status), f"{ended}: {became}"),
    ]


def orders_lines(orders: Sequence[Order]) -> list[Line]:
    """Show a row for each order."""
    rows: list[tuple[Cell, ...]] = [
        (
            order.order_id,
            order.client_id,
            side_span(order.side),
            decimal_text(order.quantity),
            order.instrument,
            "market" if order.price is None else decimal_text(order.price),
            decimal_text(order.filled_quantity),
            status_span(order.status),
        )
        for order in orders
    ]
    return table(ORDER_COLUMNS, rows, right={"quantity", "price", "filled"}) or [line("no orders")]


def trades_lines(trades: Sequence[Trade]) -> list[Line]:
    """Show a row for each trade; the side is that of the taker."""
    rows: list[tuple[Cell, ...]] = [
        (
            time_text(trade.time),
            side_span(trade.aggressor_side),
            decimal_text(trade.quantity),
            decimal_text(trade.price),
            trade.maker_order_id,
            trade.taker_order_id,
        )
        for trade in trades
    ]
    return table(TRADE_COLUMNS, rows, right={"quantity", "price"}) or [line("no trades")]


def fills_lines(trades: Sequence[Trade], client_id: str) -> list[Line]:
    """Show a row for each fill of a client, two where it traded with itself."""
    rows: list[tuple[Cell, ...]] = []
    for trade in trades:
        made = Side.SELL if trade.aggressor_side is Side.BUY else Side.BUY
        for owner, order, role, side, fee in (
            (trade.taker_client_id, trade.taker_order_id, "taker", trade.aggressor_side,
             trade.taker_fee),
            (trade.maker_client_id, trade.maker_order_id, "maker", made, trade.maker_fee),
        ):  # fmt: skip
            if owner == client_id:
                numbers = map(decimal_text, (trade.quantity, trade.price))
                time = time_text(trade.time)
                rows.append((time, order, side_span(side), *numbers, role, decimal_text(fee)))
    return table(FILL_COLUMNS, rows, right={"quantity", "price", "fee"}) or [line("no trades")]


def own_trade(trade: Trade, client_id: str) -> dict[str, object]:
    """Name what the client was in a trade of its own, as the exchange does over HTTP."""
    if trade.maker_client_id == trade.taker_client_id:
        role = "both"
    else:
        role = "maker" if trade.maker_client_id == client_id else "taker"
    return {**dataclasses.asdict(trade), "role": role}


def book_lines(book: Book) -> list[Line]:
    """Asks above bids, the best two prices in the middle."""
    rows = [_level_row("ask", Side.SELL, level) for level in reversed(book.asks)]
    rows += [_level_row("bid", Side.BUY, level) for level in book.bids]
    title = line(f"{book.instrument} at sequence {book.sequence}")
    levels = table(("", "price", "quantity"), rows, right={"price", "quantity"})
    return [title, *(levels or [line("empty")])]


def ticker_lines(ticker: Ticker) -> list[Line]:
    """A row for each figure; what there is none of is `-`."""
    rows = [
        ("last", _price_text(ticker.last_price)),
        ("bid", _level_text(ticker.bid)),
        ("ask", _level_text(ticker.ask)),
        ("open", _price_text(ticker.open_price)),
        ("high", _price_text(ticker.high_price)),
        ("low", _price_text(ticker.low_price)),
        ("change", decimal_text(ticker.change) if ticker.open_price is not None else "-"),
        ("volume", decimal_text(ticker.volume)),
        ("notional", decimal_text(ticker.notional)),
        ("trades", f"{ticker.trade_count}"),
    ]
    title = line(f"{ticker.instrument} over 24 hours at sequence {ticker.sequence}")
    return [title, *table(("", ""), rows)[1:]]


def statistics_lines(found: Statistics) -> list[Line]:
    """A row for each figure; counts are those since the server's start."""
    recent = f"in the last {found.recent_s} s"
    rows = [
        ("orders", f"{found.orders}, {found.recent_orders} {recent}"),
        ("trades", f"{found.trades}, {found.recent_trades} {recent}"),
        ("volume", decimal_text(found.volume)),
        ("24 hours", f"{found.day_trades} trades, volume {decimal_text(found.day_volume)}"),
        ("open orders", f"{found.open_orders}"),
        ("bids", f"{decimal_text(found.bid_depth)} at {found.bid_levels} prices"),
        ("asks", f"{decimal_text(found.ask_depth)} at {found.ask_levels} prices"),
        ("spread", _price_text(found.spread)),
    ]
    title = line(f"{found.instrument} since {time_text(found.since_time)}")
    return [title, *table(("", ""), rows)[1:]]


def positions_lines(positions: Sequence[Position]) -> list[Line]:
    """A row for each instrument; a loss is told by its sign."""
    rows: list[tuple[Cell, ...]] = [
        (
            position.instrument,
            decimal_text(position.net_quantity),
            decimal_text(position.average_price),
            _gain_span(position.realised_pnl),
            _gain_span(position.unrealised_pnl),
            decimal_text(position.fees),
        )
        for position in positions
    ]
    return table(POSITION_COLUMNS, rows, right=POSITION_COLUMNS[1:]) or [line("no positions")]


def instruments_lines(instruments: Sequence[Instrument]) -> list[Line]:
    """A row for each; fees in percent of the notional."""
    rows = [
        (
            each.name,
            decimal_text(each.tick),
            decimal_text(each.lot),
            f"{decimal_text(each.price_min)} to {decimal_text(each.price_max)}",
            f"{decimal_text(each.quantity_min)} to {decimal_text(each.quantity_max)}",
            _percent_text(each.maker_fee),
            _percent_text(each.taker_fee),
            "allowed"
            if each.self_trade_prevention is SelfTradePrevention.NONE
            else each.self_trade_prevention.value.replace("_", " "),
        )
        for each in instruments
    ]
    return table(INSTRUMENT_COLUMNS, rows, right=INSTRUMENT_COLUMNS[1:-1]) or [
        line("no instruments")
    ]


def status_lines(status: Status) -> list[Line]:
    """What works worse than it should comes first."""
    lines = [line(Span(f"degraded: {sentence}", Style.WARNING)) for sentence in status.degraded]
    rows: list[tuple[Cell, ...]] = [
        ("version", f"{status.version}, rules {status.rules_version}"),
        ("up for", duration_text(status.uptime_s)),
        ("durable up to", f"sequence {status.durable_sequence}"),
        ("newest snapshot", f"sequence {status.snapshot_sequence}"),
        ("journal from", f"sequence {status.journal_first_sequence}"),
        ("open orders", f"{status.open_orders}"),
        ("remembered", f"{status.closed_orders} closed orders, {status.keys} keys"),
        ("trading sessions", f"{status.open_sessions}"),
        (f"start {status.epoch}", status.recovery),
    ]
    rows += [
        (f"follower {each.name}", _follower_span(each, sequences_behind(status, each)))
        for each in status.followers
    ]
    return lines + table(("", ""), rows)[1:]  # these columns need no names


def followers_lines(status: Status) -> list[Line]:
    """Show a row for each follower that is registered."""
    rows = [
        (
            each.name,
            f"{each.sequence}",
            f"{sequences_behind(status, each)}",
            time_text(each.reported_time) if each.reported_time else "not since the start",
            Span("yes") if each.connected else Span("no", Style.WARNING),
        )
        for each in status.followers
    ]
    return table(FOLLOWER_COLUMNS, rows, right={"sequence", "behind"}) or [line("no followers")]


def sequences_behind(status: Status, follower: Follower) -> int:
    """How many durable sequences it has not taken in."""
    return max(0, status.durable_sequence - follower.sequence)


def side_span(side: Side) -> Span:
    """Buy or sell."""
    return Span(side.value, SIDE_STYLES[side])


def status_span(status: OrderStatus) -> Span:
    """A status, in words."""
    return Span(status.value.replace("_", " "), STATUS_STYLES.get(status, Style.PLAIN))


def settlement_lines(settlement: Settlement) -> list[Line]:
    """What each account is to receive, or, where it is negative, to give."""
    title = (
        f"{settlement.date}: {settlement.trade_count} trades settled, complete through sequence"
        f" {settlement.through_sequence}, digest {settlement.digest[:16]}"
    )
    rows = _obligation_rows(settlement)
    return [line(title), *table(OBLIGATION_COLUMNS, rows, right=OBLIGATION_COLUMNS[2:])]


def settlement_csv(settlement: Settlement) -> str:
    """A line with the names, then one for each obligation; numbers are exact."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("date", *OBLIGATION_COLUMNS))
    writer.writerows((settlement.date, *row) for row in _obligation_rows(settlement))
    return text.getvalue()


def _obligation_rows(settlement: Settlement) -> list[tuple[str, ...]]:
    return [
        (
            each.instrument,
            each.account,
            decimal_text(each.quantity),
            decimal_text(each.money),
            decimal_text(each.fees),
            str(each.fill_count),
        )
        for each in settlement.obligations
    ]


def decimal_text(value: Decimal) -> str:
    """Show a number exactly, without an exponent."""
    return f"{value:f}"


def time_text(value: datetime) -> str:
    """Show a time as RFC 3339, to the millisecond."""
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration_text(seconds: float) -> str:
    """Show a duration in its two largest units: `3 h 12 min`."""
    whole = int(seconds)
    for name, unit, lower, lower_unit in (
        ("d", 86_400, "h", 3_600),
        ("h", 3_600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= unit:
            return f"{whole // unit} {name} {whole % unit // lower_unit} {lower}"
    return f"{seconds:.1f} s"


def _price_text(price: Decimal | None) -> str:
    return "-" if price is None else decimal_text(price)


def _level_text(level: Level | None) -> str:
    if level is None:
        return "-"
    return f"{decimal_text(level.price)}, quantity {decimal_text(level.quantity)}"


def _level_row(name: str, side: Side, level: Level) -> tuple[Cell, ...]:
    price = Span(decimal_text(level.price), SIDE_STYLES[side])
    return name, price, decimal_text(level.quantity)


def _gain_span(value: Decimal) -> Span:
    style = Style.PLAIN if not value else Style.GOOD if value > 0 else Style.BAD
    return Span(decimal_text(value), style)


def _percent_text(rate: Decimal) -> str:
    return f"{(rate * 100).normalize():f} %"


def _follower_span(follower: Follower, behind: int) -> Span:
    place = f"at sequence {follower.sequence}, {behind} behind"
    if follower.connected:
        return Span(place)
    return Span(f"not connected, last {place}", Style.WARNING)
