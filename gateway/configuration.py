"""Envoy's configuration: one listener that serves HTTP JSON and passes gRPC through.

A request meets, in order: the limits of the connection manager; the routes (`gateway/routes.py`),
which refuse what the contract does not name; the Lua filter, which names the request, refuses what
the transcoder would misread, leaves out headers that nobody reads, and finishes the reply; the
limit of the body; the one that refuses what is no JSON; the transcoder, which turns JSON into the
messages of `exchange.http.v1`; the router.
gRPC calls have routes of their own, on which they are named and passed on, without the headers that
nobody reads.

The server is asked for its health each second: one that is gone, starting or stopping costs a
caller a 503 at once instead of a wait. A second gateway on the same port must fail to start, so the
port is not shared (`enable_reuse_port`), and hot restart is off, since its shared memory would make
two gateways on one machine each other's successors.
"""

from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Protocol

import exchange
from gateway.errors import HEALTH_REPLY_S, NO_ROUTE, NOT_PASSED_ON, local_replies
from gateway.headers import set_aside
from gateway.routes import (
    OWN_METHODS,
    JsonRoute,
    grpc_streams,
    json_routes,
    json_services,
    pattern_of,
)
from gateway.scripts import (
    GRPC,
    HTTP_FILTERS,
    LUA,
    NAMING,
    STRICT_JSON,
    lua,
    lua_of_json_route,
    lua_of_route,
    strict_json,
    strict_json_of_route,
)
from gateway.static_files import FILE_BYTES_MAX, static_routes

KIB: Final = 1024
MIB: Final = 1024 * KIB

REQUEST_BYTES_MAX: Final = MIB
"""Of a JSON body: what the server takes of a gRPC message."""
REPLY_BYTES_MAX: Final = 4 * MIB
"""Of a JSON reply: 1,000 orders are about half a MiB."""
CONNECTION_BUFFER_BYTES: Final = 32 * KIB
"""Waiting in either direction of a connection; more stays with the sender."""
STREAM_WINDOW_BYTES: Final = 64 * KIB
CONNECTION_WINDOW_BYTES: Final = MIB
STREAMS_PER_CONNECTION_MAX: Final = 100
HEADERS_KIB_MAX: Final = 16
"""As for the server's metadata: many times what a client sends."""
CONNECTIONS_MAX: Final = 10_000
"""Over all callers: with their buffers well below the heap's bound."""
HEAP_BYTES_MAX: Final = 1024 * MIB
"""Near it Envoy gives back what it can, and then refuses requests rather than die."""
REQUESTS_IN_FLIGHT_MAX: Final = 1_900
"""Below the server's own bound of 2,000, so that it keeps room for those who call it directly."""
UPSTREAM_STREAMS_MAX: Final = 500
"""Calls in flight on one connection to the server, of which there are as many as are needed: half
of what the server allows (1,000)."""
UPSTREAM_WINDOW_BYTES: Final = UPSTREAM_STREAMS_MAX * STREAM_WINDOW_BYTES
"""On one connection to the server: however many of its streams nobody reads, what waits for them
leaves room for the others. With less, some dozens of slow readers would hold up every caller."""
CALL_S_MAX: Final = 35
"""From the first byte of a call that is no stream to the last of its reply. The server ends its own
part within 30 s; this is for one that hangs, and for a caller who sends a byte a minute."""
HEADERS_S_MAX: Final = 10
IDLE_CONNECTION_S: Final = 3_600
PING_S: Final = 30
"""Between pings of a gRPC caller, as the server does itself: he who fell silent may have a session
whose orders are to be cancelled."""
PING_TIMEOUT_S: Final = 60
"""For the answer, or anything else of his. On a line of 1 KB/s a full window is before it: who
reads a book so slowly is not cut."""
CONNECT_S_MAX: Final = 5
HEALTH_S: Final = 1
HEALTH_TIMEOUT_S: Final = 5
"""Longer than any pause of a busy machine; a dead server refuses the connection at once."""

