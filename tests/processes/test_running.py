"""What tests say of a process that hangs."""

import pytest

from tests.running import Starter


def test_a_process_that_does_not_end_says_where_it_is_and_its_parts(starter: Starter) -> None:
    everything = starter.up()
    with pytest.raises(AssertionError, match="did not end in") as hung:
        everything.running.wait(0.1)
    for file in ("server/supervisor/up.py", "server/app.py", "server/followers/snapshots.py"):
        assert file in str(hung.value)
