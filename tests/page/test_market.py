"""A person trades on the page, in a real browser, while the server is killed once in between."""

from collections.abc import Callable

import httpx
import psutil
from playwright.sync_api import Page, expect

from tests.page.conftest import SUBMIT, WAIT_MS, Opener
from tests.running import START_S, Everything, until

Keep = Callable[[Page, str], None]
expect.set_options(timeout=WAIT_MS)


def place(page: Page, side: str, quantity: str, price: str = "") -> None:
    page.get_by_role("radio", name=side).check()
    page.get_by_role("radio", name="Limit" if price else "Market").check()
    page.get_by_label("Quantity").fill(quantity)
    if price:
        page.get_by_label("Price", exact=True).fill(price)
    page.locator(SUBMIT).click()


def trade(http: httpx.Client, client: str, **order: object) -> None:
    content = {"client_id": client, "instrument": "BTC-USD", "type": "limit"} | order
    http.post("/orders", json=content).raise_for_status()


def kill_server(exchange: Everything) -> None:
    """The supervisor starts it again."""
    for child in psutil.Process(exchange.running.pid).children():
        if "server" in child.cmdline()[1:6]:
            child.kill()
            return
    raise AssertionError("there is no server to kill")


def since(http: httpx.Client) -> str:
    """When the server was started; empty while there is none."""
    reply = http.get("/market/statistics")
    return str(reply.json()["since"]) if reply.status_code == 200 else ""


def test_a_person_trades_through_a_restart(
    exchange: Everything, http: httpx.Client, opened: Opener, keep: Keep
) -> None:
    page = opened(client="ann", viewport={"width": 1400, "height": 950})
    expect(page.locator("#connection-state")).to_have_text("live")

    place(page, "Buy", "0.5", "70000")
    expect(page.locator("#ticket-answer")).to_contain_text("open")
    bid = page.locator("#bids tr").first
    expect(bid).to_contain_text("70000")
    expect(bid).to_have_class("own")
    expect(page.locator("#open-orders tr")).to_have_count(1)

    trade(http, "bob", side="sell", price=70000, quantity=0.2)
    expect(page.locator("#open-orders tr td").nth(5)).to_have_text("0.2")
    expect(page.locator("#fills tr")).to_have_count(1)
    expect(page.locator("#trades tr").first).to_contain_text("0.2")
    expect(page.locator("#candle")).to_contain_text("close 70000")
    keep(page, "before_restart")

    started = since(http)
    kill_server(exchange)
    until(lambda: since(http) not in ("", started), START_S, "a server started again")
    expect(page.locator("#connection-state")).to_have_text("live")
    expect(bid).to_contain_text("0.3")

    trade(http, "bob", side="sell", price=70000, quantity=0.3)
    expect(page.locator("#open-orders tr")).to_have_count(0)
    expect(page.locator("#fills tr")).to_have_count(2)
    expect(page.locator("#positions tr td").nth(1)).to_have_text("+0.5")

    place(page, "Sell", "0.1", "70100")
    expect(page.locator("#asks tr").last).to_contain_text("70100")
    page.get_by_role("button", name="Cancel x-").click()
    expect(page.locator("#own-answer")).to_contain_text("cancelled")
    expect(page.locator("#open-orders tr")).to_have_count(0)
    expect(page.locator("#asks tr").last).not_to_contain_text("70100")

    # One fill before the restart and one after it, neither missed nor doubled.
    expect(page.locator("#trades tr")).to_have_count(2)
    trade(http, "cid", side="sell", price=70050, quantity=1)
    place(page, "Buy", "0.25")
    expect(page.locator("#ticket-answer")).to_contain_text("filled")
    expect(page.locator("#candle")).to_contain_text("close 70050")
    expect(page.locator("#instruments button").first).to_contain_text("70050")
    expect(page.locator("#positions tr td").nth(1)).to_have_text("+0.75")
    assert drawn(page, "#chart canvas")
    assert drawn(page, "#depth")
    keep(page, "market")


def drawn(page: Page, selector: str) -> bool:
    """Whether anything but emptiness is on one of the canvases."""
    return bool(
        page.evaluate(
            """(selector) => [...document.querySelectorAll(selector)].some((canvas) => {
              const {width, height} = canvas;
              const dots = canvas.getContext("2d").getImageData(0, 0, width, height).data;
              return dots.some((value) => value !== 0);
            })""",
            selector,
        )
    )


def test_a_candle_of_each_length(http: httpx.Client, opened: Opener) -> None:
    trade(http, "eve", side="sell", price=3500, quantity=1, instrument="ETH-USD")
    trade(http, "fay", side="buy", price=3500, quantity=1, instrument="ETH-USD")
    page = opened(timezone_id="Asia/Kathmandu")
    page.get_by_role("button", name="ETH-USD").click()
    told = http.get("/market/trades", params={"instrument": "ETH-USD"}).json()["trades"][0]
    expect(page.locator("#trades tr td").first).to_have_text(told["timestamp"][11:19])
    for length in ("5m", "15m", "1h", "4h", "1d", "1m"):
        button = page.get_by_role("button", name=length, exact=True)
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(page.locator("#candle")).to_contain_text("open 3500 high 3500 low 3500 close 3500")
        if length == "1d":
            # The same midnight as on the chart's axis.
            expect(page.locator("#candle")).to_contain_text("00:00:00 open")


def test_every_type_of_order(http: httpx.Client, opened: Opener) -> None:
    trade(http, "eve", side="sell", price=150, quantity=1, instrument="SOL-USD")
    page = opened("/#SOL-USD", client="gus")
    expect(page.locator("#asks tr").last).to_contain_text("150")
    answer = page.locator("#ticket-answer")
    in_force = page.get_by_label("Time in force")

    in_force.select_option("fok")
    place(page, "Buy", "2", "150")
    expect(answer).to_contain_text("rejected (fill or kill)")
    in_force.select_option("ioc")
    place(page, "Buy", "0.25", "149")
    expect(answer).to_contain_text("rejected (immediate or cancel)")
    in_force.select_option("gtc")
    page.get_by_label("post only").check()
    place(page, "Buy", "0.25", "150")
    expect(answer).to_contain_text("rejected (post only would cross)")
    page.get_by_label("post only").uncheck()
    place(page, "Buy", "0.25", "150")
    expect(answer).to_contain_text("filled, 0.25 filled")
    place(page, "Sell", "0.5", "149.5")
    expect(answer).to_contain_text("open")
    page.get_by_label("Own orders meet").select_option("cancel_newest")
    place(page, "Buy", "0.5")
    expect(answer).to_contain_text("self trade prevention")
