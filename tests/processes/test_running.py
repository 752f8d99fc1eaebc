"""What tests say of a process that hangs."""

import pytest

from tests.running import Starter


def test_a_process_that_does_not_end_says_where_it_is(starter: Starter) -> None:
    exchange = starter.up()
    with pytest.raises(AssertionError, match=r"did not end in 0\.1 s") as hung:
        exchange.running.wait(0.1)
    assert "most recent call first" in str(hung.value)
    assert "server/supervisor/up.py" in str(hung.value)
