"""The error table: what each refusal is on the wire. Nothing else chooses a status code.

A refusal is a `Reject` of the engine or an `EdgeReject` of the doors, which have reasons of their
own for what never reaches the engine. A call of its own gets it as a status with
`google.rpc.ErrorInfo`: reason, domain `exchange`, and field, limit, value, retry_safe and, where it
is known, retry_after_s as metadata, numbers in the field's own unit. A reply of many outcomes holds
it as a `Refusal`. The sentence is the same in both: it names field, limit and value, prices and
quantities as decimals, and says what to do.

`refuse` ends a call with `status_of` a refusal; `refusal` writes it into a reply of many outcomes.
Both read its rule in `RULES`, tell programs its `field_of`, `limit_of` and value `as_sent`, and
people its `sentence`. The HTTP door (`http/calls.py`) says it in the words of JSON: `json_status`
is `status_of` the refusal `in_json` and `in_decimals`, with `json_sentence` as its message.
"""

import re
from enum import IntEnum
from typing import Final, NamedTuple, NoReturn

from google.protobuf.any_pb2 import Any as Packed
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from exchange.v1 import types_pb2
from server.core.rejects import Reject, RejectReason
from server.decimals import decimal_text
from server.journal.refusals import JournalCorrupt
from server.maintenance.followers import (
    FOLLOWERS_MAX,
    NAME_PATTERN,
    FollowerConnected,
    FollowerMissing,
    FollowerRefused,
    NameInvalid,
    RegistryStopped,
    SnapshotFailed,
    TooManyFollowers,
)
from server.rpc.context import Context
from server.sequencer.errors import JournalFull, NotTaken, Overloaded

DOMAIN: Final = "exchange"

DETAILS_KEY: Final = "grpc-status-details-bin"

VALUE_CHARACTERS_MAX: Final = 80
"""Characters of a received text that a sentence repeats: enough to recognise it, and the status
stays far below the 8 KiB of metadata that clients accept by default."""


class EdgeReason(IntEnum):
    """Reasons of the doors; the numbers go on where those of the engine leave gaps."""

    NUMBER_INVALID = 10
    TOO_MANY = 11
    CURSOR_INVALID = 12
    STATUS_INVALID = 13
    MESSAGE_INVALID = 14
    DAY_INVALID = 15
    DAY_OUT_OF_RANGE = 16
    RECORD_DAMAGED = 17
    VALUE_INVALID = 18
    OVERLOADED = 90
    NOT_SERVING = 91
    DEADLINE_PASSED = 92
    SLOW_READER = 93
    NOT_AVAILABLE = 94
    FOLLOWER_MISSING = 95
    OUTCOME_UNKNOWN = 96
    JOURNAL_FULL = 97
    NOT_KEPT = 98
    RATE_LIMITED = 99
    FOLLOWER_CONNECTED = 100


class EdgeReject(NamedTuple):
    """A refusal by a door, with the fields of the engine's `Reject`."""

    reason: EdgeReason | RejectReason
    field: str
    value: str | int
    limit: str | int = ""
    retry_after_s: int = 0
    """Whole seconds after which the same request would pass; 0: not known."""


Refused = Reject | EdgeReject

STOPPING: Final = EdgeReject(EdgeReason.NOT_SERVING, "server", "stopping")
"""The refusal that whatever comes at a stop, or is still open then, ends with."""


class Rule(NamedTuple):
    """Says what a reason is on the wire."""

    code: StatusCode
    retry_safe: bool
    """Whether the same request may succeed later without a change, and repeating it is harmless."""
    sentence: str


_BAD = StatusCode.INVALID_ARGUMENT
_MISSING = StatusCode.NOT_FOUND
_EXISTS = StatusCode.ALREADY_EXISTS
# Not FAILED_PRECONDITION: a conflict is 409 over HTTP, and that one would become 400.
_CONFLICT = StatusCode.ABORTED
_BUSY = StatusCode.RESOURCE_EXHAUSTED
_DOWN = StatusCode.UNAVAILABLE
_LATE = StatusCode.DEADLINE_EXCEEDED

