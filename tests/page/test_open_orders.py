"""One's own open orders on the page: shown, changed and cancelled in their rows."""

import re
from decimal import Decimal

import httpx
from playwright.sync_api import Page, Route, expect

from clients.requests import PlaceOrder, ReplaceOrder
from clients.sync import SyncExchangeClient
from tests.page.conftest import WAIT_MS, Opener, place

expect.set_options(timeout=WAIT_MS)


def test_open_order_is_changed_in_its_row(http: httpx.Client, opened: Opener) -> None:
    order_id = place(http, "ned", side="buy", price=900, quantity=1)
    other = place(http, "ned", side="buy", price=800, quantity=1)
    page = opened("/#BTC-USD", client="ned")
    said = page.locator("#own-answer")
    cells = page.locator("#open-orders tr", has_text=order_id).locator("td")

    page.get_by_role("button", name=f"Change {order_id}").click()
    price = page.get_by_label(f"New price of {order_id}")
    expect(price).to_be_focused()
    price.fill("<b>9</b>")
    price.press("Enter")
    expect(said).to_contain_text("price “<b>9</b>”")
    assert said.locator("*").count() == 0
    price.fill("901.5")
    # What others do meanwhile doesn't take away what is being typed.
    http.delete(f"/orders/{other}").raise_for_status()
    expect(page.locator("#open-orders tr")).to_have_count(1)
    expect(price).to_have_value("901.5")
    page.get_by_label(f"New quantity of {order_id}").fill("2")
    page.get_by_role("button", name=f"Save {order_id}").click()
    expect(said).to_contain_text(f"{order_id}: changed to 2 at 901.5, open")
    expect(cells.nth(3)).to_have_text("901.5")
    expect(cells.nth(4)).to_have_text("2")
    expect(page.locator("#bids tr").first).to_contain_text("901.5")
    order = http.get(f"/orders/{order_id}").json()["order"]
    assert (order["price"], order["quantity"]) == (901.5, 2)

    page.get_by_role("button", name=f"Change {order_id}").click()
    price.press("Escape")
    expect(page.get_by_role("button", name=f"Change {order_id}")).to_be_focused()
    # Refused by the exchange: it ended in the moment before.
    page.get_by_role("button", name=f"Change {order_id}").click()
    page.evaluate(
        "() => { document.hidden || Object.defineProperty(document, 'hidden', {value: true}); }"
    )
    http.delete(f"/orders/{order_id}").raise_for_status()
    page.get_by_label(f"New quantity of {order_id}").fill("3")
    page.get_by_role("button", name=f"Save {order_id}").click()
    expect(said).to_have_attribute("data-kind", "refused")


def test_what_was_not_typed_stays_as_the_exchange_has_it(
    client: SyncExchangeClient, opened: Opener
) -> None:
    """Also where it is shown rounded, or as it was before another program changed it."""
    many = Decimal("12345678901.12345678")
    order_id = client.place(PlaceOrder("oda", "BTC-USD", "buy", many, "0.01")).order.order_id
    sent: list[str] = []

    def record(page: Page) -> None:
        page.on("request", lambda it: sent.append(it.url) if it.method == "POST" else None)

    page = opened("/#BTC-USD", client="oda", prepare=record)
    change, save = (
        page.get_by_role("button", name=f"{it} {order_id}", exact=True) for it in ("Change", "Save")
    )
    price, quantity = (page.get_by_label(f"New {it} of {order_id}") for it in ("price", "quantity"))
    cells = page.locator("#open-orders td")
    said = page.locator("#own-answer")

    change.click()
    expect(quantity).to_have_value("12345678901.1235")
    price.fill("0.02")
    save.click()
    expect(said).to_contain_text("at 0.02, open")
    assert client.order(order_id).quantity == many

    client.replace(ReplaceOrder(order_id, quantity=10))
    expect(cells.nth(4)).to_have_text("10")
    change.click()
    client.replace(ReplaceOrder(order_id, quantity=1))
    price.fill("0.03")
    save.click()
    expect(said).to_contain_text("changed to 1 at 0.03, open")

    change.click()
    client.replace(ReplaceOrder(order_id, price="0.04"))
    quantity.fill("2")
    save.click()
    expect(said).to_contain_text("changed to 2 at 0.04, open")

    expect(cells.nth(3)).to_have_text("0.04")
    assert len(sent) == 3
    change.click()
    price.fill(" 0.04 ")
    save.click()
    expect(change).to_be_focused()
    assert len(sent) == 3


