"""`docker-compose.yml` and the Dockerfile, as far as they can be tried without an engine.

The files are read and held against the real command line, settings and tree; then the parts are
started with the commands and variables of the containers, from a copy of just the files that the
image gets, beside a real PostgreSQL and Redis.
"""

import re
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from server.settings import Settings
from server.supervisor import main
from server.supervisor.configuration import CONFIG_VARIABLE, NAMED, load
from server.supervisor.embedded import kafka as embedded_kafka
from server.supervisor.embedded import postgres as embedded_postgres
from server.supervisor.embedded import redis as embedded_redis
from tests.running import EXCHANGE, Starter, free_port, until

ROOT: Final = Path(__file__).resolve().parents[2]
COMPOSE_TEXT: Final = (ROOT / "docker-compose.yml").read_text()
COMPOSE: Final[dict[str, Any]] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
IMAGE: Final = (ROOT / "Dockerfile").read_text()
PARTS: Final = ("server", "follower", "websocket", "gateway")
OWN_IMAGE: Final = SERVICES["server"]["image"]
HEALTHY_S: Final = 60.0
ORDER: Final = {
    "client_id": "alice",
    "side": "buy",
    "type": "limit",
    "price": 100,
    "quantity": 1,
}


def resolved(text: str) -> str:
    """With the default of each variable, as where there is no `.env`."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def environment_of(name: str) -> dict[str, str]:
    return {key: resolved(str(it)) for key, it in SERVICES[name].get("environment", {}).items()}


def settings_of(name: str) -> Settings:
    """As the real command line takes them."""
    command = SERVICES[name]["command"]
    options = main._parser(with_trading=False).parse_args(command)
    assert options.part == name
    return load(vars(options), environment_of(name))


def image_lines(instruction: str) -> list[list[str]]:
    whole = IMAGE.replace("\\\n", " ")
    return [line.split()[1:] for line in whole.splitlines() if line.startswith(f"{instruction} ")]


def copied() -> list[Path]:
    """Everything that the image gets from the tree."""
    sources = [name for line in image_lines("COPY") for name in line[:-1]]
    return [ROOT / name for name in sources]


def test_only_the_gateway_is_published_and_on_loopback() -> None:
    published = {name: it["ports"] for name, it in SERVICES.items() if "ports" in it}
    assert published == {"gateway": ["127.0.0.1:3000:3000"]}
    assert settings_of("gateway").http_port == 3000
    assert COMPOSE["networks"]["inside"]["internal"] is True
    outside = {name for name, it in SERVICES.items() if it["networks"] != ["inside"]}
    assert outside == {"gateway"}
    assert not any("network_mode" in it for it in SERVICES.values())


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_whole(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/-]+:[0-9]+\.[0-9.]+", service["image"]), "a version is pinned"
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service["restart"] == "unless-stopped"
    assert set(service.get("depends_on", ())) <= set(SERVICES)
    for volume in service.get("volumes", ()):
        source = volume.partition(":")[0]
        assert source in COMPOSE["volumes"] or (ROOT / source).exists(), volume


def test_every_part_is_there_and_finds_the_others() -> None:
    assert {name for name, it in SERVICES.items() if it["image"] == OWN_IMAGE} == set(PARTS)
    for name in PARTS:
        known = {CONFIG_VARIABLE, *(named.variable for named in NAMED)}
        assert all(
            it in known or it.startswith(("POSTGRES_", "REDIS_")) for it in environment_of(name)
        )
        settings = settings_of(name)
        for url in (settings.postgres_url, settings.redis_url, f"//{settings.kafka_brokers}"):
            assert urlsplit(url).hostname in (None, *SERVICES)
        assert settings.server.partition(":")[0] in ("", "server")
    assert settings_of("server").outside_parts == ["postgres", "kafka", "redis"]
    assert settings_of("follower").outside_parts == ["postgres", "kafka", "redis"]
    assert settings_of("gateway").websocket == "websocket:3001"
    assert settings_of("websocket").websocket.endswith(":3001")
    server, follower = SERVICES["server"], SERVICES["follower"]
    assert server["volumes"] == follower["volumes"], "where snapshots are looked for"
    assert f"EXCHANGE_DATA_DIR={server['volumes'][0].partition(':')[2]}" in IMAGE


def test_a_file_of_settings_may_be_named() -> None:
    (named,) = re.findall(r"EXCHANGE_CONFIG=/etc/exchange/(\S+) docker compose up", COMPOSE_TEXT)
    assert (ROOT / "deploy" / named).is_file()
    for name in ("server", "follower"):
        assert "./deploy:/etc/exchange:ro" in SERVICES[name]["volumes"]
        assert CONFIG_VARIABLE in environment_of(name)


def test_the_servers_are_as_in_the_other_tests() -> None:
    """The same configuration files, user, database and cluster."""
    mounted = {
        (ROOT / source).resolve()
        for service in SERVICES.values()
        for source, *_ in (volume.split(":") for volume in service.get("volumes", ()))
    }
    assert embedded_postgres.CONFIGURATION in mounted
    assert embedded_redis.CONFIGURATION in mounted
    assert embedded_kafka.CONFIGURATION.parent in mounted
    assert embedded_kafka.COORDINATES.split("+")[0].endswith(
        SERVICES["kafka"]["image"].split(":")[1]
    )
    assert environment_of("kafka")["CLUSTER_ID"] == embedded_kafka.CLUSTER_ID
    postgres = environment_of("postgres")
    assert {name: environment_of("server")[name] for name in postgres} == postgres
    password = resolved(SERVICES["redis"]["command"][-1])
    assert urlsplit(settings_of("server").redis_url).password == password
    assert environment_of("kafka")["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://kafka:9092"


def test_the_image_is_pinned_runs_as_an_ordinary_user_and_misses_nothing() -> None:
    assert re.fullmatch(r"python:3\.1[12]\.[0-9]+-[a-z-]+", image_lines("FROM")[0][0])
    assert image_lines("USER")[-1] == ["exchange"]
    assert "--require-hashes" in IMAGE
    assert main._parser(with_trading=False).parse_args(["up"]).part == "up"
    wanted = (ROOT / ".dockerignore").read_text().splitlines()
    for path in copied():
        assert path.exists()
        name = path.relative_to(ROOT).as_posix()
        assert f"!{re.sub('requirements.*lock', 'requirements*.lock', name)}" in wanted


@pytest.mark.container_engine
def test_the_engine_s_client_takes_the_file() -> None:
    docker = shutil.which("docker")
    command = [docker or "docker", "compose", "-f", str(ROOT / "docker-compose.yml")]
    if docker is None or subprocess.run([*command, "version"], capture_output=True).returncode:
        pytest.skip("no docker compose is installed: docker-compose.yml was not checked by it")
    subprocess.run([*command, "config", "--quiet"], check=True)


class Containers:
    """The parts as their containers run them, on this machine's ports instead of by name."""

    def __init__(self, starter: Starter, tree: Path) -> None:
        self._starter = starter
        self._data = str(starter.data_dir)
        for path in copied():
            if path.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(path, tree / path.name, ignore=ignored)
        self._paths = f"{tree}:{tree / 'proto' / 'gen'}"
        self.http_port = free_port()
        self._places = {
            "server:50051": f"127.0.0.1:{free_port()}",
            "websocket:3001": f"127.0.0.1:{free_port()}",
        }
        self._places["0.0.0.0:3001"] = self._places["websocket:3001"]
        self._places["127.0.0.1:50051"] = self._places["server:50051"]

    def start(self, name: str, **environment: str) -> None:
        command = [self._placed(word) for word in SERVICES[name]["command"]]
        command += ["--http-port", str(self.http_port)]
        if name == "server":
            command += ["--grpc-port", self._places["server:50051"].partition(":")[2]]
        # The image says it by a variable.
        environment |= {"EXCHANGE_DATA_DIR": self._data, "PYTHONPATH": self._paths}
        self._starter.run(*command, **environment)

    def is_healthy(self, name: str) -> bool:
        """What the container's own check says."""
        kind, *words = (self._placed(word) for word in SERVICES[name]["healthcheck"]["test"])
        exchange = [sys.executable, "-P", "-m", EXCHANGE]
        if kind == "CMD-SHELL":
            words = ["sh", "-c", words[0].replace("exchange ", f"{shlex.join(exchange)} ", 1)]
        else:
            words[:1] = exchange if words[0] == "exchange" else [sys.executable]
        return subprocess.run(words, capture_output=True, timeout=60).returncode == 0

    def _placed(self, word: str) -> str:
        for name, place in self._places.items():
            word = word.replace(name, place)
        port = self._places["websocket:3001"].partition(":")[2]
        return word.replace("3001", port).replace(":3000", f":{self.http_port}")