RULES: Final[dict[IntEnum, Rule]] = {
    RejectReason.FIELD_REQUIRED: Rule(_BAD, False, "{field} is required, received {value}: set it"),
    RejectReason.ID_INVALID: Rule(
        _BAD, False, "{field} {value} is not of the form {limit}: send one that is"
    ),
    RejectReason.ID_RESERVED: Rule(
        _BAD,
        False,
        "{field} {value} begins with {limit}, which is kept for generated ids: choose another",
    ),
    RejectReason.SIDE_INVALID: Rule(
        _BAD, False, "{field} {value} is neither buy (1) nor sell (2): send one of them"
    ),
    RejectReason.TYPE_INVALID: Rule(
        _BAD, False, "{field} {value} is neither limit (1) nor market (2): send one of them"
    ),
    RejectReason.TIME_IN_FORCE_INVALID: Rule(
        _BAD,
        False,
        "{field} {value} is none of good-till-cancel (1), immediate-or-cancel (2), fill-or-kill"
        " (3): send one of them, or nothing for the default",
    ),
    RejectReason.SELF_TRADE_PREVENTION_INVALID: Rule(
        _BAD,
        False,
        "{field} {value} is none of none (1), cancel newest (2), cancel oldest (3), cancel both"
        " (4), decrement (5): send one of them, or nothing for the default",
    ),
    RejectReason.NOTHING_TO_REPLACE: Rule(
        _BAD, False, "{field} {value}: neither a price nor a quantity is given: give at least one"
    ),
    RejectReason.SETTING_INVALID: Rule(
        _BAD, False, "{field} {value} is outside {limit}: send a value within it"
    ),
    EdgeReason.NUMBER_INVALID: Rule(
        _BAD, False, "{field} {value} is not {limit}: send one that is"
    ),
    EdgeReason.TOO_MANY: Rule(_BAD, False, "{field} is {value}, the limit is {limit}: send fewer"),
    EdgeReason.CURSOR_INVALID: Rule(
        _BAD, False, "{field} {value} was not issued by this server: start again without it"
    ),
    EdgeReason.STATUS_INVALID: Rule(
        _BAD,
        False,
        "{field} {value} is none of open (1), partially filled (2), filled (3), cancelled (4),"
        " rejected (5): send one of them, or nothing for all",
    ),
    EdgeReason.MESSAGE_INVALID: Rule(
        _BAD, False, "{field} of {value} is no message of type {limit}: send one that is"
    ),
    EdgeReason.DAY_INVALID: Rule(_BAD, False, "{field} {value} is not {limit}: send one that is"),
    EdgeReason.DAY_OUT_OF_RANGE: Rule(
        StatusCode.OUT_OF_RANGE, False, "{field} {value} is not {limit}: choose a day that is"
    ),
    EdgeReason.RECORD_DAMAGED: Rule(
        StatusCode.DATA_LOSS, False, "{field} {value} can't be reported: {limit}"
    ),
    EdgeReason.VALUE_INVALID: Rule(_BAD, False, "{field} {value} is not {limit}: send one that is"),
    RejectReason.INSTRUMENT_UNKNOWN: Rule(
        _MISSING, False, "{field} {value} is not listed: choose from the list of instruments"
    ),
    RejectReason.PRICE_NOT_POSITIVE: Rule(
        _BAD, False, "{field} {value} is not greater than 0: send a positive price"
    ),
    RejectReason.PRICE_BELOW_MINIMUM: Rule(
        _BAD, False, "{field} {value} is below the minimum {limit}: send a higher price"
    ),
    RejectReason.PRICE_ABOVE_MAXIMUM: Rule(
        _BAD, False, "{field} {value} is above the maximum {limit}: send a lower price"
    ),
    RejectReason.PRICE_OFF_TICK: Rule(
        _BAD, False, "{field} {value} is not a multiple of the tick {limit}: round it to one"
    ),
    RejectReason.QUANTITY_NOT_POSITIVE: Rule(
        _BAD, False, "{field} {value} is not greater than 0: send a positive quantity"
    ),
    RejectReason.QUANTITY_BELOW_MINIMUM: Rule(
        _BAD, False, "{field} {value} is below the minimum {limit}: send more"
    ),
    RejectReason.QUANTITY_ABOVE_MAXIMUM: Rule(
        _BAD, False, "{field} {value} is above the maximum {limit}: send less"
    ),
    RejectReason.QUANTITY_OFF_LOT: Rule(
        _BAD, False, "{field} {value} is not a multiple of the lot {limit}: round it to one"
    ),
    RejectReason.LEVEL_BOUND_EXCEEDED: Rule(
        _BAD,
        False,
        "{field} {value} is more than its price level can still take, which is {limit}:"
        " send no more than that",
    ),
    RejectReason.POSITION_BOUND_EXCEEDED: Rule(
        _BAD,
        False,
        "{field} {value} is more than the client's position with its open orders can still take,"
        " which is {limit}: send no more than that",
    ),
    RejectReason.PRICE_REQUIRED: Rule(
        _BAD, False, "{field} is required for a limit order, received nothing: set it"
    ),
    RejectReason.PRICE_NOT_ALLOWED: Rule(
        _BAD, False, "{field} {value} is not allowed for a market order: leave it out"
    ),
    RejectReason.TIME_IN_FORCE_NOT_ALLOWED: Rule(
        _BAD,
        False,
        "{field} good-till-cancel ({value}) is for {limit} only: market orders are"
        " immediate-or-cancel or fill-or-kill",
    ),
    RejectReason.POST_ONLY_NOT_ALLOWED: Rule(
        _BAD,
        False,
        "{field} {value} is for good-till-cancel limit orders only: leave it out, or change"
        " type and time in force",
    ),
    RejectReason.KEY_CONFLICT: Rule(
        _CONFLICT,
        False,
        "{field} {value} was used by this client for another request: use a new key",
    ),
    RejectReason.ORDER_ID_DUPLICATE: Rule(
        _EXISTS, False, "{field} {value} names an order that is open or remembered: use another id"
    ),
    RejectReason.ORDER_UNKNOWN: Rule(
        _MISSING, False, "{field} {value} names no order, or another client's: check the id"
    ),
    RejectReason.ORDER_CLOSED: Rule(
        _CONFLICT,
        False,
        "{field} {value} names an order that has ended, its status is {limit}: it can no longer be"
        " changed, only read",
    ),
    RejectReason.POST_ONLY_WOULD_CROSS: Rule(
        _CONFLICT,
        False,
        "{field} {value} would trade at once with {limit}, and the order is post-only: the order"
        " stands as it was, choose another price",
    ),
    RejectReason.SESSION_UNKNOWN: Rule(
        _MISSING, False, "{field} {value} names no open session: open one"
    ),
    RejectReason.INSTRUMENT_IN_USE: Rule(
        _CONFLICT,
        False,
        "{field} {value}: it stays {limit}: cancel them first",
    ),
    RejectReason.INSTRUMENTS_BOUND_EXCEEDED: Rule(
        _BAD,
        False,
        "{field} {value} would be one more than the {limit} that can be listed: raise"
        " engine.instruments_max, or change one that is listed",
    ),
    EdgeReason.OVERLOADED: Rule(
        _BUSY, True, "{field} {value} would exceed the limit of {limit}: try again in a moment"
    ),
    EdgeReason.RATE_LIMITED: Rule(
        _BUSY,
        True,
        "{field}: {value} has too little left of its {limit} at this moment, and nothing happened:"
        " try again in {retry_after_s} s, or send fewer",
    ),
    EdgeReason.NOT_SERVING: Rule(
        _DOWN, True, "the {field} is {value}: try again in a moment, nothing happened"
    ),
    EdgeReason.DEADLINE_PASSED: Rule(
        _LATE,
        True,
        "the {field} passed with {limit} allowed, before anything was sequenced: nothing happened,"
        " allow more time",
    ),
    EdgeReason.SLOW_READER: Rule(
        _BUSY,
        True,
        "{field} {value}: the reader fell further behind than {limit}: resume after that sequence"
        " and read faster",
    ),
    EdgeReason.NOT_AVAILABLE: Rule(
        StatusCode.UNIMPLEMENTED, False, "{field} {value} is not available: {limit}"
    ),
    EdgeReason.FOLLOWER_MISSING: Rule(
        _DOWN, True, "{field} {value} is not connected: start it, then try again"
    ),
    EdgeReason.FOLLOWER_CONNECTED: Rule(
        _CONFLICT,
        False,
        "{field} {value} is connected and can't be removed: stop it first",
    ),
    EdgeReason.JOURNAL_FULL: Rule(
        _BUSY,
        True,
        "{field} full ({value}): new orders are refused until room is freed, cancels still taken:"
        " try again later",
    ),
    EdgeReason.NOT_KEPT: Rule(
        StatusCode.OUT_OF_RANGE,
        False,
        "{field} {value} lies before the journal that is kept, which begins with sequence {limit}:"
        " start from there, or afresh",
    ),
    EdgeReason.OUTCOME_UNKNOWN: Rule(
        _LATE,
        False,
        "the {field} of {limit} passed while the journal was at work; it may or may not have"
        " happened: repeat the request with the same idempotency key, or read the order by its id",
    ),
}

