"""The contract as data: services, messages and enumerations with the comments of their source."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

HTTP_PACKAGE: Final = "exchange.http.v1"
GRPC_PACKAGE: Final = "exchange.v1"

# Numbers of fields in descriptor.proto: a path of them leads to each comment.
MESSAGES, ENUMS, SERVICES, INNER, SECOND = 4, 5, 6, 2, 2


class Field(NamedTuple):
    """One field of a message."""

    name: str
    type: str
    """`string`, `double`, …, or the full name of a message or an enumeration."""
    repeated: bool
    optional: bool
    choice: str
    """The `oneof` that it is one of; empty: none."""
    comment: str


class Message(NamedTuple):
    """One message."""

    name: str
    """Full."""
    comment: str
    fields: tuple[Field, ...]


class Enum(NamedTuple):
    """One enumeration."""

    name: str
    comment: str
    values: tuple[tuple[str, int, str], ...]
    """Name, number, comment."""


class Method(NamedTuple):
    """One call."""

    name: str
    comment: str
    request: str
    reply: str
    client_streams: bool
    server_streams: bool
    routes: tuple[tuple[str, str], ...]
    """Verb and path of each, the first one first."""


class Service(NamedTuple):
    """Calls that belong together."""

    name: str
    comment: str
    methods: tuple[Method, ...]


class Contract:
    """Everything that the files of `exchange` say."""

    def __init__(self, image: bytes) -> None:
        self.messages: dict[str, Message] = {}
        self.enums: dict[str, Enum] = {}
        self.services: dict[str, Service] = {}
        for file in FileDescriptorSet.FromString(image).file:
            if file.package in (HTTP_PACKAGE, GRPC_PACKAGE):
                self._read(file)

    def of(self, package: str) -> list[Service]:
        """The services of a package."""
        return [each for name, each in self.services.items() if parent(name) == package]

    def _read(self, file: FileDescriptorProto) -> None:
        comments = {
            tuple(place.path): cleaned(place.leading_comments)
            for place in file.source_code_info.location
        }
        for at, message in enumerate(file.message_type):
            name = f"{file.package}.{message.name}"
            self.messages[name] = Message(
                name,
                comments.get((MESSAGES, at), ""),
                tuple(fields(message, at, comments)),
            )
        for at, enum in enumerate(file.enum_type):
            name = f"{file.package}.{enum.name}"
            self.enums[name] = Enum(
                name, comments.get((ENUMS, at), ""), tuple(values(enum, at, comments))
            )
        for at, service in enumerate(file.service):
            name = f"{file.package}.{service.name}"
            methods = tuple(
                method_of(method, comments.get((SERVICES, at, INNER, number), ""))
                for number, method in enumerate(service.method)
            )
            self.services[name] = Service(name, comments.get((SERVICES, at), ""), methods)


Comments = dict[tuple[int, ...], str]


def cleaned(comment: str) -> str:
    """Join a comment to one paragraph, as text flows."""
    return " ".join(comment.split())


def parent(name: str) -> str:
    return name.rpartition(".")[0]


def fields(message: DescriptorProto, at: int, comments: Comments) -> Iterator[Field]:
    for number, field in enumerate(message.field):
        kind = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
        in_choice = field.HasField("oneof_index") and not field.proto3_optional
        yield Field(
            field.name,
            field.type_name.removeprefix(".") or kind,
            field.label == FieldDescriptorProto.LABEL_REPEATED,
            field.proto3_optional,
            message.oneof_decl[field.oneof_index].name if in_choice else "",
            comments.get((MESSAGES, at, SECOND, number), ""),
        )


def values(
    enum: EnumDescriptorProto, at: int, comments: Comments
) -> Iterator[tuple[str, int, str]]:
    for number, value in enumerate(enum.value):
        yield value.name, value.number, comments.get((ENUMS, at, SECOND, number), "")


def method_of(method: MethodDescriptorProto, comment: str) -> Method:
    rule: HttpRule = method.options.Extensions[annotations_pb2.http]  # type: ignore[index]
    return Method(
        method.name,
        comment,
        method.input_type.removeprefix("."),
        method.output_type.removeprefix("."),
        method.client_streaming,
        method.server_streaming,
        tuple(routes_of((rule, *rule.additional_bindings))),
    )


def routes_of(rules: Sequence[HttpRule]) -> Iterator[tuple[str, str]]:
    for rule in rules:
        verb = rule.WhichOneof("pattern")
        if verb is not None:
            yield verb.upper(), getattr(rule, verb)
