"""The Lua of the gateway: what it does to requests and replies that Envoy has no setting for."""

from pathlib import Path
from typing import Any, Final

HTTP_FILTERS: Final = "type.googleapis.com/envoy.extensions.filters.http"
LUA: Final = "envoy.filters.http.lua"
CREATING, NAMING = "creating", "naming"
"""Scripts of routes that differ: what finishes the replies of one that creates something, and what
names requests, which is all that is done to gRPC and to files."""
STRICT_JSON: Final = "exchange.strict_json"


def lua() -> dict[str, Any]:
    return {
        "name": LUA,
        "typed_config": {
            "@type": f"{HTTP_FILTERS}.lua.v3.Lua",
            "default_source_code": {"inline_string": script(creates=False)},
            # Named, since each route has one: written out they would be longer than all the rest,
            # and an argument of a command ends at 128 KiB.
            "source_codes": {
                CREATING: {"inline_string": script(creates=True)},
                NAMING: {"inline_string": source("request_ids")},
            },
        },
    }


def lua_of_route(name: str) -> dict[str, Any]:
    return {"@type": f"{HTTP_FILTERS}.lua.v3.LuaPerRoute", "name": name}


def script(*, creates: bool) -> str:
    """What finishes the replies, for a route that creates something or one that does not."""
    return (
        f"local CREATES = {'true' if creates else 'false'}\n"
        f"{source('replies')}{source('request_ids')}"
    )


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
