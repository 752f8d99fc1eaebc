"""Fault 1: SIGKILL at any time under load."""

import random
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from exchange.v1.order_service_pb2 import SessionCommand, SessionOutcome
from tests.processes.invariants import assert_kept
from tests.processes.load import MixedLoad, first_answer, has_key, repeat, sequence_of
from tests.running import Running, Starter, free_port

CLEAN_STOP_EVERY = 50
"""Kills, so that what a start has to re-apply stays short."""
MESSAGES_MAX = 40
REPEATED_PER_KILL = 50
RECOVERED = re.compile(r"replayed (\d+); last sequence (\d+); dropped (\d+) tail bytes")


# A start for each kill: a few seconds where the cores are busy with other things.
@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(20, marks=pytest.mark.timeout(300)),
        pytest.param(1_000, marks=[pytest.mark.slow, pytest.mark.timeout(15_000)]),
    ],
)
def test_kill_under_load_loses_nothing(
    starter: Starter, figures: Callable[[str], None], kills: int
) -> None:
    """[I1-I8 I10] Whatever was acknowledged is there once; retries get the first outcome."""
    draw = random.Random(1)
    port = free_port()
    acknowledged: dict[str, SessionOutcome] = {}
    unknown = dropped = 0
    start_s_max = 0.0
    server, address = starter.server(port)
    for kill in range(kills):
        with MixedLoad(address, f"k{kill}") as load:
            load.wait(draw.randint(1, MESSAGES_MAX))
            server.kill()
        acknowledged |= load.acknowledged
        unknown += len(load.unanswered())
        began = time.monotonic()
        server, address = starter.server(port)
        start_s_max = max(start_s_max, time.monotonic() - began)
        recovered = recovery(server)
        dropped += int(recovered[3])
        last_sequence = max(map(sequence_of, acknowledged.values()))
        assert int(recovered[2]) >= last_sequence, f"I1: {recovered[0]} after {last_sequence}"
        acknowledged |= repeat_all(address, load, draw)
        if kill % CLEAN_STOP_EVERY == CLEAN_STOP_EVERY - 1:
            assert server.terminate() == 0
            server, address = starter.server(port)
    assert server.terminate() == 0
    commands = assert_kept(starter.data_dir, acknowledged)
    figures(
        f"fault 1: {kills} kills under load, {len(acknowledged)} commands acknowledged, 0 lost, "
        f"0 twice; {unknown} in flight, all resolved by their key; {commands} in the journal; "
        f"{dropped} tail bytes dropped; start at most {start_s_max:.2f} s"
    )


def test_a_copy_of_a_running_exchange(starter: Starter) -> None:
    """[I1 I2 I8] Made as the manual says, it holds whatever was acknowledged before it was begun,
    though its last record may be half there."""
    server, address = starter.server()
    assert server.terminate() == 0
    server, address = starter.server()
    manual = (Path(__file__).parents[2] / "deploy" / "OPERATING.md").read_text(encoding="utf-8")
    command = next(line for line in manual.splitlines() if line.startswith("mkdir"))
    copy = starter.data_dir.with_name("copy")
    with MixedLoad(address, "c") as load:
        load.wait(5)
        acknowledged = dict(load.acknowledged)
        subprocess.run(command, shell=True, check=True, cwd=starter.data_dir.parent)
        answered = load.answers
        load.wait(answered + 1)
    assert list((copy / "snapshots").iterdir())
    assert_kept(copy, acknowledged)


def recovery(server: Running) -> "re.Match[str]":
    """What the start found: replayed, last sequence, dropped bytes."""
    found = RECOVERED.search(server.wait_line("recovered"))
    assert found, server.lines
    return found


def repeat_all(address: str, load: MixedLoad, draw: random.Random) -> dict[str, SessionOutcome]:
    """I10: what was in flight is resolved, what was answered is answered the same."""
    keys = sorted(key for key in load.acknowledged if has_key(load.sent[key]))
    answered = draw.sample(keys, min(REPEATED_PER_KILL, len(keys)))
    again = repeat(address, [load.sent[key] for key in answered])
    for key in answered:
        assert first_answer(again[key]) == first_answer(load.acknowledged[key]), f"I10: {key}"
    in_flight: list[SessionCommand] = load.unanswered()
    resolved = repeat(address, in_flight)
    twice = repeat(address, in_flight)
    for key, outcome in resolved.items():
        assert first_answer(outcome) == first_answer(twice[key]), f"I10: {key}"
    return {key: outcome for key, outcome in resolved.items() if sequence_of(outcome)}
