"""Rules: evaluate the setting ``RULES`` for a result."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from filestack_tags.conf import get_settings
from filestack_tags.db.text import sanitize_text
from filestack_tags.exceptions import PayloadError, RuleError
from filestack_tags.filestack.payloads.reading import decode
from filestack_tags.filestack.workflow_logic import Rule, parse_rule

from .taggers import TaggerReply

logger = logging.getLogger(__name__)


def evaluate(reply: TaggerReply) -> dict[str, bool]:
    """Return ``{name: whether the rule holds}`` for every valid rule.

    Each task's output is checked separately; a rule holds if it holds for one of them, see
    :func:`outputs`. An invalid rule is left out; the system checks report it.
    """
    rules = _read(tuple(get_settings().RULES.items()))
    return _evaluate(rules, outputs(reply)) if rules else {}


def evaluate_failure(raw: str) -> dict[str, bool]:
    """Return the same for the results of a failed job, ``{}`` if no task has a result."""
    found = _task_outputs(_received(raw))
    return _evaluate(_read(tuple(get_settings().RULES.items())), found) if found else {}


def _evaluate(
    rules: Mapping[str, Rule], outputs: Sequence[Mapping[str, Any]]
) -> dict[str, bool]:
    return {name: any(rule.holds(output) for output in outputs) for name, rule in rules.items()}


def outputs(reply: TaggerReply) -> list[Mapping[str, Any]]:
    """Return the documents that rules are evaluated on.

    For a workflow job these are the ``data`` of its tasks, each separately, just as Filestack's own
    logic evaluates the output of the previous task. A call has one document, its reply as received.
    For a custom tagger that keeps neither, it is the tags, in the shape of Filestack's reply.
    """
    received = _received(reply.raw)
    if _is_tags(received):
        return [received]
    return _task_outputs(received) or ([_written(reply)] if reply.has_tags else [])


def _received(raw: str) -> dict[str, Any]:
    try:
        return decode(raw)[0]
    except PayloadError:
        return {}


def _task_outputs(received: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        task["data"]
        for task in received.values()
        if isinstance(task, dict) and isinstance(task.get("data"), dict)
    ]


def _is_tags(received: Mapping[str, Any]) -> bool:
    """Whether this is the reply of a call; a task may also be called ``tags``."""
    tags = received.get("tags")
    return isinstance(tags, dict) and isinstance(tags.get("auto"), dict)


def _written(reply: TaggerReply) -> dict[str, Any]:
    by_source: dict[str, dict[str, int]] = {"auto": {}, "user": {}}
    for score in reply.scores:
        by_source[score.source][score.name] = score.confidence
    return {"tags": {"auto": by_source["auto"], "user": by_source["user"] or None}}


@lru_cache(maxsize=8)
def _read(rules: tuple[tuple[str, str], ...]) -> dict[str, Rule]:
    # Cached: parsing a rule takes 0.3 ms, and every result needs all of them.
    readable: dict[str, Rule] = {}
    for name, text in rules:
        try:
            readable[sanitize_text(name)] = parse_rule(text)
        except RuleError as error:
            logger.warning("The rule %r is left out: %s", name, error)
    return readable
