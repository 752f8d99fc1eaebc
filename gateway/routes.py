"""The routes of the gateway, read from the contract itself.

The JSON routes are the `google.api.http` annotations of `exchange.http.v1`; which gRPC methods
stream is in the descriptors of `exchange.v1`. So a method that is added to the contract has its
route, its allowed verbs and its timeouts without a second list to keep.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import (
    Descriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
    ServiceDescriptor,
)

from exchange.http.v1 import market_service_pb2, order_service_pb2, system_service_pb2
from exchange.v1 import account_service_pb2, admin_service_pb2, market_data_pb2, part_service_pb2
from exchange.v1 import order_service_pb2 as grpc_order_service_pb2

JSON_FILES: Final = (order_service_pb2, market_service_pb2, system_service_pb2)
GRPC_FILES: Final = (
    grpc_order_service_pb2,
    market_data_pb2,
    account_service_pb2,
    admin_service_pb2,
    part_service_pb2,
)

STANDARD_STREAMS: Final = (
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
"""Streams of the standard services, whose descriptors need not be installed here."""


VARIABLE: Final = r"\{[^}]*\}"
"""A variable in a path template."""

OWN_METHODS: Final = tuple(
    f"/{service.full_name}/{service.methods_by_name[name].name}"
    for service, name in (
        (admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"], "StreamJournal"),
        (admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"], "ReportFollower"),
        (part_service_pb2.DESCRIPTOR.services_by_name["PartService"], "ReportParts"),
    )
)
"""Paths of what the exchange's own processes call, which reach the server directly: by them
somebody could give up the journal that a follower still needs, or say that a part is down."""


class JsonRoute(NamedTuple):
    """One verb on one path."""

    method: str
    template: str
    """The path as annotated, e.g. `/orders/{order_id}`."""
    path_names: tuple[str, ...]
    """Names by which a query could call what the path holds: `order_id`, `orderId`."""
    query_names: tuple[str, ...]
    """Names of what a query can hold."""
    creates: bool
    """Whether success is 201 instead of 200."""
    streams: bool
    """Whether the reply lasts for as long as the caller reads."""
    body: Descriptor | None
    """The message that a body is; None where one means nothing, and is dropped."""

    @property
    def methods(self) -> tuple[str, ...]:
        """List the methods: HEAD goes where GET goes, but to streams, whose replies have no end."""
        return ("GET", "HEAD") if self.method == "GET" and not self.streams else (self.method,)

    def serves(self, path: str) -> bool:
        """Tell whether a path, or all paths of a template, come here: `/orders/batch` is an order's
        too."""
        return re.fullmatch(pattern_of(self.template), path) is not None


def json_services() -> list[str]:
    """List the full names of the services that the transcoder serves."""
    return [service.full_name for service in services(JSON_FILES)]


def json_routes() -> list[JsonRoute]:
    """List every annotated route, in the order of the contract."""
    return [
        JsonRoute(
            verb,
            template,
            path_names(method, template),
            query_names(method, template),
            creates=method.name == "PlaceOrder",
            streams=method.server_streaming,
            # Of DELETE too, as of the POST that it is another name for.
            body=None if verb == "GET" else method.input_type,
        )
        for service in services(JSON_FILES)
        for method in service.methods
        for rule in rules_of(method)
        for verb, template in (verb_of(rule),)
    ]


def grpc_streams() -> list[str]:
    """List the paths of all gRPC methods that stream in either direction."""
    return [
        f"/{service.full_name}/{method.name}"
        for service in services(GRPC_FILES)
        for method in service.methods
        if method.client_streaming or method.server_streaming
    ] + list(STANDARD_STREAMS)


def pattern_of(template: str) -> str:
    """Make the regular expression of a path template: a variable is one segment of anything."""
    parts = re.split(VARIABLE, template)
    return "[^/]+".join(re.escape(part) for part in parts)


def services(modules: tuple[object, ...]) -> Iterator[ServiceDescriptor]:
    for module in modules:
        file: FileDescriptor = module.DESCRIPTOR  # type: ignore[attr-defined]
        yield from file.services_by_name.values()


def rules_of(method: MethodDescriptor) -> Iterator[HttpRule]:
    rule: HttpRule = method.GetOptions().Extensions[annotations_pb2.http]  # type: ignore[index]
    yield rule
    yield from rule.additional_bindings


def verb_of(rule: HttpRule) -> tuple[str, str]:
    verb = rule.WhichOneof("pattern")
    assert verb in {"get", "post", "delete"}, f"no route is known for {rule}"
    return verb.upper(), getattr(rule, verb)


def path_names(method: MethodDescriptor, template: str) -> tuple[str, ...]:
    variables = [found[1:-1] for found in re.findall(VARIABLE, template)]
    return names_of(method.input_type.fields_by_name[name] for name in variables)


def query_names(method: MethodDescriptor, template: str) -> tuple[str, ...]:
    """List what is neither in the path nor a message; that of a body may be in the query too."""
    plain = (field for field in method.input_type.fields if field.message_type is None)
    in_path = path_names(method, template)
    return tuple(name for name in names_of(plain) if name not in in_path)


def names_of(fields: Iterable[FieldDescriptor]) -> tuple[str, ...]:
    return tuple(name for field in fields for name in (field.name, field.json_name))
