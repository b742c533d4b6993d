"""Fault injection: which operation fails, how often, with what probability.

Faults are a queue of rules that can be changed at runtime, from Python or over
``/_emulator/faults``. The first matching rule is used.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from .wire import Dropped, Reply, json_reply, text_reply

ANSWER_FAULTS: Mapping[str, str] = {
    "rate_limited": "429 with Filestack-Limit, -Remaining and -Reset (seconds from now)",
    "server_error": "5xx (status) with a plain text body",
    "plain_text": "4xx (status) with text instead of JSON",
    "error_json": '200 (or status) with {"error": text}',
    "invalid_application": "200 with the text Invalid Application",
    "accepted": "202 with an empty object: multipart.complete is still merging",
    "slow": "answers after some seconds",
    "truncated": "does the work, then sends half of the body",
    "last_call": "the right answer, with Filestack-Remaining: 0 and -Reset (seconds from now)",
    "drop": "closes the connection; nothing was done",
    "lost_reply": "does the work, then closes the connection",
}
JOB_FAULTS: Mapping[str, str] = {
    "task_error": "a workflow's tasks end with an error, the job is Finished",
    "job_failed": "the job's status is Failed, without results",
    "task_skipped": "a workflow's tasks are absent from the results, the job is Finished",
    "early_event": "an event with another status (text, or Running) and part of the results "
    "comes before the one of the end",
    "no_webhook": "the job ends without an event",
}
WEBHOOK_FAULTS: Mapping[str, str] = {
    "duplicate": "the event is delivered twice, with the same id",
    "late": "the first delivery comes some seconds later",
    "reordered": "delivered behind the next event, or after some seconds when none comes",
    "dropped": "never delivered",
    "wrong_signature": "one attempt is signed with another secret",
}
KINDS: Mapping[str, str] = {**ANSWER_FAULTS, **JOB_FAULTS, **WEBHOOK_FAULTS}
INSTEAD = frozenset(ANSWER_FAULTS) - {"slow", "truncated", "lost_reply", "last_call"}


@dataclass(frozen=True)
class Fault:
    """One rule.

    Args:
        kind: one of :data:`KINDS`.
        operation: which operations, as a shell pattern: ``tags``, ``multipart.*``, ``*``. For
            webhooks the action (``fs.workflow``), for jobs the workflow id.
        times: how often it happens; ``None`` means until it is removed.
        probability: 0–1, drawn from the emulator's seeded generator.
        seconds: delay of ``slow``, ``late``, ``reordered``; time to ``Filestack-Reset``.
        status: HTTP status, if the kind does not define it.
        text: body, if the kind does not define it.
    """

    kind: str
    operation: str = "*"
    times: int | None = 1
    probability: float = 1.0
    seconds: float = 1.0
    status: int | None = None
    text: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Unknown fault {self.kind!r}; there are: {', '.join(KINDS)}.")
        if self.times is not None and self.times < 1:
            raise ValueError("A fault's times must be 1 or more, or None for no end.")
        if not 0 <= self.probability <= 1:
            raise ValueError("A fault's probability must be between 0 and 1.")
        if self.seconds < 0:
            raise ValueError("A fault's seconds must not be negative.")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError("A fault's status must be between 200 and 599.")


class Faults:
    """The active rules; thread-safe."""

    def __init__(self, seed: int = 0) -> None:
        self._rules: list[Fault] = []
        self._lock = threading.Lock()
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret

    def add(self, kind: str, **choices: Any) -> Fault:
        """Add a rule at the end; ``choices`` are the fields of :class:`Fault`.

        Raises:
            ValueError: a value is out of range. TypeError: an unknown field.
        """
        fault = Fault(kind, **choices)
        with self._lock:
            self._rules.append(fault)
        return fault

    def clear(self) -> None:
        """Remove every rule."""
        with self._lock:
            self._rules.clear()

    def active(self) -> list[dict[str, Any]]:
        """Return the active rules, with the number of times left."""
        with self._lock:
            return [asdict(fault) for fault in self._rules]

    def draw(self, operation: str, kinds: Collection[str]) -> Fault | None:
        """Return the fault for ``operation`` now, and decrement its number of times."""
        with self._lock:
            for index, fault in enumerate(self._rules):
                if fault.kind not in kinds or not fnmatchcase(operation, fault.operation):
                    continue
                if fault.probability < 1 and self._random.random() >= fault.probability:
                    continue
                if fault.times == 1:
                    del self._rules[index]
                elif fault.times is not None:
                    self._rules[index] = replace(fault, times=fault.times - 1)
                return fault
        return None


def used_up(fault: Fault) -> dict[str, str]:
    """Return the headers that announce that no call is accepted for ``fault.seconds``."""
    return {
        "Filestack-Limit": "100",
        "Filestack-Remaining": "0",
        "Filestack-Reset": str(int(time.time() + fault.seconds)),
    }


def answer_instead(fault: Fault) -> Reply:
    """Return the reply of a fault in :data:`INSTEAD`.

    Raises:
        Dropped: for ``drop``.
    """
    if fault.kind == "drop":
        raise Dropped("dropped on purpose")
    if fault.kind == "rate_limited":
        headers = used_up(fault)
        error = {"error": fault.text or "Too many requests"}
        return json_reply(error, fault.status or 429, headers)
    if fault.kind == "server_error":
        return text_reply(fault.text or "service temporarily unavailable", fault.status or 503)
    if fault.kind == "plain_text":
        return text_reply(fault.text or "bad request", fault.status or 400)
    if fault.kind == "error_json":
        error = {"error": fault.text or "invalid security policy path"}
        return json_reply(error, fault.status or 200)
    if fault.kind == "accepted":
        return json_reply({}, 202)
    return text_reply("Invalid Application", fault.status or 200)
