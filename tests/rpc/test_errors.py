"""The error table, and the enumerations that core and contract share."""

from enum import IntEnum
from typing import Any

import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc import StatusCode

from exchange.v1 import types_pb2
from server.core import types
from server.core.checks import combination_reject
from server.core.rejects import Reject, RejectReason
from server.core.types import GTC, IOC, LIMIT, MARKET
from server.maintenance import followers
from server.rpc.errors import (
    RULES,
    VALUE_CHARACTERS_MAX,
    EdgeReason,
    EdgeReject,
    in_decimals,
    not_followed,
    refusal,
    sentence,
    status_of,
)

REASONS: list[RejectReason | EdgeReason] = [*RejectReason, *EdgeReason]


def test_every_reason_of_core_and_contract_has_its_rule() -> None:
    contract = {name: number for name, number in types_pb2.RejectReason.items() if number}
    assert {f"REJECT_REASON_{reason.name}": int(reason) for reason in REASONS} == contract
    assert {int(reason) for reason in RULES} == {*contract.values()}
    assert len(RULES) == len(REASONS), "no number has two reasons"


@pytest.mark.parametrize(
    ("core", "contract", "prefix"),
    [
        (types.Side, types_pb2.Side, "SIDE"),
        (types.OrderType, types_pb2.OrderType, "ORDER_TYPE"),
        (types.TimeInForce, types_pb2.TimeInForce, "TIME_IN_FORCE"),
        (types.SelfTradePrevention, types_pb2.SelfTradePrevention, "SELF_TRADE_PREVENTION"),
        (types.OrderStatus, types_pb2.OrderStatus, "ORDER_STATUS"),
        (types.EndReason, types_pb2.EndReason, "END_REASON"),
    ],
)
def test_core_and_contract_have_the_same_numbers(
    core: type[IntEnum], contract: Any, prefix: str
) -> None:
    names = {name.removeprefix(f"{prefix}_"): number for name, number in contract.items()}
    del names["UNSPECIFIED"]
    assert {member.name: int(member) for member in core if member} == names


def test_reasons_of_core_and_contract_have_the_same_names() -> None:
    for reason in REASONS:
        assert types_pb2.RejectReason.Value(f"REJECT_REASON_{reason.name}") == reason


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.name)
def test_a_refusal_says_the_same_alone_and_among_others(
    reason: RejectReason | EdgeReason,
) -> None:
    refused = EdgeReject(reason, "some_field", "received", "bound", retry_after_s=7)
    status = status_of(refused)
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    among = types_pb2.Refusal()
    refusal(refused, among)

    assert (info.reason, info.domain) == (reason.name, "exchange")
    assert info.metadata["field"] == among.field == "some_field"
    assert info.metadata["limit"] == among.limit == "bound"
    assert info.metadata["value"] == among.value == "received"
    assert info.metadata["retry_safe"] == str(among.retry_safe).lower()
    assert info.metadata["retry_after_s"] == str(among.retry_after_s) == "7"
    assert status.code == among.code == RULES[reason].code.value[0]
    assert status.message == among.message
    assert int(among.reason) == int(reason)
    assert "some_field" in among.message
    assert "received" in among.message or "bound" in among.message
    assert "{" not in among.message
    assert ": " in RULES[reason].sentence, "it says what to do"


def test_only_what_harms_nobody_is_safe_to_repeat() -> None:
    """Whoever repeats these by himself sends nothing twice: nothing was sequenced."""
    safe = {reason.name for reason, rule in RULES.items() if rule.retry_safe}
    assert safe == {
        "OVERLOADED", "NOT_SERVING", "DEADLINE_PASSED", "SLOW_READER", "FOLLOWER_MISSING",
        "JOURNAL_FULL", "RATE_LIMITED",
    }  # fmt: skip


def test_no_time_is_told_where_none_is_known() -> None:
    info = ErrorInfo()
    reject = Reject(RejectReason.PRICE_OFF_TICK, "price_e8", 7015050500000, 1_000_000)
    assert status_of(reject).details[0].Unpack(info)
    assert info.metadata.keys() == {"field", "limit", "value", "retry_safe"}


def test_no_refusal_is_a_failed_precondition() -> None:
    """Over HTTP that is 400, and a conflict is 409."""
    assert StatusCode.FAILED_PRECONDITION not in {rule.code for rule in RULES.values()}


