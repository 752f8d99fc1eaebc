"""The view as a picture of a given size: book on the left, trades on the right, orders below.

A pure function of the view, so that a resize is nothing but the next picture. What does not fit is
left out from the outside in: levels far from the best, older trades, older orders.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import zip_longest

from clients.presentation import SIDE_STYLES, side_span, status_span
from clients.terminal import Line, Span, Style, clipped, line, table, width_of
from clients.types import Level, Side, Trade
from clients.watch.view import OrderRow, View

TOP_LINES = 3  # title, best prices, a blank line
WIDE_COLUMNS = 72  # from this on trades stand beside the book
BOOK_COLUMNS_MAX = 60
ORDERS_LINES_MIN = 4  # title, headings, an order, a blank line
GAP = "   "
NOTHING = Span("-", Style.QUIET)
ORDER_COLUMNS = ("order", "side", "quantity", "price", "filled", "status")


def picture(view: View, width: int, height: int, bar: str = "█") -> list[Line]:
    """At most `height` lines of at most `width` characters; `bar` is what bars are made of."""
    orders = _orders_lines(view, height // 3) if view.client_id else []
    body_height = max(height - TOP_LINES - len(orders) - 1, 0)
    lines = [_title(view, width), _best_line(view), (), *_body(view, width, body_height, bar)]
    lines += [() for _ in range(height - len(lines) - len(orders) - 1)]
    lines += [*orders, line(Span("q or Ctrl-C ends", Style.QUIET))]
    return [clipped(each, width) for each in lines[:height]]


def aligned(values: Sequence[Decimal]) -> list[str]:
    """Show each with as many decimals as the most precise one, so that points stand in a column."""
    places = max((-int(value.normalize().as_tuple().exponent) for value in values), default=0)
    return [f"{value:.{max(places, 0)}f}" for value in values]


def state_span(view: View) -> Span:
    """Whether what is shown is up to date."""
    for stream, interruption in view.interruptions.items():
        return Span(f"{stream} interrupted, trying again: {interruption.why}", Style.WARNING)
    if not view.book.begun:
        return Span("waiting for the book", Style.WARNING)
    afresh = f", started afresh {view.restarts} times" if view.restarts else ""
    return Span(f"live at sequence {view.book.sequence}{afresh}", Style.GOOD)


def _title(view: View, width: int) -> Line:
    name, state = Span(view.instrument, Style.HEADING), state_span(view)
    room = max(width - len(name.text) - len(state.text), 2)
    return line(name, " " * room, state)


def _best_line(view: View) -> Line:
    bid, ask = view.book.best_bid, view.book.best_ask
    spread = ask.price - bid.price if bid and ask else None
    last = view.trades[-1] if view.trades else None
    return line(
        "bid ",
        Span(f"{bid.price:f}", SIDE_STYLES[Side.BUY]) if bid else NOTHING,
        "  ask ",
        Span(f"{ask.price:f}", SIDE_STYLES[Side.SELL]) if ask else NOTHING,
        "  spread ",
        NOTHING if spread is None else Span(f"{spread.normalize():f}"),
        "  last ",
        Span(f"{last.price:f}", SIDE_STYLES[last.aggressor_side]) if last else NOTHING,
    )


def _body(view: View, width: int, height: int, bar: str) -> list[Line]:
    """Side by side where both fit; it is the bars that give way, never a number."""
    trades = _trades_lines(view, height)
    room = width - len(GAP) - max(map(width_of, trades), default=0)
    book_width = min(width // 2, BOOK_COLUMNS_MAX, room)
    book = _book_lines(view, book_width, height, bar)
    if width < WIDE_COLUMNS or max(map(width_of, book), default=0) > book_width:
        book_height = max(height * 3 // 5, min(height, 4))
        book = _book_lines(view, width, book_height, bar)
        return [*book, *_trades_lines(view, height - len(book))]
    return [
        (*left, Span(" " * (book_width - width_of(left)) + GAP), *right)
        for left, right in zip_longest(book, trades, fillvalue=())
    ]


def _book_lines(view: View, width: int, height: int, bar: str) -> list[Line]:
    """As many levels a side as fit below the heading, with a line between the sides."""
    count = max((height - 2) // 2, 0)
    asks = view.book.levels(Side.SELL, count)[::-1]
    bids = view.book.levels(Side.BUY, count)
    levels = [*asks, *bids]
    if not view.book.best_bid and not view.book.best_ask:
        return [line(Span("the book is empty", Style.QUIET))][:height]
    if not levels:
        return []
    prices = aligned([level.price for level in levels])
    quantities = aligned([level.quantity for level in levels])
    price_width = max(map(len, [*prices, "price"]))
    quantity_width = max(map(len, [*quantities, "quantity"]))
    bar_width = max(width - price_width - quantity_width - 3, 0)
    largest = max(level.quantity for level in levels)

    def level_line(side: Side, level: Level, price: str, quantity: str) -> Line:
        length = int(level.quantity * bar_width / largest)
        style = SIDE_STYLES[side]
        return line(
            Span(price.rjust(price_width), style),
            f"  {quantity.rjust(quantity_width)} ",
            Span(bar * max(length, min(bar_width, 1)), style),
        )

    heading = Span(f"{'price':>{price_width}}  {'quantity':>{quantity_width}}", Style.HEADING)
    sides = [Side.SELL] * len(asks) + [Side.BUY] * len(bids)
    rows = [level_line(*row) for row in zip(sides, levels, prices, quantities, strict=True)]
    between = line(Span("-" * (price_width + quantity_width + 2), Style.QUIET))
    return [line(heading), *rows[: len(asks)], between, *rows[len(asks) :]]


def _trades_lines(view: View, height: int) -> list[Line]:
    """The newest first; those of the client are marked."""
    if height < 1:
        return []
    if not view.trades:
        return [line(Span("no trades yet", Style.QUIET))]
    newest = list(view.trades)[::-1][: height - 1]
    prices = aligned([trade.price for trade in newest])
    quantities = aligned([trade.quantity for trade in newest])
    rows = [
        (
            f"{trade.time:%H:%M:%S}.{trade.time.microsecond // 1000:03}",
            side_span(trade.aggressor_side),
            quantity,
            price,
            _own_mark(view, trade),
        )
        for trade, price, quantity in zip(newest, prices, quantities, strict=True)
    ]
    return table(("time", "trade", "quantity", "price", ""), rows, right={"quantity", "price"})


def _own_mark(view: View, trade: Trade) -> Span:
    clients = (trade.maker_client_id, trade.taker_client_id)
    is_own = bool(view.client_id) and view.client_id in clients
    return Span("own" if is_own else "", Style.WARNING)


def _orders_lines(view: View, height: int) -> list[Line]:
    """The newest first; where there is no room for one and its headings, none."""
    if height < ORDERS_LINES_MIN:
        return []
    count = len(view.orders)
    title = line(Span(f"open orders of {view.client_id}: {count}", Style.HEADING))
    rows = map(_order_cells, list(view.orders.values())[::-1][: height - ORDERS_LINES_MIN + 1])
    return [title, *table(ORDER_COLUMNS, rows, right={"quantity", "price", "filled"}), ()]


def _order_cells(row: OrderRow) -> Line:
    return line(
        row.order_id,
        side_span(row.side),
        f"{row.quantity:f}",
        "market" if row.price is None else f"{row.price:f}",
        f"{row.filled_quantity:f}",
        status_span(row.status),
    )
