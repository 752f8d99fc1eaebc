"""A fake exchange and a client of it, whose retries are quick; a real one for each module."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from clients.client import ExchangeClient
from clients.retries import Retries
from tests.clients.fake_exchange import FakeExchange, fake_exchange
from tests.running import Starter

QUICK = Retries(attempt_s=2.0, overall_s=4.0, delay_first_s=0.001, delay_max_s=0.01)


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeExchange]:
    async with fake_exchange() as running:
        yield running


@pytest_asyncio.fixture
async def exchange(fake: FakeExchange) -> AsyncIterator[ExchangeClient]:
    async with ExchangeClient(fake.address, retries=QUICK) as client:
        yield client


@pytest.fixture(scope="module")
def address(module_starter: Starter) -> str:
    """Where a real server takes calls."""
    return module_starter.server()[1]
