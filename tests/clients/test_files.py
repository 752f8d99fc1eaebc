"""Files that a command writes."""

import argparse
from pathlib import Path

import pytest

from clients.files import file_to_write, whole_file


def test_only_a_file_in_a_directory_that_is_there_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    assert file_to_write(str(file)) == file
    for wrong in ("", str(tmp_path), str(tmp_path / "none" / "out.csv")):
        with pytest.raises(argparse.ArgumentTypeError, match="a directory that exists; got"):
            file_to_write(wrong)


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