_NUMBER: Final = re.compile(r"\b[0-9]+\b")

# Where a field of a command is called otherwise in the request.
_REQUEST_FIELDS: Final = {"order_type": "type"}

_CODES: Final = {code.value[0]: code for code in StatusCode}


def field_of(refused: Refused) -> str:
    """Name the request's field."""
    return _REQUEST_FIELDS.get(refused.field, refused.field)


def sentence(refused: Refused) -> str:
    """Say what is wrong and what to do, for people."""
    field = field_of(refused)
    return RULES[refused.reason].sentence.format(
        field=field.removesuffix("_e8"),
        value=_shown(field, as_sent(refused).value),
        limit=_printable(_plain(field, _limit_in_decimals(field, refused.limit))),
        retry_after_s=retry_after_s_of(refused),
    )


def as_sent(refused: Refused) -> Refused:
    """Give the refusal with a truth as it is sent, which is a number in the core."""
    is_truth = refused.field == "post_only" and isinstance(refused.value, int)
    return refused._replace(value="true") if is_truth else refused


def in_decimals(refused: Refused) -> Refused:
    """Give a refusal its numbers as decimals and no unit in fields' names: the HTTP door's."""
    field = field_of(refused)
    return refused._replace(
        field=field.removesuffix("_e8"),
        value=_plain(field, refused.value),
        limit=_plain(field, refused.limit).replace("_e8", ""),
    )


