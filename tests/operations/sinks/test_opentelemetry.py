"""OpenTelemetry, with its own SDK: what a reader collects."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from filestack_tags import metrics
from filestack_tags.operations import heartbeat
from filestack_tags.operations.sinks import opentelemetry as module
from filestack_tags.operations.sinks.opentelemetry import OpenTelemetrySink


@pytest.fixture
def collected() -> Any:
    """Connect the sink to a separate provider; the function collects from it."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    sink = OpenTelemetrySink(provider)
    end = metrics.subscribe(sink.record)

    def collect() -> dict[str, Any]:
        data = reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    collect.close = sink.close  # type: ignore[attr-defined]
    yield collect
    end()
    provider.shutdown()


def points(metric: Any) -> list[tuple[dict[str, Any], float]]:
    return [(dict(point.attributes), point.value) for point in metric.data.data_points]


@pytest.mark.django_db
def test_counts_and_durations_are_collected_with_their_labels(collected: Any) -> None:
    metrics.count("webhook.received")
    metrics.count("sweep.found", 3, what="assets")
    metrics.observe("call.seconds", 0.3, tagger="filestack", outcome="answered")
    found = collected()
    assert points(found["filestack_tags.webhook.received"]) == [({}, 1)]
    assert points(found["filestack_tags.sweep.found"]) == [({"what": "assets"}, 3)]
    call = found["filestack_tags.call.seconds"]
    (point,) = call.data.data_points
    assert (call.unit, point.count, point.sum) == ("s", 1, 0.3)
    assert dict(point.attributes) == {"tagger": "filestack", "outcome": "answered"}
    assert tuple(point.explicit_bounds) == metrics.CATALOGUE["call.seconds"].buckets


@pytest.mark.django_db
def test_gauges_are_read_once_for_all_of_them_when_collected(
    collected: Any, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "monotonic", lambda: 100.0)
    heartbeat.beat("sweep")
    with django_assert_num_queries(14):
        found = collected()
    assert points(found["filestack_tags.assets.queued"]) == [({}, 0)]
    ((labels, age),) = points(found["filestack_tags.heartbeat.age"])
    assert labels == {"name": "sweep"}
    assert 0 <= age < 60
    assert found["filestack_tags.heartbeat.age"].unit == "s"


@pytest.mark.django_db
def test_the_next_collection_reads_again(
    collected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    assert "filestack_tags.heartbeat.age" not in collected()
    heartbeat.beat("sweep")
    now[0] += module.SAME_COLLECTION
    assert "filestack_tags.heartbeat.age" in collected()


def test_a_closed_sink_asks_no_database(collected: Any) -> None:
    collected.close()
    assert collected() == {}


def test_without_an_sdk_nothing_is_kept_and_nothing_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[None] = []
    monkeypatch.setattr(module, "read_now", lambda: asked.append(None) or [])
    sink = OpenTelemetrySink()
    end = metrics.subscribe(sink.record)
    metrics.count("webhook.received")
    metrics.observe("webhook.seconds", 1, action="unknown")
    end()
    assert (asked, sink._readings) == ([], [])
