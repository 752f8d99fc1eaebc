"""ghz beside our own drivers: its configurations fit the contract, and its figures are read right.

ghz itself is stood in for, since it is not had from where everything else is; our drivers and the
exchange are real.
"""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from bench import ghz_runs
from bench.ghz_runs import CALLS, CONFIGURATIONS, ROOT, Call, Unavailable
from bench.workloads import Plan

# Spends no time, and reports what the test wants, in ghz's own words. A shell starts it: the path
# of a Python can hold spaces.
STAND_IN = """#!/bin/sh
'''exec' {python} "$0" "$@" #'''
import json, sys
options = dict(zip(sys.argv[1:-1:2], sys.argv[2:-1:2]))
name = json.load(open(options["--config"]))["name"]
status = {status!r} or ("Canceled" if name == "book_stream" else "OK")
times = [dict(percentage=share, latency=share * 1_000_000) for share in (50, 95, 99)]
told = dict(rps=7.0, statusCodeDistribution={{status: 5}}, latencyDistribution=times)
told["errorDistribution"] = {{"it said why": 5}}
json.dump(told, open(options["--output"], "w"))
sys.exit({code})
"""


def stand_in(directory: Path, status: str = "", code: int = 0) -> Path:
    path = directory / "ghz"
    path.write_text(STAND_IN.format(python=shlex.quote(sys.executable), status=status, code=code))
    path.chmod(0o755)
    return path


def configuration(call: Call) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((CONFIGURATIONS / f"{call.name}.json").read_text())
    return told


def contract(protoset: str) -> DescriptorPool:
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString((ROOT / protoset).read_bytes()).file:
        pool.Add(file)
    return pool


def unknown_fields(message: Descriptor | None, data: dict[str, Any]) -> list[str]:
    assert message is not None
    found = [name for name in data if name not in message.fields_by_name]
    for name in data.keys() - set(found):
        inner = data[name] if isinstance(data[name], list) else [data[name]]
        for each in inner:
            if isinstance(each, dict):
                found += unknown_fields(message.fields_by_name[name].message_type, each)
    return found


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_configuration_fits_the_contract(call: Call) -> None:
    told = configuration(call)
    assert told["name"] == call.name
    service, _, method = told["call"].rpartition(".")
    pool = contract(told["protoset"])
    request = pool.FindServiceByName(service).methods_by_name[method].input_type
    assert unknown_fields(request, told["data"]) == []
    listed = told["data"].get("orders") or told["data"].get("commands") or [told["data"]]
    assert len(listed) * told.get("stream-call-count", 1) == call.orders


def test_every_configuration_is_run() -> None:
    assert {path.stem for path in CONFIGURATIONS.iterdir()} == {call.name for call in CALLS}


def test_both_tools_yield_figures(tmp_path: Path) -> None:
    plan = Plan(seconds=0.3, turns=1, seed=1, directory=tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    measured = list(ghz_runs.measure(plan, stand_in(tools)))
    assert [each.call for each in measured] == [call.name for call in CALLS]
    for each, call in zip(measured, CALLS, strict=True):
        assert each.ghz.rate == 7 * call.orders
        assert each.ghz.latencies_ms == [50, 95, 99]
        assert each.own.rate > 0
        assert 0 < each.own.latencies_ms[0] <= each.own.latencies_ms[-1]
    rows = list(ghz_runs.table(measured))
    assert len(rows) == 2 + len(CALLS)
    assert rows[2].startswith("| unary | orders | 7 | 50 / 95 / 99 | ")
    assert list(tmp_path.iterdir()) == [tools]


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [("Unavailable", 0, "calls that failed on unary: .*it said why"), ("", 1, "ghz failed on un")],
)
def test_a_run_that_went_wrong_has_no_figures(
    status: str, code: int, said: str, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match=said):
        ghz_runs.run_ghz(stand_in(tmp_path, status, code), CALLS[0], 1, tmp_path, 0.1)


def test_where_ghz_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(Unavailable, match="neither ghz nor Go"):
        ghz_runs.program(tmp_path)
    (tmp_path / "tools").mkdir()
    installed = stand_in(tmp_path / "tools")
    assert ghz_runs.program(tmp_path) == installed
    monkeypatch.setenv("PATH", str(installed.parent))
    assert ghz_runs.program(tmp_path / "elsewhere") == installed


def test_go_that_cannot_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho 'no such module' >&2\nexit 1\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="Go can't install it: no such module"):
        ghz_runs.program(tmp_path)
