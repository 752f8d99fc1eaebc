"""How the page looks: nothing is clipped, and all can be read."""

import pytest
from playwright.sync_api import expect

from clients.requests import PlaceOrder, SetInstrument
from clients.sync import SyncExchangeClient
from tests.page.conftest import PHONE, WAIT_MS, Opener

expect.set_options(timeout=WAIT_MS)
OUTSIDE = """() => [...document.querySelectorAll("#instruments span, #book td, #trades td")]
  .filter((cell) => {
    const text = document.createRange();
    text.selectNodeContents(cell);
    const [inner, outer] = [text, cell].map((each) => each.getBoundingClientRect());
    const panel = cell.closest("section").getBoundingClientRect();
    const within = inner.left >= outer.left - 1 && inner.right <= outer.right + 1;
    return cell.textContent && !(within && inner.right <= panel.right && inner.left >= panel.left);
  }).map((cell) => cell.textContent)"""
"""The texts that stand out of their cell or panel."""


@pytest.mark.parametrize("how", [{"viewport": {"width": 1440, "height": 900}}, PHONE])
def test_long_numbers_and_names_are_shown_whole(
    client: SyncExchangeClient, opened: Opener, how: dict[str, object]
) -> None:
    name = "LONGINSTRUMENT16-LONGQUOTEOF16XYZ"
    client.set_instrument(SetInstrument(name))
    for side, price, quantity in (
        ("sell", "999999.12345678", "1234567.12345678"),
        ("sell", "999999.12345679", "1234567.12345678"),
        ("buy", "999999.12345678", "1000000.00000001"),
        ("buy", "0.00000001", "9876543.00000001"),
    ):
        client.place(PlaceOrder(f"long-{side}", name, side, quantity, price))
    page = opened(f"/#{name}", **how)
    expect(page.locator("#trades tr").first).to_contain_text("999999.12345678")
    expect(page.locator("#bids tr").first).to_contain_text("0.00000001")
    expect(page.locator("#instruments button", has_text=name)).to_contain_text("999999.12345678")
    assert page.evaluate(OUTSIDE) == []
