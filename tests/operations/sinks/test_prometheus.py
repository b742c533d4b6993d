"""Prometheus, with its own library: the content of a scrape."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from filestack_tags import metrics
from filestack_tags.models import Circuit
from filestack_tags.operations import heartbeat
from filestack_tags.operations.sinks import gauges
from filestack_tags.operations.sinks.prometheus import PrometheusSink, registry


@pytest.fixture
def scraped() -> Any:
    """Connect the sink to a separate registry; the function scrapes it."""
    own = CollectorRegistry()
    sink = PrometheusSink(own)
    end = metrics.subscribe(sink.record)

    def scrape() -> dict[str, float]:
        return samples(generate_latest(own).decode())

    yield scrape
    end()
    sink.close()
    assert generate_latest(own) == b""


def samples(text: str) -> dict[str, float]:
    return {
        f"{sample.name}{dict(sorted(sample.labels.items())) or ''}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@pytest.mark.django_db
def test_counts_and_durations_are_scraped_with_their_labels(scraped: Any) -> None:
    metrics.count("webhook.received")
    metrics.count("sweep.found", 3, what="assets")
    metrics.count("tagging.failed", code="server_error")
    metrics.observe("call.seconds", 0.3, tagger="filestack", outcome="answered")
    found = scraped()
    assert found["filestack_tags_webhook_received_total"] == 1
    assert found["filestack_tags_sweep_found_total{'what': 'assets'}"] == 3
    assert found["filestack_tags_tagging_failed_total{'code': 'server_error'}"] == 1
    labels = "'outcome': 'answered', 'tagger': 'filestack'"
    assert found[f"filestack_tags_call_seconds_count{{{labels}}}"] == 1
    assert found[f"filestack_tags_call_seconds_sum{{{labels}}}"] == pytest.approx(0.3)
    assert (
        found["filestack_tags_call_seconds_bucket{'le': '0.25', " + labels + "}"],
        found["filestack_tags_call_seconds_bucket{'le': '0.5', " + labels + "}"],
    ) == (0, 1)


@pytest.mark.django_db
def test_every_event_can_be_taken(scraped: Any) -> None:
    for event in metrics.EVENTS:
        labels = {label: min(words) for label, words in event.labels.items()}
        if event.kind == "counter":
            metrics.count(event.name, **labels)
        else:
            metrics.observe(event.name, 1, **labels)
    found = scraped()
    for event in metrics.EVENTS:
        name = f"filestack_tags_{event.name.replace('.', '_')}"
        assert any(sample.startswith((f"{name}_total", f"{name}_count")) for sample in found)


@pytest.mark.django_db
def test_gauges_are_read_when_scraped(scraped: Any) -> None:
    assert scraped()["filestack_tags_assets_queued"] == 0
    Circuit.objects.create(tagger="filestack")
    heartbeat.beat("sweep")
    found = scraped()
    assert found["filestack_tags_circuit_open{'tagger': 'filestack'}"] == 0
    assert found["filestack_tags_heartbeat_age_seconds{'name': 'sweep'}"] < 60
    assert found["filestack_tags_queue_age_seconds"] == 0
    assert found["filestack_tags_gauges_up"] == 1


def test_counts_are_scraped_while_the_database_is_down(
    scraped: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(gauges, "snapshot", fail)
    metrics.count("broker.unreachable")
    found = scraped()
    assert found["filestack_tags_broker_unreachable_total"] == 1
    assert found["filestack_tags_gauges_up"] == 0
    assert "filestack_tags_assets_queued" not in found
    assert "The gauges cannot be read" in caplog.text


@pytest.mark.django_db
def test_registering_asks_no_database(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        PrometheusSink(CollectorRegistry()).close()


@pytest.mark.django_db(transaction=True)
def test_a_thread_that_scrapes_keeps_no_connection_open(scraped: Any) -> None:
    kept: list[bool] = []

    def scrape() -> None:
        scraped()
        kept.append(connection.connection is not None)
        if connection.connection is not None:
            connection.connection.close()  # Django keeps an in-memory one open

    thread = threading.Thread(target=scrape)
    thread.start()
    thread.join()
    assert kept == [connection.vendor == "sqlite"]  # in memory, it would be lost


@pytest.mark.django_db
def test_a_scrape_inside_a_transaction_leaves_it_alone(
    scraped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(connection, "close", lambda: closed.append("closed"))
    assert scraped()["filestack_tags_gauges_up"] == 1
    assert not closed


@pytest.mark.django_db
def test_processes_that_share_a_folder_are_added_up(tmp_path: Path) -> None:
    script = """
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "filestack_tags"],
    FILESTACK_TAGS={"METRICS_SINKS": ["prometheus"]},
    DATABASES={},
)
django.setup()
from filestack_tags import metrics
metrics.count("webhook.received")
metrics.observe("call.seconds", 0.3, tagger="filestack", outcome="answered")
"""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    show = (
        "import os; from prometheus_client import CollectorRegistry, generate_latest, "
        "multiprocess as m; r = CollectorRegistry(); m.MultiProcessCollector(r); "
        "print(generate_latest(r).decode())"
    )
    shown = subprocess.run(
        [sys.executable, "-c", show],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    found = samples(shown.stdout)
    assert found["filestack_tags_webhook_received_total"] == 2
    labels = "{'outcome': 'answered', 'tagger': 'filestack'}"
    assert found[f"filestack_tags_call_seconds_count{labels}"] == 2


@pytest.mark.django_db
def test_what_processes_share_is_shown_with_the_gauges(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from prometheus_client import REGISTRY

    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    assert registry() is REGISTRY
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    assert samples(generate_latest(registry()).decode())["filestack_tags_gauges_up"] == 1
