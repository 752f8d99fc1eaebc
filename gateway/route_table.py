"""Envoy's routes: what becomes of a request, by path, method and protocol."""

from typing import Any, Final

from gateway.clusters import UPSTREAM, WEBSOCKET
from gateway.errors import HEALTH_REPLY_S, NO_ROUTE, NOT_PASSED_ON
from gateway.filters import not_json
from gateway.routes import OWN_METHODS, JsonRoute, grpc_streams, json_routes, pattern_of
from gateway.scripts import (
    GRPC,
    LUA,
    NAMING,
    STRICT_JSON,
    lua_of_figures,
    lua_of_json_route,
    strict_json_of_route,
)
from gateway.static_files import static_routes

CALL_S_MAX: Final = 35
"""The time from the first byte of a call that is no stream to the last of its reply. The server
ends its own part within 30 s; this is for one that hangs, and for a caller who sends a byte a
minute."""

WEBSOCKET_PATH: Final = "/stream"
WEBSOCKET_FIGURES_PATH: Final = "/metrics/websocket"
FIGURES_PATH: Final = "/metrics/gateway"
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


def routes() -> list[dict[str, Any]]:
    """List gRPC's routes first, then each JSON path with its verbs, then what there is not."""
    known = json_routes()
    # Whole paths first: those with a variable match them too.
    templates = sorted({route.template: None for route in known}, key=lambda it: "{" in it)
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
        figures_route(),
        *static_routes(not_json(NAMING)),
        *(json_route(route) for route in known),
        *(
            wrong_method(template, [route for route in known if route.serves(template)])
            for template in templates
        ),
        unknown_route(),
    ]


def grpc_route(match: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    return {
        "match": match | {"grpc": {}},
        "route": call,
        "typed_per_filter_config": not_json(GRPC),
    }


def websocket_routes() -> list[dict[str, Any]]:
    """Route the upgrade to the bridge, which pings its clients; refuse the path without one."""
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


def figures_route() -> dict[str, Any]:
    """Answer with the gateway's own figures, which a script fills in."""
    return {
        "match": {
            "path": FIGURES_PATH,
            "headers": [{"name": ":method", "string_match": {"exact": "GET"}}],
        },
        "direct_response": {"status": 200, "body": {"inline_string": "figures"}},
        "typed_per_filter_config": {LUA: lua_of_figures()},
    }


def json_route(route: JsonRoute) -> dict[str, Any]:
    methods = {"safe_regex": {"regex": "|".join(route.methods)}}
    entry: dict[str, Any] = {
        "match": path_match(route.template)
        | {"headers": [{"name": ":method", "string_match": methods}]},
        "route": STREAM if route.streams else HEALTH if route.template == "/healthz" else CALL,
    }
    own = {LUA: lua_of_json_route(route)}
    if route.body is not None:
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
