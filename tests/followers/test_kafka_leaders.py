"""Fault 18: the leaders of a real Kafka's partitions change while the follower writes to them."""

import signal
from collections.abc import Callable, Iterator

import pytest

from server.supervisor.embedded import kafka as embedded_kafka
from tests.followers.kafka_cluster import SECONDS, Cluster
from tests.followers.test_kafka import assert_topics_equal_the_journal, load, wait_level
from tests.processes.load import Load
from tests.running import Starter, until

MORE = 10
"""Messages of load before and after a change: 200 commands."""


@pytest.fixture
def cluster(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    monkeypatch.setattr(embedded_kafka, "HEAP", "256m")
    cluster = Cluster(tmp_path_factory.mktemp("kafka"))
    yield cluster
    cluster.kill()


@pytest.mark.timeout(240)
def test_leaders_change_under_load(
    starter: Starter, cluster: Cluster, figures: Callable[[str], None]
) -> None:
    """[I2] A leader that hangs, and comes back as one that was deposed; one that hands over in good
    order; one that is killed. What it had acknowledged, the other has too."""
    _server, address = starter.server()
    file = starter.data_dir.with_name("kafka.toml")
    file.write_text("[kafka]\ndelivery_ms = 1500\n[followers]\nretry_max_ms = 300\n")
    places = ("--config", str(file), "--data-dir", str(starter.data_dir), "--server", address)
    follower = starter.run("follower", *places, "--kafka-brokers", cluster.address)
    load(address, "first")
    wait_level(address)
    cluster.wait_in_step()
    second = cluster.nodes[1]
    led = cluster.leaders()[2]
    assert led > 0

    taken: list[int] = []

    def under_load(change: Callable[[], object], is_led: Callable[[], bool]) -> None:
        with Load(address, f"{len(taken)}") as sending:
            sending.wait(MORE)
            change()
            sending.wait(sending.answers + MORE)
        taken.append(len(sending.acknowledged))
        until(is_led, SECONDS, "other leaders")
        load(address, f"{len(taken)} after")
        wait_level(address)

    def by_the_first() -> bool:
        return cluster.leaders()[2] == 0

    def as_preferred() -> bool:
        cluster.elect_preferred()
        return cluster.leaders()[2] == led

    under_load(lambda: second.signal(signal.SIGSTOP), by_the_first)
    second.signal(signal.SIGCONT)
    cluster.wait_in_step()
    under_load(cluster.elect_preferred, as_preferred)
    cluster.wait_in_step()
    under_load(second.kill, by_the_first)
    follower.kill()
    assert_topics_equal_the_journal(address, cluster.nodes[0])
    figures(
        f"fault 18: the leader of {led} of Kafka's partitions paused, elected again, killed:"
        f" {sum(taken)} commands taken meanwhile, the topics equal the journal; I2 holds"
    )
