"""A message as a field of another, for replies that are put together from encoded parts.

Protobuf lets fields follow one another in any order, so what is encoded already needs nothing but
its tag and its length in front.
"""

LENGTH_DELIMITED = 2
"""The wire type of such a field."""


def delimited(field_number: int, body: bytes) -> bytes:
    """The field with this message."""
    length = len(body)
    prefix = bytearray((field_number << 3 | LENGTH_DELIMITED,))
    # Seven bits a byte, the lowest first.
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + body
