"""The same sites, in memory too, as the journal's own tests copy."""

from tests.journal.conftest import (
    plain,
    plain_site,
    snapshot_site,
    tmp_path,
    vouched,
    vouched_site,
    with_snapshots,
)

__all__ = [
    "plain",
    "plain_site",
    "snapshot_site",
    "tmp_path",
    "vouched",
    "vouched_site",
    "with_snapshots",
]
