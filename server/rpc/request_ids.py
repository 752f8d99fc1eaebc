"""The id under which a call is found again: its caller's own, or one that is made here.

A caller names his request with `x-request-id` in the metadata (the gateway does so for each HTTP
request); an id that is not like `PATTERN` is taken for none. Each reply and each refusal repeats
the id in its trailing metadata, and so does each line of the log that belongs to the call. The
trailing metadata is where it is kept meanwhile: initial metadata would be a message of its own.
"""

import re
import secrets
from collections.abc import Iterable
from itertools import count
from typing import Final

from server.rpc.context import Context

REQUEST_ID: Final = "x-request-id"

PATTERN: Final = re.compile("[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)
"""UUIDs, base64 and the ids of other gateways; three times a UUID, and nothing to be escaped."""

_matches: Final = PATTERN.fullmatch
_numbers: Final = count(1)
_process: Final = secrets.token_hex(6)


def name_of(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """Name a call with this invocation metadata; asked once for each."""
    for key, value in metadata:
        if key == REQUEST_ID and isinstance(value, str) and _matches(value):
            return value
    return f"{_process}-{next(_numbers):x}"


def request_id(context: Context) -> str:
    """Give the name of a call; empty where it got none."""
    for key, value in context.trailing_metadata() or ():
        if key == REQUEST_ID:
            return str(value)
    return ""
