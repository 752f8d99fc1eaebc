"""The Lua of the gateway: what it does to requests and replies that Envoy has no setting for."""

from pathlib import Path
from typing import Any, Final

HTTP_FILTERS: Final = "type.googleapis.com/envoy.extensions.filters.http"
LUA: Final = "envoy.filters.http.lua"
CREATING, NAMING = "creating", "naming"
"""Scripts of routes that differ: that of one that creates something, and what names requests, which
is all that is done to gRPC and to files."""
STRICT_JSON: Final = "exchange.strict_json"


def lua() -> dict[str, Any]:
    return {
        "name": LUA,
        "typed_config": {
            "@type": f"{HTTP_FILTERS}.lua.v3.Lua",
            "default_source_code": {"inline_string": json_script(creates=False)},
            # Named, since each route has one: written out they would be longer than all the rest,
            # and an argument of a command ends at 128 KiB.
            "source_codes": {
                CREATING: {"inline_string": json_script(creates=True)},
                NAMING: {
                    "inline_string": f"{source('request_ids')}envoy_on_request = name_request"
                },
            },
        },
    }


def lua_of_route(name: str) -> dict[str, Any]:
    return {"@type": f"{HTTP_FILTERS}.lua.v3.LuaPerRoute", "name": name}


def lua_knowing(path_names: tuple[str, ...]) -> dict[str, Any]:
    """The script of all JSON routes, told what is in the path of one."""
    context = dict.fromkeys(path_names, True)
    return {"@type": f"{HTTP_FILTERS}.lua.v3.LuaPerRoute", "filter_context": context}


def json_script(*, creates: bool) -> str:
    """What looks at calls and finishes replies, for a route that creates something or doesn't."""
    parts = (source(name) for name in ("replies", "request_ids", "json_calls"))
    return f"local CREATES = {'true' if creates else 'false'}\n{''.join(parts)}"


def source(name: str) -> str:
    return (Path(__file__).parent / f"{name}.lua").read_text(encoding="utf-8")


def strict_json() -> dict[str, Any]:
    """Behind the limit, where all of a body is there; only on routes that take one."""
    return {
        "name": STRICT_JSON,
        "disabled": True,
        "typed_config": {
            "@type": f"{HTTP_FILTERS}.lua.v3.Lua",
            "source_codes": {STRICT_JSON: {"inline_string": source("json_bodies")}},
        },
    }
