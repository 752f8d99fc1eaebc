"""Envoy's configuration: one listener that serves HTTP JSON and passes gRPC through.

A request meets, in order: the limits of the connection manager; the routes
(`gateway/route_table.py`), which refuse what the contract does not name; the Lua filter, which
names the request, refuses what the transcoder would misread, leaves out headers that nobody reads
and the body of a GET, and finishes the reply; the limit of the body; the one that refuses what is
no JSON; the transcoder, which turns JSON into the messages of `exchange.http.v1`; the router.
gRPC calls have routes of their own, on which they are named and passed on, without the headers that
nobody reads.

The server is asked for its health each second: one that is gone, starting or stopping costs a
caller a 503 at once instead of a wait. A second gateway on the same port must fail to start, so the
port is not shared (`enable_reuse_port`), and hot restart is off, since its shared memory would make
two gateways on one machine each other's successors.
"""

from typing import Any, Final

from gateway.addresses import Addresses, beside, socket_address, stands_for_ipv4
from gateway.clusters import (
    CONNECTION_BUFFER_BYTES,
    CONNECTIONS_MAX,
    STREAM_WINDOW_BYTES,
    cluster,
    websocket_cluster,
)
from gateway.errors import local_replies
from gateway.filters import body_limit, router, transcoder
from gateway.route_table import CALL_S_MAX, routes
from gateway.scripts import lua, strict_json
from gateway.static_files import FILE_BYTES_MAX

MIB: Final = 1024 * 1024

CONNECTION_WINDOW_BYTES: Final = MIB
STREAMS_PER_CONNECTION_MAX: Final = 100
HEADERS_KIB_MAX: Final = 16
"""The same bound as for the server's metadata: many times what a client sends."""
HEAP_BYTES_MAX: Final = 1024 * MIB
"""The heap's bound: near it Envoy gives back what it can, then refuses requests rather than die."""
HEADERS_S_MAX: Final = 10
IDLE_CONNECTION_S: Final = 3_600
PING_S: Final = 30
"""The time between pings of a gRPC caller, as the server does itself: he who fell silent may have a
session whose orders are to be cancelled."""
PING_TIMEOUT_S: Final = 60
"""The time that a caller has for the answer, or anything else of his. On a line of 1 KB/s a full
window is before it: who reads a book so slowly is not cut."""

HCM: Final = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
MONITORS: Final = "type.googleapis.com/envoy.extensions.resource_monitors"


def configuration(addresses: Addresses) -> dict[str, Any]:
    """Make the whole configuration."""
    return {
        "static_resources": {
            "listeners": [listener(addresses)],
            "clusters": [cluster(addresses), websocket_cluster(addresses)],
        },
        "overload_manager": overload_manager(),
    }


def listener(addresses: Addresses) -> dict[str, Any]:
    address = socket_address(addresses.host, addresses.http_port)
    address["socket_address"]["ipv4_compat"] = stands_for_ipv4(addresses.host)
    also = beside(addresses)
    return {
        "name": "http",
        "address": address,
        **({"additional_addresses": also} if also else {}),
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": CONNECTION_BUFFER_BYTES,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": connection_manager(),
                    }
                ]
            }
        ],
    }


def connection_manager() -> dict[str, Any]:
    return {
        "@type": f"{HCM}.HttpConnectionManager",
        "stat_prefix": "http",
        "codec_type": "AUTO",
        "use_remote_address": True,
        # The filter decides which id stays: the caller's, if it is a good one, or a new one.
        "early_header_mutation_extensions": [set_aside("x-request-id", "x-given-request-id")],
        "generate_request_id": True,
        "always_set_request_id_in_response": True,
        "server_name": "exchange",
        # Ids may be `.` and `..`, which a normalised path would lose.
        "normalize_path": False,
        "merge_slashes": False,
        "max_request_headers_kb": HEADERS_KIB_MAX,
        "request_headers_timeout": f"{HEADERS_S_MAX}s",
        "stream_idle_timeout": f"{CALL_S_MAX}s",
        "common_http_protocol_options": {
            "idle_timeout": f"{IDLE_CONNECTION_S}s",
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        # What some load generators speak, and proxies unless told otherwise; it names no host.
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "exchange"},
        "http2_protocol_options": {
            "max_concurrent_streams": STREAMS_PER_CONNECTION_MAX,
            "initial_stream_window_size": STREAM_WINDOW_BYTES,
            "initial_connection_window_size": CONNECTION_WINDOW_BYTES,
            "connection_keepalive": {
                "interval": f"{PING_S}s",
                "interval_jitter": {"value": 0},
                "timeout": f"{PING_TIMEOUT_S}s",
            },
        },
        "local_reply_config": local_replies(),
        "http_filters": [
            lua(),
            body_limit(),
            strict_json(),
            transcoder(),
            router(),
        ],
        "route_config": {
            "max_direct_response_body_size_bytes": FILE_BYTES_MAX,
            "virtual_hosts": [{"name": "exchange", "domains": ["*"], "routes": routes()}],
        },
    }


def overload_manager() -> dict[str, Any]:
    def beyond(share: float) -> list[dict[str, Any]]:
        return [{"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": share}}]

    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.fixed_heap",
                "typed_config": {
                    "@type": f"{MONITORS}.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": HEAP_BYTES_MAX,
                },
            },
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": f"{MONITORS}.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": CONNECTIONS_MAX,
                },
            },
        ],
        "actions": [
            {"name": "envoy.overload_actions.shrink_heap", "triggers": beyond(0.90)},
            {"name": "envoy.overload_actions.stop_accepting_requests", "triggers": beyond(0.95)},
        ],
    }


def set_aside(header: str, other: str) -> dict[str, Any]:
    """Move what the caller sent to a header of another name."""
    kept = {"header": {"key": other, "value": f"%REQ({header})%"}}
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation"
            ".header_mutation.v3.HeaderMutation",
            "mutations": [
                {"remove": other},
                {"append": kept | {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}},
                {"remove": header},
            ],
        },
    }
