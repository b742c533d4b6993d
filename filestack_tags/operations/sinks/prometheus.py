"""Events and gauges for Prometheus, using its client library (extra ``prometheus``)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from filestack_tags.metrics import EVENTS, Event, Measurement

from .gauges import GAUGES, read_now

NAMESPACE = "filestack_tags"


class PrometheusSink:
    """Has a counter or a histogram for each event, and reads the gauges when it is scraped.

    Args:
        registry: where they are registered.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._registry = registry
        self._metrics = {event.name: _metric(event) for event in EVENTS}
        self._collectors: list[Collector] = [*self._metrics.values(), GaugeCollector()]
        for collector in self._collectors:
            registry.register(collector)

    def record(self, measurement: Measurement) -> None:
        """Increment the counter, or observe the duration."""
        metric = self._metrics[measurement.name]
        child = metric.labels(**measurement.labels) if measurement.labels else metric
        if isinstance(child, Histogram):
            child.observe(measurement.value)
        else:
            child.inc(measurement.value)

    def close(self) -> None:
        """Unregister the collectors."""
        for collector in self._collectors:
            self._registry.unregister(collector)


class GaugeCollector(Collector):
    """Queries the database on each collection.

    Every scraped process exports the same figures: use ``max`` over them, not ``sum``. While the
    database is unreachable only ``filestack_tags_gauges_up 0`` is exported.
    """

    def describe(self) -> Iterable[Metric]:
        """Return the metric families without querying the database, as on registration."""
        return [*_families().values(), _up()]

    def collect(self) -> Iterator[Metric]:
        """Yield the families that have a current value."""
        families = _families()
        found = read_now()
        for gauge, labels, value in found:
            family = families[gauge.name]
            family.add_metric([labels[label] for label in gauge.labels], value)
        yield from (family for family in families.values() if family.samples)
        up = _up()
        up.add_metric([], float(bool(found)))
        yield up


def registry() -> CollectorRegistry:
    """Return the registry to export, also if several processes share their counts.

    With ``PROMETHEUS_MULTIPROC_DIR`` the library stores each process's counts in a file, and only a
    registry made for that adds them up. Gauges are not included there and are read here.
    """
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    shared = CollectorRegistry()
    multiprocess.MultiProcessCollector(shared)  # type: ignore[no-untyped-call]  # untyped library
    shared.register(GaugeCollector())
    return shared


def _metric(event: Event) -> Counter | Histogram:
    name = event.name.replace(".", "_")
    labels = tuple(event.labels)
    if event.kind == "counter":
        return Counter(name, event.description, labels, namespace=NAMESPACE, registry=None)
    return Histogram(
        name,
        event.description,
        labels,
        namespace=NAMESPACE,
        registry=None,
        buckets=event.buckets,
    )


def _families() -> dict[str, GaugeMetricFamily]:
    return {
        gauge.name: GaugeMetricFamily(
            "_".join(filter(None, (NAMESPACE, gauge.name.replace(".", "_"), gauge.unit))),
            gauge.description,
            labels=gauge.labels,
        )
        for gauge in GAUGES.values()
    }


def _up() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        f"{NAMESPACE}_gauges_up", "Whether the gauges could be read.", labels=()
    )
