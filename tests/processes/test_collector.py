"""The collector of a process that serves."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from server import collector


class Call:
    """Left behind in a cycle, as grpc.aio leaves the look-up of a handler."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def settled() -> Iterator[None]:
    before = gc.get_threshold()
    collector.settle()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("settled")
def test_what_calls_leave_behind_is_found_soon_and_what_stays_is_left_alone() -> None:
    assert gc.get_freeze_count() > 10_000
    walked: list[int] = []

    def count(phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            walked.append(sum(len(gc.get_objects(each)) for each in range(3)))

    left = weakref.ref(Call())
    assert left() is not None
    gc.callbacks.append(count)
    try:
        kept = [[number] for number in range(5_000)]
    finally:
        gc.callbacks.remove(count)
    assert left() is None
    assert walked
    assert max(walked) < len(kept) + 5_000, "frozen objects are not walked"
