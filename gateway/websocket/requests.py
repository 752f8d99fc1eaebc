"""What a frame of a client asks for: its JSON, and each field read and checked.

`frames` says which fields there are. Whatever can't be taken is a `BadFrame`.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict

from gateway.json_fields import TAKES

CHANNELS: Final = ("trades", "orders", "orderbook", "ticker", "depth")
INSTRUMENT_DEFAULT: Final = "BTC-USD"
INSTRUMENTS_PER_FRAME_MAX: Final = 100
FROM_SEQUENCE: Final = "from_sequence"
REQUEST_ID: Final = "x-request-id"
FORWARDED: Final = "x-forwarded-for"
NAME: Final = re.compile("[!-~]{1,128}", re.ASCII)
"""The names that metadata can hold; the server takes none that is longer."""
BAD_REQUEST: Final = 3
EXHAUSTED: Final = 8
SHOWN_MAX: Final = 100
"""Characters of a wrong value that an error repeats."""
SEQUENCE_DIGITS_MAX: Final = 19
NUMBERS: Final = ("price", "quantity")
TRUTHS: Final = {"true": True, "false": False}
"""The truths in quotes, as fields take them over HTTP too."""
NUMERIC: Final = re.compile(r"[-+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][-+]?[0-9]+)?")
"""Text that is a number over HTTP too. Python's `float` takes more: blanks, `1_000`, digits of
other scripts, and of truths makes 1 and 0. No two parts that follow each other take the same: a
long text would take the square of its time."""


class BadFrame(Exception):
    """A frame can't be taken; the message is the sentence to show, `code` the gRPC code."""

    def __init__(self, sentence: str, code: int = BAD_REQUEST) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True)
class TooLarge:
    """A number that no double holds, and which no field takes."""

    written: str

    def __str__(self) -> str:
        return self.written


def parsed(text: str) -> dict[str, Any]:
    """Read the object that a client sent, with the order's type under `order_type`. Whatever its
    type is, its `request_id` is text, or there is none."""
    try:
        frame = json.loads(
            text,
            object_pairs_hook=_object,
            parse_float=_number,
            parse_int=_whole,
            parse_constant=_no_number,
        )
    except ValueError as error:
        raise BadFrame(f"the frame is not JSON ({error}): send one JSON object") from None
    if not isinstance(frame, dict):
        raise BadFrame(f"the frame {shown(frame)} is not an object: send an object with a type")
    name = frame.get("request_id")
    if name is not None and not isinstance(name, str):
        raise BadFrame(f'request_id {shown(name)} is not text: send one such as "1", or none')
    kind = frame.get("type")
    if kind in ("limit", "market"):
        frame["type"], frame["order_type"] = "order", frame.get("order_type", kind)
    return frame


def check_numbers(frame: dict[str, Any]) -> None:
    """Raise `BadFrame` where price or quantity is given and no number that a double holds."""
    for field in NUMBERS:
        given = frame.get(field)
        if given is not None and not _is_number(given):
            raise BadFrame(
                f"{field} {shown(given)} is not a finite number: send one such as 70150.5, with "
                "or without quotes"
            )


def _is_number(given: object) -> bool:
    if isinstance(given, str):
        return NUMERIC.fullmatch(given) is not None
    return isinstance(given, int | float) and not isinstance(given, bool)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    types = [value for key, value in pairs if key == "type"]
    if len(types) > 1:
        content["type"] = types[0]
        content.setdefault("order_type", types[-1])
    return content


def _number(text: str) -> float | TooLarge:
    number = float(text)
    return number if isfinite(number) else TooLarge(text)


def _whole(text: str) -> int | TooLarge:
    # Python refuses some thousand digits in words of its own.
    return int(text) if isfinite(float(text)) else TooLarge(text)


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")


def channels_of(frame: dict[str, Any]) -> list[str]:
    """Read the `channels` of a frame."""
    given = frame.get("channels")
    known = ", ".join(CHANNELS)
    if not isinstance(given, list) or not given:
        raise BadFrame(
            f"channels {shown(given)} is not a list of some of {known}: send such a list"
        )
    for name in given:
        if name not in CHANNELS:
            raise BadFrame(f"channels {shown(name)} is none of {known}: send some of them")
    return list(dict.fromkeys(given))


