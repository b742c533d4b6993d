"""The setting ``METRICS_SINKS``: what is connected, and what is left out with a message."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from django.core.checks import run_checks

from filestack_tags import metrics
from filestack_tags.exceptions import ConfigurationError
from filestack_tags.operations import sinks

made: list[HostSink] = []


class HostSink:
    """A host's own sink."""

    def __init__(self) -> None:
        self.heard: list[metrics.Measurement] = []
        self.is_closed = False
        made.append(self)

    def record(self, measurement: metrics.Measurement) -> None:
        self.heard.append(measurement)

    def close(self) -> None:
        self.is_closed = True


class Plain:
    """A sink without close()."""

    def record(self, measurement: metrics.Measurement) -> None:
        raise RuntimeError


class Stuck(Plain):
    def close(self) -> None:
        raise RuntimeError


class Deaf:
    pass


def broken() -> None:
    raise RuntimeError("redis://user:password@host")


HOST_SINK = f"{__name__}.HostSink"


@pytest.fixture
def use(settings: Any) -> Any:
    def set_to(*names: str) -> None:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"METRICS_SINKS": names}

    made.clear()
    yield set_to
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"METRICS_SINKS": ()}


def messages() -> list[tuple[str, str]]:
    return [
        (str(found.id), str(found.msg))
        for found in run_checks()
        if str(found.id).startswith("filestack_tags.")
    ]


def test_a_sink_hears_of_events_until_the_setting_changes(use: Any) -> None:
    use(HOST_SINK, HOST_SINK)
    metrics.count("webhook.received")
    (sink,) = made
    assert [one.name for one in sink.heard] == ["webhook.received"]
    use()
    metrics.count("webhook.received")
    assert len(sink.heard) == 1
    assert sink.is_closed


def test_a_sink_that_raises_is_logged_and_disturbs_nothing(
    use: Any, caplog: pytest.LogCaptureFixture
) -> None:
    use(f"{__name__}.Plain", HOST_SINK)
    metrics.count("webhook.received")
    assert len(made[0].heard) == 1
    assert "metrics listener failed on webhook.received" in caplog.text
    use()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("prometeus", "Write one of logging, prometheus, opentelemetry"),
        ("no.such.Sink", "or the dotted path of a class"),
        (f"{__name__}.Deaf", "no method record"),
        (f"{__name__}.broken", "called with no arguments"),
        (f"{__name__}.made", "called with no arguments"),
    ],
)
def test_a_wrong_sink_is_a_check_with_its_fix_and_the_others_are_connected(
    use: Any, name: str, fix: str
) -> None:
    use(name, HOST_SINK)
    ((number, text),) = messages()
    assert number == "filestack_tags.E016"
    assert fix in text
    assert "password" not in text
    metrics.count("webhook.received")
    assert len(made[0].heard) == 1


@pytest.mark.parametrize(
    ("name", "module"),
    [("prometheus", "prometheus_client"), ("opentelemetry", "opentelemetry")],
)
def test_a_sink_without_its_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.delitem(sys.modules, f"filestack_tags.operations.sinks.{name}", raising=False)
    for loaded in [found for found in sys.modules if found.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=rf"django-filestack-tags\[{name}\]"):
        sinks.make(name)


@pytest.mark.django_db
@pytest.mark.parametrize("value", ["not a dict", {"METRICS_SINKS": 5}, {"METRICS_SINKS": [1]}])
def test_a_setting_that_cannot_be_read_is_left_to_its_own_check(
    settings: Any, value: Any
) -> None:
    settings.FILESTACK_TAGS = value
    assert messages()[0][0] in ("filestack_tags.E001", "filestack_tags.E006")
    settings.FILESTACK_TAGS = {}


def test_a_sink_that_cannot_be_closed_keeps_no_other_from_it(
    use: Any, caplog: pytest.LogCaptureFixture
) -> None:
    use(f"{__name__}.Stuck", HOST_SINK)
    use()
    assert "A sink could not be closed" in caplog.text
    assert made[-1].is_closed
