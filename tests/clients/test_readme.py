"""The README's Python runs as it is written there."""

import re
from pathlib import Path

import pytest

from tests.running import Starter

README = Path(__file__).resolve().parents[2] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
EXAMPLES = re.findall(r"-m clients\.examples\.(\w+) (.*?) *#", README.read_text("utf-8"))
ADDRESS = "127.0.0.1:50051"


@pytest.fixture(scope="module")
def address(module_starter: Starter) -> str:
    _, address = module_starter.server()
    return address


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_blocks(address: str, number: int) -> None:
    assert ADDRESS in BLOCKS[number]
    source = BLOCKS[number].replace(ADDRESS, address)
    exec(compile(source, f"README.md, Python block {number + 1}", "exec"), {})


def test_examples_are_called_as_they_are(
    address: str, module_starter: Starter, tmp_path: Path
) -> None:
    assert len(EXAMPLES) == 4
    for name, options in EXAMPLES:
        short = options.replace("--seconds 10", "--seconds 0.2").replace("recorded", str(tmp_path))
        running = module_starter.run(
            "--address", address, *short.split(), module=f"clients.examples.{name}"
        )
        assert running.wait() == 0, running.lines
