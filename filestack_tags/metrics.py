"""Metrics: counts and durations of what a process does, sent to every subscriber.

:data:`CATALOGUE` declares every event with its labels and all their values; the services report
events with :func:`count` and :func:`observe`. A host project subscribes with :func:`subscribe`, or
with the setting ``METRICS_SINKS``. Labels are short fixed words: never ids, URLs or secrets.

Metrics describe what a process did, not the state of the database: work that was rolled back and
repeated is counted twice. For the current backlog see :mod:`filestack_tags.operations.status`.
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
        says: what it means, in one sentence.
        labels: its labels, each with all its possible values.
        is_trouble: whether it deserves an alert.
        buckets: histogram buckets for a duration: upper bounds (seconds).
    """

    name: str
    kind: Literal["counter", "duration"]
    says: str
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
    name: str, says: str, *, is_trouble: bool = False, **labels: frozenset[str]
) -> Event:
    return Event(name, "counter", says, labels, is_trouble)


def _duration(
    name: str, says: str, buckets: tuple[float, ...], **labels: frozenset[str]
) -> Event:
    return Event(name, "duration", says, labels, buckets=buckets)


EVENTS = (
    _duration(
        "call.seconds",
        "A tagger was asked, and answered or failed; `pending` is a job that was started or "
        "goes on.",
        (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80),
        tagger=TAGGERS,
        outcome=CODES | {"answered", "pending"},
    ),
    _counter(
        "tagging.completed",
        "A reply was applied to its asset, or an older one was kept as superseded.",
        state=frozenset({"succeeded", "superseded", "failed", "started"}),
    ),
    _counter(
        "tagging.retried", "A run failed, and the asset is tried again later.", code=CODES
    ),
    _counter(
        "tagging.failed",
        "A run failed, and the asset is not tried again by itself.",
        is_trouble=True,
        code=CODES,
    ),
    _counter("webhook.received", "A delivery was verified and stored."),
    _counter("webhook.duplicate", "A delivery came that was stored before."),
    _counter(
        "webhook.refused",
        "A webhook request was refused, and nothing of it stored.",
        is_trouble=True,
        reason=frozenset(
            {
                *("malformed", "signature", "stale", "too_large", "not_configured", "refused"),
                *("length_required", "empty", "incomplete", "unreadable"),
            }
        ),
    ),
    _counter("webhook.processed", "A delivery was processed or ignored.", action=ACTIONS),
    _counter("webhook.unknown_action", "A delivery's action is none that is known."),
    _duration(
        "webhook.seconds",
        "From the first request of a delivery until it was processed, ignored or failed.",
        (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800, 7200, 43200),
        action=ACTIONS,
    ),
    _counter("webhook.retried", "Processing a delivery failed, and is tried again later."),
    _counter(
        "webhook.failed",
        "A delivery is not processed any more: its payload cannot be read, or too many attempts "
        "failed.",
        is_trouble=True,
    ),
    _counter(
        "broker.unreachable",
        "A task could not be handed to the broker, and is left to the sweep.",
        is_trouble=True,
    ),
    _counter(
        "database.retried",
        "A transaction was done again after a deadlock or a lost connection.",
    ),
    _counter(
        "rate_limit.unreachable",
        "Redis could not be reached, and the process kept `RATE_LIMIT` by itself.",
        is_trouble=True,
    ),
    _counter(
        "circuit.opened",
        "Calls to a tagger were stopped, because it would refuse every one.",
        is_trouble=True,
        tagger=TAGGERS,
    ),
    _counter("circuit.closed", "A tagger is asked again.", tagger=TAGGERS),
    _counter(
        "budget.exhausted",
        "Calls were not made, because the budget is used up.",
        is_trouble=True,
    ),
    _counter("bulk.asked", "A bulk job was asked for.", job=JOBS),
    _counter(
        "bulk.assets",
        "A bulk job came to an asset, and changed it, left it alone, or failed on it.",
        job=JOBS,
        effect=frozenset({"changed", "skipped", "failed"}),
    ),
    _counter("bulk.finished", "A bulk job went through all its assets.", job=JOBS),
    _counter("bulk.cancelled", "A person ended a bulk job.", job=JOBS),
    _counter(
        "bulk.failed",
        "A bulk job was given up: a batch failed several times, or too many assets did.",
        is_trouble=True,
        job=JOBS,
    ),
    _duration(
        "bulk.seconds",
        "From asking for a bulk job until it had finished, was cancelled or failed.",
        (1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 172800),
        job=JOBS,
    ),
    _counter("outbound.sent", "An endpoint of ours accepted a message."),
    _counter("outbound.retried", "An endpoint did not, and is sent the message again later."),
    _counter(
        "outbound.failed",
        "A message is not sent any more: too many attempts failed, or its endpoint is off.",
        is_trouble=True,
    ),
    _counter(
        "sweep.found",
        "The sweep enqueued again what had lost its task.",
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
        "A file of one of the project's models became an asset, is not meant for tagging, or "
        "failed.",
        result=frozenset({"known", "left_out", "failed"}),
    ),
)

CATALOGUE: Mapping[str, Event] = {event.name: event for event in EVENTS}
"""Every event, by name."""

_listeners: tuple[Listener, ...] = ()


def subscribe(listener: Listener) -> Callable[[], None]:
    """Call ``listener(measurement)`` for every event; return a function that unsubscribes it.

    The thread that does the work calls it immediately, perhaps inside a transaction: be quick, and
    do not use the database. Exceptions are logged and otherwise ignored.
    """
    global _listeners
    _listeners = (*_listeners, listener)
    return lambda: _end(listener)


def count(name: str, times: int = 1, /, **labels: str) -> None:
    """Report that ``name`` happened, once or several ``times``. Never raises."""
    if _listeners and times:
        _tell(name, times, labels)


def observe(name: str, seconds: float, /, **labels: str) -> None:
    """Report that ``name`` took this many seconds. Never raises.

    Two hosts' clocks may differ, so a negative duration is reported as 0.
    """
    if _listeners:
        _tell(name, max(seconds, 0.0), labels)


def tagger_label(tagger: str) -> str:
    """Return the label for a tagger: a built-in name without its parameters, or ``other``."""
    name = tagger.partition(":")[0]
    return name if name in TAGGERS else OTHER


def undeclared(name: str, problem: str) -> None:
    """Log that an event was reported that :data:`CATALOGUE` does not declare."""
    logger.error("The event %s is not as its catalogue says: %s", name, problem)


def _end(listener: Listener) -> None:
    global _listeners
    rest = list(_listeners)
    if listener in rest:
        rest.remove(listener)
    _listeners = tuple(rest)


def _tell(name: str, value: float, labels: Mapping[str, str]) -> None:
    event = CATALOGUE.get(name)
    if event is None:
        undeclared(name, "it is not in it")
        return
    if labels.keys() != event.labels.keys():
        undeclared(name, f"its labels are {', '.join(sorted(event.labels)) or 'none'}")
        return
    measurement = Measurement(
        event,
        value,
        {label: _word(event, label, word) for label, word in labels.items()},
    )
    for listener in _listeners:
        try:
            listener(measurement)
        except Exception:  # a monitoring fault must not undo the work
            logger.exception("A metrics listener failed on %s", name)


def _word(event: Event, label: str, word: str) -> str:
    values = event.labels[label]
    if word in values:
        return str(word)
    if label == "tagger":
        return tagger_label(word)
    if OTHER not in values:
        undeclared(event.name, f"{label} is none of {', '.join(sorted(values))}")
    return OTHER
