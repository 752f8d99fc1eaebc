"""The Lua of the gateway: what it does to requests and replies that Envoy has no setting for."""

import re
from json import dumps
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import Descriptor

from gateway.errors import ENDED, body_of
from gateway.json_fields import TAKES
from gateway.routes import VARIABLE, JsonRoute, json_routes

HTTP_FILTERS: Final = "type.googleapis.com/envoy.extensions.filters.http"
LUA: Final = "envoy.filters.http.lua"
GRPC, NAMING = "grpc", "naming"
"""Scripts of routes that differ: that of gRPC, and what names requests, which is all that is done
to files and to WebSockets."""
STRICT_JSON: Final = "exchange.strict_json"
UNAVAILABLE: Final = 14
"""gRPC's code of that name."""


def lua() -> dict[str, Any]:
    ended = f"local ENDED = [[{dumps(body_of(UNAVAILABLE, ENDED))}]]\n"
    json = ended + sources("replies", "request_ids", "request_headers", "json_calls")
    return {
        "name": LUA,
        "typed_config": {
            "@type": f"{HTTP_FILTERS}.lua.v3.Lua",
            # A request stays on the route that it came by.
            "clear_route_cache": False,
            "default_source_code": {"inline_string": json},
            # Named, since each route has one: written out they would be longer than all the rest.
            "source_codes": {
                GRPC: {"inline_string": sources("request_ids", "request_headers", "grpc_calls")},
                NAMING: {
                    "inline_string": f"{source('request_ids')}envoy_on_request = name_request"
                },
            },
        },
    }


def lua_of_route(name: str) -> dict[str, Any]:
    return {"@type": f"{HTTP_FILTERS}.lua.v3.LuaPerRoute", "name": name}


def lua_of_json_route(route: JsonRoute) -> dict[str, Any]:
    """Tell the script of all JSON routes what it has to know of this one."""
    context = {
        "creates": route.creates,
        "in_path": in_path(route),
        "in_query": dict.fromkeys(route.query_names, True),
    }
    return {"@type": f"{HTTP_FILTERS}.lua.v3.LuaPerRoute", "filter_context": context}


def lua_of_figures() -> dict[str, Any]:
    """Have the script that finishes replies fill this route's with what it counted."""
    return {"@type": f"{HTTP_FILTERS}.lua.v3.LuaPerRoute", "filter_context": {"figures": True}}


def sources(*names: str) -> str:
    return "".join(map(source, names))


def source(name: str) -> str:
    return (Path(__file__).parent / f"{name}.lua").read_text(encoding="utf-8")


def strict_json() -> dict[str, Any]:
    """Judge a body behind the limit, where all of it is there; only on routes that take one."""
    return {
        "name": STRICT_JSON,
        "disabled": True,
        "typed_config": {
            "@type": f"{HTTP_FILTERS}.lua.v3.Lua",
            "source_codes": {STRICT_JSON: {"inline_string": f"{bodies()}{source('json_bodies')}"}},
        },
    }


def strict_json_of_route(route: JsonRoute) -> dict[str, Any]:
    """Tell the script that judges bodies which message this route's body is, and how to find what
    the path holds, which is one id at most."""
    assert route.body is not None, f"{route.template} takes no body"
    context = {"body": route.body.name, "in_path": in_path(route), "path": lua_pattern(route)}
    return lua_of_route(STRICT_JSON) | {"filter_context": context}


def in_path(route: JsonRoute) -> dict[str, bool]:
    return dict.fromkeys(route.path_names, True)


def lua_pattern(route: JsonRoute) -> str:
    """Write the path with its variable caught, as Lua's patterns have it."""
    parts = re.split(VARIABLE, route.template)
    return "^" + "([^/?]+)".join(re.sub(r"[^\w/]", r"%\g<0>", part) for part in parts)


def bodies() -> str:
    """Write what the fields of each body take as a table of Lua."""
    messages = {route.body.name: route.body for route in json_routes() if route.body is not None}
    entries = [f"{name} = {fields_of(message)}" for name, message in messages.items()]
    return f"local BODIES = {{ {', '.join(entries)} }}\n"


def fields_of(message: Descriptor) -> str:
    """List what each name of a field in JSON takes; of a list, what its elements' fields take."""
    entries = []
    for field in message.fields:
        if field.is_repeated and field.message_type is not None:
            takes = fields_of(field.message_type)
        else:
            takes = f'"{TAKES[field.type]}"'
        entries += [f"{name} = {takes}" for name in dict.fromkeys((field.name, field.json_name))]
    return f"{{ {', '.join(entries)} }}"