def test_open_orders_are_shown_though_positions_are_not_to_be_had(
    http: httpx.Client, opened: Opener
) -> None:
    """No path holds the id of this client; of the one before nothing stays."""
    place(http, "pam", side="sell", price=950, quantity=1)
    place(http, "pip", side="buy", price=950, quantity=1)
    order_id = place(http, "..", side="buy", price=1, quantity=1)
    page = opened("/#BTC-USD", client="pip")
    positions = page.locator("#positions tr")
    expect(positions).to_have_count(1)
    page.get_by_label("Client").fill("..")
    page.get_by_label("Client").press("Tab")
    expect(page.locator("#open-orders tr")).to_contain_text(order_id)
    expect(positions).to_have_count(0)


def test_open_and_partially_filled_orders_are_asked_for_in_one_call(
    http: httpx.Client, opened: Opener
) -> None:
    """Two would be of two moments: an order filled in between would come twice, or not at all."""
    order_ids = [place(http, "una", side="buy", price=price, quantity=1) for price in (975, 1)]
    place(http, "vic", side="sell", price=975, quantity=0.25)
    asked: list[str] = []

    def record(page: Page) -> None:
        page.on("request", lambda it: asked.append(it.url) if "/orders?" in it.url else None)

    page = opened("/#BTC-USD", client="una", prepare=record)
    rows = page.locator("#open-orders tr")
    expect(rows).to_have_count(2)
    assert [row.split("\t")[0] for row in rows.all_inner_texts()] == order_ids[::-1]
    assert {url.partition("status=")[2] for url in asked} == {"", "working"}


def test_focus_goes_on_when_its_row_goes(http: httpx.Client, opened: Opener) -> None:
    """To the next row, else the one before, else the table; a key held down cancels one order."""
    older, middle, newer = (place(http, "uma", side="buy", price=1, quantity=1) for _ in range(3))
    page = opened("/#BTC-USD", client="uma")
    rows = page.locator("#open-orders tr")
    button = {
        (word, order_id): page.get_by_role("button", name=f"{word} {order_id}", exact=True)
        for word in ("Change", "Cancel")
        for order_id in (older, middle, newer)
    }
    cancelled: list[str] = []
    page.on("request", lambda it: cancelled.append(it.url) if it.method == "DELETE" else None)
    expect(rows).to_have_count(3)

    button["Cancel", newer].focus()
    page.keyboard.down("Enter")
    expect(button["Cancel", middle]).to_be_focused()
    page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    expect(rows).to_have_count(2)

    button["Change", older].focus()
    http.delete(f"/orders/{older}").raise_for_status()
    expect(button["Change", middle]).to_be_focused()
    # A row that stays keeps the focus, whatever comes or goes beside it.
    button["Change", middle].press("Enter")
    newest = place(http, "uma", side="buy", price=1, quantity=1)
    cancel = page.get_by_role("button", name=f"Cancel {newest}", exact=True)
    expect(cancel).to_be_visible()
    price = page.get_by_label(f"New price of {middle}")
    expect(price).to_be_focused()
    price.press("Escape")
    assert len(cancelled) == 1

    button["Cancel", middle].press("Enter")
    expect(cancel).to_be_focused()
    cancel.press("Enter")
    expect(page.get_by_role("region", name="Open orders")).to_be_focused()
    expect(rows).to_have_count(0)


