"""The frames of `/stream`: text, one JSON object each, from a client 16 KiB at most.

From the client, each with `type`; unknown fields are ignored:

- `subscribe`, `unsubscribe`: `channels`, a list of `trades`, `orders`, `orderbook`, `ticker` and
  `depth`; `instrument` (`BTC-USD`) or `instruments`, a list; `from_sequence` (`subscribe` only, a
  number or a decimal string) sends trades and orders from that sequence on first.
- `order`: the fields of `POST /orders`. Documented clients say `type` twice, and an ordinary JSON
  parser keeps one of the two: the first of two is the frame's, the last the order's, and a frame of
  type `limit` or `market` is an order. `order_type` says the order's type without a doubt.
- `cancel`: `order_id`, optionally `client_id`, `idempotency_key`. `replace`: the same and `price`,
  `quantity` (the new total) or both, with as many digits as over HTTP. `cancel_all`: `client_id`,
  optionally `instrument`, `side`.
- `ping`. Each of these may have a `request_id` (text, or the frame is refused), which its answer
  repeats; the server's log names orders, cancels and replaces by it where it is like an
  `x-request-id`.

To the client, each with `type` and `timestamp`:

- `connected` (`client_id`), `subscribed`, `unsubscribed` (`channels`, `instrument`), `pong`.
- `order_accepted` and `order_replaced` (`order`, `trades`, `trade_count`, `sequence`, `orderbook`),
  `order_cancelled` (`order`, `sequence`), `orders_cancelled` (`orders`, the first 1,000,
  `cancelled_count`, `sequence`). The first three say `repeated` (`true`) where they answer a repeat
  under its idempotency key.
- `error`: `error`, `code` (gRPC), `details` as over HTTP, over a rate limit with the seconds to
  wait; with `channel`: its updates ended by a fault, and the client subscribes again. The
  connection stays open.
- Updates: `channel` (`trades:BTC-USD`), `data`, `sequence` and `previous_sequence`, both decimal
  strings. `trades` holds one trade, `orders` one order as it stands after an event, `orderbook` the
  20 best levels a side, `ticker` the ticker, `depth` a `snapshot` or a `delta` (quantity 0: gone)
  with the checksum of the book's stream over HTTP. All but trades and orders begin with the whole;
  a deep book with its best levels, to which deltas add those further out: `partial` until the last.
- `resumed` and `restarted`, of trades and orders: everything asked for up to `sequence` has been
  sent; or what came before `sequence` was lost, and the client has to read it elsewhere.

`previous_sequence` is the sequence of the channel's update before. One greater than what a client
has seen means that it missed something: it subscribes again with `from_sequence` (inclusive), or
for `depth` without, and is sent a snapshot. All frames of one command have its `sequence`, those
after the first as `previous_sequence` too, and all of them come again: a trade that a client has
is told by its `trade_id`, and an order as it stands may be shown again. `orderbook` and `ticker`
are whole states, of which some may be left out.
"""

import json
import struct
import zlib
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final

from clients.decimals import E8, decimal_of_e8
from clients.types import Order, Ticker, Trade

DIGITS: Final = Context(prec=15, rounding=ROUND_HALF_EVEN)
"""The 15 significant digits that a double keeps; longer sums are rounded to them."""
DIGITS_END: Final = 10**15
"""The least integer that has more digits than that."""
RULE_REASONS: Final = frozenset(
    {
        "no_liquidity",
        "immediate_or_cancel",
        "fill_or_kill",
        "post_only_would_cross",
        "self_trade_prevention",
    }
)
"""Reasons of ends that a rule made, not a request: what `reject_reason` shows, over HTTP too."""
TEXT: Final = 0x81
COMPRESSED_TEXT: Final = 0xC1


class Frame:
    """One message, encoded once for everybody who is sent it."""

    __slots__ = ("_compressed", "_text", "plain", "sequence")

    def __init__(self, content: dict[str, Any], sequence: int = 0) -> None:
        """`sequence` is that of an update."""
        self.sequence = sequence
        self._text = json.dumps(content, separators=(",", ":")).encode()
        self.plain = framed(TEXT, self._text)
        self._compressed: dict[int, bytes] = {}

    def bytes_for(self, window_bits: int) -> bytes:
        """Give the bytes for the wire; 0 bits: without compression. Compressed messages stand alone
        (no context takeover), so everybody with the same window gets the same bytes."""
        if not window_bits:
            return self.plain
        found = self._compressed.get(window_bits)
        if found is None:
            compressor = zlib.compressobj(wbits=-window_bits, memLevel=5)
            data = compressor.compress(self._text) + compressor.flush(zlib.Z_SYNC_FLUSH)
            found = self._compressed[window_bits] = framed(COMPRESSED_TEXT, data[:-4])
        return found


