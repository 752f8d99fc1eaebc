"""The sequencer's verbs for this door: the same as for gRPC, refused in the words of JSON."""

import json
from enum import IntEnum
from typing import Final, NoReturn

from google.rpc.status_pb2 import Status

from server.core.rejects import RejectReason
from server.rpc.calls import Calls
from server.rpc.context import Context
from server.rpc.errors import (
    VALUE_CHARACTERS_MAX,
    EdgeReason,
    Refused,
    as_sent,
    end,
    in_decimals,
    sentence,
    status_of,
)
from server.rpc.http.refused_number import RefusedNumber
from server.rpc.http.words import TIMES_IN_FORCE
from server.times import time_text_in_full

_CHOICE: Final = "{field} {value} is none of {limit}: send one of them"

SENTENCES: Final[dict[IntEnum, str]] = {
    RejectReason.SIDE_INVALID: _CHOICE,
    RejectReason.TYPE_INVALID: _CHOICE,
    RejectReason.TIME_IN_FORCE_INVALID: _CHOICE,
    RejectReason.SELF_TRADE_PREVENTION_INVALID: _CHOICE,
    EdgeReason.STATUS_INVALID: _CHOICE,
    RejectReason.TIME_IN_FORCE_NOT_ALLOWED: (
        "{field} {value} is for {limit} only: send ioc, fok or nothing with a market order"
    ),
    RejectReason.POST_ONLY_NOT_ALLOWED: (
        "{field} {value} is for gtc limit orders only: leave it out, or change type and"
        " time_in_force"
    ),
    RejectReason.INSTRUMENT_UNKNOWN: (
        "{field} {value} is not listed: GET /instruments shows what is"
    ),
}
"""Sentences for where that of all doors would name numbers of enumerations, or gRPC methods."""


class HttpCalls(Calls):
    """Calls whose refusals name the fields, words and decimals of the JSON request."""

    async def refuse(self, context: Context, refused: Refused) -> NoReturn:
        await end(context, json_status(refused))


def json_status(refused: Refused) -> Status:
    """Say why a command is refused, in the words of the request."""
    if isinstance(refused.value, RefusedNumber):
        refused = refused.value.refusal
    refused = in_json(refused)
    status = status_of(in_decimals(refused))
    status.message = json_sentence(refused)
    return status


def in_json(refused: Refused) -> Refused:
    """Give a refusal's numbers, times, truths and places as JSON has them."""
    if refused.reason == RejectReason.POST_ONLY_NOT_ALLOWED:
        refused = refused._replace(limit="limit orders, gtc")
    if refused.field == "time_in_force" and isinstance(refused.value, int):
        return refused._replace(value=TIMES_IN_FORCE.of[refused.value])
    if refused.field in ("start_time_ns", "end_time_ns") and isinstance(refused.value, int):
        name = refused.field.removesuffix("_ns")
        return refused._replace(field=name, value=time_text_in_full(refused.value))
    if refused.field == "after_sequence" and isinstance(refused.value, int):
        return refused._replace(field="from_sequence", value=refused.value + 1)
    return as_sent(refused)


def json_sentence(refused: Refused) -> str:
    """Write the sentence of this door."""
    template = SENTENCES.get(refused.reason)
    if template is None:
        return sentence(refused)
    value = json.dumps(str(refused.value)[:VALUE_CHARACTERS_MAX])
    return template.format(field=refused.field, value=value, limit=refused.limit)
