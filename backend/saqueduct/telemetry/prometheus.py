"""The text format of Prometheus, by prometheus-client (extra `prometheus`)."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as TextFamily
from prometheus_client.registry import Collector

from saqueduct.telemetry.families import Family
from saqueduct.telemetry.histogram import Histogram


class Families(Collector):
    """A collector for prometheus-client.

    Args:
        read: returns the current values.
    """

    def __init__(self, read: Callable[[], Iterable[Family]]) -> None:
        self._read = read

    def collect(self) -> Iterator[TextFamily]:
        """The current values in the types of prometheus-client."""
        return map(_converted, self._read())

    def describe(self) -> Sequence[TextFamily]:
        """Nothing: a registry must not read when it is made."""
        return ()


def registry_of(read: Callable[[], Iterable[Family]]) -> CollectorRegistry:
    """A registry with these metrics alone."""
    registry = CollectorRegistry()
    registry.register(Families(read))
    return registry


def rendered(families: Iterable[Family], accept: str) -> tuple[bytes, str]:
    """The text of a scrape, and its content type.

    Args:
        families: the current values.
        accept: header of the request, by which Prometheus chooses between its formats.
    """
    found = list(families)
    encode, content_type = choose_encoder(accept)
    return encode(registry_of(lambda: found)), content_type


def _converted(family: Family) -> TextFamily:
    metric, samples = family
    if metric.kind == "histogram":
        return _histogram(family)
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    converted = make(metric.name, metric.text, labels=metric.labels)
    for labels, value in samples:
        converted.add_metric(labels, float(value) if not isinstance(value, Histogram) else 0.0)
    return converted


def _histogram(family: Family) -> HistogramMetricFamily:
    metric = family.metric
    converted = HistogramMetricFamily(metric.name, metric.text, labels=metric.labels)
    for labels, value in family.samples:
        if isinstance(value, Histogram):
            converted.add_metric(labels, value.cumulated(), value.total)
    return converted
