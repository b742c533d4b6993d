"""Metrics: counts and durations of what a process does, sent to every subscriber.

:data:`CATALOGUE` declares every event with its labels and all their values; the services report
events with :func:`count` and :func:`observe`. A host project subscribes with :func:`subscribe`, or
with the setting ``METRICS_SINKS``. Labels are short fixed words: never ids, URLs or secrets.

What a transaction of this app changes is reported after its commit. A process that crashes just
then does not report it, so use rows for exact numbers. For the current backlog see
:mod:`filestack_tags.operations.status`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .error_codes import ErrorCode

logger = logging.getLogger(__name__)

OTHER = ErrorCode.OTHER.value
"""Replaces a value that a label does not have, such as the name of a custom tagger."""

TAGGERS = frozenset({"filestack", "workflow", "local", OTHER})
CODES = frozenset(code.value for code in ErrorCode)
ACTIONS = frozenset(
    {
        "fp.converse",
        "fp.delete",
        "fp.dialog",
        "fp.export",
        "fp.overwrite",
        "fp.scan",
        "fp.upload",
        "fp.video_converse",
        "fs.workflow",
        "unknown",
    }
)
JOBS = frozenset(
    {
        "accept_tag",
        "add_tag",
        "export",
        "archive",
        "reject_tag",
        "remove_tag",
        "retag",
        "run_workflow",
        "undo",
    }
)


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of event.

    Args:
        name: its name for :func:`count` or :func:`observe`.
        kind: whether it is counted or timed (seconds).
        description: what it means.
        labels: its labels, each with all its possible values.
        is_trouble: whether it deserves an alert.
        buckets: histogram buckets for a duration: upper bounds (seconds).
    """

    name: str
    kind: Literal["counter", "duration"]
    description: str
    labels: Mapping[str, frozenset[str]] = field(default_factory=dict)
    is_trouble: bool = False
    buckets: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurement:
    """One report of an event: it happened ``value`` times, or took ``value`` seconds."""

    event: Event
    value: float
    labels: Mapping[str, str]

    @property
    def name(self) -> str:
        """The event's name."""
        return self.event.name


Listener = Callable[[Measurement], object]


def _counter(
    name: str, description: str, *, is_trouble: bool = False, **labels: frozenset[str]
) -> Event:
    return Event(name, "counter", description, labels, is_trouble)


def _duration(
    name: str, description: str, buckets: tuple[float, ...], **labels: frozenset[str]
) -> Event:
    return Event(name, "duration", description, labels, buckets=buckets)


EVENTS = (
    _duration(
        "call.seconds",
        "A tagger was called and replied or failed. `pending`: a job started or is in progress.",
        (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80),
        tagger=TAGGERS,
        outcome=CODES | {"answered", "pending"},
    ),
    _counter(
        "tagging.completed",
        "A reply was applied to its asset, or recorded as superseded because it is older.",
        state=frozenset({"succeeded", "superseded", "failed", "started"}),
    ),
    _counter("tagging.retried", "A run failed, and its asset is retried later.", code=CODES),
    _counter(
        "tagging.failed",
        "A run failed, and its asset is not retried automatically.",
        is_trouble=True,
        code=CODES,
    ),
    _counter("webhook.received", "A delivery was verified and stored."),
    _counter("webhook.duplicate", "A delivery arrived that was already stored."),
    _counter(
        "webhook.refused",
        "A webhook request was rejected and not stored.",
        is_trouble=True,
        reason=frozenset(
            {
                *("malformed", "signature", "stale", "too_large", "not_configured", "refused"),
                *("length_required", "empty", "incomplete", "unreadable"),
            }
        ),
    ),
    _counter("webhook.processed", "A delivery was processed or ignored.", action=ACTIONS),
    _counter("webhook.unknown_action", "A delivery had an unknown action."),
    _duration(
        "webhook.seconds",
        "The time from the first request of a delivery until it was processed, ignored or failed.",
        (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800, 7200, 43200),
        action=ACTIONS,
    ),
    _counter("webhook.retried", "A delivery could not be processed and is retried later."),
    _counter(
        "webhook.failed",
        "A delivery is not retried any more: its payload is invalid, or too many attempts failed.",
        is_trouble=True,
    ),
    _counter(
        "broker.unreachable",
        "A task could not be sent to the broker. The recovery task (sweep) enqueues it later.",
        is_trouble=True,
    ),
    _counter(
        "database.retried",
        "A transaction was retried after a deadlock or a lost connection.",
    ),
    _counter(
        "rate_limit.unreachable",
        "Redis could not be reached, so the process applied `RATE_LIMIT` alone.",
        is_trouble=True,
    ),
    _counter(
        "circuit.opened",
        "Calls to a tagger were paused, because it would reject all of them.",
        is_trouble=True,
        tagger=TAGGERS,
    ),
    _counter("circuit.closed", "Calls to a tagger were resumed.", tagger=TAGGERS),
    _counter(
        "budget.exhausted",
        "Calls were not made, because the budget is used up.",
        is_trouble=True,
    ),
    _counter("bulk.requested", "A bulk job was requested.", job=JOBS),
    _counter(
        "bulk.assets",
        "A bulk job changed or skipped an asset, or failed on it.",
        job=JOBS,
        effect=frozenset({"changed", "skipped", "failed"}),
    ),
    _counter("bulk.finished", "A bulk job processed all its assets.", job=JOBS),
    _counter("bulk.cancelled", "A user canceled a bulk job.", job=JOBS),
    _counter(
        "bulk.failed",
        "A bulk job stopped: a batch failed several times, or too many assets failed.",
        is_trouble=True,
        job=JOBS,
    ),
    _duration(
        "bulk.seconds",
        "The time from the request for a bulk job until it finished, was canceled or failed.",
        (1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 172800),
        job=JOBS,
    ),
    _counter("outbound.sent", "An endpoint accepted a message."),
    _counter(
        "outbound.retried", "An endpoint did not accept a message, which is retried later."
    ),
    _counter(
        "outbound.failed",
        "A message is not retried any more: too many attempts failed, or its endpoint is disabled.",
        is_trouble=True,
    ),
    _counter(
        "sweep.found",
        "The recovery task (sweep) enqueued work that had lost its task.",
        what=frozenset(
            {
                "assets",
                "bulk_jobs",
                "deliveries",
                "model_files",
                "outbound_endpoints",
                "tag_merges",
            }
        ),
    ),
    _counter(
        "model_files.closed",
        "A file of a host model was registered, was left out because it is not tagged, or failed.",
        result=frozenset({"registered", "skipped", "failed"}),
    ),
)

