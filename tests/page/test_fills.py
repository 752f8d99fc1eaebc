"""One's own fills on the page: of all markets, each side once, as far back as there are any."""

import re

import httpx
from playwright.sync_api import Locator, Page, Route, expect

from clients.requests import SetInstrument
from clients.sync import SyncExchangeClient
from tests.page.conftest import Opener, place


def rows(fills: Locator) -> list[list[str]]:
    """The table's cells as shown, but for times and orders."""
    # At once: asked for one by one, hundreds of cells take minutes on a busy machine.
    cells = fills.evaluate_all("rows => rows.map(row => [...row.cells].map(it => it.innerText))")
    return [[market, *rest] for _, market, _, *rest in cells]


def in_pages_of_ten(page: Page) -> None:
    def smaller(route: Route) -> None:
        route.continue_(url=route.request.url.replace("limit=100", "limit=10"))

    page.route(re.compile("/market/trades.*client_id"), smaller)


def test_fills_of_all_markets_have_role_and_fee(
    http: httpx.Client, client: SyncExchangeClient, opened: Opener
) -> None:
    client.set_instrument(SetInstrument("FILL-USD", maker_fee="-0.0001", taker_fee="0.001"))
    there = {"instrument": "FILL-USD", "price": 50}
    place(http, "una", side="sell", quantity=2, **there)
    place(http, "vic", side="buy", quantity=2, **there)
    here = {"price": 710, "quantity": 1}
    place(http, "vic", side="sell", self_trade_prevention="none", **here)
    place(http, "una", side="buy", **here)
    fills = (page := opened("/#BTC-USD", "una")).locator("#fills tr")
    expect(fills).to_have_count(2)
    assert rows(fills) == [
        ["BTC-USD", "buy", "710", "1", "taker", "0"],
        ["FILL-USD", "sell", "50", "2", "maker", "-0.01"],
    ]
    place(http, "una", side="sell", quantity=1, **there)
    own = place(http, "una", side="buy", quantity=1, self_trade_prevention="none", **there)
    expect(fills).to_have_count(4)
    assert rows(fills)[:2] == [
        ["FILL-USD", "buy", "50", "1", "taker", "0.05"],
        ["FILL-USD", "sell", "50", "1", "maker", "-0.005"],
    ]
    expect(fills.first).to_contain_text(own)
    expect(page.get_by_role("button", name="Older fills")).to_be_hidden()


def test_older_fills_of_two_markets_come_in_order(
    http: httpx.Client, client: SyncExchangeClient, opened: Opener
) -> None:
    """In pages of ten, of which one market has more than the other."""
    client.set_instrument(SetInstrument("OLD-USD"))
    place(http, "sam", side="sell", price=700, quantity=60)
    place(http, "sam", side="sell", price=700, quantity=15, instrument="OLD-USD")
    expected = list[str]()
    for number in range(75):
        instrument = "OLD-USD" if number % 5 == 4 else "BTC-USD"
        place(http, "tom", side="buy", price=700, quantity=1, instrument=instrument)
        expected.insert(0, instrument)
    page = opened("/#BTC-USD", "tom", in_pages_of_ten)
    fills, older = page.locator("#fills tr"), page.get_by_role("button", name="Older fills")
    expect(fills).to_have_count(20)
    for count in (60, 75):
        older.click()
        expect(fills).to_have_count(count)
        assert [market for market, *_ in rows(fills)] == expected[:count]
    expect(older).to_be_hidden()


def test_a_fill_of_another_day_shows_its_date(http: httpx.Client, opened: Opener) -> None:
    place(http, "wim", side="sell", price=720, quantity=1)
    place(http, "xia", side="buy", price=720, quantity=2)
    place(http, "wim", side="sell", price=720, quantity=1)

    def earlier(route: Route) -> None:
        reply = route.fetch()
        content = reply.json()
        content["trades"][-1]["timestamp"] = "2024-02-29T23:59:58.700Z"
        route.fulfill(response=reply, json=content)

    page = opened(
        "/#BTC-USD",
        "xia",
        lambda page: page.route(re.compile("/market/trades.*client_id"), earlier),
    )
    times = page.locator("#fills td:first-child")
    expect(times).to_have_text([re.compile(r"^\d\d:\d\d:\d\d$"), "2024-02-29 23:59:58"])


def test_what_is_kept_of_one_who_trades_all_day_is_bounded(opened: Opener) -> None:
    """Without a gap: what was not read in time, or is too much, is begun anew."""
    outcome = opened().evaluate(
        """async () => {
          const {Fills} = await import("/page/fills.js");
          const fills = new Fills();
          fills.follow("busy");
          const real = window.fetch;
          let newest = 0;
          const headers = {"content-type": "application/json"};
          const trade = (_, at) => ({
            trade_id: `t${newest - at}`, sequence: `${newest - at}`, side: "buy", role: "maker",
            timestamp: "2024-01-01T00:00:00Z", price: 1, quantity: 1, maker_fee: 0});
          window.fetch = async (path, how) => {
            if (!path.includes("client_id=busy")) return real(path, how);
            const trades = Array.from({length: 100}, trade);
            const page = {trades, next_page_token: `${newest - 99}-0`};
            return new Response(JSON.stringify(page), {headers});
          };
          const kept = [];
          for (const step of [1000, 50, 99, 100, ...Array(110).fill(99)]) {
            newest += step;
            await fills.take([{instrument: "BTC-USD", last_updated: `${newest}`}]);
            const {fills: list, next} = fills.markets.get("BTC-USD");
            const whole = list.every(({sequence}, at) => Number(sequence) === newest - at);
            kept.push([list.length, whole, next === `${newest - list.length + 1}-0`]);
          }
          return kept;
        }"""
    )
    assert [length for length, _, _ in outcome[:4]] == [100, 150, 249, 100]
    assert max(length for length, _, _ in outcome) == 10_000
    assert outcome[-1][0] < 10_000
    assert all(whole and follows for _, whole, follows in outcome)
