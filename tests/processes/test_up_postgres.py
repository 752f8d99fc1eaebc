"""`exchange up` and its embedded PostgreSQL: in step, restarted, gone with it, never in its way."""

import asyncio
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest

from server.supervisor.configuration import load
from server.supervisor.embedded import postgres as embedded_postgres
from server.supervisor.embedded.postgres import PostgresMissing
from server.supervisor.up import ready_line
from tests.processes.test_up import place
from tests.running import BUSY_S, Everything, Starter, is_there, until

CATCH_UP_S = 30.0
GONE_S = 1.0
SEEN_S = 10.0
"""Ten times what lies between two looks."""


def orders(data_dir: Path) -> int:
    """In the table; -1 where it can't be asked."""

    async def count() -> int:
        url = (data_dir / embedded_postgres.URL_FILE_NAME).read_text("ascii").strip()
        connection = await asyncpg.connect(url)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM orders"))
        finally:
            await connection.close()

    try:
        return asyncio.run(count())
    except (OSError, asyncpg.PostgresError):
        return -1


def niceness(process: psutil.Process) -> int | None:
    """None where it is gone, as who counted orders soon is."""
    try:
        return int(process.nice())
    except psutil.NoSuchProcess:
        return None


def session_niceness(process: psutil.Process) -> int | None:
    """What Linux weighs its whole session by; None where it doesn't."""
    try:
        text = Path(f"/proc/{process.pid}/autogroup").read_text(encoding="ascii")
    except OSError:
        return None
    return int(text.split()[-1]) if text else None


def part(exchange: Everything, name: str) -> psutil.Process:
    (found,) = (
        child
        for child in psutil.Process(exchange.running.pid).children()
        if name in child.cmdline()[:5]
    )
    return found


def postmaster(exchange: Everything) -> psutil.Process | None:
    for child in psutil.Process(exchange.running.pid).children():
        if child.name() == "postgres":
            return child
    return None


def test_follows_restarts_and_goes_with_up(starter: Starter) -> None:
    try:
        embedded_postgres.programs()
    except PostgresMissing as missing:
        pytest.skip(str(missing))
    # As where somebody works with a server elsewhere, too.
    exchange = starter.up(
        *("--postgres", "embedded", "--niceness", "3"),
        PGSSLMODE="require",
        PGTARGETSESSIONATTRS="standby",
        PGGSSLIB="none",
    )
    place(exchange, "one")
    until(lambda: orders(starter.data_dir) == 1, CATCH_UP_S, "the first order")
    found = postmaster(exchange)
    assert found is not None
    assert part(exchange, "server").nice() == psutil.Process().nice()
    assert session_niceness(part(exchange, "server")) in (0, None)
    # The last of these was started for the follower, long after the others.
    waiting = [part(exchange, "follower"), found, *found.children()]
    assert len(waiting) > 6
    assert {*map(niceness, waiting)} <= {psutil.Process().nice() + 3, None}
    assert {os.getsid(process.pid) for process in waiting[:2]} == {os.getsid(exchange.running.pid)}
    until(
        lambda: {*map(session_niceness, waiting[2:])} <= {3, None},
        SEEN_S,
        "the sessions of PostgreSQL's own processes to wait, too",
    )
    maps = Path(f"/proc/{found.pid}/maps").read_text(encoding="utf-8", errors="replace")
    assert "/dev/shm/" not in maps, "it does not run where that is tiny"
    password = (starter.data_dir / embedded_postgres.PASSWORD_FILE_NAME).read_text("ascii")
    shown = exchange.running.command_lines().values()
    assert not any(password in " ".join(line) for line in shown)
    found.kill()
    place(exchange, "two")
    until(lambda: orders(starter.data_dir) == 2, CATCH_UP_S, "the second order")
    children = exchange.running.children()
    exchange.running.kill()
    until(lambda: not any(map(is_there, children)), GONE_S + BUSY_S, "the end of all parts")
    exchange = starter.up("--postgres", "embedded")
    place(exchange, "three")
    until(lambda: orders(starter.data_dir) == 3, CATCH_UP_S, "the third order")
    assert exchange.running.terminate() == 0
    exchange = starter.up("--postgres", "embedded")
    until(lambda: orders(starter.data_dir) == 3, CATCH_UP_S, "all orders")
    found = postmaster(exchange)
    assert found is not None
    children = exchange.running.children()
    # One of its processes hangs, and holds the output that it shares with the others.
    found.children()[0].suspend()
    assert exchange.running.terminate() == 0
    until(lambda: not any(map(is_there, children)), GONE_S + BUSY_S, "the end of all processes")


