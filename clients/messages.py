"""Messages of the wire from what a caller gave, which may be of any type."""

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from clients.fields import FieldInvalidError

P = ParamSpec("P")
M = TypeVar("M", bound=Message)

_LIMITS = {
    FieldDescriptor.TYPE_STRING: "valid Unicode text",
    FieldDescriptor.TYPE_BOOL: "true or false",
    FieldDescriptor.TYPE_UINT32: f"a whole number from 0 to {2**32 - 1}",
    FieldDescriptor.TYPE_UINT64: f"a whole number from 0 to {2**64 - 1}",
}


def built(kind: Callable[P, M], *args: P.args, **fields: P.kwargs) -> M:
    """The message of these fields; raises FieldInvalidError for one that it can't hold."""
    try:
        return kind(*args, **fields)
    except (TypeError, ValueError) as error:
        raise _not_held(cast("type[Message]", kind), fields, error) from None


def _not_held(
    kind: type[Message], fields: Mapping[str, object], error: TypeError | ValueError
) -> TypeError | ValueError:
    """Tell which of the fields a message could not be made of."""
    for name, value in fields.items():
        field = kind.DESCRIPTOR.fields_by_name.get(name)
        if field is None or field.type not in _LIMITS:
            continue
        try:
            cast("Any", kind)(**{name: value})
        except (TypeError, ValueError):
            return FieldInvalidError(name, _LIMITS[field.type], value)
    return error