HCM: Final = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
MONITORS: Final = "type.googleapis.com/envoy.extensions.resource_monitors"
BODY_LIMIT: Final = "envoy.filters.http.buffer"
TRANSCODER: Final = "envoy.filters.http.grpc_json_transcoder"
DISABLED: Final = {
    "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
    "config": {},
    "disabled": True,
}
UPSTREAM: Final = "exchange"
WEBSOCKET: Final = "websocket"
WEBSOCKET_PATH: Final = "/stream"
WEBSOCKET_FIGURES_PATH: Final = "/metrics/websocket"
CALL: Final = {
    "cluster": UPSTREAM,
    "max_stream_duration": {"max_stream_duration": f"{CALL_S_MAX}s"},
}
# Who asks is told within two seconds, also by a server that hangs.
HEALTH: Final = CALL | {"max_stream_duration": {"max_stream_duration": f"{HEALTH_REPLY_S}s"}}
# Of a caller who names no deadline the server is told none: it has a default for that. With a
# duration it would be told the gateway's.
GRPC_CALL: Final = {"cluster": UPSTREAM, "timeout": f"{CALL_S_MAX}s"}
# A caller's own deadline goes on to the server.
GRPC_CALL_WITH_DEADLINE: Final = CALL | {
    "max_stream_duration": {
        "max_stream_duration": f"{CALL_S_MAX}s",
        "grpc_timeout_header_max": f"{CALL_S_MAX}s",
    },
}
WITH_DEADLINE: Final = {"headers": [{"name": "grpc-timeout", "present_match": True}]}
# A stream lasts as long as both sides like: heartbeats show that the other one is there.
STREAM: Final = {"cluster": UPSTREAM, "timeout": "0s", "idle_timeout": "0s"}


class Addresses(Protocol):
    """What the gateway needs to know of the exchange's settings."""

    @property
    def host(self) -> str:
        """IP address to listen on."""

    @property
    def http_port(self) -> int:
        """Port to listen on."""

    @property
    def server_address(self) -> str:
        """HOST:PORT of the server's gRPC."""

    @property
    def websocket_address(self) -> str:
        """HOST:PORT of the WebSocket bridge, or `@` and the name of a socket of this machine."""


def configuration(addresses: Addresses) -> dict[str, Any]:
    """The whole configuration."""
    return {
        "static_resources": {
            "listeners": [listener(addresses)],
            "clusters": [cluster(addresses), websocket_cluster(addresses)],
        },
        "overload_manager": overload_manager(),
    }


def listener(addresses: Addresses) -> dict[str, Any]:
    address = socket_address(addresses.host, addresses.http_port)
    # All addresses of the machine are those of IPv4 too, as they are for the server's own port.
    address["socket_address"]["ipv4_compat"] = ":" in addresses.host
    return {
        "name": "http",
        "address": address,
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


def body_limit() -> dict[str, Any]:
    """The transcoder works as the body comes, so it would not see the end of one too large."""
    return {
        "name": BODY_LIMIT,
        "typed_config": {
            "@type": f"{HTTP_FILTERS}.buffer.v3.Buffer",
            "max_request_bytes": REQUEST_BYTES_MAX,
        },
    }


def transcoder() -> dict[str, Any]:
    return {
        "name": TRANSCODER,
        "typed_config": {
            "@type": f"{HTTP_FILTERS}.grpc_json_transcoder.v3.GrpcJsonTranscoder",
            "proto_descriptor": str(Path(next(iter(exchange.__path__))).parent / "exchange.binpb"),
            "services": json_services(),
            # Routes are those of the request as it came, not of the method that it becomes.
            "match_incoming_request_route": True,
            "convert_grpc_status": True,
            "max_request_body_size": REQUEST_BYTES_MAX,
            "max_response_body_size": REPLY_BYTES_MAX,
            "print_options": {
                "always_print_primitive_fields": True,
                "preserve_proto_field_names": True,
                # A stream is a line for each message, not one array that never ends.
                "stream_newline_delimited": True,
            },
            "request_validation_options": {
                "reject_unknown_query_parameters": True,
                "reject_binding_body_field_collisions": True,
            },
        },
    }


def router() -> dict[str, Any]:
    return {
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": f"{HTTP_FILTERS}.router.v3.Router",
            "suppress_envoy_headers": True,
        },
    }


