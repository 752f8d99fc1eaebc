"""A server for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.rpc.served import Served, serving


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """With the default settings, on an empty data directory."""
    async with serving(tmp_path / "data") as served:
        yield served
