"""Imports go down only, and the core stays pure.

`MAY_IMPORT` is the picture of the parts: each may import itself and what its row names. A part that
is missing there fails, so that a new folder has to say where it stands, and so does an arrow that
nothing follows any more.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CORE = {"server.core"}
JOURNAL = CORE | {"server.journal"}
SEQUENCER = JOURNAL | {"server.sequencer"}
FEED = SEQUENCER | {"server.feed"}
MAINTENANCE = {"server.maintenance"}
RPC = FEED | MAINTENANCE | {"server.metrics", "server.history", "server.limits", "server.rpc"}
SETTINGS = {"server.settings"}
EXITS = {"server.exits"}
LOGS = {"server.logs"}
COLLECTOR = {"server.collector"}
OUTAGE_LINES = {"server.outage_lines"}
DELAYS = {"server.delays"}
DECIMALS = {"server.decimals"}
PACE = {"server.pace"}
TIMES = {"server.times"}
REDIS_CLIENT = {"server.redis_client"}
MESSAGES = {"exchange"}
WIRE = MESSAGES | {"grpc"}

MAY_IMPORT: dict[str, set[str]] = {
    "server.core": set(),
    "server.exits": set(),
    "server.collector": set(),
    "server.outage_lines": set(),
    "server.delays": set(),
    "server.decimals": set(),
    "server.pace": set(),
    "server.times": set(),
    "server.redis_client": set(),
    "server.event_messages": CORE | DECIMALS | MESSAGES,
    "server.settings": CORE,
    "server.logs": SETTINGS,
    "server.journal": CORE | COLLECTOR | PACE,
    "server.journal_tools": JOURNAL | DECIMALS | TIMES | PACE,
    "server.key_outcomes": JOURNAL,
    "server.sequencer": JOURNAL | SETTINGS,
    "server.feed": SEQUENCER | SETTINGS | MESSAGES,
    "server.maintenance": SEQUENCER | SETTINGS | LOGS | TIMES,
    "server.metrics": CORE | MAINTENANCE | {"server.sequencer", "server.feed"},
    "server.history": CORE | TIMES | OUTAGE_LINES,
    "server.limits": SETTINGS | OUTAGE_LINES | DELAYS | REDIS_CLIENT,
    "server.rpc": RPC
    | SETTINGS
    | LOGS
    | WIRE
    | DECIMALS
    | TIMES
    | REDIS_CLIENT
    | {"server.event_messages", "server.key_outcomes"},
    "server.app": RPC | SETTINGS | LOGS | MESSAGES,
    "server.process": {"server.app", "server.journal", "server.metrics", "server.rpc"}
    | {"server.sequencer"}
    | SETTINGS
    | EXITS
    | LOGS
    | COLLECTOR,
    # Followers share the pure codecs and the engine; the server itself they reach over gRPC.
    "server.followers": JOURNAL
    | SETTINGS
    | EXITS
    | LOGS
    | OUTAGE_LINES
    | DELAYS
    | WIRE
    | COLLECTOR
    | REDIS_CLIENT
    | {"server.event_messages", "server.key_outcomes"},
    "server.supervisor": JOURNAL
    | SETTINGS
    | EXITS
    | LOGS
    | DECIMALS
    | PACE
    | WIRE
    | {"server.process", "server.followers", "server.journal_tools"}
    | {"clients", "gateway"},
    "clients": WIRE,
    "gateway": WIRE | {"clients"},
}
JUDGED = {"server", "clients", "gateway", "tests", "bench"} | WIRE

# What makes a replay differ from the first run, or waits on something outside.
IMPURE_MODULES = {
    "asyncio", "concurrent", "datetime", "decimal", "fractions", "logging", "multiprocessing",
    "os", "pathlib", "random", "secrets", "select", "selectors", "shutil", "signal", "socket",
    "subprocess", "tempfile", "threading", "time", "uuid",
}  # fmt: skip
IMPURE_CALLS = {"float", "hash", "id", "input", "open", "print"}


def part_of(module: str) -> str:
    """The part that a module belongs to: `server.core.book` is in `server.core`."""
    names = module.split(".")
    return ".".join(names[:2]) if names[0] == "server" else names[0]


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "server":
            yield from ((node.lineno, f"server.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


def wrong_directions(part: str, source: str) -> list[str]:
    if part not in MAY_IMPORT:
        return [f"{part} has no row in MAY_IMPORT; add one that says what it may import"]
    allowed = MAY_IMPORT[part] | {part}
    return [
        f"line {line}: {part} imports {module}; it may import {sorted(allowed)}"
        for line, module in imported(ast.parse(source))
        if module.split(".")[0] in JUDGED and part_of(module) not in allowed
    ]


def impurities(source: str) -> list[str]:
    tree = ast.parse(source)
    found = []
    for line, module in imported(tree):
        name = module.split(".")[0]
        if name in IMPURE_MODULES or name not in sys.stdlib_module_names | {"server"}:
            found.append(f"line {line}: imports {module}; what it gives must come in as a command")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            found.append(f"line {node.lineno}: float {node.value}; use an integer of a stated unit")
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            found.append(f"line {node.lineno}: / makes a float; use // and say how it rounds")
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in IMPURE_CALLS
        ):
            found.append(f"line {node.lineno}: {node.func.id}() is not the same on every machine")
    return found


SOURCES = sorted(
    path.relative_to(ROOT)
    for top in ("server", "clients", "gateway")
    for path in (ROOT / top).rglob("*.py")
)


def test_imports_go_down() -> None:
    found = {}
    for path in SOURCES:
        part = part_of(".".join(path.with_suffix("").parts))
        source = (ROOT / path).read_text(encoding="utf-8")
        wrong = wrong_directions("server.core" if part == "server.__init__" else part, source)
        if wrong:
            found[str(path)] = wrong
    assert found == {}


def test_the_picture_shows_no_more_than_there_is() -> None:
    drawn = {(part, other) for part, others in MAY_IMPORT.items() for other in others - {part}}
    there = {
        (part_of(".".join(path.with_suffix("").parts)), part_of(module))
        for path in SOURCES
        for _, module in imported(ast.parse((ROOT / path).read_text(encoding="utf-8")))
    }
    assert drawn - there == set()


def test_core_is_pure() -> None:
    core = [path for path in SOURCES if path.parts[:2] == ("server", "core")]
    assert len(core) > 5, "the core itself was looked at"
    found = {str(path): impurities((ROOT / path).read_text(encoding="utf-8")) for path in core}
    assert {path: faults for path, faults in found.items() if faults} == {}


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("server.core", "from server.journal import record"),
        ("server.core", "from server import settings"),
        ("server.journal", "import server.sequencer.loop"),
        ("server.journal", "def late():\n    from exchange.v1 import order_service_pb2"),
        ("server.feed", "from server.rpc import convert"),
        ("server.rpc", "import server.supervisor"),
        ("server.followers", "from server.sequencer import loop"),
        ("clients", "from server.core import types"),
        ("clients", "import gateway.envoy"),
        ("gateway", "from server.settings import Settings"),
        ("server.app", "from tests.exchange import start"),
        ("server.novelty", "import json"),
    ],
)
def test_wrong_direction_is_seen(part: str, source: str) -> None:
    assert len(wrong_directions(part, source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from os import path",
        "import sortedcontainers",
        "PRICE = 0.5",
        "half = quantity_e8 / 2",
        "quantity_e8 /= 2",
        "def shard(name):\n    return hash(name)",
        "def price(text):\n    return float(text)",
    ],
)
def test_impurity_is_seen(source: str) -> None:
    assert len(impurities(source)) == 1


def test_pure_source_passes() -> None:
    source = "import bisect\nfrom server.core import types\n\nHALF_E8 = types.ONE_E8 // 2\n"
    assert impurities(source) == []
    assert wrong_directions("server.core", source) == []
