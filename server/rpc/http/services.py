"""Mounts the HTTP JSON door on the gRPC server that the gateway's transcoder calls."""

from collections.abc import Awaitable, Callable
from typing import Final

from exchange.http.v1 import market_service_pb2, order_service_pb2, system_service_pb2
from server.feed.feed import Feed
from server.history.reader import History
from server.rpc.admin_service import AdminService
from server.rpc.deadlines import Deadlines
from server.rpc.http import market, orders
from server.rpc.http.calls import HttpCalls
from server.rpc.http.market import HttpMarket
from server.rpc.http.orders import HttpOrders
from server.rpc.http.system import HttpSystem
from server.rpc.parts import Parts
from server.rpc.recent_outcomes import RecentOutcomes
from server.sequencer.sequencer import Sequencer

ORDERS: Final = order_service_pb2.DESCRIPTOR.services_by_name["OrderService"]
MARKET: Final = market_service_pb2.DESCRIPTOR.services_by_name["MarketService"]
SYSTEM: Final = system_service_pb2.DESCRIPTOR.services_by_name["SystemService"]


def add_http_services(
    add: Callable[..., None],
    sequencer: Sequencer,
    feed: Feed,
    deadlines: Deadlines,
    history: History,
    admin: AdminService,
    parts: Parts,
    journal: Callable[[], str],
    metrics: Callable[[], Awaitable[bytes]],
    recent: RecentOutcomes | None,
) -> None:
    """Serve `exchange.http.v1`. `add` registers a service as `server.rpc.registration.register`
    does, `admin` gives status and snapshots, `journal` how the journal is, `metrics` the text of
    all figures (`server.metrics.exposition.Metrics.text`), `recent` outcomes of recent keys."""
    calls = HttpCalls(sequencer, deadlines, recent)
    add(ORDERS, HttpOrders(calls, history), orders.ENCODED)
    add(MARKET, HttpMarket(calls, history, admin, feed), market.ENCODED)
    add(SYSTEM, HttpSystem(admin, parts, journal, metrics))