def routes() -> list[dict[str, Any]]:
    """gRPC first, all of it, then each JSON path with its verbs, then what there is not."""
    known = json_routes()
    templates = list(dict.fromkeys(route.template for route in known))
    return [
        *(not_passed_on(path) for path in OWN_METHODS),
        *(grpc_route({"path": path}, STREAM) for path in grpc_streams()),
        *(
            grpc_route({"prefix": prefix} | match, call)
            for prefix in ("/exchange.v1.", "/grpc.health.", "/grpc.reflection.")
            for match, call in ((WITH_DEADLINE, GRPC_CALL_WITH_DEADLINE), ({}, GRPC_CALL))
        ),
        unknown_route() | {"match": {"prefix": "/", "grpc": {}}},
        *websocket_routes(),
        *static_routes(not_json(NAMING)),
        *(json_route(route) for route in known),
        *(
            wrong_method(template, [route for route in known if route.template == template])
            for template in templates
        ),
        unknown_route(),
    ]


def not_json(lua: str) -> dict[str, Any]:
    """Filters of a route whose bodies nobody transcodes."""
    return dict.fromkeys((BODY_LIMIT, TRANSCODER), DISABLED) | {LUA: lua_of_route(lua)}


def grpc_route(match: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    return {
        "match": match | {"grpc": {}},
        "route": call,
        "typed_per_filter_config": not_json(GRPC),
    }


def websocket_routes() -> list[dict[str, Any]]:
    """The upgrade, to the bridge, which pings its clients; without one the path is of no use."""
    body = f"{WEBSOCKET_PATH} is a WebSocket: ask for the upgrade"
    return [
        {
            "match": {
                "path": WEBSOCKET_PATH,
                "headers": [
                    {
                        "name": "upgrade",
                        "string_match": {"exact": "websocket", "ignore_case": True},
                    }
                ],
            },
            "route": STREAM
            | {"cluster": WEBSOCKET, "upgrade_configs": [{"upgrade_type": "websocket"}]},
            "typed_per_filter_config": not_json(NAMING),
        },
        {
            "match": {
                "path": WEBSOCKET_FIGURES_PATH,
                "headers": [{"name": ":method", "string_match": {"exact": "GET"}}],
            },
            "route": {"cluster": WEBSOCKET, "prefix_rewrite": "/metrics"},
            "typed_per_filter_config": not_json(NAMING),
        },
        {
            "match": {"path": WEBSOCKET_PATH},
            "direct_response": {"status": 426, "body": {"inline_string": body}},
            "response_headers_to_add": [{"header": {"key": "upgrade", "value": "websocket"}}],
        },
    ]


def json_route(route: JsonRoute) -> dict[str, Any]:
    methods = {"safe_regex": {"regex": "|".join(route.methods)}}
    entry: dict[str, Any] = {
        "match": path_match(route.template)
        | {"headers": [{"name": ":method", "string_match": methods}]},
        "route": STREAM if route.streams else HEALTH if route.template == "/healthz" else CALL,
    }
    own = {LUA: lua_of_json_route(route)}
    if route.method != "GET":
        own[STRICT_JSON] = strict_json_of_route(route)
    return entry | {"typed_per_filter_config": own}


def wrong_method(template: str, known: list[JsonRoute]) -> dict[str, Any]:
    allowed = ", ".join(method for route in known for method in route.methods)
    body = f"the method is not one of those of {template}, which are: {allowed}"
    return {
        "match": path_match(template),
        "direct_response": {"status": 405, "body": {"inline_string": body}},
        "response_headers_to_add": [{"header": {"key": "allow", "value": allowed}}],
    }


def not_passed_on(path: str) -> dict[str, Any]:
    return {
        "match": {"path": path, "grpc": {}},
        "direct_response": {"status": 404, "body": {"inline_string": NOT_PASSED_ON}},
    }


def unknown_route() -> dict[str, Any]:
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": 404, "body": {"inline_string": NO_ROUTE}},
    }


def path_match(template: str) -> dict[str, Any]:
    if "{" in template:
        return {"safe_regex": {"regex": pattern_of(template)}}
    return {"path": template}


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
    """The bridge, each of whose clients is a connection of its own."""
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


def socket_address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def split(address: str) -> tuple[str, int]:
    """`HOST:PORT`, an IPv6 host in brackets."""
    host, _, port = address.rpartition(":")
    return "127.0.0.1" if host == "localhost" else host.strip("[]"), int(port)


def is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
