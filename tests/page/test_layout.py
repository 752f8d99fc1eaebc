"""How the page looks: nothing is clipped, and all can be read."""

import re

import pytest
from playwright.sync_api import Page, expect

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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(opened: Opener, scheme: str) -> None:
    """As WCAG asks: 4.5 of text, also over a full bar of depth, and 3 of the edges of inputs."""
    page = opened(color_scheme=scheme)
    for side in ("buy", "sell"):
        for ground in (f"{side}-bar", "panel", "ground"):
            assert contrast(page, side, ground) >= 4.5, (side, ground)
    for ground in ("panel", "ground"):
        assert contrast(page, "edge", ground) >= 3, ground
    edge = page.locator("#ticket [name=quantity]").evaluate(
        "it => getComputedStyle(it).borderColor"
    )
    assert edge == colour(page, "edge")


def contrast(page: Page, one: str, other: str) -> float:
    darker, lighter = sorted(luminance(colour(page, name)) for name in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def colour(page: Page, name: str) -> str:
    """What a variable of the style gives, as `rgb(...)`."""
    resolve = """(name) => {
      const probe = document.body.appendChild(document.createElement("i"));
      probe.style.color = `var(--${name})`;
      const found = getComputedStyle(probe).color;
      probe.remove();
      return found;
    }"""
    return str(page.evaluate(resolve, name))


def luminance(rgb: str) -> float:
    parts = [int(text) / 255 for text in re.findall(r"\d+", rgb)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_what_is_chosen_stands_out_where_colours_are_forced(opened: Opener) -> None:
    page = opened(forced_colors="active")
    expect(page.locator("#connection-state")).to_have_text("live")
    ground = "it => getComputedStyle(it).backgroundColor"
    for chosen, other in (
        ('[role="tab"][aria-selected="true"]', '[role="tab"][aria-selected="false"]'),
        ('#intervals [aria-pressed="true"]', '#intervals [aria-pressed="false"]'),
        ('#instruments [aria-current="true"]', '#instruments [aria-current="false"]'),
    ):
        assert page.locator(chosen).evaluate(ground) != page.locator(other).first.evaluate(ground)