def test_double_click_cancels_one_order(http: httpx.Client, opened: Opener) -> None:
    """Whether its row is still there at the second click or has gone."""
    other, order_id = (place(http, "vic", side="buy", price=1, quantity=1) for _ in range(2))
    page = opened("/#BTC-USD", client="vic")
    rows = page.locator("#open-orders tr")
    expect(rows).to_have_count(2)
    cancelled: list[str] = []
    page.on("request", lambda it: cancelled.append(it.url) if it.method == "DELETE" else None)
    page.route("**/orders?*", lambda route: route.abort())
    cancel = page.get_by_role("button", name=f"Cancel {order_id}", exact=True)
    cancel.click()
    said = page.locator("#own-answer")
    expect(said).to_contain_text("cancelled")
    cancel.click(force=True)
    expect(cancel).to_have_attribute("aria-disabled", "true")
    expect(said).to_have_attribute("data-kind", "taken")
    page.unroute("**/orders?*")
    expect(rows).to_have_count(1)
    next_one = page.get_by_role("button", name=f"Cancel {other}", exact=True)
    next_one.hover()
    page.mouse.down(click_count=2)
    page.mouse.up(click_count=2)
    assert len(cancelled) == 1
    next_one.click()
    expect(rows).to_have_count(0)
    assert len(cancelled) == 2


def test_orders_of_another_client_go_though_those_of_the_new_one_are_not_to_be_had(
    http: httpx.Client, opened: Opener
) -> None:
    for name, price in (("yan", 2), ("zed", 3)):
        place(http, name, side="buy", price=price, quantity=1)
    page = opened("/#BTC-USD", client="yan")
    client, rows = page.get_by_label("Client"), page.locator("#open-orders tr")
    expect(rows).to_have_count(1)
    client.fill("")
    client.press("Tab")
    expect(rows).to_have_count(0)
    client.fill("yan")
    client.press("Tab")
    expect(rows).to_have_count(1)
    page.route("**/orders?*", lambda route: route.abort())
    client.fill("zed")
    client.press("Tab")
    expect(rows).to_have_count(0)


def test_order_whose_id_no_path_holds_is_changed_and_cancelled(
    http: httpx.Client, opened: Opener
) -> None:
    for order_id in (".", ".."):
        place(http, "wim", order_id=order_id, side="buy", price=1, quantity=1)
    page = opened("/#BTC-USD", client="wim")
    rows = page.locator("#open-orders tr")
    page.get_by_role("button", name="Change ..", exact=True).click()
    page.get_by_label("New price of ..").fill("2")
    page.get_by_role("button", name="Save ..", exact=True).click()
    expect(page.locator("#own-answer")).to_have_text("..: changed to 1 at 2, open")
    for order_id in ("..", "."):
        page.get_by_role("button", name=f"Cancel {order_id}", exact=True).click()
        expect(page.locator("#own-answer")).to_have_text(f"{order_id}: cancelled")
    expect(rows).to_have_count(0)


def test_only_the_newest_of_many_open_orders_are_shown(http: httpx.Client, opened: Opener) -> None:
    """Two instead of a thousand."""

    def smaller(route: Route) -> None:
        route.continue_(url=route.request.url.replace("page_size=1000", "page_size=2"))

    for name, count in (("few", 2), ("lot", 3)):
        for _ in range(count):
            place(http, name, side="buy", price=1, quantity=1)
    page = opened("/#BTC-USD", "few", lambda page: page.route(re.compile("page_size"), smaller))
    note = page.get_by_text("The newest 1,000 are shown.")
    expect(page.locator("#open-orders tr")).to_have_count(2)
    expect(note).to_be_hidden()
    page.get_by_label("Client").fill("lot")
    page.get_by_label("Client").press("Tab")
    expect(note).to_be_visible()
    expect(page.locator("#open-orders tr")).to_have_count(2)
