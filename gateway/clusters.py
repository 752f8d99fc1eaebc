"""Envoy's clusters: the server and the WebSocket bridge, with the bounds of what waits for them."""

from typing import Any, Final

from gateway.addresses import Addresses, is_ip, socket_address, split

KIB: Final = 1024

CONNECTION_BUFFER_BYTES: Final = 32 * KIB
"""Bytes that wait in either direction of a connection; more stays with the sender."""
STREAM_WINDOW_BYTES: Final = 64 * KIB
CONNECTIONS_MAX: Final = 10_000
"""Connections of all callers: with their buffers well below the heap's bound."""
REQUESTS_IN_FLIGHT_MAX: Final = 1_900
"""Fewer than the server's bound of 2,000, so that it keeps room for those who call it directly."""
UPSTREAM_STREAMS_MAX: Final = 500
"""Calls in flight on one connection to the server, of which there are as many as are needed: half
of what the server allows (1,000)."""
UPSTREAM_WINDOW_BYTES: Final = UPSTREAM_STREAMS_MAX * STREAM_WINDOW_BYTES
"""Bytes that wait on one connection to the server: however many of its streams nobody reads, what
waits for them leaves room for the others. With less, some dozens of slow readers would hold up
every caller."""
CONNECT_S_MAX: Final = 5
HEALTH_S: Final = 1
HEALTH_TIMEOUT_S: Final = 5
"""A time longer than any pause of a busy machine; a dead server refuses the connection at once."""

UPSTREAM: Final = "exchange"
WEBSOCKET: Final = "websocket"


def cluster(addresses: Addresses) -> dict[str, Any]:
    host, port = split(addresses.server_address)
    endpoint = {"endpoint": {"address": socket_address(host, port)}}
    return {
        "name": UPSTREAM,
        "type": "STATIC" if is_ip(host) else "STRICT_DNS",
        "dns_lookup_family": "V4_PREFERRED",
        "connect_timeout": f"{CONNECT_S_MAX}s",
        "per_connection_buffer_limit_bytes": CONNECTION_BUFFER_BYTES,
        "load_assignment": {"cluster_name": UPSTREAM, "endpoints": [{"lb_endpoints": [endpoint]}]},
        # With one server, "most are ill, so try them all" would mean to try one known to be gone.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_requests": REQUESTS_IN_FLIGHT_MAX,
                    "max_pending_requests": REQUESTS_IN_FLIGHT_MAX,
                }
            ]
        },
        "health_checks": [
            {
                "timeout": f"{HEALTH_TIMEOUT_S}s",
                "interval": f"{HEALTH_S}s",
                "no_traffic_interval": f"{HEALTH_S}s",
                "unhealthy_interval": f"{HEALTH_S / 4}s",
                "unhealthy_threshold": 1,
                "healthy_threshold": 1,
                "grpc_health_check": {},
            }
        ],
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/"
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {
                        "max_concurrent_streams": UPSTREAM_STREAMS_MAX,
                        "initial_stream_window_size": STREAM_WINDOW_BYTES,
                        "initial_connection_window_size": UPSTREAM_WINDOW_BYTES,
                    }
                },
            }
        },
    }


def websocket_cluster(addresses: Addresses) -> dict[str, Any]:
    """Make the cluster of the bridge, each of whose clients is a connection of its own."""
    place = addresses.websocket_address
    if place.startswith("@"):
        address, static = {"pipe": {"path": place}}, True
    else:
        host, port = split(place)
        address, static = socket_address(host, port), is_ip(host)
    most = {"max_connections": CONNECTIONS_MAX, "max_pending_requests": CONNECTIONS_MAX}
    return {
        "name": WEBSOCKET,
        "type": "STATIC" if static else "STRICT_DNS",
        "connect_timeout": f"{CONNECT_S_MAX}s",
        "per_connection_buffer_limit_bytes": CONNECTION_BUFFER_BYTES,
        "load_assignment": {
            "cluster_name": WEBSOCKET,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "circuit_breakers": {"thresholds": [most | {"max_requests": CONNECTIONS_MAX}]},
    }
