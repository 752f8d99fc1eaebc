"""The gateway's own errors, in the one shape of all errors.

Envoy answers by itself where the server is never asked: a body that is not JSON, a route or query
parameter that there is not, a server that is gone. Each such reply is matched, in order, by what
went wrong, and is printed with the gRPC code that a client would have got from the server. Calls
over gRPC keep Envoy's own translation into a status, and are left out here.
"""

from typing import Any, Final, NamedTuple

UNKNOWN_OUTCOME: Final = (
    "whether the request was carried out is unknown: repeat it with the same idempotency_key, "
    "or read the order by its order_id; a cancel of all orders can just be sent again"
)

ENDED: Final = f"the exchange ended this call without an answer; {UNKNOWN_OUTCOME}"
"""The sentence where gRPC itself cancelled a call, which the server never does."""

ORIGINAL_METHOD: Final = "x-envoy-original-method"
"""The header in which the transcoder leaves the verb of a request that it made a gRPC call."""


HEALTH_REPLY_S: Final = 2
"""The time in which the server says how it is; one that doesn't takes no orders either."""
HEALTH_METHOD: Final = "/exchange.http.v1.SystemService/GetHealth"

NO_ROUTE: Final = "there is no such route; GET / lists those that there are"
NOT_PASSED_ON: Final = "the gateway keeps this call back: followers use the server's own port"


class OwnError(NamedTuple):
    """Says what one kind of local reply becomes."""

    match: dict[str, Any]
    code: int
    """gRPC status code."""
    message: str = "%LOCAL_REPLY_BODY%"
    status: int | None = None
    """HTTP status in place of Envoy's."""
    allow: str = ""
    """The methods that would be taken, where the method is what is wrong."""


def status_is(comparison: str, status: int) -> dict[str, Any]:
    return {
        "status_code_filter": {
            "comparison": {
                "op": comparison,
                "value": {"default_value": status, "runtime_key": "exchange.unused"},
            }
        }
    }


def header(name: str, **match: Any) -> dict[str, Any]:
    return {"header_filter": {"header": {"name": name, **match}}}


def both(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"and_filter": {"filters": list(filters)}}


def either(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"or_filter": {"filters": list(filters)}}


def flagged(*flags: str) -> dict[str, Any]:
    return {"response_flag_filter": {"flags": list(flags)}}


def because(details: str) -> dict[str, Any]:
    """Match a local reply by Envoy's own words for why, where it sets no flag."""
    return {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": {
                "@type": "type.googleapis.com/"
                "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                "expression": f"response.code_details == '{details}'",
            },
        }
    }


OWN_ERRORS: Final = (
    OwnError(
        # The last: near the bound of its heap Envoy refuses all that comes.
        either(flagged("UH", "UF", "UO"), because("overload")),
        14,
        "the exchange is not taking requests at the moment, and this one was not carried out; "
        "wait a second and repeat it",
    ),
    OwnError(
        both(status_is("EQ", 504), header(":path", string_match={"exact": HEALTH_METHOD})),
        14,
        f"the exchange did not report its health within {HEALTH_REPLY_S} s: it has stopped "
        "or is overloaded; ask again",
        503,
    ),
    OwnError(
        flagged("UT", "SI", "DT", "UMSDR"),
        4,
        f"the exchange did not answer in time; {UNKNOWN_OUTCOME}",
    ),
    OwnError(
        status_is("EQ", 413),
        3,
        "the request body is too large: at most 1048576 bytes are taken; send less at once",
    ),
    OwnError(
        both(status_is("EQ", 403), header("upgrade", present_match=True)),
        7,
        "a connection can be upgraded at /stream only: leave `upgrade` out",
    ),
    OwnError(status_is("EQ", 403), 7),
    OwnError(
        both(
            status_is("EQ", 404), header(":path", string_match={"prefix": "/"}, invert_match=True)
        ),
        5,
        NO_ROUTE,
    ),
    OwnError(status_is("EQ", 404), 5),
    OwnError(status_is("EQ", 405), 12),
    OwnError(status_is("EQ", 408), 4, "the request did not arrive in time; send it again"),
    OwnError(status_is("EQ", 429), 8),
    OwnError(
        status_is("EQ", 431),
        3,
        "the request headers are too many or too large: at most 100, of 16 KiB together, are taken",
    ),
    OwnError(status_is("EQ", 504), 4, f"the exchange did not answer in time; {UNKNOWN_OUTCOME}"),
    OwnError(status_is("EQ", 500), 13),
    OwnError(
        status_is("EQ", 501),
        12,
        "the only Transfer-Encoding taken is chunked, and the request was not carried out: send it "
        "chunked, or with its Content-Length",
    ),
    OwnError(
        status_is("GE", 502),
        14,
        f"the connection to the exchange was lost while it worked on this; {UNKNOWN_OUTCOME}",
    ),
    # Of this method Envoy wants a content type before it looks for a route.
    OwnError(
        both(status_is("EQ", 400), header(":method", string_match={"exact": "QUERY"})),
        12,
        "no route takes the method QUERY; GET / lists the routes that there are",
        405,
        "GET, HEAD, POST, DELETE",
    ),
    # Envoy has no words for these. What it could not read as HTTP has no headers to go by.
    OwnError(
        both(status_is("EQ", 400), header(":method", present_match=True, invert_match=True)),
        3,
        "the request can't be read (%RESPONSE_CODE_DETAILS%): check its method, headers and "
        "length; the name of a header must not have an underscore",
    ),
    OwnError(
        both(status_is("EQ", 400), header(":authority", present_match=True, invert_match=True)),
        3,
        "the header host is required: name the exchange in it",
    ),
    OwnError(
        both(status_is("EQ", 400), header(":path", string_match={"contains": "#"})),
        3,
        "the path contains a #, which is not part of a path: leave it out",
    ),
    OwnError(status_is("GE", 400), 3),
)


def body_of(code: int, message: str) -> dict[str, Any]:
    """Give an error the shape of all errors."""
    return {"error": message, "code": code, "message": message, "details": []}


def local_replies() -> dict[str, Any]:
    """Make the `local_reply_config` of the connection manager."""
    return {"mappers": [mapper(error) for error in OWN_ERRORS]}


def mapper(error: OwnError) -> dict[str, Any]:
    changed: dict[str, Any] = {} if error.status is None else {"status_code": error.status}
    if error.allow:
        changed["headers_to_add"] = [{"header": {"key": "allow", "value": error.allow}}]
    return changed | {
        "filter": both(FROM_JSON, error.match),
        "body_format_override": {"json_format": body_of(error.code, error.message)},
    }


FROM_JSON: Final = either(
    # What Envoy itself takes for gRPC, and answers in its way.
    header(
        "content-type",
        string_match={"safe_regex": {"regex": r"application/grpc(\+.*)?"}},
        treat_missing_header_as_empty=True,
        invert_match=True,
    ),
    # The transcoder has made a gRPC call of it already.
    header(ORIGINAL_METHOD, present_match=True),
)