CHOICES: Final[dict[IntEnum, str]] = {
    RejectReason.SIDE_INVALID: "1 to 2",
    RejectReason.TYPE_INVALID: "1 to 2",
    RejectReason.TIME_IN_FORCE_INVALID: "0 to 3",
    RejectReason.SELF_TRADE_PREVENTION_INVALID: "0 to 5",
    EdgeReason.STATUS_INVALID: "0 to 5",
}
"""The limit of an enumeration's number, by reason, where the refusal names none."""


def limit_of(refused: Refused) -> str:
    """Give the limit for programs; the sentence says it in words."""
    return str(refused.limit) or CHOICES.get(refused.reason, "")


def retry_after_s_of(refused: Refused) -> int:
    """Give the whole seconds after which the same request would pass; 0: not known."""
    return refused.retry_after_s if isinstance(refused, EdgeReject) else 0


def refusal(refused: Refused, into: types_pb2.Refusal) -> None:
    """Write the refusal into a reply of many outcomes."""
    rule = RULES[refused.reason]
    into.reason = int(refused.reason)  # type: ignore[assignment]
    into.code = rule.code.value[0]
    into.message = sentence(refused)
    into.field = field_of(refused)
    into.limit = limit_of(refused)
    into.value = str(as_sent(refused).value)[:VALUE_CHARACTERS_MAX]
    into.retry_safe = rule.retry_safe
    into.retry_after_s = retry_after_s_of(refused)