def instruments_of(frame: dict[str, Any]) -> list[str]:
    """Read the `instruments` of a frame, or its `instrument`, or take the default one."""
    if "instruments" in frame:
        field, given = "instruments", frame["instruments"]
    else:
        named = frame.get("instrument")
        field, given = "instrument", [INSTRUMENT_DEFAULT if named in (None, "") else named]
    if not isinstance(given, list) or not 1 <= len(given) <= INSTRUMENTS_PER_FRAME_MAX:
        raise BadFrame(
            f"{field} {shown(given)} is not a list of 1 to {INSTRUMENTS_PER_FRAME_MAX} names: send "
            "such a list, or instrument alone"
        )
    for name in given:
        if not isinstance(name, str):
            raise BadFrame(f"{field} {shown(name)} is not text: send a name such as BTC-USD")
    return list(dict.fromkeys(given))


def sequence_of(frame: dict[str, Any]) -> int | None:
    """Tell after which sequence a subscription begins; None: now."""
    given = frame.get(FROM_SEQUENCE)
    if given is None:
        return None
    text = str(given)
    whole = isinstance(given, int | str) and not isinstance(given, bool)
    digits = text.isascii() and text.isdigit() and len(text) <= SEQUENCE_DIGITS_MAX
    if not whole or not digits:
        raise BadFrame(
            f"{FROM_SEQUENCE} {shown(given)} is not a whole number from 0 of at most "
            f"{SEQUENCE_DIGITS_MAX} digits: send a sequence that you were sent"
        )
    return max(int(text) - 1, 0)


def message_of(fields: dict[str, Any], into: Any) -> Any:
    """Make the message of the HTTP interface that the fields make; raises `BadFrame` where one
    takes no such value."""
    own = {}
    known = _fields_by_name(into.DESCRIPTOR)
    for name, value in fields.items():
        field = known.get(name)
        if field is not None and value is not None:
            own[field.name] = _held(field, name, value)
    return ParseDict(own, into)


@cache
def _fields_by_name(message: Descriptor) -> dict[str, FieldDescriptor]:
    """Find the fields by each name that JSON may use for them."""
    return {name: field for field in message.fields for name in (field.json_name, field.name)}


def _held(field: FieldDescriptor, name: str, value: Any) -> Any:
    """Give a value as its field holds it; numbers are checked apart."""
    is_text = isinstance(value, str)
    if field.type == field.TYPE_BOOL and is_text and value in TRUTHS:
        return TRUTHS[value]
    fits = {
        field.TYPE_STRING: is_text,
        field.TYPE_BOOL: isinstance(value, bool),
        field.TYPE_MESSAGE: False,
    }
    if not fits.get(field.type, True):
        text = cut(value) if is_text else shown(value)
        raise BadFrame(f'{name} "{text}" is not {TAKES[field.type]}: send one that is')
    if is_text and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadFrame(
                f"{name} {shown(value)} holds half a surrogate pair: send whole characters"
            ) from None
    return value


def shown(value: object) -> str:
    """Show a value as in the frame, cut where it is long."""
    if isinstance(value, TooLarge):
        return cut(value.written)
    return cut(json.dumps(value, ensure_ascii=False, default=str))


def cut(text: str) -> str:
    """Give the beginning of a long text."""
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"


def name_in(frame: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Give the client's name for a request as metadata, so that the server's log has it too."""
    name = frame.get("request_id")
    return ((REQUEST_ID, name),) if isinstance(name, str) and NAME.fullmatch(name) else ()


def caller_at(address: str) -> tuple[tuple[str, str], ...]:
    """Give a client's address as metadata, so that what he sends here and over HTTP draws on one
    budget; nothing where the gateway named none."""
    return ((FORWARDED, address),) if NAME.fullmatch(address) else ()
