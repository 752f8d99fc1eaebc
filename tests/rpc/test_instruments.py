"""Operation: instruments and their fees, set while the exchange runs."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode

from exchange.v1 import market_data_pb2
from exchange.v1.admin_service_pb2 import (
    SetFeesRequest,
    SetInstrumentRequest,
)
from server.core.instruments import Instrument
from server.core.types import INT64_MAX
from tests.rpc.served import (
    BTC,
    BUY,
    SELL,
    Served,
    refused,
    serving,
)

pytestmark = pytest.mark.asyncio


async def test_an_instrument_is_listed_and_changed_while_running(served: Served) -> None:
    given = market_data_pb2.Instrument(name="DOGE-USD", lot_e8=1_000)
    reply = await served.admin.SetInstrument(SetInstrumentRequest(instrument=given))
    assert reply.instrument == market_data_pb2.Instrument(
        name="DOGE-USD",
        tick_e8=1,
        lot_e8=1_000,
        price_min_e8=1,
        price_max_e8=INT64_MAX,
        quantity_min_e8=1,
        quantity_max_e8=INT64_MAX,
        self_trade_prevention=1,  # type: ignore[arg-type]
    )
    await served.place("A", BUY, 100, instrument="DOGE-USD", quantity_e8=1_000)
    given.lot_e8 = 10
    failure, info = await refused(
        served.admin.SetInstrument(SetInstrumentRequest(instrument=given))
    )
    assert failure.code() == StatusCode.ABORTED
    assert info.reason == "INSTRUMENT_IN_USE"
    given.lot_e8, given.taker_fee_e6 = 1_000, 7
    await served.admin.SetInstrument(SetInstrumentRequest(instrument=given))
    assert served.engine.instruments["DOGE-USD"].taker_fee_e6 == 7


async def test_a_mask_says_which_fields_of_an_instrument_are_set(tmp_path: Path) -> None:
    configured = Instrument(BTC, tick_e8=10, quantity_max_e8=50, taker_fee_e6=9)
    async with serving(tmp_path / "data", instruments=(configured,)) as served:

        async def set_to(paths: list[str], **given: Any) -> Instrument:
            request = SetInstrumentRequest(
                instrument=market_data_pb2.Instrument(**given), update_mask=FieldMask(paths=paths)
            )
            reply = await served.admin.SetInstrument(request)
            assert served.engine.sequence == reply.sequence
            return served.engine.instruments[given["name"]]

        now = await set_to(["quantity_max_e8", "maker_fee_e6"], name=BTC, quantity_max_e8=70)
        assert now == configured._replace(quantity_max_e8=70)
        # 0 stands for the default, also where it is named.
        now = await set_to(["tick_e8"], name=BTC, lot_e8=3)
        assert now == configured._replace(quantity_max_e8=70, tick_e8=1)
        assert await set_to(["name"], name=BTC) == now
        listed = await set_to(["lot_e8"], name="DOGE-USD", lot_e8=5, tick_e8=7)
        assert listed == Instrument("DOGE-USD", lot_e8=5)
        assert await set_to([], name=BTC, lot_e8=3) == Instrument(BTC, lot_e8=3)


async def test_a_mask_with_an_unknown_field_is_refused_by_its_name(served: Served) -> None:
    before = served.engine.sequence
    request = SetInstrumentRequest(
        instrument=market_data_pb2.Instrument(name=BTC),
        update_mask=FieldMask(paths=["tick_e8", "instrument.lot_e8"]),
    )
    failure, info = await refused(served.admin.SetInstrument(request))
    assert failure.code() == StatusCode.INVALID_ARGUMENT
    assert (info.metadata["field"], info.metadata["value"]) == ("update_mask", "instrument.lot_e8")
    assert info.metadata["limit"].startswith("one of name, tick_e8, lot_e8, ")
    assert served.engine.sequence == before


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": "doge"}, "name"),
        ({"name": "A-B", "tick_e8": -1}, "tick_e8"),
        ({"name": "A-B", "price_max_e8": 4, "price_min_e8": 5}, "price_max_e8"),
        ({"name": "A-B", "maker_fee_e6": 1_000_001}, "maker_fee_e6"),
    ],
)
async def test_a_bad_instrument_is_refused(
    served: Served, given: dict[str, Any], field: str
) -> None:
    request = SetInstrumentRequest(instrument=market_data_pb2.Instrument(**given))
    failure, info = await refused(served.admin.SetInstrument(request))
    assert failure.code() == StatusCode.INVALID_ARGUMENT
    assert (info.reason, info.metadata["field"]) == ("SETTING_INVALID", field)
    _, info = await refused(served.admin.SetInstrument(SetInstrumentRequest()))
    assert (info.reason, info.metadata["field"]) == ("FIELD_REQUIRED", "instrument")


async def test_fees_alone_change_while_running_and_are_journaled(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    configured = (Instrument(BTC, tick_e8=10, maker_fee_e6=-5, taker_fee_e6=9),)
    async with serving(directory, instruments=configured) as served:
        await served.place("A", BUY, 100)
        reply = await served.admin.SetFees(SetFeesRequest(instrument=BTC, taker_fee_e6=70))
        assert reply.sequence == served.engine.sequence
        assert (reply.instrument.maker_fee_e6, reply.instrument.taker_fee_e6) == (-5, 70)
        assert reply.instrument.tick_e8 == 10
        traded = await served.place("B", SELL, 100)
        (trade,) = traded.trades
        # 10 units at 100: a notional of 10^3 in 10^-16, so any fee is the least there is.
        assert (trade.maker_fee, trade.taker_fee) == ("0", "0.00000001")
        await served.admin.SetFees(SetFeesRequest(instrument=BTC, maker_fee_e6=0))
        kept = served.engine.instruments[BTC]
        assert kept == configured[0]._replace(maker_fee_e6=0, taker_fee_e6=70)
    async with serving(directory, instruments=configured) as served:
        assert served.engine.instruments[BTC] == kept, "the file says what it said before"


@pytest.mark.parametrize(
    ("given", "code", "reason", "field"),
    [
        ({"instrument": "NO-SUCH", "taker_fee_e6": 1}, "NOT_FOUND", "INSTRUMENT_UNKNOWN", "instru"),
        ({"taker_fee_e6": 1}, "INVALID_ARGUMENT", "FIELD_REQUIRED", "instrument"),
        ({"instrument": BTC}, "INVALID_ARGUMENT", "FIELD_REQUIRED", "maker_fee_e6"),
        (
            {"instrument": BTC, "taker_fee_e6": 1_000_001},
            "INVALID_ARGUMENT",
            "SETTING_INVALID",
            "taker_fee_e6",
        ),
        (
            {"instrument": BTC, "maker_fee_e6": -1_000_001},
            "INVALID_ARGUMENT",
            "SETTING_INVALID",
            "maker_fee_e6",
        ),
    ],
)
async def test_bad_fees_are_refused(
    served: Served, given: dict[str, Any], code: str, reason: str, field: str
) -> None:
    before = served.engine.sequence
    failure, info = await refused(served.admin.SetFees(SetFeesRequest(**given)))
    assert (failure.code().name, info.reason) == (code, reason)
    assert info.metadata["field"].startswith(field)
    assert served.engine.sequence == before
