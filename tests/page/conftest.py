"""A whole exchange, and Chromium that opens its page.

Debian's `chromium` is driven where it is installed; without it the tests are skipped, which fails
where CI is set. What the pages looked like is kept in `dist/screenshots`, or in the test's own
directory where the checkout can't be written.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from clients.sync import SyncExchangeClient
from tests.running import Everything, Starter

SCREENSHOTS: Final = Path(__file__).parents[2] / "dist" / "screenshots"
WAIT_MS: Final = 30_000
"""For anything to appear, on a machine that is busy with other things."""

SUBMIT: Final = "#ticket [type=submit]"
"""The button that places an order."""
PHONE: Final = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
WITHOUT_WEBSOCKET: Final = (
    "window.WebSocket = class { constructor() { setTimeout(() => this.onclose()); } };"
    "WebSocket.OPEN = 1;"
)
"""For a browser, or a way to the exchange, that has none."""

Opener = Callable[..., Page]


@pytest.fixture(scope="module")
def exchange(module_starter: Starter) -> Everything:
    return module_starter.up()


@pytest.fixture(scope="module")
def http(exchange: Everything) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=exchange.http, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def client(exchange: Everything) -> Iterator[SyncExchangeClient]:
    """For what HTTP has no call for, and for decimals that no double holds."""
    with SyncExchangeClient(exchange.grpc) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no Chromium: install Debian's package chromium")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=program,
            # Tests often run as root, for whom Chromium has no sandbox.
            args=["--no-sandbox"],
            # It makes a socket there, whose path may have 107 characters.
            env={**os.environ, "TMPDIR": "/tmp"},
        )
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Browser, exchange: Everything) -> Iterator[Opener]:
    """Opens the page in a browser profile of its own; no script may have failed in it."""
    contexts = []
    said: list[str] = []
    strangers: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        # The browser itself reports replies of 503, which a restart is bound to give.
        if message.type == "error" and "Failed to load resource" not in message.text:
            said.append(message.text)

    def open_page(path: str = "/", client: str = "", prepare: object = None, **how: object) -> Page:
        context = browser.new_context(**how)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("console", hear)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(exchange.http) else strangers.append(request.url)
            ),
        )
        if callable(prepare):
            prepare(page)
        page.goto(exchange.http + path)
        if client:
            page.get_by_label("Client").fill(client)
            page.get_by_label("Client").press("Tab")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [text for text in said if "WebSocket connection to" not in text] == []
    assert strangers == []


@pytest.fixture
def keep(tmp_path: Path) -> Callable[[Page, str], None]:
    """Keeps what a page looks like, as an artefact of the run."""

    def picture(page: Page, name: str) -> None:
        image = page.screenshot()
        try:
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            (SCREENSHOTS / f"{name}.png").write_bytes(image)
        except OSError:
            (tmp_path / f"{name}.png").write_bytes(image)

    return picture


def place(http: httpx.Client, client: str, **order: object) -> str:
    """A limit order that another program placed: its id."""
    content = {"client_id": client, "instrument": "BTC-USD", "type": "limit"} | order
    reply = http.post("/orders", json=content).raise_for_status()
    return str(reply.json()["order"]["order_id"])


def until(page: Page, expression: str) -> None:
    """Wait for a condition in the page, whose policy lets no browser evaluate text by itself."""
    for _ in range(WAIT_MS // 20):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"it did not come true: {expression}")
