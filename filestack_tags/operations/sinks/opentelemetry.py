"""Events and gauges for OpenTelemetry, using only its API (extra ``opentelemetry``).

The host configures the SDK, its readers and exporters; without an SDK, nothing is recorded and no
query is made.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from time import monotonic

from opentelemetry.metrics import (
    CallbackOptions,
    Counter,
    Histogram,
    Meter,
    MeterProvider,
    Observation,
    get_meter,
)

from filestack_tags.metrics import EVENTS, Event, Measurement

from .gauges import GAUGES, Gauge, Reading, read_now

NAMESPACE = "filestack_tags"

SAME_COLLECTION = 1.0
"""Seconds for which one reading is reused, since each gauge is observed separately."""


class OpenTelemetrySink:
    """Has a counter or a histogram for each event, and observes the gauges on collection.

    Args:
        provider: the meter provider; defaults to the one that the host has set or will set.
    """

    def __init__(self, provider: MeterProvider | None = None) -> None:
        meter = get_meter(NAMESPACE, meter_provider=provider)
        self._instruments = {event.name: _instrument(meter, event) for event in EVENTS}
        self._lock = threading.Lock()
        self._readings: list[Reading] = []
        self._read_at = -SAME_COLLECTION
        self._is_closed = False
        for gauge in GAUGES.values():
            meter.create_observable_gauge(
                f"{NAMESPACE}.{gauge.name}",
                callbacks=[partial(self._observe, gauge)],
                unit="s" if gauge.unit == "seconds" else "1",
                description=gauge.description,
            )

    def record(self, measurement: Measurement) -> None:
        """Add to the counter, or record the duration."""
        instrument = self._instruments[measurement.name]
        if isinstance(instrument, Counter):
            instrument.add(measurement.value, measurement.labels)
        else:
            instrument.record(measurement.value, measurement.labels)

    def close(self) -> None:
        """Observe nothing more; instruments cannot be removed."""
        self._is_closed = True

    def _observe(self, gauge: Gauge, options: CallbackOptions) -> Iterator[Observation]:
        for read, labels, value in self._now():
            if read is gauge:
                yield Observation(value, labels)

    def _now(self) -> list[Reading]:
        if self._is_closed:
            return []
        with self._lock:
            if monotonic() - self._read_at >= SAME_COLLECTION:
                self._readings = read_now()
                self._read_at = monotonic()
            return self._readings


def _instrument(meter: Meter, event: Event) -> Counter | Histogram:
    name = f"{NAMESPACE}.{event.name}"
    if event.kind == "counter":
        return meter.create_counter(name, unit="1", description=event.description)
    return meter.create_histogram(
        name,
        unit="s",
        description=event.description,
        explicit_bucket_boundaries_advisory=event.buckets,
    )
