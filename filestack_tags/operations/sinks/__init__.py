"""Sinks: where metrics go (``METRICS_SINKS``). Connected when the project has started.

A sink is created without arguments and receives every event of its process. One that cannot be
created is left out; a system check explains why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from filestack_tags import metrics
from filestack_tags.conf import SETTING, configured
from filestack_tags.exceptions import ConfigurationError

logger = logging.getLogger(__name__)

BUILT_IN = {
    "logging": "filestack_tags.operations.sinks.log.LoggingSink",
    "prometheus": "filestack_tags.operations.sinks.prometheus.PrometheusSink",
    "opentelemetry": "filestack_tags.operations.sinks.opentelemetry.OpenTelemetrySink",
}
NEEDS = {"prometheus": "prometheus_client", "opentelemetry": "opentelemetry"}
"""The package that each of our sinks requires; its extra has the sink's name."""


class Sink(Protocol):
    """Sends events to a monitoring system."""

    def record(self, measurement: metrics.Measurement) -> None:
        """Receive one event. Called frequently, by any thread; exceptions are logged."""
        ...

    def close(self) -> None:
        """Stop recording: the settings changed."""
        ...


def make(name: str) -> Sink:
    """Return a new sink.

    Args:
        name: ``logging``, ``prometheus``, ``opentelemetry``, or the dotted path of a class or
            factory.

    Raises:
        ConfigurationError: when it cannot be imported or created; the message explains the fix.
    """
    try:
        factory: Any = import_string(BUILT_IN.get(name, name))
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing and missing == NEEDS.get(name):
            raise ConfigurationError(
                f"The sink {name!r} lacks {missing}: "
                f"pip install 'django-filestack-tags[{name}]'"
            ) from error
        raise ConfigurationError(
            f"The sink {name!r} cannot be imported: {error}. Write one of "
            f"{', '.join(BUILT_IN)}, or the dotted path of a class."
        ) from error
    try:
        sink: Sink = factory()
    except Exception as error:
        raise ConfigurationError(
            f"The sink {name!r} cannot be made: {type(error).__name__}. It is called with no "
            "arguments."
        ) from error
    if not callable(getattr(sink, "record", None)):
        raise ConfigurationError(f"The sink {name!r} has no method record(measurement).")
    return sink


def _names() -> list[str]:
    """Return the setting as written: a project that is starting may still change other settings."""
    try:
        value = configured().get("METRICS_SINKS", ())
    except ConfigurationError:
        return []
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)):
        return []  # the system check of the setting reports it, as for names that are not strings
    return [name for name in names if isinstance(name, str)]


class _Connected:
    """The sinks of this process."""

    def __init__(self) -> None:
        self._ends: list[Callable[[], object]] = []
        self.problems: list[ConfigurationError] = []

    def connect(self) -> None:
        """Create and subscribe the sinks of the setting, replacing the previous ones."""
        self.disconnect()
        for name in dict.fromkeys(_names()):
            try:
                sink = make(name)
            except ConfigurationError as problem:
                self.problems.append(problem)
                continue
            self._ends.append(metrics.subscribe(sink.record))
            self._ends.append(getattr(sink, "close", bool))

    def disconnect(self) -> None:
        """Unsubscribe and close all sinks."""
        for end in self._ends:
            try:
                end()
            except Exception:
                logger.exception("A sink could not be closed")
        self._ends.clear()
        self.problems.clear()


_connected = _Connected()


def connect() -> None:
    """Subscribe the sinks of the setting ``METRICS_SINKS`` to every event. Never raises."""
    _connected.connect()


def problems() -> list[ConfigurationError]:
    """Return why sinks were left out."""
    return list(_connected.problems)


def _follow(*, setting: str, **kwargs: Any) -> None:
    if setting == SETTING:
        connect()


def follow_settings() -> None:
    """Make the sinks follow ``override_settings``, as :mod:`filestack_tags.conf` does."""
    setting_changed.connect(_follow, dispatch_uid="filestack_tags.operations.sinks")