def test_a_cluster_is_not_made_on_without_who_wanted_it(tmp_path: Path) -> None:
    """Started by an ordinary user, whose programs need no namespace."""
    initdb, told = tmp_path / "initdb", tmp_path / "it"
    initdb.write_text(
        f"#!/bin/sh\necho $$ > '{told}'.new; mv '{told}'.new '{told}'; exec sleep 100\n"
    )
    initdb.chmod(0o700)
    program = (
        "import sys; from pathlib import Path;"
        "from server.supervisor.embedded import postgres as it;"
        "it.programs = lambda: Path(sys.argv[1]); it._ordinary = list;"
        "it.prepare(Path(sys.argv[1], 'data'))"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) as wanted:
        until(told.exists, 10)
        wanted.kill()
    process_id = int(told.read_text())
    until(lambda: not is_there(process_id), GONE_S + BUSY_S, "the end of initdb")


def test_an_outside_address_is_not_in_the_process_list(starter: Starter) -> None:
    url = "postgresql://exchange:hidden@127.0.0.1:1/none"
    running = starter.up("--log-level", "error", POSTGRES_URL=url).running
    lines = running.command_lines()
    assert not any("hidden" in " ".join(line) for line in lines.values())
    follower = next(psutil.Process(it) for it, line in lines.items() if "follower" in line)
    assert follower.environ()["POSTGRES_URL"] == url
    assert not (starter.data_dir / embedded_postgres.URL_FILE_NAME).exists()


def test_single_variables_make_an_address() -> None:
    variables = {"POSTGRES_HOST": "db", "POSTGRES_USER": "a", "POSTGRES_PASSWORD": "p@/"}
    assert load({}, variables).postgres_url == "postgresql://a:p%40%2F@db:5432/exchange"
    documented = {**variables, "POSTGRES_DATABASE": "prod", "POSTGRES_DB": "other"}
    assert load({}, documented).postgres_url == "postgresql://a:p%40%2F@db:5432/prod"
    named = {**variables, "POSTGRES_URL": "postgresql://b@c/d"}
    assert load({}, named).postgres_url == "postgresql://b@c/d"


def test_root_becomes_somebody_whom_the_machine_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    root, bin_user, nobody = pwd.getpwuid(0), ("bin", "x", 2), ("nobody", "x", 65_534)
    users = [root, *(pwd.struct_passwd((*it, it[2], "", "/", "/")) for it in (bin_user, nobody))]
    assert pwd.getpwuid(embedded_postgres.ordinary_id()).pw_uid != 0
    monkeypatch.setattr(pwd, "getpwall", lambda: users)
    assert embedded_postgres.ordinary_id() == 65_534
    monkeypatch.setattr(pwd, "getpwall", lambda: users[:2])
    assert embedded_postgres.ordinary_id() == 2


