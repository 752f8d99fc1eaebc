"""Envoy's HTTP filters, but for those in Lua (`gateway/scripts.py`)."""

from pathlib import Path
from typing import Any, Final

import exchange
from gateway.routes import json_services
from gateway.scripts import HTTP_FILTERS, LUA, lua_of_route

MIB: Final = 1024 * 1024

REQUEST_BYTES_MAX: Final = MIB
"""The bound of a JSON body: what the server takes of a gRPC message."""
REPLY_BYTES_MAX: Final = 4 * MIB
"""The bound of a JSON reply: 1,000 orders are about half a MiB."""

BODY_LIMIT: Final = "envoy.filters.http.buffer"
TRANSCODER: Final = "envoy.filters.http.grpc_json_transcoder"
DISABLED: Final = {
    "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
    "config": {},
    "disabled": True,
}


def body_limit() -> dict[str, Any]:
    """Bound a body: the transcoder works as it comes, so would not see the end of one too large."""
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


def not_json(lua: str) -> dict[str, Any]:
    """Set the filters of a route whose bodies nobody transcodes."""
    return dict.fromkeys((BODY_LIMIT, TRANSCODER), DISABLED) | {LUA: lua_of_route(lua)}
