"""What tests say of a process that hangs, and the ports that they start processes on."""

import subprocess
import sys
from itertools import islice

import pytest

from tests.running import PORTS_EACH, Starter, free_port


def test_a_process_that_does_not_end_says_where_it_is(starter: Starter) -> None:
    exchange = starter.up()
    with pytest.raises(AssertionError, match=r"did not end in 0\.1 s") as hung:
        exchange.running.wait(0.1)
    assert "most recent call first" in str(hung.value)
    assert "server/supervisor/up.py" in str(hung.value)


def test_no_port_of_a_process_of_tests_is_given_to_another() -> None:
    """While it is not listened on, too: who is killed comes back there."""
    own = {*islice(iter(free_port, None), PORTS_EACH)}
    program = f"from tests.running import *\nfor _ in range({PORTS_EACH}): print(free_port())"
    others = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert len(own) > PORTS_EACH / 2
    assert own.isdisjoint(map(int, others.stdout.split()))
