"""How the page follows the market: what it subscribes to, and what it does where that fails."""

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, WebSocket, WebSocketRoute, expect

from clients.requests import SetInstrument
from clients.sync import SyncExchangeClient
from tests.page.conftest import PHONE, WAIT_MS, WITHOUT_WEBSOCKET, Opener, place, until

expect.set_options(timeout=WAIT_MS)
OTHER_SEQUENCE = "999999999999"
OTHER_PRICE = 4242

Release = Callable[[], None]


def no_stream_of_trades(page: Page) -> Release:
    """Until the release no subscription to trades arrives; then the connection is lost."""
    routes: list[WebSocketRoute] = []
    released: list[bool] = []

    def hold(route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        routes.append(route)

        def pass_on(message: str | bytes) -> None:
            if released or "trades" not in json.loads(message).get("channels", []):
                server.send(message)

        route.on_message(pass_on)

    def release() -> None:
        released.append(True)
        routes[-1].close()

    page.route_web_socket("**/stream", hold)
    return release


def no_lines_of_trades(page: Page) -> Release:
    """The same without a WebSocket."""
    calls = "**/market/trades/stream*"
    page.add_init_script(WITHOUT_WEBSOCKET)
    page.route(calls, lambda route: route.fulfill(body=""))
    return lambda: page.unroute(calls)


@pytest.mark.parametrize("hold", [no_stream_of_trades, no_lines_of_trades])
def test_nothing_stays_of_an_exchange_whose_data_was_replaced(
    http: httpx.Client, opened: Opener, hold: Callable[[Page], Release]
) -> None:
    """As by a restored backup: the page had seen a later sequence."""
    order_id = place(http, "wes", side="sell", price=61, quantity=1)
    place(http, "xia", side="buy", price=61, quantity=1)
    trade = {
        "trade_id": "other",
        "buy_order_id": "none",
        "sell_order_id": order_id,
        "instrument": "BTC-USD",
        "price": OTHER_PRICE,
        "quantity": 1,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "sequence": OTHER_SEQUENCE,
        "side": "buy",
        "role": "maker",
        "maker_fee": 0,
    }
    listed = {"trades": [trade], "sequence": OTHER_SEQUENCE, "next_page_token": ""}
    calls = re.compile(r"/market/trades\?")
    releases: list[Release] = []

    def other(page: Page) -> None:
        releases.append(hold(page))
        page.route(calls, lambda route: route.fulfill(json=listed))

    page = opened("/#BTC-USD", client="wes", prepare=other)
    tables = [page.locator("#trades tr"), page.locator("#fills tr")]
    for rows in tables:
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text(str(OTHER_PRICE))
    page.unroute(calls)
    releases[0]()
    for rows in tables:
        expect(rows.first).to_contain_text("61")
        expect(rows.filter(has_text=str(OTHER_PRICE))).to_have_count(0)
    expect(page.locator("#candle")).to_contain_text("close 61")
    expect(page.locator("#connection-state")).to_have_text("live")


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
    page = opened(
        "/#BTC-USD",
        prepare=lambda page: page.add_init_script(
            """window.sent = [];
            const send = WebSocket.prototype.send;
            WebSocket.prototype.send = function (text) {
              const frame = JSON.parse(text);
              window.sent.push(`${frame.type} ${frame.channels} ${frame.instruments}`);
              const ticker = frame.channels?.[0] === "ticker";
              const fails = ticker && window.sent.every((it) => it !== window.refused);
              if (fails) [window.refused, frame.instruments] = [window.sent.at(-1), ["NONE"]];
              send.call(this, JSON.stringify(frame));
            };"""
        ),
    )
    until(
        page,
        """sent.filter((it) => it === window.refused).length === 2
        && sent.some((it) => it.startsWith("subscribe trades"))""",
    )
    sent = page.evaluate("sent")
    assert len([it for it in sent if it.startswith("subscribe depth")]) == 1
    assert len([it for it in sent if it.startswith("subscribe trades")]) == 1


def test_tab_that_nobody_looks_at_holds_no_connections(http: httpx.Client, opened: Opener) -> None:
    """A browser opens six to a host: three tabs of two streams over HTTP would hold them all."""
    ended: list[str] = []

    def prepare(page: Page) -> None:
        page.add_init_script(WITHOUT_WEBSOCKET)
        page.on("requestfailed", lambda it: ended.append(it.url) if "/stream" in it.url else None)

    page = opened("/#SOL-USD", prepare=prepare)
    expect(page.locator("#connection-state")).to_have_text("live")
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    for _ in range(WAIT_MS // 20):
        if len(ended) == 2:
            break
        page.wait_for_timeout(20)
    assert {url.partition("?")[0].rpartition("/market/")[2] for url in ended} == {
        "orderbook/stream",
        "trades/stream",
    }
    for side in ("sell", "buy"):
        place(http, "max", instrument="SOL-USD", side=side, price=79, quantity=2)
    page.evaluate(hide, False)
    expect(page.locator("#trades tr").first).to_contain_text("79")
