"""A journal that a release with other rules wrote: an upgrade, or the way back."""

import pytest

from server.core import dump
from server.core.engine import RULES_VERSION, Engine
from server.journal import recovery, replay, snapshots
from server.journal.recovery import recover
from server.journal.refusals import RulesDiffer
from tests.journal.site import Copy, Site, assert_recovered
from tests.journal.test_recovery import assert_refused


def test_commands_under_other_rules_are_refused_with_the_remedy(
    plain: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "RULES_VERSION", RULES_VERSION + 1)
    error = assert_refused(plain, "Start the release that wrote them once and stop it cleanly")
    assert isinstance(error, RulesDiffer)
    assert f"rules version {RULES_VERSION}, this release has {RULES_VERSION + 1}" in str(error)


def test_an_upgrade_that_skips_a_release_is_told_which_one_it_needs(
    with_snapshots: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release before was stopped cleanly, and its snapshot is of no use to this one."""

    def load(_chunks: object) -> Engine:
        raise ValueError("too many values to unpack")

    monkeypatch.setattr(replay, "RULES_VERSION", RULES_VERSION + 1)
    monkeypatch.setattr(snapshots, "load", load)
    newest = snapshots.snapshot_paths(with_snapshots.directory)[0]
    why = "its state can't be loaded: ValueError('too many values to unpack')"
    error = assert_refused(with_snapshots, f"{newest} is no good: {why}", "between the two")
    assert isinstance(error, RulesDiffer)


def test_commands_under_newer_rules_are_left_to_the_newer_release(
    plain: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "RULES_VERSION", RULES_VERSION - 1)
    error = assert_refused(plain, "Use the newer release", "an older one can't take its state")
    assert "stop it cleanly" not in str(error)


def test_an_upgrade_after_a_clean_stop_starts(
    with_snapshots: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(with_snapshots.directory)
    site.snapshot()
    site.close()
    for module in (dump, snapshots, replay, recovery):
        monkeypatch.setattr(module, "RULES_VERSION", RULES_VERSION + 1)
    recovered = recover(with_snapshots.directory)
    assert recovered.engine.sequence == with_snapshots.site.engine.sequence
    assert (recovered.report.command_count, recovered.report.passed_over) == (0, [])
    assert recovered.log.claim(b"n" * 16) == 3
    recovered.log.close()
    monkeypatch.undo()
    # Back again: what the newer release wrote since is no command, so nothing stands in the way.
    recovered = recover(with_snapshots.directory)
    assert_recovered(recovered, with_snapshots.site, with_snapshots.site.engine.sequence)
    recovered.log.close()
