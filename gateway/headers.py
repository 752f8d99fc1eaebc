"""What is done to the headers of a request before it becomes a gRPC call."""

from typing import Any, Final

FILTER: Final = "envoy.filters.http.header_mutation"

CALL_HEADERS: Final = "grpc-.*|.*-bin"
"""Headers that mean something to gRPC. A caller of JSON has no use for them, and gRPC answers one
that it can't read, or a time-out of its own, with an error of the server's."""


def set_aside(header: str, other: str) -> dict[str, Any]:
    """Move what the caller sent to a header of another name, before anything looks at it."""
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


def without_call_headers() -> dict[str, Any]:
    """The filter that leaves `CALL_HEADERS` out; it stands before the transcoder."""
    matcher = {"key_matcher": {"safe_regex": {"regex": CALL_HEADERS}}}
    return {
        "name": FILTER,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3"
            ".HeaderMutation",
            "mutations": {"request_mutations": [{"remove_on_match": matcher}]},
        },
    }
