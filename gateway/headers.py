"""What is done to the headers of a request before anything looks at them."""

from typing import Any


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