def test_prices_and_quantities_are_decimals_in_the_sentence() -> None:
    reject = Reject(RejectReason.PRICE_OFF_TICK, "price_e8", 7015050500000, 1_000_000)
    text = "price 70150.505 is not a multiple of the tick 0.01: round it to one"
    assert sentence(reject) == text
    assert status_of(reject).message == text


@pytest.mark.parametrize(
    "reason", [RejectReason.LEVEL_BOUND_EXCEEDED, RejectReason.POSITION_BOUND_EXCEEDED]
)
def test_of_a_total_it_is_said_what_it_can_still_take(reason: RejectReason) -> None:
    text = sentence(Reject(reason, "quantity_e8", 150_000_000, 0))
    assert text.startswith("quantity 1.5 is more than ")
    assert text.endswith(" can still take, which is 0: send no more than that")


@pytest.mark.parametrize(
    ("order_type", "price_e8", "time_in_force", "post_only", "said", "value"),
    [
        (LIMIT, 0, GTC, False, "price is required for a limit order, received nothing: ", "0"),
        (MARKET, 0, GTC, False, "time_in_force good-till-cancel (1) is for limit orders", "1"),
        (LIMIT, 1, IOC, True, 'post_only "true" is for good-till-cancel limit orders', "true"),
    ],
)
def test_what_does_not_go_together_is_told_as_it_was_given(
    order_type: int, price_e8: int, time_in_force: int, post_only: bool, said: str, value: str
) -> None:
    rejected = combination_reject(order_type, price_e8, time_in_force, post_only)
    assert rejected is not None
    among = types_pb2.Refusal()
    refusal(rejected, among)
    assert among.message.startswith(said)
    assert among.value == value


def test_limits_in_words_have_the_unit_of_the_value() -> None:
    bad = Reject(RejectReason.SETTING_INVALID, "price_max_e8", 5, f"10 to {2**63 - 1}")
    assert sentence(bad) == (
        "price_max 0.00000005 is outside 0.0000001 to 92233720368.54775807: send a value within it"
    )
    fees = Reject(RejectReason.SETTING_INVALID, "maker_fee_e6", -1_000_001, "-1000000 to 1000000")
    assert "maker_fee_e6 -1000001 is outside -1000000 to 1000000" in sentence(fees)
    held = Reject(RejectReason.INSTRUMENT_IN_USE, "tick_e8", 5, "100000000 while orders rest")
    assert sentence(held) == "tick 0.00000005: it stays 1 while orders rest: cancel them first"


def test_a_limit_is_told_whole_and_a_value_in_part() -> None:
    limit = "kept are whole minutes " * 20
    refused = EdgeReject(EdgeReason.NOT_AVAILABLE, "start_time_ns", "9" * 200, limit)
    assert limit in sentence(refused)
    assert "9" * 200 not in sentence(refused)


def test_decimals_for_a_door_that_speaks_them() -> None:
    reject = Reject(RejectReason.PRICE_OFF_TICK, "price_e8", -150_000_000, 1_000_000)
    assert in_decimals(reject) == Reject(RejectReason.PRICE_OFF_TICK, "price", "-1.5", "0.01")
    assert sentence(in_decimals(reject)) == sentence(reject).replace("-1.5", '"-1.5"')


def test_the_requests_name_of_a_field_is_told() -> None:
    among = types_pb2.Refusal()
    refusal(Reject(RejectReason.TYPE_INVALID, "order_type", 7), among)
    assert among.field == "type"
    assert among.message.startswith("type 7 ")


def test_a_long_value_with_control_characters_is_told_in_short() -> None:
    status = status_of(Reject(RejectReason.ID_INVALID, "order_id", "\n\x00" * 5_000, "pattern"))
    assert "\\u000a\\u0000" in status.message
    assert status.message.isprintable()
    assert len(status.SerializeToString()) < 20 * VALUE_CHARACTERS_MAX


def test_every_refusal_of_the_registry_of_followers_is_mapped() -> None:
    refusals: list[followers.FollowerRefused] = [
        followers.NameInvalid("A"),
        followers.TooManyFollowers(101),
        followers.FollowerConnected("kafka"),
        followers.FollowerMissing("snapshots"),
        followers.SnapshotFailed("disk full"),
        followers.RegistryStopped(),
    ]
    assert {type(each) for each in refusals} == {*followers.FollowerRefused.__subclasses__()}
    assert [not_followed(each).reason.name for each in refusals] == [
        "ID_INVALID",
        "TOO_MANY",
        "FOLLOWER_CONNECTED",
        "FOLLOWER_MISSING",
        "NOT_SERVING",
        "NOT_SERVING",
    ]
