"""What shells propose, made from the parser: the scripts, and bash asked for real."""

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest

from clients.completion import SHELLS, script

INSTALLED = [shell for shell in SHELLS if shutil.which(shell)]
ASK = """
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_exchange; printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def program() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("exchange")
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(required=True)
    place = commands.add_parser("place", help="place an order: it's easy")
    place.add_argument("client", metavar="CLIENT")
    place.add_argument("side", choices=["buy", "sell"])
    place.add_argument("--tif", choices=["gtc", "ioc"], help="100 %% of $HOME `x`")
    place.add_argument("--price")
    place.add_argument("--post-only", "-p", action="store_true")
    journal = commands.add_parser("journal", help="read a journal").add_subparsers()
    verify = journal.add_parser("verify", help="check it")
    verify.add_argument("--data-dir", metavar="DIR")
    level = verify.add_argument("--log-level", metavar="LEVEL")
    vars(level)["words"] = ("debug", "info")
    journal.add_parser("show").add_argument("file", metavar="FILE")
    return parser


@pytest.mark.parametrize(
    ("typed", "proposed"),
    [
        ("", ["place", "journal", "--help", "--version"]),
        ("pl", ["place"]),
        ("place ", ["buy", "sell", "--help", "--tif", "--price", "--post-only"]),
        ("place alice b", ["buy"]),
        ("place alice buy --p", ["--price", "--post-only"]),
        ("place --tif ", ["gtc", "ioc"]),
        ("place --tif ioc s", ["sell"]),
        ("place --tif =", ["gtc", "ioc"]),  # as bash cuts `--tif=`, and below `--tif=i`
        ("place --tif = i", ["ioc"]),
        ("place --price ", []),
        ("place journal ve", []),  # a client of that name: no way into another command
        ("journal ", ["verify", "show", "--help"]),
        ("journal verify --d", ["--data-dir"]),
        ("journal verify --log-level ", ["debug", "info"]),
        ("journal show --h", ["--help"]),
        ("--v", ["--version"]),
        ("unknown ", ["place", "journal", "--help", "--version"]),
    ],
)
def test_bash_proposes(
    program: argparse.ArgumentParser,
    typed: str,
    proposed: list[str],
) -> None:
    words = typed.split(" ")
    asked = subprocess.run(
        ["bash", "-c", script("bash", program) + ASK, "-", "exchange", *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert asked.stderr == ""
    assert asked.stdout.split() == proposed


def test_bash_proposes_names_with_blanks_whole(
    program: argparse.ArgumentParser, tmp_path: Path
) -> None:
    names = ["my orders.csv", "my  other $orders.csv"]
    for name in names:
        (tmp_path / name).touch()
    # Outside of a completion bash has no options of one.
    stand_in = "compopt() { :; }\n"
    words = ("exchange", "journal", "show", "my")
    asked = subprocess.run(
        ["bash", "-c", stand_in + script("bash", program) + ASK, "-", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert asked.stderr == ""
    assert sorted(asked.stdout.splitlines()) == sorted(names)


@pytest.mark.skipif("zsh" not in INSTALLED, reason="there is no zsh")
@pytest.mark.parametrize(
    ("typed", "proposed"),
    [
        (
            "-",
            [
                "place:place an order: it's easy",
                "journal:read a journal",
                "--help:show this help message and exit",
                "--version:print the version",
            ],
        ),
        ("place --tif ", ["gtc", "ioc"]),
        ("place --tif=i", ["gtc", "ioc"]),
        ("place --price=1", []),
        ("journal verify --data-dir=/t", ["a file"]),
        ("journal verify --log-level=", ["debug", "info"]),
    ],
)
def test_zsh_offers(
    program: argparse.ArgumentParser,
    typed: str,
    proposed: list[str],
) -> None:
    # What narrows them down to the word so far is zsh's own, of a shell with a terminal.
    ask = """
    compdef() { :; }; compset() { :; }
    _files() { print a file; }; _describe() { print -l $entries; }
    """
    words = "words=(exchange ${=1}); [[ $1 == *' ' ]] && words+=(''); CURRENT=$#words; _exchange"
    asked = subprocess.run(
        ["zsh", "-fc", f"{ask}{script('zsh', program)}{words}", "-", typed],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert asked.stderr == ""
    assert asked.stdout.splitlines() == proposed


@pytest.mark.parametrize("shell", INSTALLED)
def test_script_is_well_formed(shell: str, program: argparse.ArgumentParser) -> None:
    text = script(shell, program)
    subprocess.run([shell, "-n"], input=text, text=True, check=True, timeout=30)


def test_meanings_are_quoted(
    program: argparse.ArgumentParser,
) -> None:
    zsh = script("zsh", program)
    assert """'place:place an order: it'"'"'s easy'""" in zsh
    assert "'--tif:100 % of $HOME `x`'" in zsh
    fish = script("fish", program)
    assert "-a 'place' -d 'place an order: it\\'s easy'" in fish
    assert "-l tif -d '100 % of $HOME `x`' -x -a 'gtc ioc'" in fish
    assert "-l data-dir -d '' -r -F" in fish
