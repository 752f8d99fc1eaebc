"""What the fields of a JSON request take, in the words in which both doors refuse other values."""

from typing import Final

from google.protobuf.descriptor import FieldDescriptor

TAKES: Final = {
    FieldDescriptor.TYPE_STRING: "a string",
    FieldDescriptor.TYPE_DOUBLE: "a finite number",
    FieldDescriptor.TYPE_BOOL: "true or false",
    # What the gateway and the server have among themselves.
    FieldDescriptor.TYPE_MESSAGE: "a field for callers",
}
"""What a field takes, by its type."""