CATALOGUE: Mapping[str, Event] = {event.name: event for event in EVENTS}
"""Every event, by name."""

_listeners: tuple[Listener, ...] = ()


def subscribe(listener: Listener) -> Callable[[], None]:
    """Call ``listener(measurement)`` for every event; return a function that unsubscribes it.

    The thread that does the work calls it, perhaps inside a transaction of the host: be quick, and
    do not use the database. Exceptions are logged and otherwise ignored.
    """
    global _listeners
    _listeners = (*_listeners, listener)
    return lambda: _unsubscribe(listener)


def count(name: str, times: int = 1, /, **labels: str) -> None:
    """Report that ``name`` happened, once or several ``times``. Never raises."""
    if _listeners and times:
        _emit(name, times, labels)


def observe(name: str, seconds: float, /, **labels: str) -> None:
    """Report that ``name`` took this many seconds. Never raises.

    Two hosts' clocks may differ, so a negative duration is reported as 0.
    """
    if _listeners:
        _emit(name, max(seconds, 0.0), labels)


def tagger_label(tagger: str) -> str:
    """Return the label for a tagger: a built-in name without its parameters, or ``other``."""
    name = tagger.partition(":")[0]
    return name if name in TAGGERS else OTHER


def undeclared(name: str, problem: str) -> None:
    """Log that an event was reported that does not match :data:`CATALOGUE`."""
    logger.error("The event %s does not match its declaration: %s", name, problem)


def _unsubscribe(listener: Listener) -> None:
    global _listeners
    listeners = list(_listeners)
    if listener in listeners:
        listeners.remove(listener)
    _listeners = tuple(listeners)


def _emit(name: str, value: float, labels: Mapping[str, str]) -> None:
    event = CATALOGUE.get(name)
    if event is None:
        undeclared(name, "it is not declared")
        return
    if labels.keys() != event.labels.keys():
        undeclared(name, f"its labels must be {', '.join(sorted(event.labels)) or 'empty'}")
        return
    measurement = Measurement(
        event,
        value,
        {label: _label_value(event, label, value) for label, value in labels.items()},
    )
    for listener in _listeners:
        try:
            listener(measurement)
        except Exception:  # a monitoring fault must not undo the work
            logger.exception("A metrics listener failed on %s", name)


def _label_value(event: Event, label: str, value: str) -> str:
    allowed = event.labels[label]
    if value in allowed:
        return str(value)
    if label == "tagger":
        return tagger_label(value)
    if OTHER not in allowed:
        undeclared(
            event.name, f"the value of {label} must be one of {', '.join(sorted(allowed))}"
        )
    return OTHER
