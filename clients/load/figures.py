"""What a load came to: how many orders, how they were answered, and after how long."""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from clients.percentiles import percentiles

ANSWERS_MAX = 5_000_000  # times kept for the percentiles, 40 MB; as many orders are sent at most
SAID_MAX = 200  # characters of the first answer of each kind of error


@dataclass(slots=True)
class Figures:
    """Counts of orders; `refused` and `failed` together are the errors."""

    way: str
    """How they were sent, for people."""
    total: int | None = None
    """Orders of the file, all of which are to be sent; None where they are drawn."""
    is_stopped: bool = False
    """By Ctrl-C, before it was through."""
    sent: int = 0
    accepted: int = 0
    rejected: int = 0
    """Accepted, and ended by the rules without a fill."""
    repeated: int = 0
    """Accepted before under the same idempotency key; known over gRPC only."""
    trades: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Answered by an error, by its kind."""
    failed: Counter[str] = field(default_factory=Counter)
    """Not answered, by what happened: whether the order was taken isn't known."""
    said: dict[str, str] = field(default_factory=dict)
    """The first answer of each kind of error."""
    answers_ms: "array[float]" = field(default_factory=lambda: array("d"))
    seconds: float = 0.0

    @property
    def errors(self) -> int:
        """Orders that were not accepted."""
        return self.refused.total() + self.failed.total()

    @property
    def not_sent(self) -> int:
        """Orders of the file that were left when its time was over or its session was lost."""
        return 0 if self.total is None else self.total - self.sent

    @property
    def error_rate(self) -> float:
        """Errors in parts of all orders that have an outcome."""
        return self.errors / max(self.accepted + self.errors, 1)

    def refuse(self, kind: str, said: str) -> None:
        """An order was answered by an error."""
        self.refused[kind] += 1
        self.said.setdefault(kind, said[:SAID_MAX])

    def fail(self, kind: str, count: int = 1) -> None:
        """Orders were not answered."""
        self.failed[kind] += count

    def progress(self, seconds: float, total: int | None) -> str:
        """One line for whoever watches."""
        answered = self.accepted + self.errors
        of = f" of {total:,}" if total else ""
        return (
            f"{seconds:4.0f} s  {answered:,}{of} orders answered, "
            f"{answered / max(seconds, 0.001):,.0f} a second, {self.errors:,} errors"
        )

    def lines(self) -> list[str]:
        """Show the summary."""
        answered = self.accepted + self.errors
        kinds = [*self.refused.most_common(), *self.failed.most_common()]
        times = percentiles(self.answers_ms)
        accepted = f"accepted {self.accepted:,} (rejected by the rules {self.rejected:,}"
        repeated = f", repeated {self.repeated:,}" if self.repeated else ""
        errors = f"refused {self.refused.total():,}, unanswered {self.failed.total():,}"
        not_sent = f", not sent {self.not_sent:,} of {self.total:,}" if self.not_sent else ""
        pace = f"{self.seconds:.2f} s, {answered / max(self.seconds, 0.001):,.0f} a second"
        return [
            f"{answered:,} orders in {pace}, {self.way}",
            f"{accepted}{repeated}), trades {self.trades:,}",
            f"{errors}{not_sent}; error rate {self.error_rate * 100:.2f} %",
            *(
                f"  {count:,} {kind}: {self.said.get(kind, '')}".rstrip(": ")
                for kind, count in kinds
            ),
            "percentile  answered after",
            *(f"{name:<10}  {time_ms:,.2f} ms" for name, time_ms in times.items()),
        ]

    def plain(self) -> dict[str, Any]:
        """Give the summary for programs."""
        answered = self.accepted + self.errors
        return {
            "way": self.way,
            "seconds": round(self.seconds, 3),
            "orders": answered,
            "orders_per_s": round(answered / max(self.seconds, 0.001), 1),
            "accepted": self.accepted,
            "rejected": self.rejected,
            "repeated": self.repeated,
            "trades": self.trades,
            "refused": dict(self.refused),
            "failed": dict(self.failed),
            **({} if self.total is None else {"not_sent": self.not_sent}),
            "error_rate": round(self.error_rate, 6),
            "answered_ms": {
                name: round(time_ms, 3) for name, time_ms in percentiles(self.answers_ms).items()
            },
        }
