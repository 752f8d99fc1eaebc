"""`exchange load` on a running exchange, and against servers that misbehave."""

import asyncio
import json
import resource
import signal
from collections.abc import Awaitable, Callable
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from clients.client import ExchangeClient
from clients.errors import UnavailableError
from clients.load import over_http
from clients.load.figures import SAID_MAX, Figures
from clients.load.order_mix import drawn_orders
from clients.load.over_http import http_body, send_over_http
from clients.types import OrderType
from tests.running import Everything, Starter, free_port

FILES_NEEDED = 2_048
"""By the gateway, for 1,500 clients and what it has beside them."""
PERCENTILES = ["p50", "p75", "p90", "p95", "p99", "p99.9"]


@pytest.fixture(scope="module")
def everything(module_starter: Starter) -> Everything:
    return module_starter.up()


def load(starter: Starter, *options: str | Path, **environment: str) -> tuple[int, Any]:
    """The exit code and the summary."""
    running = starter.run("load", "--json", *map(str, options), **environment)
    code = running.wait(60)
    text = "\n".join(running.lines)
    assert "{" in text, running.lines
    return code, json.loads(text[text.index("{") :])


# What is drawn.


def test_drawn_orders_are_seven_limit_to_three_market() -> None:
    orders = list(islice(drawn_orders(1, 50, "BTC-USD"), 10_000))
    assert orders == list(islice(drawn_orders(1, 50, "BTC-USD"), 10_000))
    limits = [order for order in orders if order.type is OrderType.LIMIT]
    assert 0.68 < len(limits) / len(orders) < 0.72
    assert all((order.price is None) == (order.type is OrderType.MARKET) for order in orders)
    assert {order.client_id for order in orders} == {f"load-{n}" for n in range(1, 51)}
    numbers = {float(str(order.quantity)) for order in orders}
    assert (min(numbers), max(numbers), len(numbers)) == (0.01, 1.0, 100)


# On a running exchange.


def test_the_documented_variables_drive_it(starter: Starter, everything: Everything) -> None:
    code, summary = load(
        starter,
        BASE_URL=everything.http,
        CONCURRENT_REQUESTS="20",
        TOTAL_REQUESTS="300",
        DURATION_SECONDS="30",
    )
    assert code == 0
    assert (summary["orders"], summary["accepted"], summary["error_rate"]) == (300, 300, 0)
    assert summary["trades"] > 20
    assert list(summary["answered_ms"]) == PERCENTILES
    assert 0 < summary["answered_ms"]["p50"] <= summary["answered_ms"]["p99.9"]


