"""Fields that are put together from encoded messages."""

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from server.event_messages import delimited


@pytest.mark.parametrize("length", [0, 127, 128, 0x3FFF, 0x4000, 2**21 - 1, 2**21])
def test_a_field_of_any_length_is_read_back(length: int) -> None:
    body = bytes(length)
    assert BytesValue.FromString(delimited(1, body)).value == body
