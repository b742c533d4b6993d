"""The log: one line for each event."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from filestack_tags import metrics
from filestack_tags.operations.sinks.log import LoggingSink

LOG = "filestack_tags.event"


@pytest.fixture(autouse=True)
def _sink() -> Any:
    end = metrics.subscribe(LoggingSink().record)
    yield
    end()


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(line.levelno, line.getMessage()) for line in caplog.records if line.name == LOG]


def test_an_event_is_a_line_and_trouble_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    metrics.count("webhook.received")
    metrics.count("sweep.found", 3, what="assets")
    metrics.observe("call.seconds", 0.31234, tagger="filestack", outcome="answered")
    metrics.count("webhook.refused", reason="signature")
    assert lines(caplog) == [
        (logging.INFO, "webhook.received"),
        (logging.INFO, "sweep.found 3 what=assets"),
        (logging.INFO, "call.seconds 0.312 outcome=answered tagger=filestack"),
        (logging.WARNING, "webhook.refused reason=signature"),
    ]


def test_the_record_holds_its_parts_for_formatters(caplog: pytest.LogCaptureFixture) -> None:
    metrics.count("tagging.failed", code="server_error")
    (record,) = [line for line in caplog.records if line.name == LOG]
    parts = (record.event, record.value, record.labels)  # type: ignore[attr-defined]
    assert parts == ("tagging.failed", 1, {"code": "server_error"})


def test_what_is_not_wanted_is_not_written(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, LOG)
    metrics.count("webhook.received")
    metrics.count("broker.unreachable")
    assert [text for _, text in lines(caplog)] == ["broker.unreachable"]
