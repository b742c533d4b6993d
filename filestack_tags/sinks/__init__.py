"""Sinks: where events go, by the setting ``SINKS``. Connected when the project has started.

A sink is made with no arguments and hears of every event in the process that made it. One that
cannot be made is left out; a system check says why.
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
    "logging": "filestack_tags.sinks.log.LoggingSink",
    "prometheus": "filestack_tags.sinks.prometheus.PrometheusSink",
    "opentelemetry": "filestack_tags.sinks.opentelemetry.OpenTelemetrySink",
}
NEEDS = {"prometheus": "prometheus_client", "opentelemetry": "opentelemetry"}
"""The package without which a sink of ours cannot be made; its extra has the sink's name."""


class Sink(Protocol):
    """Takes what it is told of to some monitoring."""

    def record(self, measurement: metrics.Measurement) -> None:
        """Take one event. Called by any thread, often; what it raises is logged."""
        ...

    def close(self) -> None:
        """Take no more: the settings changed."""
        ...


def make(name: str) -> Sink:
    """Return a new sink.

    Args:
        name: ``logging``, ``prometheus``, ``opentelemetry``, or the dotted path of a class or
            factory.

    Raises:
        ConfigurationError: when it cannot be imported or made; the message names the cure.
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
    """Return the setting as written: a project that is starting may still change others."""
    try:
        value = configured().get("SINKS", ())
    except ConfigurationError:
        return []
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)):
        return []  # the system check of the setting says it, as of names that are no text
    return [name for name in names if isinstance(name, str)]


class _Connected:
    """The sinks of this process."""

    def __init__(self) -> None:
        self._ends: list[Callable[[], object]] = []
        self.problems: list[ConfigurationError] = []

    def connect(self) -> None:
        """Make the sinks of the setting and have them told, in place of those before."""
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
        """Have nobody told any more."""
        for end in self._ends:
            try:
                end()
            except Exception:
                logger.exception("A sink could not be closed")
        self._ends.clear()
        self.problems.clear()


_connected = _Connected()


def connect() -> None:
    """Have the sinks of the setting ``SINKS`` told of every event. Never raises."""
    _connected.connect()


def problems() -> list[ConfigurationError]:
    """Return why sinks were left out."""
    return list(_connected.problems)


def _follow(*, setting: str, **kwargs: Any) -> None:
    if setting == SETTING:
        connect()


def follow_settings() -> None:
    """Make the sinks follow ``override_settings``, as :mod:`.conf` does."""
    setting_changed.connect(_follow, dispatch_uid="filestack_tags.sinks")