def status_of(refused: Refused) -> Status:
    """Make the whole status that a call of its own ends with."""
    rule = RULES[refused.reason]
    info = ErrorInfo(
        reason=refused.reason.name,
        domain=DOMAIN,
        metadata={
            "field": field_of(refused),
            "limit": limit_of(refused),
            "value": str(as_sent(refused).value)[:VALUE_CHARACTERS_MAX],
            "retry_safe": "true" if rule.retry_safe else "false",
        },
    )
    if retry_after_s := retry_after_s_of(refused):
        info.metadata["retry_after_s"] = str(retry_after_s)
    packed = Packed()
    packed.Pack(info)
    return Status(code=rule.code.value[0], message=sentence(refused), details=[packed])


async def refuse(context: Context, refused: Refused) -> NoReturn:
    """End the call with the refusal."""
    await end(context, status_of(refused))


async def end(context: Context, status: Status) -> NoReturn:
    """End the call with this status."""
    await context.abort(
        _CODES[status.code],
        status.message,
        (*(context.trailing_metadata() or ()), (DETAILS_KEY, status.SerializeToString())),
    )
    raise AssertionError("abort always raises")


def not_taken(error: NotTaken) -> EdgeReject:
    """Give the refusal for what the sequencer does not take."""
    if isinstance(error, JournalFull):
        return EdgeReject(EdgeReason.JOURNAL_FULL, "journal disk", error.why)
    if isinstance(error, Overloaded):
        return EdgeReject(
            EdgeReason.OVERLOADED, "commands waiting", error.waiting, error.waiting_max
        )
    return EdgeReject(EdgeReason.NOT_SERVING, "server", "starting or stopping")


def journal_damaged(damage: JournalCorrupt) -> EdgeReject:
    """Refuse to read a damaged journal, for whoever reads the journal itself. The reason comes
    last: a part's problem shows the first `PROBLEM_CHARS_MAX` characters."""
    why = f"{_place(damage)}: {damage.remedy} ({damage.reason})"
    return EdgeReject(EdgeReason.RECORD_DAMAGED, "journal at sequence", damage.sequence, why)


def first_outcome_damaged(damage: JournalCorrupt) -> EdgeReject:
    """Refuse to tell a damaged outcome, for whoever repeats a command under its key."""
    why = (
        f"{_place(damage)}: {damage.reason}; read the order by its id, or list the client's orders"
    )
    return EdgeReject(EdgeReason.RECORD_DAMAGED, "outcome of sequence", damage.sequence, why)


def not_followed(error: FollowerRefused | OSError) -> EdgeReject:
    """Give the refusal for what the registry of followers refuses, or can't write to its file."""
    match error:
        case OSError():
            why = f"not to be written: {error.strerror or error}"
            return EdgeReject(EdgeReason.NOT_SERVING, "file of followers' positions", why)
        case NameInvalid():
            return EdgeReject(RejectReason.ID_INVALID, "follower", error.name, NAME_PATTERN)
        case TooManyFollowers():
            return EdgeReject(EdgeReason.TOO_MANY, "follower", error.count, FOLLOWERS_MAX)
        case FollowerConnected():
            return EdgeReject(EdgeReason.FOLLOWER_CONNECTED, "follower", error.name)
        case FollowerMissing():
            return EdgeReject(EdgeReason.FOLLOWER_MISSING, "follower", error.name)
        case SnapshotFailed():
            why = f"not to be written: {error.problem}"
            return EdgeReject(EdgeReason.NOT_SERVING, "snapshot", why)
        case RegistryStopped():
            return STOPPING
    raise AssertionError(f"nothing says what {error!r} is on the wire")


def _place(damage: JournalCorrupt) -> str:
    return f"{damage.file.name} is corrupt at offset {damage.offset}"


def _plain(field: str, value: str | int) -> str:
    return decimal_text(value) if isinstance(value, int) and field.endswith("_e8") else str(value)


def _limit_in_decimals(field: str, limit: str | int) -> str | int:
    """Write the numbers of a limit in words as decimals, where the field's unit is 10^-8."""
    if isinstance(limit, int) or not field.endswith("_e8"):
        return limit
    return _NUMBER.sub(lambda number: decimal_text(int(number[0])), limit)


def _shown(field: str, value: str | int) -> str:
    if isinstance(value, int):
        return _plain(field, value)
    text = value if len(value) <= VALUE_CHARACTERS_MAX else value[:VALUE_CHARACTERS_MAX] + "…"
    return f'"{_printable(text)}"'


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
