"""OpenAPI 3.1 of the HTTP JSON interface: an operation for each route of the contract.

Fields of a path or, on GET and DELETE, of a query are parameters; the rest is the body, and so is a
field whose comment says that it may be either. As JSON prints them, 64-bit integers are decimal
strings; numbers of requests may be numeric strings too. A field marked `optional` is absent where
it does not apply; the others are always there.
"""

import re
from typing import Any, Final

from gateway.documents.contract import HTTP_PACKAGE, Contract, Field, Message, Method, Service

VARIABLE: Final = re.compile(r"\{(\w+)\}")
NUMBERS: Final = {"double": "number", "uint32": "integer", "int32": "integer"}
WHOLE_STRINGS: Final = {"uint64", "int64"}
OUTSIDE: Final[dict[str, dict[str, Any]]] = {
    "google.protobuf.Any": {"type": "object"},
    "google.rpc.ErrorInfo": {
        "type": "object",
        "properties": {
            "@type": {"type": "string"},
            "reason": {"type": "string"},
            "domain": {"type": "string"},
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    },
}
INTERNAL: Final = "Not for callers"
"""So begins the comment of what the gateway and the server have among themselves."""
IN_PATH: Final = "Required, in the path"
AS_QUERY: Final = "as a query parameter or in the body"
TEXT_REPLY: Final = "google.api.HttpBody"
OF_BODIES: Final = ("403", "408", "413")
"""The statuses of calls that are no reads, whose bodies mean something."""
OF_THE_PAST: Final = ("GetAnalytics", "GetOrder", "ListOrders", "ListTrades")
ERRORS: Final = {
    "400": "The request is not valid; nothing was done.",
    "403": "A browser sent it on behalf of a page from another origin, which may only read.",
    "404": "There is no such order, instrument or route.",
    "408": "The request did not arrive in time.",
    "409": "It conflicts with what is there: a duplicate, or an order that has ended.",
    "413": "The body is larger than 1 MiB.",
    "429": "Too many requests at the moment; `Retry-After` says when to try again.",
    "431": "There are more than 100 headers, or they exceed 16 KiB.",
    "500": "What it asks for is damaged in the journal or PostgreSQL, or the exchange is at fault.",
    "501": "Neither memory nor PostgreSQL holds it, or the body has a Transfer-Encoding other than "
    "chunked.",
    "503": "The exchange is not taking requests at the moment, or ended this one without an "
    "answer; the message says whether it may have been carried out.",
    "504": "There was no answer in time.",
}
INTRODUCTION: Final = (
    "Orders and market data as JSON. Prices and quantities are numbers; in a request they may be "
    "numeric strings, and have at most 15 significant digits and 8 decimals. Times are RFC 3339, "
    "UTC. Sequences are decimal strings. All errors have the same shape (Error). There is no "
    "authentication."
)


def openapi(contract: Contract, examples: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The whole document."""
    services = contract.of(HTTP_PACKAGE)
    paths: dict[str, dict[str, Any]] = {}
    for service in services:
        for method in service.methods:
            for number, (verb, path) in enumerate(method.routes):
                built = operation(contract, service, method, number, examples.get(method.name))
                paths.setdefault(path, {})[verb.lower()] = built
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Exchange",
            "version": "1",
            "description": INTRODUCTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": short(each.name), "description": each.comment} for each in services],
        "paths": paths,
        "components": {
            "schemas": {
                short(name): schema(message, in_request=name.endswith("Request"))
                for name, message in contract.messages.items()
                if name.startswith(f"{HTTP_PACKAGE}.") and not message.comment.startswith(INTERNAL)
            }
        },
    }


def operation(
    contract: Contract,
    service: Service,
    method: Method,
    number: int,
    example: dict[str, Any] | None,
) -> dict[str, Any]:
    verb, path = method.routes[number]
    request = contract.messages[method.request]
    in_path = set(VARIABLE.findall(path))
    given = (example or {}).get("parameters", {})
    parameters = [
        parameter(field, in_path, given)
        for field in request.fields
        if field.name in in_path or verb != "POST" or AS_QUERY in field.comment
    ]
    built: dict[str, Any] = {
        "operationId": method.name if number == 0 else f"{method.name}{number + 1}",
        "tags": [short(service.name)],
        "summary": method.comment.partition(". ")[0].rstrip("."),
        "description": method.comment,
    }
    if number:
        first = " ".join(method.routes[0])
        built["description"] += f" The same call as `{first}`."
    if parameters:
        built["parameters"] = parameters
    if verb == "POST":
        built["requestBody"] = body(request, example or {})
    built["responses"] = responses(method, verb)
    return built


def parameter(field: Field, in_path: set[str], given: dict[str, Any]) -> dict[str, Any]:
    built: dict[str, Any] = {
        "name": field.name,
        "in": "path" if field.name in in_path else "query",
        "required": field.name in in_path,
        "description": field.comment,
        "schema": {"type": "string"},
    }
    if field.name in given:
        built["example"] = given[field.name]
    return built


def body(request: Message, example: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": reference(request.name)}
    if "body" in example:
        content["example"] = example["body"]
    built: dict[str, Any] = {"content": {"application/json": content}}
    return built | ({"required": True} if needs_body(request) else {})


def needs_body(request: Message) -> bool:
    """Whether it is refused without one: some field is required, if not each of them."""
    return any(
        field.comment.startswith("Required") and not field.comment.startswith(IN_PATH)
        for field in request.fields
    )


def occurs(status: str, method: Method, verb: str) -> bool:
    """Whether this call can be refused with this status."""
    if status in OF_BODIES:
        return verb != "GET"
    return status != "501" or verb != "GET" or method.name in OF_THE_PAST


def responses(method: Method, verb: str) -> dict[str, Any]:
    code = "201" if method.name == "PlaceOrder" else "200"
    if method.reply == TEXT_REPLY:
        content: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": reference(method.reply)}}
    if method.name == "GetIndex":
        content["text/html"] = {"schema": {"type": "string"}}
    said = "A line of JSON for each message." if method.server_streams else "Done."
    error = reference(f"{HTTP_PACKAGE}.Error")
    built = {code: {"description": said, "content": content}}
    for status, text in ERRORS.items():
        if not occurs(status, method, verb):
            continue
        schemas = [error]
        if method.name == "GetHealth" and status == "503":
            # It is what was asked for as long as there is somebody to say it.
            schemas.insert(0, reference(method.reply))
        schema = {"oneOf": schemas} if len(schemas) > 1 else error
        built[status] = {"description": text, "content": {"application/json": {"schema": schema}}}
    return built


def schema(message: Message, *, in_request: bool) -> dict[str, Any]:
    built: dict[str, Any] = {
        "type": "object",
        "description": message.comment,
        "properties": {
            field.name: property_of(field, in_request)
            for field in message.fields
            if not field.comment.startswith(INTERNAL)
        },
    }
    if in_request:
        required = required_of(message)
    else:
        required = [field.name for field in message.fields if always_there(field)]
    if required:
        built["required"] = required
    return built


def required_of(request: Message) -> list[str]:
    """Fields without which it is refused; one that the path names is not in the body."""
    return [
        field.name
        for field in request.fields
        if field.comment.startswith("Required")
        and not field.comment.startswith((IN_PATH, "Required for", "Required unless"))
    ]


def always_there(field: Field) -> bool:
    """Messages are absent where they are not set."""
    return not field.optional and (field.repeated or "." not in field.type)


def property_of(field: Field, in_request: bool) -> dict[str, Any]:
    built = type_of(field.type, in_request)
    if field.repeated:
        built = {"type": "array", "items": built}
    return built | {"description": field.comment}


def type_of(name: str, in_request: bool) -> dict[str, Any]:
    if name in OUTSIDE:
        return dict(OUTSIDE[name])
    if "." in name:
        return reference(name)
    if name in WHOLE_STRINGS:
        return {"type": "string", "pattern": "^-?[0-9]+$"}
    if name == "bool":
        return {"type": "boolean"}
    if name in NUMBERS:
        return {"type": [NUMBERS[name], "string"] if in_request else NUMBERS[name]}
    assert name == "string", f"no JSON type is known for {name}"
    return {"type": "string"}


def reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{short(name)}"}


def short(name: str) -> str:
    return name.rpartition(".")[2]
