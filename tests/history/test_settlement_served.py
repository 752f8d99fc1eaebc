"""`SettleDay` and `exchange settle` on real processes, while orders come in."""

import argparse
import csv
import io
import json
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clients import commands
from clients.errors import ExchangeError, UnavailableError
from clients.sync import SyncExchangeClient
from clients.types import Settlement
from server.core.types import E8
from tests.followers.conftest import PostgresServer
from tests.history.traded_days import folded, traded_days
from tests.processes.load import Load
from tests.running import Starter, until

CATCH_UP_S = 60.0
E16 = E8 * E8


def reason_of(exchange: SyncExchangeClient, date: str) -> str:
    """Of the refusal; empty where it was settled."""
    try:
        exchange.settle(date)
    except ExchangeError as refused:
        return refused.reason
    return ""


def rows_of(settlement: Settlement) -> list[tuple[object, ...]]:
    return [
        (
            each.instrument,
            each.account,
            int(each.quantity * E8),
            int(each.money * E16),
            int(each.fees * E8),
            each.fill_count,
        )
        for each in settlement.obligations
    ]


def typed(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    parser = argparse.ArgumentParser("exchange")
    commands.register(parser.add_subparsers(required=True), parser)
    options = parser.parse_args(shlex.split(line))
    code = options.run(options, None)
    return code, capsys.readouterr().out


def test_a_past_day_is_settled_in_the_middle_of_trading(
    starter: Starter,
    postgres: PostgresServer,
    database: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begin = datetime.now(UTC).date() - timedelta(days=6)
    expected, trades = folded(traded_days(starter.data_dir, begin), begin)
    _server, address = starter.server(POSTGRES_URL=database)
    day = str(begin)
    with SyncExchangeClient(address) as exchange:
        assert reason_of(exchange, day) == "NOT_SERVING", "no tables yet"
        places = ("--data-dir", str(starter.data_dir), "--server", address)
        starter.run("follower", *places, POSTGRES_URL=database).wait_serving()
        with Load(address, "middle") as sending:
            sending.wait(2)
            until(lambda: reason_of(exchange, day) == "", CATCH_UP_S, "a settled day")
            first = exchange.settle(day)
            sending.wait(6)
            again = exchange.settle(day)
        assert rows_of(first) == [tuple(each) for each in expected]
        assert (first.date, first.trade_count) == (day, trades)
        assert again == first, "also its digest, and how far the tables were"
        for wrong, reason in (
            ("2001-02-30", "DAY_INVALID"),
            (str(datetime.now(UTC).date()), "DAY_OUT_OF_RANGE"),
            ("2001-01-31", "DAY_OUT_OF_RANGE"),
        ):
            assert reason_of(exchange, wrong) == reason

        file = tmp_path / "day.csv"
        asked = f"settle --date {day} --address {address}"
        assert typed(f"{asked} --csv {shlex.quote(str(file))}", capsys)[0] == 0
        code, shown = typed(f"{asked} --csv -", capsys)
        assert (code, file.read_text()) == (0, shown)
        told = list(csv.DictReader(io.StringIO(shown)))
        assert [(each["account"], int(each["fills"])) for each in told] == [
            (each.account, each.fills) for each in expected
        ]
        assert {each["date"] for each in told} == {day}
        document = json.loads(typed(f"{asked} --json", capsys)[1])
        assert document["digest"] == first.digest
        assert f"{trades} trades settled" in typed(asked, capsys)[1]

        assert typed(f"settle --date 2001-01-31 --address {address}", capsys) == (1, "")
        postgres.kill()
        with pytest.raises(UnavailableError, match="can't be reached"):
            exchange.settle(day)
        assert exchange.status().durable_sequence > 0
        assert typed(asked, capsys)[0] == 3
