"""A small real Kafka cluster: every partition on two brokers, of which one may end."""

import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ElectionType
from confluent_kafka.admin import AdminClient

from server.followers.messages import TOPICS
from server.supervisor.embedded.kafka import (
    CLUSTER_ID,
    CONFIGURATION,
    SCRATCH_NAME,
    Installation,
    KafkaMissing,
    install,
)
from tests.followers.kafka_site import Broker
from tests.running import free_port, until

SECONDS = 60.0
_REPLICATED = """
default.replication.factor=2
min.insync.replicas=1
offsets.topic.replication.factor=2
broker.heartbeat.interval.ms=200
broker.session.timeout.ms=2000
replica.lag.time.max.ms=5000
# Only where a test asks for it.
auto.leader.rebalance.enable=false
"""


class Node(Broker):
    """One of its brokers; the first is the controller besides."""

    def __init__(
        self, installation: Installation, directory: Path, number: int, controller_port: int
    ) -> None:
        self._installation = installation
        self._port = free_port()
        self.address = f"127.0.0.1:{self._port}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        (directory / SCRATCH_NAME).mkdir(parents=True)
        self._configuration = directory / "server.properties"
        listeners = f"PLAINTEXT://{self.address}"
        if number == 1:
            listeners += f",CONTROLLER://127.0.0.1:{controller_port}"
        self._configuration.write_text(
            f"""{CONFIGURATION.read_text(encoding="utf-8")}{_REPLICATED}
process.roles={"broker,controller" if number == 1 else "broker"}
node.id={number}
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners={listeners}
advertised.listeners=PLAINTEXT://{self.address}
log.dirs={directory / "log"}
"""
        )

    def format(self) -> None:
        """Once, before its first start."""
        tool = ("format", "-t", CLUSTER_ID, "-c", str(self._configuration))
        command = self._installation.command(
            "kafka.tools.StorageTool", *tool, directory=self._directory
        )
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)


class Cluster:
    """Two of them."""

    def __init__(self, directory: Path) -> None:
        try:
            installation = install(print)
        except KafkaMissing as missing:
            # Where CI is set, a skip is a failure.
            pytest.skip(f"no Kafka here, so its follower is not tested: {missing}")
        port = free_port()
        self.nodes = [Node(installation, directory / f"{n}", n, port) for n in (1, 2)]
        self.address = ",".join(node.address for node in self.nodes)
        _each(self.nodes, Node.format)
        _each(self.nodes, Node.start)

    def kill(self) -> None:
        """All of it."""
        for node in self.nodes:
            node.kill()

    def leaders(self) -> Counter[int]:
        """How many partitions of the exchange's topics each broker leads."""
        return Counter(each.leader for each in self._partitions())

    def wait_in_step(self) -> None:
        """Until both brokers have all that each partition holds."""
        until(lambda: all(len(it.isrs) == 2 for it in self._partitions()), SECONDS, "both in step")

    def elect_preferred(self) -> None:
        """Have each partition led by the first of its brokers, in good order."""
        admin = self._admin()
        admin.elect_leaders(ElectionType.PREFERRED, None).result()

    def _admin(self) -> AdminClient:
        """A new one knows of the first only, and asks no other that hangs."""
        return AdminClient({"bootstrap.servers": self.nodes[0].address, "log_level": 0})

    def _partitions(self) -> list[Any]:
        topics = self._admin().list_topics(timeout=10).topics
        return [
            partition
            for name in TOPICS
            if name in topics
            for partition in topics[name].partitions.values()
        ]


def _each(nodes: list[Node], do: Callable[[Node], None]) -> None:
    threads = [threading.Thread(target=do, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
