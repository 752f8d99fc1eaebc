"""How numbers look over HTTP, and what each figure is: the first table of `/docs`."""

from typing import Final, NamedTuple

IN_REQUESTS: Final = (
    "In a request a price or quantity is a JSON number or a numeric string, `70150.5` or "
    '`"70150.5"`, with at most 15 significant digits and 8 decimals. It is read as the double '
    "nearest to it; where the shortest way to write that double has more digits than that, the "
    "request is refused (`NUMBER_INVALID`), not rounded."
)


class Numbers(NamedTuple):
    """Says what some figures of replies are, and how they are written."""

    kind: str
    form: str
    fields: tuple[str, ...]
    note: str = ""


NUMBERS: Final = (
    Numbers(
        "Prices",
        "JSON numbers, in the quote currency for one unit of the base currency",
        (
            "price", "last", "bid", "ask", "bid_price", "ask_price", "spread", "mid", "open",
            "high", "low", "close", "change", "min_price", "max_price", "avg_price", "vwap",
            "overall_vwap", "tick_size",
        ),
    ),
    Numbers(
        "Quantities",
        "JSON numbers, in the base currency",
        (
            "quantity", "filled_quantity", "remaining_quantity", "cancelled_quantity",
            "cumulative", "bid_quantity", "ask_quantity", "bid_depth", "ask_depth",
            "total_quantity", "volume", "volume_24h", "net_quantity", "lot_size", "min_quantity",
            "max_quantity",
        ),
        "The `volume` of ticker and statistics is one, the `total_volume` of analytics is money.",
    ),
    Numbers(
        "Money",
        "JSON numbers, in the quote currency: price times quantity, and sums of it; fees",
        (
            "notional", "total_volume", "total_cost", "realised_pnl", "unrealised_pnl", "fees",
            "maker_fee", "taker_fee",
        ),
    ),
    Numbers(
        "Rates",
        "JSON numbers: parts of price times quantity; per second",
        ("maker_fee_rate", "taker_fee_rate", "orders_per_second", "trades_per_second"),
    ),
    Numbers(
        "Counts",
        "whole JSON numbers",
        (
            "count", "trade_count", "open_orders", "orders", "trades", "trades_24h", "bid_levels",
            "ask_levels", "cancelled_count", "events",
        ),
        "`orders` and `trades` are counts in statistics, and lists elsewhere.",
    ),
    Numbers(
        "Durations",
        "JSON numbers, in the unit that the name tells",
        ("interval_minutes", "seconds"),
    ),
    Numbers(
        "Codes",
        "whole JSON numbers: the gRPC status code of an error, the CRC-32C of a book",
        ("code", "checksum"),
    ),
    Numbers(
        "Sequences",
        "strings of digits, which may be more than a double holds",
        ("sequence", "previous_sequence", "snapshot_sequence"),
    ),
)  # fmt: skip

IN_REPLIES: Final = (
    "In a reply numbers of up to 15 significant digits are exact; a longer sum is rounded to 15, "
    "half to even."
)
