"""House rules that a formatter cannot know; each message names what to write instead."""

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOPS = ("server", "clients", "gateway", "proto", "migrations", "tests", "bench", ".ci")
TEXT_SUFFIXES = {".py", ".proto", ".md", ".toml", ".yaml", ".yml", ".lua", ".sql", ".js", ".html"}
TEXT_NAMES = {"Makefile", "Dockerfile", "run"}

# More lines than this, and a file holds a second concept, a function a second step.
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
# A longer pause in a test stands for a condition that could be waited on.
SLEEP_S_MAX = 0.05

VAGUE = {
    "base": "the concept it stands for, or a Protocol named after what it does",
    "common": "the concept it holds, or the part that owns it",
    "helper": "what it does, beside the one who needs it",
    "helpers": "what it does, beside the one who needs it",
    "manager": "what it does to what: a registry, a loop, a supervisor",
    "misc": "the concept it holds",
    "util": "the concept it holds",
    "utils": "the concept it holds",
}
WORDS = {
    "qty": "quantity",
    "seqno": "sequence",
    "wal": "journal",
}
# Spelt so that this file does not hold what it looks for.
MARKER = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b")
MACHINE_PATH = re.compile(r"(?<![\w.$}~-])/(home|root|Users|work)/")


def hand_written() -> Iterator[Path]:
    for path in ROOT.iterdir():
        if path.is_file() and (path.suffix in TEXT_SUFFIXES or path.name in TEXT_NAMES):
            yield path
    for top in TOPS:
        for path in (ROOT / top).rglob("*"):
            inside = path.relative_to(ROOT).parts
            if inside[:2] == ("proto", "gen") or "__pycache__" in inside or not path.is_file():
                continue
            if path.suffix in TEXT_SUFFIXES or path.name in TEXT_NAMES:
                yield path


FILES = sorted(path.relative_to(ROOT) for path in hand_written())


def words_of(name: str) -> list[str]:
    """`TicketRegistry` and `ticket_registry` are both `ticket` and `registry`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")


def vague_path(path: Path) -> list[str]:
    names = [*path.parent.parts, path.stem]
    return [
        f"{path}: '{word}' says nothing; name it after {VAGUE[word]}"
        for name in names
        for word in words_of(name)
        if word in VAGUE
    ]


@lru_cache(1)
def nodes_of(source: str) -> list[ast.AST]:
    """All nodes, for several who look at the same source."""
    return list(ast.walk(ast.parse(source)))


def bad_names(source: str) -> list[str]:
    found = []
    for node in nodes_of(source):
        if isinstance(node, ast.ClassDef):
            name, refused = node.name, VAGUE | WORDS
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name, refused = node.name, WORDS
        elif isinstance(node, ast.arg):
            name, refused = node.arg, WORDS
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name, refused = node.id, WORDS
        else:
            continue
        found += [
            f"line {node.lineno}: {name}: instead of '{word}' write {refused[word]}"
            for word in words_of(name)
            if word in refused
        ]
    return found


def bad_lines(source: str) -> list[str]:
    found = []
    for number, line in enumerate(source.splitlines(), start=1):
        if MARKER.search(line):
            found.append(f"line {number}: a marker; do it now, or write down the limit it leaves")
        if MACHINE_PATH.search(line):
            found.append(f"line {number}: a path of one machine; derive it or take it as an option")
    return found


def too_long(source: str) -> list[str]:
    found = []
    if (count := len(source.splitlines())) > FILE_LINES_MAX:
        found.append(f"{count} lines, at most {FILE_LINES_MAX}: give its second concept a file")
    for node in nodes_of(source):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > FUNCTION_LINES_MAX:
                found.append(
                    f"line {node.lineno}: {node.name} has {count} lines, at most "
                    f"{FUNCTION_LINES_MAX}: give its steps names"
                )
    return found


def long_sleeps(source: str) -> list[str]:
    return [
        f"line {node.lineno}: sleeps {node.args[0].value} s, at most {SLEEP_S_MAX}: "
        "wait for the condition, with a deadline"
        for node in nodes_of(source)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "sleep"
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, int | float)
        and node.args[0].value > SLEEP_S_MAX
    ]


def test_every_file_is_tidy() -> None:
    found: dict[Path, list[str]] = {}
    for path in FILES:
        source = (ROOT / path).read_text(encoding="utf-8")
        found[path] = vague_path(path) + bad_lines(source)
        if path.suffix == ".py":
            found[path] += bad_names(source) + too_long(source)
            found[path] += long_sleeps(source) if path.parts[0] == "tests" else []
    assert {str(path): faults for path, faults in found.items() if faults} == {}
    assert len(found) > 500, "the tree itself was looked at"


@pytest.mark.parametrize(
    "source",
    [
        "class TicketManager:\n    pass",
        "def place(qty_e8):\n    pass",
        "def wal_append():\n    pass",
        "def drop(seqno):\n    pass",
    ],
)
def test_bad_name_is_seen(source: str) -> None:
    assert len(bad_names(source)) == 1


def test_what_the_tree_must_not_hold_is_seen() -> None:
    assert len(vague_path(Path("server/core/order_utils.py"))) == 1
    assert len(bad_lines("# " + "todo".upper() + " later")) == 1
    assert len(bad_lines(f'DATA = "/{"home"}/anna/data"')) == 1
    assert len(too_long("x = 1\n" * (FILE_LINES_MAX + 1))) == 1
    assert len(too_long("def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX)) == 1
    assert len(long_sleeps("import time\ntime.sleep(1)")) == 1


def test_good_source_passes() -> None:
    source = (
        "import time\n\n\nclass BookSide:\n    def quantity_e8(self, sequence):\n        return 0\n"
    )
    assert bad_names(source) + bad_lines(source) + too_long(source) + long_sleeps(source) == []
    assert vague_path(Path("server/core/book.py")) == []
