"""Files that a command writes."""

import argparse
import os
from pathlib import Path

import pytest

from clients.files import file_to_write, whole_file


def test_only_a_file_in_a_directory_that_is_there_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    assert file_to_write(str(file)) == file
    for wrong in ("", str(tmp_path), str(tmp_path / "none" / "out.csv")):
        with pytest.raises(argparse.ArgumentTypeError, match="a directory that exists; got"):
            file_to_write(wrong)
    assert file_to_write("/dev/null") == Path("/dev/null")


@pytest.mark.parametrize("length", [251, 300])
def test_a_name_that_no_file_can_have_is_wrong(length: int, tmp_path: Path) -> None:
    """With what stands behind it until it is whole, too."""
    with pytest.raises(argparse.ArgumentTypeError, match="File name too long; got"):
        file_to_write(str(tmp_path / ("a" * length)))


def test_a_directory_that_can_not_be_written_to_is_told_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(argparse.ArgumentTypeError, match="directory can't be written to; got"):
        file_to_write(str(tmp_path / "out.csv"))


def test_what_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    file.write_text("before")
    with pytest.raises(FileNotFoundError), whole_file(file):
        raise FileNotFoundError
    assert file.read_text() == "before"
    with whole_file(file) as unfinished:
        unfinished.write_text("whole")
    assert file.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [file]
