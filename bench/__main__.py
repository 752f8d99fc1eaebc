"""`python -m bench`: runs the workloads and prints one table."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from bench import (
    engine,
    followers,
    ghz_runs,
    page,
    recovery,
    report,
    together,
    websocket,
    workloads,
)
from bench.comparison import Comparison
from bench.workloads import MESSAGES_IN_FLIGHT, Plan
from clients.files import file_to_write

SECONDS_MAX = 600
"""Of a turn: the requests of most are made before it begins."""
TURNS_MAX = 9
"""The order stream of the sessions is not longer."""

NAMES = (
    "engine",
    "session",
    "unary",
    "http",
    "batch",
    "books",
    "ghz",
    "recovery",
    "followers",
    "websocket",
    "page",
)


def arguments() -> argparse.Namespace:
    """What to measure, and for how long."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", default=",".join(NAMES), help="workloads, separated by commas (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="length of one turn (%(default)s)"
    )
    parser.add_argument("--turns", type=int, default=5, help="of each side (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the order mix (%(default)s)")
    parser.add_argument(
        "--json", type=file_to_write, metavar="FILE", help="write all figures there too"
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path("data/bench"),
        help="where journals are written; on the kind of disk that is to be measured (%(default)s)",
    )
    options = parser.parse_args()
    unknown = [name for name in options.only.split(",") if name not in NAMES]
    if unknown:
        parser.error(f"--only: there is no workload {unknown[0]!r}, only {', '.join(NAMES)}")
    if not 0 < options.seconds <= SECONDS_MAX:
        parser.error(f"--seconds must be above 0, at most {SECONDS_MAX}, not {options.seconds:g}")
    if not 1 <= options.turns <= TURNS_MAX:
        parser.error(f"--turns must be from 1 to {TURNS_MAX}, not {options.turns}")
    return options


def chosen(names: list[str], plan: Plan) -> Iterator[Callable[[], Comparison]]:
    """The workloads in the order of the table."""
    if "engine" in names:
        yield partial(engine.compared, plan.turns)
    if "session" in names:
        for size in MESSAGES_IN_FLIGHT:
            yield partial(workloads.session, plan, size)
    if "unary" in names:
        yield partial(workloads.unary, plan)
    if "http" in names:
        yield partial(workloads.http, plan)
    if "batch" in names:
        yield partial(together.batch, plan)
    if "books" in names:
        yield partial(together.books, plan)


def measured_by_ghz(plan: Plan) -> tuple[list[ghz_runs.Beside], str]:
    """What ghz says beside our own drivers; or nothing, and why."""
    measured = []
    try:
        for each in ghz_runs.measure(plan, ghz_runs.program(plan.directory)):
            measured.append(each)
            rates = f"ghz {each.ghz.rate:,.0f}, own driver {each.own.rate:,.0f} {each.counted}/s"
            print(f"{each.call}: {rates}", file=sys.stderr, flush=True)
    except ghz_runs.Unavailable as error:
        print(f"no figures of ghz: {error}", file=sys.stderr, flush=True)
        return [], f"There are none: {error}."
    return measured, ""


def shown_page(plan: Plan) -> str:
    """What the web page did in a browser; or that there is none."""
    try:
        return str(page.measure(plan.directory, plan.seconds * plan.turns))
    except page.Unavailable as error:
        return f"page: not measured: {error}"


def told(lines: Iterable[str]) -> Iterator[str]:
    """The same, each also for whoever watches the run."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)
        yield line


def main() -> int:
    """Measure and print; 0 whatever the figures are."""
    options = arguments()
    options.directory.mkdir(parents=True, exist_ok=True)
    plan = Plan(options.seconds, options.turns, options.seed, options.directory)
    header = [
        *report.machine(options.directory),
        f"- {plan.turns} turns of {plan.seconds:g} s a side, taken in turn; seed {plan.seed}",
    ]
    began = time.monotonic()
    comparisons = []
    names = options.only.split(",")
    for run in chosen(names, plan):
        comparisons.append(run())
        print(report.line(comparisons[-1]), file=sys.stderr, flush=True)
    beside, why = measured_by_ghz(plan) if "ghz" in names else ([], "")
    starts = list(recovery.measured(plan.directory)) if "recovery" in names else []
    followed = list(told(followers.measured(plan))) if "followers" in names else []
    streamed = str(websocket.measure(plan)) if "websocket" in names else ""
    shown = shown_page(plan) if "page" in names else ""
    header.append(f"- the run took {time.monotonic() - began:.0f} s")
    print("\n".join([*header, ""]))
    if comparisons:
        print("\n".join([*report.table(comparisons), ""]))
    if beside or why:
        shown_beside = [why] if why else ghz_runs.table(beside)
        print("\n".join(["ghz beside our own drivers:", "", *shown_beside]))
    if starts or followed:
        print("\n".join([*starts, *followed]))
    for text in filter(None, (streamed, shown)):
        print(text)
    if options.json:
        plain = {
            "header": header,
            "workloads": [each.to_plain() for each in comparisons],
            "ghz": ghz_runs.to_plain(beside),
            "starts": starts,
            "followers": followed,
            "websocket": streamed,
            "page": shown,
        }
        options.json.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
