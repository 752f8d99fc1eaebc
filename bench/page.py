"""The web page in a real browser while a book changes 200 times a second.

Frames are counted by the page's own animation callbacks, updates beside its WebSocket in the page:
to have each frame told out of the browser would cost more than the page does.
Memory is what the browser's process for the page has to itself (what it shares with others, mostly
Chromium's program, is not the page's), and its JavaScript heap after a collection.
"""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psutil
from playwright.sync_api import Browser, CDPSession, sync_playwright

from bench.processes import free_port, passes_on, running
from bench.workloads import EXCHANGE
from clients.client import ExchangeClient
from clients.requests import PlaceOrder

ORDERS_PER_SECOND: Final = 200
"""Each changes one level. Those that share a record of the journal share a message."""
PRICES: Final = 50
"""Levels a side among which the orders are spread."""
WORK: Final = {
    "busy": "TaskDuration",
    "scripts": "ScriptDuration",
    "style": "RecalcStyleDuration",
    "layout": "LayoutDuration",
}
FRAMES: Final = """(ms) => new Promise((resolve) => {
  let frames = 0;
  const begun = performance.now();
  const count = () => {
    frames += 1;
    const passed = performance.now() - begun;
    if (passed < ms) requestAnimationFrame(count);
    else resolve(frames / passed * 1000);
  };
  requestAnimationFrame(count);
})"""
COUNT_UPDATES: Final = """
window.updates = 0;
window.messages = 0;
window.WebSocket = class extends WebSocket {
  constructor(...how) {
    super(...how);
    this.addEventListener("message", ({data}) => {
      if (!data.includes('"type":"delta"')) return;
      window.messages += 1;
      window.updates += data.split('"price"').length - 1;
    });
  }
};
"""


class PageFigures(NamedTuple):
    """What one run measured."""

    frames_per_second: float
    updates_per_second: float
    messages_per_second: float
    process_mb: float
    heap_mb: float
    busy: dict[str, float]
    """Share of the time that the page's thread did something, and what."""

    def __str__(self) -> str:
        busy = ", ".join(f"{name} {share:.0%}" for name, share in self.busy.items())
        arrived = f"{self.updates_per_second:.0f} book updates/s"
        first = f"page: {self.frames_per_second:.0f} frames/s (aim: above 30) with {arrived}"
        memory = f"{self.process_mb:.0f} MB of its process (aim: below 150)"
        return (
            f"{first} in {self.messages_per_second:.0f} messages\n"
            f"- its thread: {busy} of the time\n"
            f"- {memory}, {self.heap_mb:.0f} MB of them JavaScript"
        )


class Unavailable(Exception):
    """There is no browser to measure with; the message says what to install."""


def measure(directory: Path, seconds: float) -> PageFigures:
    """Start an exchange, open its page, and look for that long."""
    program = shutil.which("chromium")
    if program is None:
        raise Unavailable("there is no Chromium: install Debian's package chromium")
    with exchange(directory) as (http_port, grpc_port), sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            with changing_book(grpc_port):
                return look(browser, f"http://127.0.0.1:{http_port}/", seconds)
        finally:
            browser.close()


@contextmanager
def exchange(directory: Path) -> Iterator[tuple[int, int]]:
    http_port, grpc_port = free_port(), free_port()
    data = directory / f"page-{http_port}"
    data.mkdir(parents=True)
    ports = ("--http-port", str(http_port), "--grpc-port", str(grpc_port))
    try:
        with running([*EXCHANGE, "up", "--data-dir", data, *ports], data) as part:
            part.wait_until(lambda: passes_on(http_port))
            yield http_port, grpc_port
    finally:
        shutil.rmtree(data)


@contextmanager
def changing_book(grpc_port: int) -> Iterator[None]:
    """Orders that each change a level, evenly spread over time."""
    stop = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(place(grpc_port, stop)))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


async def place(grpc_port: int, stop: threading.Event) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with ExchangeClient(f"127.0.0.1:{grpc_port}") as client, asyncio.TaskGroup() as orders:
        number = 0
        while not stop.is_set():
            number += 1
            distance = 1 + number % PRICES
            side, price = ("buy", 70_000 - distance) if number % 2 else ("sell", 70_000 + distance)
            order = PlaceOrder("maker", "BTC-USD", side, "0.1", str(price))
            orders.create_task(client.place(order))
            await asyncio.sleep(begun + number / ORDERS_PER_SECOND - loop.time())


def look(browser: Browser, address: str, seconds: float) -> PageFigures:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.add_init_script(COUNT_UPDATES)
    page.goto(address)
    page.locator("#book-state", has_text="at sequence").wait_for()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    worked = work_s(session)
    before: list[int] = page.evaluate("[updates, messages]")
    frames_per_second: float = page.evaluate(FRAMES, seconds * 1_000)
    after: list[int] = page.evaluate("[updates, messages]")
    arrived, messages = ((b - a) / seconds for a, b in zip(before, after, strict=True))
    busy = {name: (used - worked[name]) / seconds for name, used in work_s(session).items()}
    return PageFigures(frames_per_second, arrived, messages, process_mb(), heap_mb(session), busy)


def work_s(session: CDPSession) -> dict[str, float]:
    """What the page's thread has spent its time on since it was opened."""
    told = session.send("Performance.getMetrics")["metrics"]
    values = {each["name"]: each["value"] for each in told}
    return {name: values[WORK[name]] for name in WORK}


def heap_mb(session: CDPSession) -> float:
    session.send("HeapProfiler.collectGarbage")
    used: float = session.send("Runtime.getHeapUsage")["usedSize"]
    return used / 1e6


def process_mb() -> float:
    """Of the largest of the browser's processes that show pages."""
    return max(
        child.memory_full_info().uss / 1e6
        for child in psutil.Process().children(recursive=True)
        if "--type=renderer" in child.cmdline()
    )