def framed(first: int, payload: bytes) -> bytes:
    """Frame a payload as a server does: never masked, never fragmented."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return struct.pack(">BBH", first, 126, size) + payload
    return struct.pack(">BBQ", first, 127, size) + payload


def now_text() -> str:
    return time_text(datetime.now(UTC))


def time_text(time: datetime) -> str:
    """Write a time as RFC 3339, UTC, with milliseconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def number(value: Decimal) -> float | int:
    """Give the JSON number that stands for a decimal."""
    rounded = float(DIGITS.plus(value))
    return int(rounded) if rounded.is_integer() else rounded


def number_of_e8(value_e8: int) -> float | int:
    """Give the same for an integer of 10^-8, at a tenth of the cost."""
    if -DIGITS_END < value_e8 < DIGITS_END:
        # Both are doubles exactly, so their quotient is the one nearest to the decimal.
        return value_e8 / E8 if value_e8 % E8 else value_e8 // E8
    return number(decimal_of_e8(value_e8))


def with_whole_numbers(content: Any) -> Any:
    """Give JSON with 10 for 10.0, as `number` does and HTTP writes it."""
    if isinstance(content, dict):
        return {name: with_whole_numbers(value) for name, value in content.items()}
    if isinstance(content, list):
        return [with_whole_numbers(value) for value in content]
    return int(content) if isinstance(content, float) and content.is_integer() else content


def update(
    kind: str, instrument: str, data: Any, time: datetime, sequence: int, previous_sequence: int
) -> Frame:
    """Make a frame of one update of a channel."""
    return Frame(
        {
            "type": kind,
            "channel": f"{kind}:{instrument}",
            "data": data,
            "timestamp": time_text(time),
            "sequence": str(sequence),
            "previous_sequence": str(previous_sequence),
        },
        sequence,
    )


def notice(kind: str, channel: str, sequence: int, previous_sequence: int) -> Frame:
    """Make a frame of kind `resumed` or `restarted`."""
    return Frame(
        {
            "type": kind,
            "channel": channel,
            "timestamp": now_text(),
            "sequence": str(sequence),
            "previous_sequence": str(previous_sequence),
        }
    )


def trade_json(trade: Trade) -> dict[str, Any]:
    """Show a trade by its two sides."""
    maker, taker = trade.maker_order_id, trade.taker_order_id
    buy, sell = (taker, maker) if trade.aggressor_side == "buy" else (maker, taker)
    return {
        "trade_id": trade.trade_id,
        "buy_order_id": buy,
        "sell_order_id": sell,
        "instrument": trade.instrument,
        "price": number(trade.price),
        "quantity": number(trade.quantity),
        "timestamp": time_text(trade.time),
        "sequence": str(trade.sequence),
        "side": str(trade.aggressor_side),
        "maker_fee": number(trade.maker_fee),
        "taker_fee": number(trade.taker_fee),
    }


def order_json(order: Order) -> dict[str, Any]:
    """Show an order as `GET /orders/{order_id}` does."""
    content = {
        "order_id": order.order_id,
        "client_id": order.client_id,
        "instrument": order.instrument,
        "side": str(order.side),
        "type": str(order.type),
        "quantity": number(order.quantity),
        "filled_quantity": number(order.filled_quantity),
        "remaining_quantity": number(order.remaining_quantity),
        "cancelled_quantity": number(order.cancelled_quantity),
        "status": str(order.status),
        "time_in_force": str(order.time_in_force),
        "post_only": order.post_only,
        "created_at": time_text(order.created_time),
        "updated_at": time_text(order.updated_time),
    }
    if order.price is not None:
        content["price"] = number(order.price)
    if order.end_reason is not None:
        content["end_reason"] = reason = str(order.end_reason)
        if reason in RULE_REASONS:
            content["reject_reason"] = reason
    return content


def ticker_json(ticker: Ticker) -> dict[str, Any]:
    """Show what there is of a ticker, as `GET /market/ticker` does."""
    found: dict[str, Decimal | None] = {
        "last": ticker.last_price,
        "bid": ticker.bid.price if ticker.bid else None,
        "bid_quantity": ticker.bid.quantity if ticker.bid else None,
        "ask": ticker.ask.price if ticker.ask else None,
        "ask_quantity": ticker.ask.quantity if ticker.ask else None,
        "open": ticker.open_price,
        "high": ticker.high_price,
        "low": ticker.low_price,
        "change": ticker.change if ticker.open_price is not None else None,
        "volume": ticker.volume,
        "notional": ticker.notional,
    }
    content: dict[str, Any] = {"instrument": ticker.instrument}
    content |= {name: number(value) for name, value in found.items() if value is not None}
    return content | {"trade_count": ticker.trade_count}


def level_json(price_e8: int, quantity_e8: int) -> dict[str, Any]:
    return {
        "price": number_of_e8(price_e8),
        "quantity": number_of_e8(quantity_e8),
    }
