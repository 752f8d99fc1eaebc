"""ghz, a load tool that others know, beside our own drivers: the same calls, the same exchange.

`bench/ghz` holds a configuration for each call; `ghz --config bench/ghz/unary.json HOST:PORT`, from
the top of the tree, runs one against any exchange. ghz draws the orders of the mix anew for each
call, from templates, and is a gRPC client of the ordinary kind; our drivers send bytes that were
made before. So on a machine of few cores, where driver and exchange share them, ghz shows less of
what the exchange can do, and the report how much less. A call of its session is a whole one, of 20
messages, ten sessions at a time; ours is a message of one session that stays open.

ghz is the one on PATH, else one that Go installs once below the bench's directory; without either
there are no figures, and the report says why.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import orders
from bench.figures import PERCENTILES, Turn, write_messages
from bench.processes import HOST, drive
from bench.session_messages import messages
from bench.workloads import ENDLESS, IN_FLIGHT, MESSAGES_IN_FLIGHT, PLACE, Plan, exchange
from exchange.v1 import market_data_pb2, order_service_pb2

ROOT = Path(__file__).parent.parent
CONFIGURATIONS = ROOT / "bench" / "ghz"
PACKAGE = "github.com/bojand/ghz/cmd/ghz@v0.93.0"
"""The version that the configurations were tried with."""
INSTALL_S = 300.0
"""Seconds for Go to load and build it; it takes about forty."""
PATIENCE_S = 60.0
"""Seconds beyond its turn that a run may take: longer than any call's deadline."""

BATCH = 10
"""Orders in a batch and in a message of a session, as the configurations have them."""
SESSION_MESSAGES = 20
SHOWN = (50, 95, 99)
"""ghz tells no higher percentile."""


class Unavailable(Exception):
    """There is no ghz; the message says why."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one tool measured."""

    rate: float
    """Orders, or streams, in a second."""
    latencies_ms: list[float]
    """At each of `SHOWN`."""


@dataclass(frozen=True, slots=True)
class Beside:
    """One call, by both tools."""

    call: str
    counted: str
    ghz: Sample
    own: Sample


@dataclass(frozen=True, slots=True)
class Call:
    """One configuration, how many orders a call of it is, and our own driver for the same."""

    name: str
    counted: str
    orders: int
    own: Callable[[int, Path, float], Turn]
    own_orders: int = 1
    ends: str = "OK"
    """The status of a call that went well: a stream that never ends is ended by the client."""


def program(directory: Path) -> Path:
    """A ghz to run; installed below `directory` if there is none and Go can."""
    if found := shutil.which("ghz"):
        return Path(found)
    installed = directory.resolve() / "tools" / "ghz"
    if installed.exists():
        return installed
    if not (go := shutil.which("go")):
        raise Unavailable("neither ghz nor Go, which could install it, is on PATH")
    print(f"installing {PACKAGE} with Go, which takes a minute", file=sys.stderr, flush=True)
    environment = os.environ | {"GOBIN": str(installed.parent), "GOFLAGS": "-mod=mod"}
    try:
        done = subprocess.run(
            [go, "install", PACKAGE],
            env=environment,
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"Go has not installed it within {INSTALL_S:g} s") from None
    if done.returncode:
        raise Unavailable(f"Go can't install it: {done.stderr.strip()[-300:]}")
    return installed


def measure(plan: Plan, ghz: Path) -> Iterator[Beside]:
    """Each call by ghz and by our driver, one after the other, on an exchange of its own."""
    for call in CALLS:
        with (
            TemporaryDirectory(prefix="bench-", dir=plan.directory) as name,
            exchange(Path(name)) as (_, port),
        ):
            directory = Path(name)
            # Once uncounted: the exchange is warm, and the book is as deep for both.
            call.own(port, directory, plan.warm_seconds)
            theirs = run_ghz(ghz, call, port, directory, plan.seconds)
            ours = call.own(port, directory, plan.seconds)
            rate = ours.rate * call.own_orders
            shown = dict(zip(PERCENTILES, ours.latencies_ms, strict=True))
            own = Sample(rate, [shown[share] for share in SHOWN])
            yield Beside(call.name, call.counted, theirs, own)


