"""The chart of candles: which prices and times it shows."""

import re
from datetime import datetime, timedelta

import httpx
from playwright.sync_api import Page, expect

from clients.requests import SetInstrument
from clients.sync import SyncExchangeClient
from tests.page.conftest import WAIT_MS, Opener, place, until

expect.set_options(timeout=WAIT_MS)
DRAWN_TEXT = """window.drawn = [];
const fill = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
  window.drawn.push(text);
  fill.call(this, text, ...rest);
};"""


def watch_text(page: Page) -> None:
    """Keep what is written on canvases."""
    page.add_init_script(DRAWN_TEXT)


def trade(http: httpx.Client, instrument: str, price: float) -> None:
    for side in ("sell", "buy"):
        place(http, f"chart-{side}", instrument=instrument, side=side, price=price, quantity=1)


def test_first_price_of_an_instrument_is_shown_exactly(
    client: SyncExchangeClient, http: httpx.Client, opened: Opener
) -> None:
    """Also one with more decimals than those before."""
    client.set_instrument(SetInstrument("NEW-USD"))
    page = opened("/#NEW-USD", prepare=watch_text)
    expect(page.locator("#candle")).to_have_text("no trades yet")
    for price in (0.25, 0.3125):
        trade(http, "NEW-USD", price)
        expect(page.locator("#candle")).to_contain_text(f"close {price}")
        until(page, f"drawn.includes('{price}')")


def test_interval_chosen_while_a_market_is_to_come_shows_no_other_market(
    http: httpx.Client, opened: Opener
) -> None:
    trade(http, "BTC-USD", 51)
    trade(http, "ETH-USD", 52)
    page = opened("/#BTC-USD")
    candle = page.locator("#candle")
    expect(candle).to_contain_text("close 51")
    asked: list[str] = []
    page.on("request", lambda it: asked.append(it.url) if "analytics" in it.url else None)
    calls = re.compile("/market/trades")
    page.route(calls, lambda route: route.abort())
    page.get_by_role("button", name="ETH-USD").click()
    with page.expect_request(calls):
        page.get_by_role("button", name="5m", exact=True).click()
    page.unroute(calls)
    expect(candle).to_contain_text("close 52")
    assert asked
    assert [url for url in asked if "BTC-USD" in url] == []


def test_candle_has_a_date_where_its_time_is_not_enough(http: httpx.Client, opened: Opener) -> None:
    """For one that lasts a day, or begun on another."""
    trade(http, "SOL-USD", 53)
    listed = http.get("/market/trades", params={"instrument": "SOL-USD", "limit": 1}).json()
    time = datetime.fromisoformat(listed["trades"][0]["timestamp"])
    page = opened("/#SOL-USD", prepare=lambda page: page.clock.set_fixed_time(time))
    candle = page.locator("#candle")
    expect(candle).to_have_text(re.compile(r"^[0-9:]{8} open 53"))
    page.get_by_role("button", name="1d").click()
    expect(candle).to_have_text(re.compile(f"^{time.date()} 00:00:00 open 53"))
    page.clock.set_fixed_time(time + timedelta(days=1))
    page.get_by_role("button", name="1m", exact=True).click()
    expect(candle).to_have_text(re.compile(f"^{time.date()} [0-9:]{{8}} open 53"))
