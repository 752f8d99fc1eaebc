"""Sites that many tests copy; nobody writes to them after they are built."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.journal.site import Copy, Site, every_command, trade

MEMORY = Path("/dev/shm")
MEMORY_BYTES = 1 << 30
"""More than all that a test writes."""


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is room: some tests recover thousands of times, and what is left after
    a power cut is not what any of them looks at."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < MEMORY_BYTES:
        yield tmp_path
        return
    with TemporaryDirectory(dir=MEMORY, prefix="exchange-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def plain_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A journal without a snapshot whose last record nothing vouches for."""
    site = Site(tmp_path_factory.mktemp("plain") / "data")
    every_command(site)
    trade(site, 12)
    site.close()
    return site


@pytest.fixture(scope="session")
def vouched_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The same, ending with an idle record."""
    site = Site(tmp_path_factory.mktemp("vouched") / "data")
    every_command(site)
    trade(site, 12)
    site.idle()
    site.close()
    return site


@pytest.fixture(scope="session")
def snapshot_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Two snapshots, the journal going on after each."""
    site = Site(tmp_path_factory.mktemp("snapshot") / "data")
    every_command(site)
    trade(site, 4)
    site.snapshot()
    trade(site, 4, seed=2)
    site.snapshot()
    trade(site, 4, seed=3)
    site.close()
    return site


@pytest.fixture
def plain(plain_site: Site, tmp_path: Path) -> Copy:
    return Copy(plain_site, tmp_path / "copy")


@pytest.fixture
def vouched(vouched_site: Site, tmp_path: Path) -> Copy:
    return Copy(vouched_site, tmp_path / "copy")


@pytest.fixture
def with_snapshots(snapshot_site: Site, tmp_path: Path) -> Copy:
    return Copy(snapshot_site, tmp_path / "copy")
