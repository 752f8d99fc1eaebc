"""How the page follows the market: what it subscribes to, and what it does where that fails."""

import json
from collections import Counter
from typing import Any

import httpx
from playwright.sync_api import Page, WebSocket, expect

from clients.requests import SetInstrument
from clients.sync import SyncExchangeClient
from tests.page.conftest import PHONE, WAIT_MS, Opener, place

expect.set_options(timeout=WAIT_MS)


def test_more_instruments_than_one_connection_subscribes_to(
    client: SyncExchangeClient, http: httpx.Client, opened: Opener
) -> None:
    """The bridge takes 100 names a frame and 200 subscriptions: the market that is shown comes
    first, and the rest is asked for."""
    names = [f"AA{number:03}-USD" for number in range(220)]
    for name in names:
        client.set_instrument(SetInstrument(name))
    sent: list[dict[str, Any]] = []
    errors: list[str] = []

    def record(stream: WebSocket) -> None:
        stream.on("framesent", lambda frame: sent.append(json.loads(frame)))
        stream.on("framereceived", lambda it: errors.append(str(it)) if '"error"' in it else None)

    def prepare(page: Page) -> None:
        page.on("websocket", record)

    page = opened("/#AA219-USD", prepare=prepare, **PHONE)
    expect(page.locator("#book-state")).to_contain_text("at sequence")
    price = {
        name: page.locator("#instruments button", has_text=name).locator(".price")
        for name in ("AA000-USD", "AA218-USD", "AA219-USD")
    }
    for number, name in enumerate(price):
        for side in ("sell", "buy"):
            place(http, "zoe", instrument=name, side=side, price=31 + number, quantity=1)
        expect(price[name]).to_have_text(str(31 + number))
    expect(page.locator("#instruments button", has_text="AA219-USD")).to_be_in_viewport()
    page.locator("#instruments button", has_text="AA218-USD").click()
    expect(page.locator("#trades tr")).to_contain_text("32")

    assert errors == []
    kinds = Counter((it["type"], *it.get("channels", [])) for it in sent)
    assert (kinds["subscribe", "depth"], kinds["subscribe", "trades"]) == (2, 2)
    assert max(len(it.get("instruments", [])) for it in sent) == 100
    chart = page.locator("#chart").bounding_box()
    assert chart is not None
    assert chart["y"] < 740, "the list scrolls"


def test_refused_ticker_leaves_the_market_alone(opened: Opener) -> None:
    """It is asked for again by itself."""
    sent: list[dict[str, Any]] = []
    page = opened(
        "/#BTC-USD",
        prepare=lambda page: (
            page.on(
                "websocket",
                lambda stream: stream.on("framesent", lambda it: sent.append(json.loads(it))),
            ),
            page.add_init_script(
                """const send = WebSocket.prototype.send;
                WebSocket.prototype.send = function (text) {
                  const frame = JSON.parse(text);
                  if (frame.channels?.[0] === "ticker") {
                    window.asked = (window.asked ?? 0) + 1;
                    if (window.asked === 1) frame.instruments = ["NONE"];
                  }
                  send.call(this, JSON.stringify(frame));
                };"""
            ),
        ),
    )
    page.wait_for_function("window.asked >= 2")
    kinds = Counter((it["type"], *it.get("channels", [])) for it in sent)
    assert (kinds["subscribe", "depth"], kinds["subscribe", "trades"]) == (1, 1)
