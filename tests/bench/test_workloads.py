"""Each workload runs, in small, and yields figures; how good they are is no test's business."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bench import engine, report, together, workloads
from bench.comparison import Comparison, Side
from bench.figures import Turn, percentiles, write_messages
from bench.orders import http_fields, mixed_orders
from bench.processes import drive
from bench.workloads import Plan


def small(directory: Path) -> Plan:
    return Plan(seconds=0.3, turns=1, seed=7, directory=directory, turn_commands_max=1_000)


@pytest.mark.parametrize(
    ("run", "parts"),
    [
        pytest.param(partial(workloads.session, size=100), {"server"}, id="session 100"),
        pytest.param(workloads.unary, {"server"}, id="unary"),
        pytest.param(workloads.http, {"server", "Envoy"}, id="http"),
        pytest.param(together.batch, {"server", "Envoy"}, id="batch"),
        pytest.param(together.books, {"server"}, id="books"),
    ],
)
def test_workload_yields_figures(
    run: Callable[[Plan], Comparison], parts: set[str], tmp_path: Path
) -> None:
    figures = run(small(tmp_path))
    assert set(figures.exchange.cpu_us()) == parts
    for side in (figures.exchange, figures.baseline):
        assert len(side.turns) == 1
        assert side.turns[0].orders >= side.turns[0].requests > 0
        # Counted in ticks of the kernel, of which a small turn may use none.
        assert all(used_us >= 0 for used_us in side.cpu_us().values())
        assert 0 < side.latencies_ms()[0] <= side.latencies_ms()[-1]
    assert list(tmp_path.iterdir()) == []
    rows = list(report.table([figures]))
    assert rows[2].startswith(f"| {figures.workload} | ")


def test_engine_yields_figures() -> None:
    figures = engine.compared(turns=2, operations=2_000)
    for side in (figures.exchange, figures.baseline):
        assert [turn.orders for turn in side.turns] == [2_000, 2_000]
        assert side.cpu_us()["process"] > 0
    assert list(report.table([figures]))[2].startswith("| engine | ")
    assert figures.reached() is not None


def test_driver_fails_where_orders_are_refused(tmp_path: Path) -> None:
    """A figure counts orders that were taken; refusals are fast, and would flatter it."""
    with workloads.exchange(tmp_path) as (_, port):
        requests = tmp_path / "requests"
        write_messages(requests, [b"\x0a\x08no-order"])
        with pytest.raises(RuntimeError, match="was refused"):
            drive(
                "unary",
                port=port,
                requests=requests,
                path=workloads.PLACE,
                count=1,
                seconds=5,
                in_flight=1,
            )


def test_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(1, 1_001)]
    random.Random(1).shuffle(values)
    assert percentiles(values) == [500, 950, 990, 999]
    assert percentiles([2.5]) == [2.5] * 4
    assert percentiles([2.0, 1.0]) == [1.0, 2.0, 2.0, 2.0]


def test_ratio_compares_turn_with_turn() -> None:
    def side(*rates: int) -> Side:
        return Side([Turn(rate, 1.0, [1.0] * 4, rate) for rate in rates], {"server": 1.0})

    figures = Comparison("w", "it", "that", side(50, 80, 90), side(100, 100, 100), ratio_goal=0.8)
    assert figures.ratios() == [0.5, 0.8, 0.9]
    assert figures.reached() is True
    assert "ratio ≥ 0.80: reached" in list(report.table([figures]))[2]


def test_mix_is_what_its_description_says() -> None:
    orders = mixed_orders(3, 10_000)
    assert orders == mixed_orders(3, 10_000)
    assert len({order.client_id for order in orders}) == 100
    assert 0.47 < sum(order.buys for order in orders) / len(orders) < 0.53
    limits = [http_fields(order)["price"] for order in orders if order.price_halves]
    assert 0.88 < len(limits) / len(orders) < 0.92
    assert (min(limits), max(limits)) == (49_900, 50_100)
    quantities = {http_fields(order)["quantity"] for order in orders}
    assert (min(quantities), max(quantities)) == (0.01, 1.0)