def test_more_than_a_thousand_clients_at_once(starter: Starter, everything: Everything) -> None:
    """More than gRPC takes waiting by itself, and than one connection to the server carries."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < FILES_NEEDED:
        pytest.skip(f"1,500 clients need {FILES_NEEDED:,} open files, this system allows {hard:,}")
    options = ("--url", everything.http, "--clients", "1500", "--total", "2000", "--seconds", "60")
    code, summary = load(starter, *options)
    assert code == 0, summary
    assert (summary["orders"], summary["failed"], summary["refused"]) == (2000, {}, {})


def test_it_ends_when_its_seconds_are_over(starter: Starter, everything: Everything) -> None:
    options = ("--url", everything.http, "--clients", "2", "--total", "5000000", "--seconds", "1")
    code, summary = load(starter, *options)
    assert code == 0
    assert 0 < summary["orders"] < 50_000
    assert 0.9 < summary["seconds"] < 10


def orders_file(path: Path, run: str, count: int = 250) -> Path:
    header = "order_id,client_id,instrument,side,type,price,quantity,idempotency_key"
    rows = []
    for n in range(count):
        side = ("buy", "sell")[n % 2]
        rows.append(f"{run}-{n},client-{n % 7},SOL-USD,{side},limit,{150 + n % 3},0.5,{run}-k{n}")
    path.write_text("\n".join([header, *rows]))
    return path


@pytest.mark.parametrize("via", ["grpc", "http"])
def test_a_file(via: str, starter: Starter, everything: Everything, tmp_path: Path) -> None:
    path = orders_file(tmp_path / "orders.csv", via)
    with path.open("a") as file:
        file.write(f"\n{via}-nothing,client-1,ETH-USD,buy,market,,1,{via}-nothing")
    places = ("--address", everything.grpc, "--url", everything.http, "--clients", "4")
    code, summary = load(starter, path, "--via", via, *places)
    assert code == 0
    assert (summary["orders"], summary["accepted"], summary["repeated"]) == (251, 251, 0)
    assert summary["rejected"] == 1
    assert summary["trades"] > 50
    # The keys of the file make it safe to send again.
    code, again = load(starter, path, "--via", via, *places)
    assert (code, again["accepted"]) == (0, 251)
    assert again["repeated"] == (251 if via == "grpc" else 0)

    async def stored() -> None:
        async with ExchangeClient(everything.grpc) as exchange:
            assert (await exchange.order(f"{via}-249")).client_id == "client-4"

    asyncio.run(stored())


@pytest.mark.parametrize("via", ["grpc", "http"])
def test_what_was_not_sent_of_a_file_is_told(
    via: str, starter: Starter, everything: Everything, tmp_path: Path
) -> None:
    path = orders_file(tmp_path / "orders.csv", f"long-{via}", 60_000)
    places = ("--address", everything.grpc, "--url", everything.http)
    options = (path, "--via", via, *places, "--clients", "1", "--batch", "1")
    code, summary = load(starter, *options, DURATION_SECONDS="1")
    assert (code, summary["refused"], summary["failed"]) == (1, {}, {})
    assert 0 < summary["not_sent"] == 60_000 - summary["orders"]
    code, summary = load(starter, *options, "--total", "50")
    assert (code, summary["not_sent"]) == (0, 0)


def test_ctrl_c_within_a_file_tells_what_was_not_sent(
    starter: Starter, everything: Everything, tmp_path: Path
) -> None:
    path = orders_file(tmp_path / "orders.csv", "ended", 60_000)
    running = starter.run("load", str(path), "--batch", "1", "--address", everything.grpc)
    running.wait_line("   0 s")
    running.signal(signal.SIGINT)
    assert running.wait(60) == 0
    assert running.line("refused 0, unanswered 0, not sent ")


def test_refusals_are_counted_by_kind(
    starter: Starter, everything: Everything, tmp_path: Path
) -> None:
    order = {"client_id": "a", "side": "buy", "type": "limit", "price": 1, "quantity": 1}
    lines = [order, order | {"instrument": "NO-SUCH"}, order | {"quantity": 0}]
    path = tmp_path / "orders.ndjson"
    path.write_text("\n".join(map(json.dumps, lines)))
    places = ("--address", everything.grpc, "--url", everything.http)
    code, summary = load(starter, path, *places)
    assert (code, summary["accepted"]) == (1, 1)
    assert summary["refused"] == {"INSTRUMENT_UNKNOWN": 1, "QUANTITY_NOT_POSITIVE": 1}
    code, summary = load(starter, path, "--via", "http", *places)
    assert (code, summary["accepted"]) == (1, 1)
    assert summary["refused"] == {"INSTRUMENT_UNKNOWN": 1, "QUANTITY_NOT_POSITIVE": 1}
    assert summary["error_rate"] == pytest.approx(2 / 3, abs=1e-5)


def test_of_a_long_answer_the_beginning_is_kept() -> None:
    figures = Figures("")
    figures.refuse("HTTP 500", "x" * 10_000)
    assert figures.said == {"HTTP 500": "x" * SAID_MAX}


@pytest.mark.parametrize("is_drawn", [True, False])
def test_a_killed_server_is_an_unknown_outcome(
    is_drawn: bool, starter: Starter, tmp_path: Path
) -> None:
    server, address = starter.server()
    drawn = ["--via", "grpc", "--total", "5000000"]
    options = drawn if is_drawn else [str(orders_file(tmp_path / "file", "lost", 60_000))]
    options += ["--batch", "10", "--address", address, "--json"]
    running = starter.run("load", *options)
    running.wait_line("   0 s")

    async def placed() -> None:
        async with ExchangeClient(address) as exchange, asyncio.timeout(30):
            while not (await exchange.status()).applied_sequence > 1000:
                pass

    asyncio.run(placed())
    server.kill()
    assert running.wait(60) == 1
    text = "\n".join(running.lines)
    summary = json.loads(text[text.index("{") :])
    assert summary["accepted"] > 0
    assert [kind for kind in summary["failed"] if kind.startswith("session lost")]
    if is_drawn:
        assert "not_sent" not in summary
    else:
        assert 0 < summary["not_sent"] == 60_000 - summary["orders"]


def test_ctrl_c_ends_it_with_its_summary(starter: Starter, everything: Everything) -> None:
    running = starter.run("load", "--url", everything.http, "--total", "5000000")
    running.wait_line("   0 s")
    running.signal(signal.SIGINT)
    assert running.wait(60) == 0
    assert (
        any(line.startswith("p99.9 ") for line in running.lines) or "0 orders" in running.lines[1]
    )


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--url", "http://10.0.0.1:3000"], 2, "'10.0.0.1' is not a loopback address"),
        (["--via", "grpc", "--address", "example.org:1"], 2, "'example.org' is not a loopback"),
        (["--url", "http://10.0.0.1:3000"], 2, "orders of this command go to this machine only"),
        (["--url", "https://127.0.0.1"], 2, "--url (BASE_URL) must be like http://127.0.0.1:3000"),
        (["--url", "http://127.0.0.1:99999"], 2, "--url (BASE_URL) must be like"),
        (["--url", "http://127.0.0.1:0"], 2, "--url (BASE_URL) must be like"),
        (["--via", "grpc", "--address", "127.0.0.1"], 2, "--address must be HOST:PORT"),
        (["no-such-file"], 2, "no-such-file can't be read"),
        (["--via", "grpc", "--address", "127.0.0.1:1"], 3, "is not reachable"),
        (["--url", "http://127.0.0.1:1"], 3, "http://127.0.0.1:1 took 0 of 100 connections"),
        (["--url", "http://[::1]:1"], 3, "http://[::1]:1 took 0 of 100 connections"),
        (["--url", "http://a..b:1", "--allow-remote"], 3, "http://a..b:1 took 0 of 100"),
    ],
)
def test_what_cannot_begin(options: list[str], code: int, said: str, starter: Starter) -> None:
    running = starter.run("load", "--json", *options)
    assert running.wait() == code
    said_at = next(n for n, it in enumerate(running.lines) if it.startswith("exchange load: "))
    assert said in running.lines[said_at]
    assert said in json.loads("".join(running.lines[said_at + 1 :]))["error"]["message"]


def test_a_wrong_variable_is_refused_by_its_name(starter: Starter) -> None:
    running = starter.run("load", CONCURRENT_REQUESTS="many")
    assert running.wait() == 2
    said = "must be a whole number from 1 to 10,000; got 'many' (CONCURRENT_REQUESTS)"
    assert said in running.lines[-1]


# Against servers that misbehave.

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GOOD = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"


async def sent_to(behaviour: Behaviour, total: int, clients: int = 1) -> Figures:
    figures = Figures("to a double")
    bodies = map(http_body, islice(drawn_orders(1, 1, "BTC-USD"), total))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behaviour(reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(20):
            await send_over_http(
                "127.0.0.1",
                port,
                bodies,
                figures,
                clients=clients,
                seconds=15,
                stop=asyncio.Event(),
            )
    return figures


async def request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
    return await reader.readexactly(length)


@pytest.mark.asyncio
async def test_replies_in_pieces() -> None:
    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await request(reader)
            for byte in GOOD:
                writer.write(bytes([byte]))
                await writer.drain()

    figures = await sent_to(behaviour, total=2)
    assert (figures.accepted, figures.errors, len(figures.answers_ms)) == (2, 0, 2)


@pytest.mark.asyncio
async def test_a_refusal_is_told_by_its_reason_and_sentence() -> None:
    refusal = {"error": "quantity 0 is too small", "details": [{"reason": "QUANTITY_TOO_SMALL"}]}
    bodies = [json.dumps(refusal).encode(), b'{"error":"too long","details":[]}', b"<html>", b"[]"]
    replies = [
        b"HTTP/1.1 400 No\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) for body in bodies
    ]

    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while replies:
            await request(reader)
            writer.write(replies.pop(0))
            await writer.drain()

    figures = await sent_to(behaviour, total=4)
    assert figures.refused == {"QUANTITY_TOO_SMALL": 1, "HTTP 400": 3}
    assert figures.said == {
        "QUANTITY_TOO_SMALL": "quantity 0 is too small",
        "HTTP 400": "too long",
    }


@pytest.mark.asyncio
async def test_a_closed_connection_is_opened_again() -> None:
    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    figures = await sent_to(behaviour, total=3)
    assert (figures.accepted, figures.errors) == (3, 0)


@pytest.mark.asyncio
async def test_a_lost_connection_and_an_unreadable_reply_are_no_answers() -> None:
    replies = [
        b"",
        b"SMTP ready\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n" + b"X: y\r\n" * 12_000,
        GOOD,
    ]

    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(replies.pop(0))
        await writer.drain()
        await reader.read(1 if len(replies) < 2 else 0)

    figures = await sent_to(behaviour, total=5)
    assert figures.accepted == 1
    assert figures.failed == {"connection lost": 1, "unreadable reply": 3}


async def sent_where(
    opened: Callable[[int], Awaitable[None]], clients: int, stop: asyncio.Event
) -> Figures:
    """By connections of which each is opened as it is told by its number."""
    figures = Figures("to nobody")
    numbers = count(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(over_http._Run, "_open", lambda _: opened(next(numbers)))
        async with asyncio.timeout(20):
            await send_over_http(
                "127.0.0.1", 1, iter(()), figures, clients=clients, seconds=15, stop=stop
            )
    return figures


@pytest.mark.asyncio
async def test_ctrl_c_while_it_connects_ends_it() -> None:
    stop = asyncio.Event()

    async def opened(number: int) -> None:
        if number > 1:
            stop.set()
            await asyncio.Event().wait()

    assert (await sent_where(opened, 10, stop)).sent == 0


@pytest.mark.asyncio
async def test_connections_end_with_the_first_that_fails() -> None:
    async def opened(number: int) -> None:
        if number > 2:
            await asyncio.Event().wait()
        if number == 2:
            raise TimeoutError

    with pytest.raises(UnavailableError, match=r"of 500 connections \(no answer\); check"):
        await sent_where(opened, 500, asyncio.Event())


@pytest.mark.asyncio
async def test_nobody_there() -> None:
    with pytest.raises(UnavailableError, match="took 0 of 3 connections"):
        await send_over_http(
            "127.0.0.1",
            free_port(),
            iter(()),
            Figures(""),
            clients=3,
            seconds=1,
            stop=asyncio.Event(),
        )
