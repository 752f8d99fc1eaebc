"""What a frame of a client asks for: its JSON, and each field read and checked.

`frames` says which fields there are. Whatever can't be taken is a `BadFrame`.
"""

import json
import re
import sys
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Any, Final

from google.protobuf.json_format import ParseDict

from gateway.websocket.frames import DIGITS

CHANNELS: Final = ("trades", "orders", "orderbook", "ticker", "depth")
INSTRUMENT_DEFAULT: Final = "BTC-USD"
INSTRUMENTS_PER_FRAME_MAX: Final = 100
FROM_SEQUENCE: Final = "from_sequence"
REQUEST_ID: Final = "x-request-id"
FORWARDED: Final = "x-forwarded-for"
NAME: Final = re.compile("[!-~]{1,128}", re.ASCII)
"""What metadata can hold; the server takes none that is longer."""
BAD_REQUEST: Final = 3
EXHAUSTED: Final = 8
SHOWN_MAX: Final = 100
"""Characters of a wrong value that an error repeats."""
DOUBLE_MAX: Final = sys.float_info.max
NUMBERS: Final = ("price", "quantity")
INTERNAL: Final = ("unreadable",)
"""Not for callers: what the gateway and the server have among themselves."""
NUMERIC: Final = re.compile(r"[-+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][-+]?[0-9]+)?")
"""Text that is a number over HTTP too. Python's `float` takes more: blanks, `1_000`, digits of
other scripts, and of truths makes 1 and 0. No two parts that follow each other take the same: a
long text would take the square of its time."""

EXACT: Final = Context(prec=16 * 1024, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
"""For every digit of a frame. What has a longer exponent is infinite or nought, as for a double."""


class BadFrame(Exception):
    """A frame can't be taken; the message is the sentence to show, `code` the gRPC code."""

    def __init__(self, sentence: str, code: int = BAD_REQUEST) -> None:
        super().__init__(sentence)
        self.code = code


def parsed(text: str) -> dict[str, Any]:
    """The object that a client sent, with the order's type under `order_type`. Whatever its type
    is, its `request_id` is text, or there is none."""
    try:
        frame = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except RecursionError:
        raise BadFrame("the frame is nested too deeply: send one flat JSON object") from None
    except ValueError as error:
        raise BadFrame(f"the frame is not JSON ({error}): send one JSON object") from None
    if not isinstance(frame, dict):
        raise BadFrame(f"the frame is a JSON {type(frame).__name__}: send an object with a type")
    name = frame.get("request_id")
    if name is not None and not isinstance(name, str):
        raise BadFrame(f'request_id {shown(name)} is not text: send one such as "1", or none')
    kind = frame.get("type")
    if kind in ("limit", "market"):
        frame["type"], frame["order_type"] = "order", frame.get("order_type", kind)
    return frame


def check_numbers(frame: dict[str, Any]) -> None:
    """Raises `BadFrame` where price or quantity is given and no number that a double holds."""
    for field in NUMBERS:
        given = frame.get(field)
        if given is not None and not _is_number(given):
            raise BadFrame(
                f"{field} {json.dumps(given)[:SHOWN_MAX]} is not a number: send one such as "
                "70150.5, with or without quotes"
            )


def _is_number(given: object) -> bool:
    if isinstance(given, str):
        return NUMERIC.fullmatch(given) is not None
    if isinstance(given, bool) or not isinstance(given, int | float):
        return False
    return abs(given) <= DOUBLE_MAX


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    types = [value for key, value in pairs if key == "type"]
    if len(types) > 1:
        content["type"] = types[0]
        content.setdefault("order_type", types[-1])
    return content


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")


def channels_of(frame: dict[str, Any]) -> list[str]:
    """The `channels` of a frame."""
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
    """The `instruments` of a frame, or its `instrument`, or the default one."""
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
    if not whole or not text.isascii() or not text.isdigit() or len(text) > 19:
        raise BadFrame(
            f"{FROM_SEQUENCE} {shown(given)} is not a whole number from 0: send a sequence that "
            "you were sent"
        )
    return max(int(text) - 1, 0)


def decimal_of(frame: dict[str, Any], field: str) -> Decimal | int | None:
    """A checked number of a frame, one without quotes through its shortest decimal form."""
    given: int | float | str | None = frame.get(field)
    if isinstance(given, str):
        return EXACT.create_decimal(given)
    if not isinstance(given, float):
        return given
    decimal = Decimal(repr(given))
    if decimal != DIGITS.plus(decimal):
        raise BadFrame(
            f"{field} {given!r} has more than {DIGITS.prec} significant digits, which not every "
            "JSON number keeps: send it in quotes"
        )
    return decimal


def message_of(fields: dict[str, Any], into: Any) -> Any:
    """The message of the HTTP interface that the fields make."""
    own = {name: value for name, value in fields.items() if name not in INTERNAL}
    return ParseDict(own, into, ignore_unknown_fields=True)


def shown(value: object) -> str:
    """Show a value as in the frame."""
    return json.dumps(value, ensure_ascii=False)[:SHOWN_MAX]


def name_in(frame: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """The client's name for a request as metadata, so that the server's log has it too."""
    name = frame.get("request_id")
    return ((REQUEST_ID, name),) if isinstance(name, str) and NAME.fullmatch(name) else ()


def caller_at(address: str) -> tuple[tuple[str, str], ...]:
    """A client's address as metadata, so that what he sends here and over HTTP draws on one budget;
    nothing where the gateway named none."""
    return ((FORWARDED, address),) if NAME.fullmatch(address) else ()
