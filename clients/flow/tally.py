"""What a flow has done so far, as counts, and as the lines that people read."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from clients.errors import RefusedError
from clients.flow.market import GONE
from clients.order_wire import Outcome
from clients.percentiles import percentiles
from clients.types import Cancelled, OrderStatus, Placed, Replaced

ANSWERS_MAX = 200_000  # times of answers kept for the percentiles: hours of them, 2 MB


@dataclass(slots=True)
class Traded:
    """What one instrument has traded in the flow."""

    trades: int = 0
    quantity: Decimal = Decimal(0)
    notional: Decimal = Decimal(0)
    last_price: Decimal | None = None


@dataclass(slots=True)
class Tally:
    """Counts since the flow began."""

    began: float = field(default_factory=time.monotonic)
    commands: int = 0
    placed: int = 0
    rejected: int = 0
    """Placed, and ended by the rules without a fill."""
    replaced: int = 0
    cancelled: int = 0
    races_lost: int = 0
    """Cancels and replaces of orders that had ended."""
    refused: Counter[str] = field(default_factory=Counter)
    instruments: dict[str, Traded] = field(default_factory=dict)
    answers_ms: list[float] = field(default_factory=list)
    reconnects: int = 0
    """Sessions that were opened after one was lost."""

    @property
    def trades(self) -> int:
        """Count the trades of all instruments."""
        return sum(traded.trades for traded in self.instruments.values())

    @property
    def seconds(self) -> float:
        """Give the seconds since the flow began."""
        return time.monotonic() - self.began

    def count(self, outcomes: Sequence[Outcome], answer_ms: float) -> None:
        """A message was answered."""
        if len(self.answers_ms) < ANSWERS_MAX:
            self.answers_ms.append(answer_ms)
        for outcome in outcomes:
            self.commands += 1
            match outcome:
                case Placed():
                    self.placed += 1
                    self.rejected += outcome.order.status is OrderStatus.REJECTED
                    self._count_trades(outcome)
                case Replaced():
                    self.replaced += 1
                    self._count_trades(outcome)
                case Cancelled():
                    self.cancelled += 1
                case RefusedError() if outcome.reason in GONE:
                    self.races_lost += 1
                case RefusedError():
                    self.refused[outcome.reason or outcome.code.name] += 1

    def _count_trades(self, outcome: Placed | Replaced) -> None:
        traded = self.instruments.setdefault(outcome.order.instrument, Traded())
        traded.trades += outcome.trade_count
        for trade in outcome.trades:
            traded.quantity += trade.quantity
            traded.notional += trade.quantity * trade.price
            traded.last_price = trade.price

    def progress(self) -> str:
        """One line for whoever watches."""
        prices = "  ".join(
            f"{name} {traded.last_price:,f}"
            for name, traded in sorted(self.instruments.items())
            if traded.last_price is not None
        )
        return (
            f"{self.seconds:4.0f} s  {self.commands:,} commands  {self.trades:,} trades  {prices}"
        )

    def lines(self) -> list[str]:
        """Show the summary."""
        seconds = max(self.seconds, 0.001)
        answers = percentiles(self.answers_ms)
        times = ", ".join(f"{name} {answers[name]:.1f}" for name in ("p50", "p99") if answers)
        refused = ", ".join(f"{count} {reason}" for reason, count in self.refused.most_common())
        pace = f"{seconds:.1f} s, {self.commands / seconds:,.0f} a second"
        orders = f"placed {self.placed:,} (rejected by the rules {self.rejected:,})"
        changes = f"replaced {self.replaced:,}, cancelled {self.cancelled:,}"
        others = f"too late {self.races_lost:,}, refused {sum(self.refused.values()):,}"
        return [
            f"{self.commands:,} commands in {pace}; {self.reconnects} reconnects",
            f"{orders}, {changes}, {others}{f' ({refused})' if refused else ''}",
            f"answered after ms: {times or 'no answers'}",
            *(
                f"{name}: {traded.trades:,} trades, quantity {traded.quantity:,f}, notional "
                f"{traded.notional:,.2f}, last {_price_text(traded.last_price)}"
                for name, traded in sorted(self.instruments.items())
            ),
        ]

    def plain(self) -> dict[str, Any]:
        """Give the summary for programs."""
        return {
            "seconds": round(self.seconds, 3),
            "commands": self.commands,
            "placed": self.placed,
            "rejected": self.rejected,
            "replaced": self.replaced,
            "cancelled": self.cancelled,
            "races_lost": self.races_lost,
            "refused": dict(self.refused),
            "reconnects": self.reconnects,
            "answered_ms": {
                name: round(answer_ms, 3)
                for name, answer_ms in percentiles(self.answers_ms).items()
            },
            "instruments": {
                name: {
                    "trades": traded.trades,
                    "quantity": f"{traded.quantity:f}",
                    "notional": f"{traded.notional:f}",
                    "last_price": None if traded.last_price is None else f"{traded.last_price:f}",
                }
                for name, traded in sorted(self.instruments.items())
            },
        }


def _price_text(price: Decimal | None) -> str:
    return "none" if price is None else f"{price:,f}"
