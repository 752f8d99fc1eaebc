"""Figures that are told apart by labels."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


def labelled(
    family: CounterMetricFamily | GaugeMetricFamily,
    samples: Iterable[tuple[list[str], float]],
) -> Metric:
    """The family, with a sample for each of these."""
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
