"""The charts of candles and of depth: which prices and times they show."""

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


def test_axis_names_no_price_of_zero_or_less(
    client: SyncExchangeClient, http: httpx.Client, opened: Opener
) -> None:
    """Though it goes on below the lowest price that there is."""
    client.set_instrument(SetInstrument("DUST-USD"))
    trade(http, "DUST-USD", 1e-8)
    page = opened("/#DUST-USD", prepare=watch_text)
    until(page, "drawn.includes('0.00000001') && drawn.includes('0.00000004')")
    drawn = page.evaluate("drawn.filter((text) => /\\d\\.\\d/.test(text))")
    assert [text for text in drawn if not re.search("^0.*[1-9]", text)] == []


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


def test_depth_is_shown_near_the_middle(opened: Opener) -> None:
    """However far away a few orders are; one price is one label."""
    bands = opened().evaluate(
        """async () => {
          const {band} = await import("/page/depth_chart.js");
          const levels = (...prices) => prices.map((price) => ({price}));
          return [
            band(levels(99, 98, 97, 0.01), levels(101, 102, 1e6)),
            band(levels(100), levels(101, 1e6)),
            band(levels(99, 98), levels(101, 103)),
            band([], levels(5)),
          ].map(({low, high}) => [low, high]);
        }"""
    )
    assert bands == [[97, 102], [100, 101], [98, 103], [5, 5]]


def test_depth_of_one_order_names_its_price_only(
    client: SyncExchangeClient, http: httpx.Client, opened: Opener
) -> None:
    client.set_instrument(SetInstrument("ONE-USD"))
    page = opened("/#ONE-USD", prepare=watch_text)
    expect(page.locator("#spread")).to_have_text("both sides are empty")
    place(http, "gil", instrument="ONE-USD", side="sell", price=54321, quantity=1)
    expect(page.locator("#spread")).to_have_text("no bids")
    until(page, "drawn.includes('54321')")
    assert not page.evaluate("drawn.includes('54322')")