@pytest.mark.parametrize("user", [0, 4_000_000_000])
def test_root_and_a_user_without_a_name_become_another(
    user: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As containers are started with any number: PostgreSQL's programs refuse both."""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    became = embedded_postgres.command(Path(), 1)
    assert became[:4] == [sys.executable, "-P", "-m", embedded_postgres.MODULE]
    monkeypatch.setattr(os, "geteuid", embedded_postgres.ordinary_id)
    assert embedded_postgres.command(Path(), 1) == became[4:]


def test_why_initdb_failed_is_told_not_what_it_did_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    initdb = tmp_path / "initdb"
    # Where its path is in no encoding, it says so too.
    says = "printf 'fixing /\\377 ... FATAL:  no space\\n' >&2; echo 'initdb: removing it' >&2"
    initdb.write_text(f"#!/bin/sh\n{says}\nexit 1\n", encoding="ascii")
    initdb.chmod(0o755)
    monkeypatch.setattr(embedded_postgres, "programs", lambda: tmp_path)
    monkeypatch.setattr(embedded_postgres, "_ordinary", list)
    why = "initdb failed: fixing /\N{REPLACEMENT CHARACTER} ... FATAL:  no space;"
    with pytest.raises(PostgresMissing, match=f"^{re.escape(why)}"):
        embedded_postgres.prepare(tmp_path)


def test_a_path_that_is_too_long_for_it_is_told(tmp_path: Path) -> None:
    directory = tmp_path.joinpath(*["long" * 50] * 5)
    length = len(os.fsencode(directory))
    why = f"data_dir has a path of {length} bytes, and PostgreSQL takes at most "
    with pytest.raises(
        PostgresMissing, match=f"^{why}[0-9]+: choose a shorter one with --data-dir"
    ):
        embedded_postgres.prepare(directory)
    assert not directory.exists()


@contextmanager
def postgres_at(directory: Path, program: Path) -> Iterator[int]:
    """What looks like the first process of a PostgreSQL whose data directory this is."""
    program.write_text("#!/bin/sh\nread line\n", encoding="ascii")
    program.chmod(0o700)
    with subprocess.Popen([program], stdin=subprocess.PIPE, cwd=directory) as process:
        # Its start is told before it has the name.
        name = Path(f"/proc/{process.pid}/comm")
        until(lambda: name.read_text("utf-8") == "postgres\n", 10, "its name")
        yield process.pid
        process.communicate()


def test_a_copy_of_a_cluster_that_runs_is_not_started(tmp_path: Path) -> None:
    """It is in use where it says that it is, and free once nobody is there any more."""
    runs, copy = tmp_path / "runs" / "postgres", tmp_path / "copy" / "postgres"
    for directory in (runs, copy):
        directory.mkdir(parents=True)
    with postgres_at(runs, tmp_path / "postgres") as process_id:
        for directory in (runs, copy):
            (directory / "postmaster.pid").write_text(f"{process_id}\n{runs}\n1", "utf-8")
        why = f"{copy} is a copy of {runs}, which still runs (pid {process_id})"
        with pytest.raises(PostgresMissing, match=f"^{re.escape(why)}.*: remove the copy"):
            embedded_postgres.prepare(copy.parent)
        assert embedded_postgres.prepare(runs.parent) == runs
    assert embedded_postgres.prepare(copy.parent) == copy


@pytest.mark.parametrize("is_place_there", [False, True])
def test_a_cluster_whose_number_another_postgres_has_now_is_started(
    tmp_path: Path, *, is_place_there: bool
) -> None:
    """It ended without a word, and is in another place since."""
    place, moved, other = (tmp_path / name / "postgres" for name in ("place", "moved", "other"))
    for directory in (moved, other, *([place] if is_place_there else [])):
        directory.mkdir(parents=True)
    with postgres_at(other, tmp_path / "postgres") as process_id:
        (moved / "postmaster.pid").write_text(f"{process_id}\n{place}\n1", "utf-8")
        assert embedded_postgres.prepare(moved.parent) == moved


def test_ready_says_why_there_is_none() -> None:
    line = ready_line(load({}, {}), "no PostgreSQL here", with_http=False)
    assert line.endswith("; postgres is disabled: no PostgreSQL here")
