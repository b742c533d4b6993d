"""Events and gauges for Prometheus, by its own client library (extra ``prometheus``)."""

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
    """Keeps a counter or a histogram for each event, and offers the gauges when it is scraped.

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
        """Count it, or put it into its bucket."""
        metric = self._metrics[measurement.name]
        child = metric.labels(**measurement.labels) if measurement.labels else metric
        if isinstance(child, Histogram):
            child.observe(measurement.value)
        else:
            child.inc(measurement.value)

    def close(self) -> None:
        """Leave the registry."""
        for collector in self._collectors:
            self._registry.unregister(collector)


class GaugeCollector(Collector):
    """Asks the database whenever it is collected.

    Every process that is scraped shows the same figures: take ``max`` over them, not ``sum``.
    While the database cannot be asked there is only ``filestack_tags_gauges_up 0``.
    """

    def describe(self) -> Iterable[Metric]:
        """Return the families without asking the database, as when it is registered."""
        return [*_families().values(), _up()]

    def collect(self) -> Iterator[Metric]:
        """Yield the families that have a value now."""
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
    """Return what a view or an exporter should show, also where processes share their counts.

    With ``PROMETHEUS_MULTIPROC_DIR`` the library keeps each process's counts in a file, and only
    a registry made for it adds them up; gauges are not among them and are read here.
    """
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    shared = CollectorRegistry()
    multiprocess.MultiProcessCollector(shared)  # type: ignore[no-untyped-call]  # theirs
    shared.register(GaugeCollector())
    return shared


def _metric(event: Event) -> Counter | Histogram:
    name = event.name.replace(".", "_")
    labels = tuple(event.labels)
    if event.kind == "counter":
        return Counter(name, event.says, labels, namespace=NAMESPACE, registry=None)
    return Histogram(
        name,
        event.says,
        labels,
        namespace=NAMESPACE,
        registry=None,
        buckets=event.buckets,
    )


def _families() -> dict[str, GaugeMetricFamily]:
    return {
        gauge.name: GaugeMetricFamily(
            "_".join(filter(None, (NAMESPACE, gauge.name.replace(".", "_"), gauge.unit))),
            gauge.says,
            labels=gauge.labels,
        )
        for gauge in GAUGES.values()
    }


def _up() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        f"{NAMESPACE}_gauges_up", "Whether the gauges could be read.", labels=()
    )
