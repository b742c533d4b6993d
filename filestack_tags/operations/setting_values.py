"""Validate the values of the settings by the annotations of :class:`~filestack_tags.conf.Settings`.

:mod:`filestack_tags.checks` reports the errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

from django.core.checks import CheckMessage, Error

from filestack_tags.conf import SETTING, Confidence, Count, Days, Settings, Url
from filestack_tags.search.language.parser import MAX_DEPTH

from .retention import LEAST_DAYS, LEAST_DAYS_OF_RUNS


class Rule(NamedTuple):
    """What a setting must be, and the id of the check that reports another value."""

    is_valid: Callable[[Any], bool]
    expected: str
    number: str


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_url(value: Any) -> bool:
    return _is_text(value) and value.startswith(("http://", "https://"))


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_text, value))


def _is_mapping_of_text(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, (*value, *value.values())))


_POSITIVE = Rule(_is_positive, "a positive number", "E003")
_BY_ANNOTATION: Mapping[Any, Rule] = {
    int: _POSITIVE,
    float: _POSITIVE,
    Days: _POSITIVE,
    Confidence: Rule(
        lambda value: type(value) is int and 0 <= value <= 100,
        "a whole number from 0 to 100",
        "E004",
    ),
    Url: Rule(_is_url, "an http or https URL", "E005"),
    tuple[str, ...]: Rule(_is_list_of_text, "a list of strings", "E006"),
    str: Rule(_is_text, "a string", "E007"),
    bool: Rule(lambda value: isinstance(value, bool), "True or False", "E008"),
    Literal[1, 2]: Rule(lambda value: value in (1, 2), "1 or 2", "E009"),
    Mapping[str, str]: Rule(_is_mapping_of_text, "a dict of strings", "E014"),
    Count: Rule(
        lambda value: type(value) is int and value >= 0,
        "a whole number, 0 or more, or None",
        "E015",
    ),
}

_DAYS = Rule(
    lambda value: value >= LEAST_DAYS, "1 day or more: Filestack retries for half a day", "E040"
)
_LIMITS: Mapping[str, tuple[Rule, ...]] = {
    "SEARCH_MAX_DEPTH": (
        Rule(lambda value: value <= MAX_DEPTH, f"at most {MAX_DEPTH}", "E012"),
    ),
    "RUN_RETENTION_DAYS": (
        _DAYS,
        Rule(
            lambda value: value >= LEAST_DAYS_OF_RUNS,
            "3 days or more: the result of a workflow may arrive after 48 hours",
            "E042",
        ),
    ),
}
"""Limits of single settings, in addition to their annotation; the first that fails is reported."""

_HINTS = get_type_hints(Settings, include_extras=True)

URLS = tuple(name for name, hint in _HINTS.items() if hint == Url)


def wrong_values(values: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Return an error for each value that its setting does not accept."""
    for name, hint in _HINTS.items():
        if name not in values:
            continue
        value = values[name]
        is_optional = NoneType in get_args(hint)
        if value is None and is_optional:
            continue
        annotation = get_args(hint)[0] if is_optional else hint
        limits = _LIMITS.get(name, (_DAYS,) if annotation == Days else ())
        for rule in (_BY_ANNOTATION[annotation], *limits):
            if not rule.is_valid(value):
                # Never show the value: it may be a misplaced secret.
                yield Error(
                    f"{SETTING}[{name!r}] must be {rule.expected}.",
                    id=f"filestack_tags.{rule.number}",
                )
                break