def run_ghz(ghz: Path, call: Call, port: int, directory: Path, seconds: float) -> Sample:
    """One run; raises where a call did not go well."""
    output = directory / f"{call.name}.json"
    command = [ghz, "--config", CONFIGURATIONS / f"{call.name}.json", "--format", "json"]
    command += ["--duration", f"{seconds:g}s", "--output", output, f"{HOST}:{port}"]
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds + PATIENCE_S,
        check=False,
    )
    if done.returncode or not output.exists():
        raise RuntimeError(f"ghz failed on {call.name}: {done.stdout[-500:]}{done.stderr[-500:]}")
    told = json.loads(output.read_text(encoding="utf-8"))
    if set(told["statusCodeDistribution"]) != {call.ends}:
        raise RuntimeError(f"ghz had calls that failed on {call.name}: {told['errorDistribution']}")
    times = {each["percentage"]: each["latency"] / 1e6 for each in told["latencyDistribution"]}
    return Sample(told["rps"] * call.orders, [times[share] for share in SHOWN])


def table(measured: Sequence[Beside]) -> Iterator[str]:
    """One row for each call."""
    shares = "/".join(f"p{share}" for share in SHOWN)
    yield f"| call | counted | ghz, a second | ms {shares} | own driver, a second | ms {shares} |"
    yield "| --- | --- | ---: | ---: | ---: | ---: |"
    for each in measured:
        cells = [
            cell
            for sample in (each.ghz, each.own)
            for cell in (f"{sample.rate:,.0f}", " / ".join(f"{t:.3g}" for t in sample.latencies_ms))
        ]
        yield f"| {each.call} | {each.counted} | {' | '.join(cells)} |"


def to_plain(measured: Sequence[Beside]) -> list[dict[str, Any]]:
    """For a file that programs read."""
    return [asdict(each) for each in measured]


# Our own drivers, on the same calls.


def _drive(way: str, port: int, directory: Path, sent: Sequence[bytes], **options: Any) -> Turn:
    requests = directory / "requests"
    write_messages(requests, sent)
    return drive(way, port=port, requests=requests, count=ENDLESS, **options)


def _unary(port: int, directory: Path, seconds: float) -> Turn:
    sent = [orders.grpc_message(order) for order in orders.mixed_orders(1, 5_000)]
    options = {"path": PLACE, "in_flight": IN_FLIGHT}
    return _drive("unary", port, directory, sent, seconds=seconds, **options)


def _batch(port: int, directory: Path, seconds: float) -> Turn:
    singles = [orders.grpc_message(order) for order in orders.mixed_orders(1, 5_000)]
    sent = [
        order_service_pb2.PlaceOrdersRequest(
            orders=map(order_service_pb2.PlaceOrderRequest.FromString, singles[start : start + 10])
        ).SerializeToString()
        for start in range(0, len(singles), BATCH)
    ]
    options = {"path": PLACE + "s", "in_flight": IN_FLIGHT}
    return _drive("unary", port, directory, sent, seconds=seconds, **options)


def _session(port: int, directory: Path, seconds: float) -> Turn:
    singles = [
        order_service_pb2.TradingSessionRequest(
            commands=[
                order_service_pb2.SessionCommand(
                    request_id=number,
                    place=order_service_pb2.PlaceOrderRequest.FromString(
                        orders.grpc_message(order)
                    ),
                )
            ]
        ).SerializeToString()
        for number, order in enumerate(orders.mixed_orders(1, 5_000), start=1)
    ]
    options = {"size": BATCH, "in_flight": MESSAGES_IN_FLIGHT[BATCH]}
    sent = messages(singles, BATCH)
    return _drive("session", port, directory, sent, seconds=seconds, **options)


def _book_stream(port: int, directory: Path, seconds: float) -> Turn:
    request = market_data_pb2.StreamOrderBookRequest(instrument=orders.INSTRUMENT)
    sent = [request.SerializeToString()]
    return _drive("book", port, directory, sent, seconds=seconds, in_flight=10)


CALLS = (
    Call("unary", "orders", 1, _unary),
    Call("batch", "orders", BATCH, _batch, own_orders=BATCH),
    Call("session", "orders", BATCH * SESSION_MESSAGES, _session),
    Call("book_stream", "streams opened", 1, _book_stream, ends="Canceled"),
)
