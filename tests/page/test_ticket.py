"""The order ticket: what it sends, how often, and what it says."""

from playwright.sync_api import Page, Route, expect

from tests.page.conftest import SUBMIT, WAIT_MS, Opener

expect.set_options(timeout=WAIT_MS)


def fill(page: Page, quantity: str, price: str) -> None:
    expect(page.locator("#connection-state")).to_have_text("live")
    page.get_by_label("Quantity", exact=True).fill(quantity)
    page.get_by_label("Price", exact=True).fill(price)


def test_key_held_down_or_double_click_places_one_order(opened: Opener) -> None:
    page = opened("/#BTC-USD", client="una")
    sent: list[str] = []
    page.on("request", lambda it: sent.append(it.url) if it.method == "POST" else None)
    fill(page, "1", "1")
    rows = page.locator("#open-orders tr")
    for where in (page.get_by_label("Price", exact=True), page.locator(SUBMIT)):
        before = rows.count()
        where.focus()
        page.keyboard.down("Enter")
        expect(rows).to_have_count(before + 1)
        page.keyboard.down("Enter")
        page.keyboard.up("Enter")
    page.locator(SUBMIT).click()
    expect(rows).to_have_count(3)
    page.mouse.down(click_count=2)
    page.mouse.up(click_count=2)
    page.locator(SUBMIT).click()
    expect(rows).to_have_count(4)
    assert len(sent) == 4


def test_order_without_an_answer_is_placed_once_whatever_is_sent_in_between(
    opened: Opener,
) -> None:
    page = opened("/#BTC-USD", client="ulf")

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    answer, submit = page.locator("#ticket-answer"), page.locator(SUBMIT)
    page.route("**/orders", lose)
    fill(page, "1", "1")
    submit.click()
    expect(answer).to_contain_text("try again. Sending the same again places it at most once.")
    page.unroute("**/orders")
    for price in ("2", "1"):
        page.get_by_label("Price", exact=True).fill(price)
        submit.click()
        expect(answer).to_have_attribute("data-kind", "taken")
    expect(page.locator("#open-orders tr")).to_have_count(2)
    # Its outcome is known: the same again is another one.
    submit.click()
    expect(page.locator("#open-orders tr")).to_have_count(3)


def test_ticket_names_what_it_places_and_what_that_costs(opened: Opener) -> None:
    page = opened("/#BTC-USD", client="una")
    submit, cost = page.locator(SUBMIT), page.locator("#ticket-cost")
    expect(submit).to_have_text("Buy BTC-USD")
    fill(page, "2", "3.5")
    expect(cost).to_have_text("7 USD")
    page.get_by_role("radio", name="Sell").check()
    expect(submit).to_have_text("Sell BTC-USD")
    for label, wrong in (
        ("Price", "3.000000001"),
        ("Price", ""),
        ("Client", ""),
        ("Quantity", "x"),
    ):
        field = page.get_by_label(label, exact=True)
        right = field.input_value()
        field.fill(wrong)
        expect(cost).to_be_empty()
        field.fill(right)
        expect(cost).to_have_text("7 USD")
    page.evaluate("location.hash = 'ETH-USD'")
    expect(submit).to_have_text("Sell ETH-USD")
    expect(page.get_by_label("Price", exact=True)).to_have_value("")
    expect(page.get_by_label("Quantity", exact=True)).to_have_value("2")
    expect(page.locator("#book-state")).to_contain_text("at sequence")
