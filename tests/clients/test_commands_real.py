"""The trading commands on a real server, one after the other as a person would."""

import argparse
import json
from typing import Any

import grpc
import pytest

from clients import commands
from exchange.v1.admin_service_pb2 import ReportFollowerRequest, StreamJournalRequest
from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
from tests.running import until


@pytest.fixture
def type_in(address: str, capsys: pytest.CaptureFixture[str]) -> Any:
    parser = argparse.ArgumentParser("exchange")
    commands.register(parser.add_subparsers(required=True), parser)

    def typed(line: str, code: int = 0) -> str:
        options = parser.parse_args([*line.split(), "--address", address])
        assert options.run(options, None) == code
        return capsys.readouterr().out if code == 0 else ""

    return typed


def test_a_day_at_the_market(type_in: Any) -> None:
    type_in("place alice sell 0.25 BTC-USD --price 70150.5 --id day-1")
    type_in("place bob buy 0.1 BTC-USD --type market")
    assert type_in("replace day-1 --quantity 0.5 --price 70160").splitlines() == [
        "day-1  alice sell 0.5 BTC-USD @ 70160 gtc",
        "partially filled: filled 0.1, remaining 0.4, cancelled 0",
    ]
    assert type_in("positions alice").splitlines() == [
        "instrument   net  average price  realised  unrealised  fees",
        "BTC-USD     -0.1        70150.5         0           0     0",
    ]
    assert json.loads(type_in("positions bob --json"))[0]["net_quantity"] == "0.1"
    assert type_in("ticker BTC-USD").splitlines()[1:3] == [
        "last      70150.5",
        "bid       -",
    ]
    figures = type_in("statistics BTC-USD").splitlines()
    assert figures[0].startswith("BTC-USD since 20")
    assert "asks         0.4 at 1 prices" in figures
    assert "  partially filled" in type_in("orders --client alice --status working")
    assert type_in("orders --client bob --status working") == "no orders\n"
    assert type_in("cancel-all alice").startswith("1 cancelled\norder  client")
    assert type_in("positions nobody") == "no positions\n"


def test_what_can_be_traded(type_in: Any) -> None:
    heading, *rows = type_in("instruments").splitlines()
    assert heading.split()[:3] == ["instrument", "tick", "lot"]
    # Another test may have listed BTC-EUR.
    first, *others = (row for row in rows if not row.startswith("BTC-EUR "))
    assert [row.split()[0] for row in (first, *others)] == ["BTC-USD", "ETH-USD", "SOL-USD"]
    assert "0 %" in first


def test_fees_and_log_level_change_while_running(
    type_in: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = type_in("fees SOL-USD --maker -0.0001 --taker 0.00025")
    assert "-0.01 %" in changed
    assert "0.025 %" in changed
    assert json.loads(type_in("fees SOL-USD --taker 0.0003 --json"))["maker_fee"] == "-0.000100"
    assert type_in("instruments").count("0.03 %") == 1
    for wrong in ("", "--maker 1e-4", "--maker 0.0000001", "--taker 1.1"):
        with pytest.raises(SystemExit) as ended:
            type_in(f"fees SOL-USD {wrong}")
        assert ended.value.code == 2
    assert "from -1 to 1; got '1.1'" in capsys.readouterr().err
    assert type_in("log-level warning") == "warning, was info\n"
    assert json.loads(type_in("log-level info --json"))["previous_level"] == "warning"


def test_an_instrument_is_listed_and_changed_while_running(
    type_in: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = json.loads(type_in("set-instrument BTC-EUR --tick 0.01 --lot 0.0001 --json"))
    assert (listed["name"], listed["tick"], listed["lot"]) == ("BTC-EUR", "0.01", "0.0001")
    type_in("place carol buy 0.5 BTC-EUR --price 60000.01")
    changed = json.loads(
        type_in("set-instrument BTC-EUR --quantity-max 1 --maker -0.0001 --stp cancel_both --json")
    )
    assert changed == listed | {
        "quantity_max": "1",
        "maker_fee": "-0.000100",
        "self_trade_prevention": "cancel_both",
    }
    assert type_in("instruments").count("BTC-EUR") == 1
    with pytest.raises(SystemExit):
        type_in("set-instrument BTC-EUR --tick 0")
    assert "must be greater than 0; got '0'" in capsys.readouterr().err
    type_in("set-instrument BTC-EUR --tick 1", code=1)
    assert "while orders rest" in capsys.readouterr().err


def test_followers_are_listed_and_forgotten(
    address: str, type_in: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_in("followers") == "no followers\n"
    type_in("place carol buy 1 BTC-USD --price 1")
    with grpc.insecure_channel(address) as channel:
        admin = AdminServiceStub(channel)
        admin.ReportFollower(ReportFollowerRequest(follower="reports", sequence=1))
        told = json.loads(type_in("followers --json"))
        durable = json.loads(type_in("status --json"))["durable_sequence"]
        assert told[0]["name"] == "reports"
        assert told[0]["behind_sequences"] == durable - 1 > 0
        assert f"not connected, last at sequence 1, {durable - 1} behind" in type_in("status")
        following = admin.StreamJournal(StreamJournalRequest(follower="reports"))
        next(following)
        assert type_in("followers").splitlines()[1].endswith("yes")
        assert type_in("followers --remove reports", 1) == ""
        assert "is connected and can't be removed" in capsys.readouterr().err
        following.cancel()
    until(lambda: "yes" not in type_in("followers"), 10, "gone")
    assert "reports is forgotten" in type_in("followers --remove reports")
    assert "it was not known, or" in type_in("followers --remove reports")
    assert type_in("followers") == "no followers\n"
    assert type_in("followers --remove=", 1) == ""
    assert 'follower "" is not of the form' in capsys.readouterr().err


def test_status_tells_what_is_degraded_first(type_in: Any) -> None:
    lines = type_in("status").splitlines()
    assert lines[0].startswith("degraded: the snapshot follower is not connected")
    told = dict(line.split("  ", 1) for line in lines[1:])
    assert told["newest snapshot"].strip() == "sequence 0"
    assert json.loads(type_in("status --json"))["durable_sequence"] > 0
