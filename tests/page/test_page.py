"""What the page is made of, what it refuses, and how it repairs itself."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, Request, Route, WebSocketRoute, expect

from clients.requests import SetInstrument
from clients.sync import SyncExchangeClient
from gateway.static_files import PAGE, files
from tests.page.conftest import PHONE, SUBMIT, WAIT_MS, WITHOUT_WEBSOCKET, Opener, place

expect.set_options(timeout=WAIT_MS)
HTML = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


def test_who_accepts_html_gets_the_page(http: httpx.Client) -> None:
    page = http.get("/", headers=HTML)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["vary"] == "accept"
    assert page.text == (PAGE / "index.html").read_text(encoding="utf-8")
    for accept in ("*/*", "application/json"):
        assert http.get("/", headers={"accept": accept}).json()["name"] == "exchange-backend"


@pytest.mark.parametrize("path", files())
def test_file_is_sent_whole_with_strict_headers(http: httpx.Client, path: str) -> None:
    reply = http.get(path)
    assert reply.content == files()[path].read_bytes()
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"
    if reply.headers["content-type"].startswith("text/html"):
        policy = reply.headers["content-security-policy"].split("; ")
        assert {"default-src 'self'", "frame-ancestors 'none'", "trusted-types 'none'"} <= {*policy}
        assert "unsafe" not in reply.headers["content-security-policy"]


def test_only_files_of_the_page_are_sent(http: httpx.Client) -> None:
    for path in ("/page/", "/page/../configuration.py", "/page/%2e%2e/envoy.py", "/page/none.js"):
        assert http.get(path).status_code == 404
    assert http.post("/page/main.js").status_code == 404


def test_charts_are_what_was_recorded() -> None:
    recorded = re.findall(
        r"^\| `([\w.-]+)` .*`([0-9a-f]{64})`", (PAGE / "vendor" / "README.md").read_text(), re.M
    )
    assert [name for name, _ in recorded] == ["lightweight-charts.js"]
    for name, checksum in recorded:
        assert hashlib.sha256((PAGE / "vendor" / name).read_bytes()).hexdigest() == checksum
    assert "TradingView" in (PAGE / "index.html").read_text()


def test_nothing_makes_markup_of_text() -> None:
    banned = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(")
    own = [file for file in PAGE.glob("*") if file.suffix in {".js", ".html"}]
    assert own
    assert [file.name for file in own if banned.search(file.read_text(encoding="utf-8"))] == []
    elsewhere = re.compile(r"(src|href|from|import\()\s*=?\s*[\"']https?:", re.IGNORECASE)
    found = {
        (file.name, match[0]) for file in own for match in elsewhere.finditer(file.read_text())
    }
    assert found == {("index.html", 'href="https:')}, "only the link that the charts' license asks"


WRONG_ORDERS: tuple[tuple[str, str, str], ...] = (
    ("Client", "", "give 1 to 64"),
    ("Client", "<b>bold</b>", "client “<b>bold</b>”"),
    ("Quantity", "", "quantity “”"),
    ("Quantity", "-1", "quantity “-1”"),
    ("Quantity", "0", "quantity is 0"),
    ("Quantity", "0.000000001", "at most 8 decimals"),
    ("Quantity", "1e3", "quantity “1e3”"),
    ("Price", "1234567890.12345678", "15 digits"),
    ("Price", "<img src=x>", "price “<img src=x>”"),
)


def test_wrong_order_is_not_sent(opened: Opener) -> None:
    page = opened()
    sent: list[str] = []
    page.on("request", lambda it: sent.append(it.url) if it.method == "POST" else None)
    expect(page.locator("#connection-state")).to_have_text("live")
    for wrong, text, sentence in WRONG_ORDERS:
        for label, right in (("Client", "ann"), ("Quantity", "1"), ("Price", "10")):
            page.get_by_label(label, exact=True).fill(text if label == wrong else right)
        page.locator(SUBMIT).click()
        expect(page.locator("#ticket-answer")).to_contain_text(sentence)
        # What was typed is shown as it is, not taken for markup.
        assert page.locator("#ticket-answer *").count() == 0
        assert page.locator("[aria-invalid=true]").count() == 1
    assert sent == []


def test_phone_and_keyboard(http: httpx.Client, opened: Opener) -> None:
    page = opened(client="kay", **PHONE)
    expect(page.locator("#connection-state")).to_have_text("live")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    # From the field of the client on, by keyboard alone.
    page.get_by_label("Client").focus()
    for keys in (["Tab", "Tab", "Tab"], ["1", "Tab"], ["9", "0", "Enter"]):
        for key in keys:
            page.keyboard.press(key)
    expect(page.locator("#ticket-answer")).to_contain_text("open")
    button = page.get_by_role("button", name="Cancel x-")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#own-answer")).to_contain_text("cancelled")
    page.get_by_role("tab", name="Market").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#operator")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_page_is_live_once_it_knows_what_can_be_traded(opened: Opener) -> None:
    """Where it gets no answer it asks again; who places an order meanwhile is told why not."""
    asked: list[Route] = []

    def answer(route: Route) -> None:
        asked.append(route)
        if len(asked) == 1:
            route.abort()

    page = opened("/#ETH-USD", prepare=lambda page: page.route("**/instruments", answer))
    place = page.locator(SUBMIT)
    while len(asked) < 2:
        page.wait_for_timeout(20)
    page.get_by_label("Quantity", exact=True).fill("1")
    page.get_by_label("Price", exact=True).fill("80")
    place.click()
    expect(page.locator("#ticket-answer")).to_contain_text("not known yet")
    expect(page.locator("#connection-state")).to_have_text("no answer")
    # With the route goes what was held: it is answered.
    page.unroute("**/instruments")
    expect(page.locator("#connection-state")).to_have_text("live")
    place.click()
    expect(page.locator("#ticket-answer")).to_contain_text("open")


def test_page_takes_up_new_terms_and_instruments(
    client: SyncExchangeClient, opened: Opener
) -> None:
    """An operator sets them while it is open, before the market is chosen and while it is shown."""
    page = opened(client="eli")
    known = page.locator("#instruments").get_by_role("button", name="BTC-USD")
    known.focus()
    client.set_instrument(SetInstrument("ETC-USD", quantity_max=1))
    page.get_by_role("button", name="ETC-USD").wait_for()
    expect(known).to_be_focused()
    page.get_by_role("button", name="ETC-USD").click()
    expect(page.locator("#book-state")).to_contain_text("at sequence")
    page.get_by_label("Quantity", exact=True).fill("5")
    page.get_by_label("Price", exact=True).fill("10")
    answer = page.locator("#ticket-answer")
    order = page.locator(SUBMIT)
    order.click()
    expect(answer).to_have_text("quantity 5 is above the most, 1")
    client.set_instrument(SetInstrument("ETC-USD", quantity_max=10))
    for _ in range(WAIT_MS // 20):
        if "above the most" not in answer.inner_text():
            break
        page.wait_for_timeout(20)
        order.click()
    expect(answer).to_contain_text("open")


def test_screen_reader_is_told_of_the_connection_and_of_answers(opened: Opener) -> None:
    """Not of what changes many times a second; and each table has a name."""
    page = opened()
    live = page.locator("output, [role=status], [role=alert], [role=log], [aria-live]")
    names = [each.get_attribute("id") for each in live.all()]
    assert names == ["connection-state", "ticket-cost", "ticket-answer", "own-answer"]
    for table in page.locator("table:not(#chart *)").all():
        named = table.get_attribute("aria-label") or table.get_attribute("aria-labelledby")
        assert named, table.inner_html()


def test_light_and_dark(opened: Opener) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = opened(color_scheme="dark").evaluate(ground)
    page = opened(color_scheme="light")
    assert page.evaluate(ground) != dark
    page.get_by_role("button", name="Change between light and dark").click()
    assert page.evaluate(ground) == dark
    page.reload()
    assert page.evaluate(ground) == dark


def test_page_works_where_the_browser_keeps_nothing(http: httpx.Client, opened: Opener) -> None:
    """As where a person has all storage blocked: nothing is remembered, all else goes on."""
    order_id = place(http, "amy", side="buy", price=2, quantity=1)
    page = opened(
        client="amy",
        prepare=lambda page: page.add_init_script(
            """Object.defineProperty(window, "localStorage", {
              get() { throw new DOMException("Access is denied", "SecurityError"); }});"""
        ),
        color_scheme="light",
    )
    expect(page.locator("#connection-state")).to_have_text("live")
    expect(page.locator("#open-orders tr")).to_contain_text(order_id)
    page.get_by_role("button", name="Change between light and dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_operator_sees_each_part(opened: Opener, keep: Callable[[Page, str], None]) -> None:
    page = opened()
    page.get_by_role("tab", name="Operator").click()
    expect(page.locator("#health")).to_have_text(re.compile("healthy|degraded"))
    for part in ("journal", "snapshots", "postgres", "redis", "kafka"):
        expect(page.locator("#parts")).to_contain_text(part)
    for title in ("orders/s", "trades/s"):
        # A rate needs two looks.
        expect(page.locator("#order-figures tr", has_text=title).locator("td")).to_have_text(
            re.compile(r"^[\d.]+$")
        )
    expect(page.locator("#latencies")).to_contain_text("order to durable")
    expect(page.locator("#lags")).to_contain_text("durable sequence")
    expect(page.locator("#lags")).to_contain_text("follower snapshots, commands behind")
    connections = page.locator("#connections tr")
    expect(connections.filter(has_text="connections, http")).to_have_count(1)
    expect(connections.filter(has_text="WebSocket connections").locator("td")).not_to_have_text("0")
    expect(connections.filter(has_text="WebSocket subscriptions, depth")).to_have_count(1)
    for part in ("server", "gateway", "follower", "websocket"):
        line = page.locator("#processes tr", has_text=part)
        expect(line).to_have_text(re.compile(r"[0-9]+ %[0-9]+ MiB"))
    expect(page.locator("#statistics")).to_contain_text("BTC-USD")
    keep(page, "operator")


def test_operator_sees_why_no_orders_are_taken(opened: Opener) -> None:
    """The exchange answers 503, and says all the same how each part is."""
    answer = {
        "status": "down",
        "checks": {"journal": "down", "postgres": "degraded"},
        "degraded": ["the <b>disk</b> is full"],
        "behind": {"postgres": {"events": 1234567, "seconds": 318.503}},
    }

    def full(page: Page) -> None:
        page.route("**/healthz", lambda route: route.fulfill(status=503, json=answer))

    page = opened(prepare=full, **PHONE)
    page.get_by_role("tab", name="Operator").click()
    expect(page.locator("#health")).to_have_text("down")
    expect(page.locator("#parts tr").nth(0)).to_contain_text("journaldown")
    expect(page.locator("#parts tr").nth(1)).to_contain_text("1234567 events and 318.503 s behind")
    table = page.locator("table", has=page.locator("#parts"))
    assert table.evaluate("it => it.offsetWidth <= it.parentElement.clientWidth"), "all can be read"
    expect(page.locator("#degraded")).to_have_text("the <b>disk</b> is full")


def test_operator_sees_what_answers_while_something_hangs(
    http: httpx.Client, opened: Opener
) -> None:
    """What could not be read is grey until it is."""
    hanging: list[Request] = []
    most: list[int] = []

    def hang(route: Route) -> None:
        hanging.append(route.request)
        most.append(len(hanging))

    page = opened("/#BTC-USD")
    page.on("requestfailed", lambda it: hanging.remove(it) if it in hanging else None)
    page.route("**/metrics/websocket", hang)
    page.get_by_role("tab", name="Operator").click()
    sequence = page.locator("#lags tr", has_text="durable sequence").locator("td")
    for _ in range(2):
        place(http, "fay", side="buy", price=1, quantity=1)
        newest = str(http.get("/market/bbo").json()["sequence"])
        expect(sequence).to_have_text(newest)
    websocket = page.locator("#websocket-connections")
    expect(websocket).to_have_attribute("data-read", "before")
    assert max(most) == 1
    page.unroute("**/metrics/websocket")
    expect(websocket).to_have_attribute("data-read", "now")
    page.route("**/metrics", lambda route: route.abort())
    expect(page.locator("#order-figures")).to_have_attribute("data-read", "before")


def test_figures_of_a_process_that_began_again_have_no_rate_at_first(opened: Opener) -> None:
    rates = opened().evaluate(
        """async () => {
          const {Source} = await import("/page/prometheus.js");
          const source = new Source();
          return [10, 30, 3, 5].map((count) => {
            source.take(`sent_total ${count}`);
            return source.rate("sent_total");
          }).map((rate) => rate === null ? null : rate > 0);
        }"""
    )
    assert rates == [None, True, None, True]


def test_exchange_that_hangs_gives_no_answer(opened: Opener) -> None:
    """The page says so before it gives the call up."""
    page = opened("/#BTC-USD")
    state = page.locator("#connection-state")
    expect(state).to_have_text("live")
    given_up: list[str] = []
    page.on("requestfailed", lambda it: given_up.append(it.url))
    page.route("**/market/bbo*", lambda route: None)
    expect(state).to_have_text("no answer")
    assert given_up == []
    page.unroute("**/market/bbo*")
    expect(state).to_have_text("live")


def test_book_that_lost_a_delta_repairs_itself(http: httpx.Client, opened: Opener) -> None:
    lost: list[str] = []

    def lossy(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            if '"delta"' in str(message) and not lost:
                lost.append(str(message))
            else:
                route.send(message)

        server.on_message(pass_on)

    page = opened("/#ETH-USD", prepare=lambda page: page.route_web_socket("**/stream", lossy))
    expect(page.locator("#book-state")).to_contain_text("at sequence")
    for price in (1000, 1001):
        order = {"client_id": "liz", "instrument": "ETH-USD", "side": "buy", "type": "limit"}
        http.post("/orders", json=order | {"price": price, "quantity": 1}).raise_for_status()
        until_lost(page, lost)
    expect(page.locator("#book-state")).to_contain_text("repaired 1 times")
    assert len(lost) == 1
    texts = page.locator("#bids tr")
    expect(texts.nth(0)).to_contain_text("1001")
    expect(texts.nth(1)).to_contain_text("1000")


def until_lost(page: Page, lost: list[str]) -> None:
    """The first delta was on its way and is gone."""
    for _ in range(WAIT_MS // 20):
        if lost:
            return
        page.wait_for_timeout(20)
    raise AssertionError("no delta came")


def test_market_chosen_while_nothing_answers_is_shown_once_something_does(
    http: httpx.Client, opened: Opener
) -> None:
    """Until then it shows nothing, least of all another market."""
    last = {}
    for instrument, price in (("BTC-USD", 29), ("ETH-USD", 31)):
        place(http, "ann", instrument=instrument, side="sell", price=price, quantity=1)
        place(http, "ben", instrument=instrument, side="buy", price=price, quantity=1)
        found = http.get("/market/trades", params={"instrument": instrument, "limit": 1}).json()
        last[instrument] = f"{found['trades'][0]['price']:g}"
    page = opened(
        "/#BTC-USD",
        prepare=lambda page: page.add_init_script(
            """const send = WebSocket.prototype.send;
            WebSocket.prototype.send = function (text) {
              const frame = JSON.parse(text);
              const fails = frame.instrument === "ETH-USD" && frame.channels[0] === "depth";
              if (fails && !window.failed) [window.failed, frame.instrument] = [true, "NONE"];
              send.call(this, JSON.stringify(frame));
            };"""
        ),
    )
    trades, candle = page.locator("#trades tr"), page.locator("#candle")
    expect(trades.first).to_contain_text(last["BTC-USD"])
    expect(candle).to_contain_text(f"close {last['BTC-USD']}")
    calls = re.compile("/market/(trades|analytics)")
    page.route(calls, lambda route: route.abort())
    page.get_by_role("button", name="ETH-USD").click()
    expect(trades).to_have_count(0)
    expect(candle).to_be_empty()
    page.unroute(calls)
    expect(trades.first).to_contain_text(last["ETH-USD"])
    expect(candle).to_contain_text(f"close {last['ETH-USD']}")
    expect(page.locator("#book-state")).to_contain_text("at sequence")


def test_without_websocket_the_market_comes_over_http(http: httpx.Client, opened: Opener) -> None:
    page = opened(
        "/#SOL-USD",
        prepare=lambda page: page.add_init_script(WITHOUT_WEBSOCKET),
    )
    expect(page.locator("#connection-state")).to_have_text("live")
    for side in ("sell", "buy"):
        order = {"client_id": "max", "instrument": "SOL-USD", "side": side, "type": "limit"}
        http.post("/orders", json=order | {"price": 77, "quantity": 2}).raise_for_status()
        if side == "sell":
            expect(page.locator("#asks tr").last).to_contain_text("77")
    expect(page.locator("#trades tr").first).to_contain_text("77")
    expect(page.locator("#asks tr").last).not_to_contain_text("77")


def test_trades_of_one_command_that_come_again_are_shown_once(
    http: httpx.Client, opened: Opener
) -> None:
    """The page lists the newest hundred, and the stream begins with all of the newest command."""
    sell = {"client_id": "many", "instrument": "SOL-USD", "side": "sell", "type": "limit"}
    for price, count in ((500, 400), (501, 100)):
        orders = [sell | {"price": price, "quantity": 1}] * count
        http.post("/orders/batch", json={"orders": orders}).raise_for_status()
    buy = {"instrument": "SOL-USD", "side": "buy", "type": "limit", "price": 501}
    http.post("/orders", json=buy | {"client_id": "one", "quantity": 500}).raise_for_status()
    page = opened("/#SOL-USD")
    shown = page.locator("#trades tr")
    expect(shown.first).to_contain_text("501")
    for order in (sell | {"price": 502}, buy | {"price": 502, "client_id": "one"}):
        http.post("/orders", json=order | {"quantity": 1}).raise_for_status()
    expect(shown.first).to_contain_text("502")
    expect(shown.nth(1)).to_contain_text("501")


def test_copy_of_a_book_takes_nothing_that_does_not_fit(opened: Opener) -> None:
    outcome = opened().evaluate(
        """async () => {
          const {Book, crc32c} = await import("/page/book.js");
          const level = (price, quantity) => ({price, quantity});
          const sum = (text) => crc32c(text);
          const snapshot = {type: "snapshot", bids: [level(0.1, 2)], asks: [level(0.3, 1)],
            sequence: "5", checksum: sum("10000000:200000000|30000000:100000000")};
          const delta = {type: "delta", bids: [level(0.2, 1)], asks: [level(0.3, 0)],
            previousSequence: "5", sequence: "7",
            checksum: sum("20000000:100000000,10000000:200000000|")};
          const change = {...delta, bids: [level(0.1, 3)], asks: [],
            checksum: sum("10000000:300000000|30000000:100000000")};
          const after = (...messages) => {
            const book = new Book();
            return messages.map((message) => book.apply(message));
          };
          return {
            check: sum("123456789"),
            fits: after(snapshot, delta),
            changed: after(snapshot, change),
            gap: after(snapshot, {...delta, previousSequence: "6"}),
            again: after(snapshot, {...delta, previousSequence: "4"}),
            corrupt: after(snapshot, {...delta, bids: [level(0.2, 2)]}, delta),
            early: after(delta),
          };
        }"""
    )
    assert outcome == {
        "check": 0xE3069283,
        "fits": [True, True],
        "changed": [True, True],
        "gap": [True, False],
        "again": [True, False],
        "corrupt": [True, False, False],
        "early": [False],
    }


def test_files_are_small() -> None:
    sizes = {file.name: len(file.read_text().splitlines()) for file in Path(PAGE).glob("*.js")}
    assert {name: lines for name, lines in sizes.items() if lines > 200} == {}