def test_the_parts_run_as_in_their_containers(starter: Starter, tmp_path: Path) -> None:
    servers = tmp_path / "servers"
    url = urlsplit(embedded_postgres.ADDRESS.assign(servers))
    redis_url = embedded_redis.ADDRESS.assign(servers)
    for name in ("postgres", "redis"):
        starter.run(name, "--data-dir", str(servers))
    outside = {
        "POSTGRES_HOST": "127.0.0.1",
        "POSTGRES_PORT": str(url.port),
        "POSTGRES_PASSWORD": url.password or "",
        "POSTGRES_DB": "postgres",
        "POSTGRES_USER": environment_of("server")["POSTGRES_USER"],
        "REDIS_URL": redis_url,
    }
    containers = Containers(starter, tmp_path / "image")
    containers.start("server", **outside)
    until(lambda: containers.is_healthy("server"), HEALTHY_S, "a healthy server")
    assert not containers.is_healthy("follower"), "it was not started yet"
    assert not containers.is_healthy("gateway")
    containers.start("follower", **outside)
    containers.start("websocket")
    containers.start("gateway")
    for name in PARTS:
        until(partial(containers.is_healthy, name), HEALTHY_S, f"a healthy {name}")
    http = f"http://127.0.0.1:{containers.http_port}"
    assert httpx.post(f"{http}/orders", json=ORDER, timeout=30).status_code == 201

    def checks() -> dict[str, str]:
        told: dict[str, str] = httpx.get(f"{http}/healthz", timeout=10).json()["checks"]
        return told

    healthy = dict.fromkeys(("journal", "snapshots", "postgres", "redis"), "healthy")
    until(lambda: checks() == {**healthy, "kafka": "disabled"}, HEALTHY_S, "health of all")
