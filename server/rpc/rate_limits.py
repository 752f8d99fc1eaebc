"""Rate limits where calls come in: which budgets a call draws on, and what it is told about them.

Limited are the services of `LIMITED`; health, reflection, figures, the journal's stream and all of
the admin's calls are not. A stream draws one query when it is opened; the commands of a trading
session draw on the same budgets as the calls of these names, a message at a time.

Every limited reply says `x-ratelimit-limit` (a second), `x-ratelimit-remaining` and, refused,
`retry-after` (whole seconds, rounded up) in its trailing metadata, of which the gateway makes
headers. Initial metadata would be a message of its own, sent and read for each call. The refusal
itself says the seconds too: a message of a session, or a WebSocket frame, has no metadata.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor

from server.core.commands import CancelOrder, CancelOrders, Command, PlaceOrder, ReplaceOrder
from server.limits.limiter import CANCELS, ORDERS, QUERIES, Limiter, Verdict
from server.rpc.context import Context
from server.rpc.errors import EdgeReason, EdgeReject

LIMITED: Final = frozenset(
    {
        "exchange.v1.OrderService",
        "exchange.v1.MarketData",
        "exchange.v1.AccountService",
        "exchange.http.v1.OrderService",
        "exchange.http.v1.MarketService",
    }
)
KINDS: Final = {
    "PlaceOrder": ORDERS,
    "PlaceOrders": ORDERS,
    "ReplaceOrder": ORDERS,
    "CancelOrder": CANCELS,
    "CancelOrders": CANCELS,
}
"""The kinds of limited methods; all others are queries."""

COMMANDS: Final[dict[type, str]] = {
    PlaceOrder: ORDERS,
    ReplaceOrder: ORDERS,
    CancelOrder: CANCELS,
    CancelOrders: CANCELS,
}
"""The kinds of the commands that a trading session holds."""

HOLDER_CHARACTERS_MAX: Final = 65
"""Characters of a client or an address, remembered before anything has checked it. More than any
valid one has, so that no invalid one draws on its budget."""
LOCAL_PEERS: Final = ("ipv4:127.", "ipv6:%5B::1%5D", "ipv6:[::1]", "unix:")
FORWARDED: Final = "x-forwarded-for"

Metadata = Iterable[tuple[str, str | bytes]]
Judge = Callable[[Any, str], Verdict]
"""Judges a request and the address that it comes from."""


def judge_of(method: MethodDescriptor, limiters: Mapping[str, Limiter]) -> Judge | None:
    """Find what judges the calls of a method; None where they are not limited."""
    if method.containing_service.full_name not in LIMITED:
        return None
    limiter = limiters.get(KINDS.get(method.name, QUERIES))
    if limiter is None:
        return None
    take = limiter.take
    fields = method.input_type.fields_by_name
    if "orders" in fields and not method.client_streaming:
        return lambda request, address: take(_of_many(request.orders, address))
    if "user_id" in fields:
        return lambda request, address: take(_of_one(request.client_id or request.user_id, address))
    if "client_id" in fields and not method.client_streaming:
        return lambda request, address: take(_of_one(request.client_id, address))
    return lambda _, address: take({address: 1})


class SessionBudgets:
    """Judges what one trading session sends."""

    def __init__(self, limiters: Mapping[str, Limiter], context: Context) -> None:
        self._limiters = limiters
        self._address = address_of(context.peer(), context.invocation_metadata() or ())

    def judged(self, commands: Sequence[Command | EdgeReject]) -> list[Command | EdgeReject]:
        """Judge the commands of one message. Where its orders are over a limit, all of them are
        replaced by the refusal; the same for its cancels."""
        left = list(commands)
        by_kind: dict[str, dict[str, int]] = {}
        for command in left:
            if isinstance(command, PlaceOrder | ReplaceOrder | CancelOrder | CancelOrders):
                wanted = by_kind.setdefault(COMMANDS[type(command)], {})
                wanted[command.client_id] = wanted.get(command.client_id, 0) + 1
        for kind, wanted in by_kind.items():
            limiter = self._limiters.get(kind)
            if limiter is None:
                continue
            holders = {self._address: sum(wanted.values())}
            holders.update({client(it): count for it, count in wanted.items() if it})
            verdict = limiter.take(holders)
            if verdict.retry_after_ns:
                refused = refused_of(verdict)
                left = [refused if COMMANDS.get(type(each)) == kind else each for each in left]
        return left


def _of_one(client_id: str, address: str) -> dict[str, int]:
    return {address: 1, client(client_id): 1} if client_id else {address: 1}


def _of_many(orders: Any, address: str) -> dict[str, int]:
    wanted = Counter(client(order.client_id) for order in orders if order.client_id)
    return {address: max(1, len(orders)), **wanted}


def client(client_id: str) -> str:
    """Name a client's budget."""
    return f"client {client_id[:HOLDER_CHARACTERS_MAX]}"


def address_of(peer: str, metadata: Metadata) -> str:
    """Tell who calls, without the port; what the gateway saw, where a local peer says so."""
    if peer.startswith(LOCAL_PEERS):
        for key, value in metadata:
            if key == FORWARDED:
                # The last one is what the gateway added; those before it are the caller's own.
                address = str(value).rpartition(",")[2].strip()
                return f"address {address[:HOLDER_CHARACTERS_MAX]}"
    return f"address {peer.partition(':')[2].rpartition(':')[0]}"


def metadata_of(verdict: Verdict) -> tuple[tuple[str, str], ...]:
    """Tell the caller of his budget in the reply's metadata."""
    told = (
        ("x-ratelimit-limit", str(verdict.limit)),
        ("x-ratelimit-remaining", str(verdict.remaining)),
    )
    if not verdict.retry_after_ns:
        return told
    return (*told, ("retry-after", str(_retry_after_s(verdict))))


def refused_of(verdict: Verdict) -> EdgeReject:
    """Refuse a request over its limit."""
    return EdgeReject(
        EdgeReason.RATE_LIMITED,
        f"{verdict.kind} a second",
        verdict.holder,
        verdict.limit,
        _retry_after_s(verdict),
    )


def _retry_after_s(verdict: Verdict) -> int:
    return -(-verdict.retry_after_ns // 10**9)
