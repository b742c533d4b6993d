"""The valid values of each setting; :mod:`.checks` reports the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from django.core.checks import CheckMessage, Error

from filestack_tags.conf import DEFAULTS, SETTING, Settings
from filestack_tags.search.language.parser import MAX_DEPTH

from .retention import LEAST_DAYS, LEAST_DAYS_OF_RUNS

URLS = ("CDN_URL", "API_URL", "UPLOAD_URL")
SECRETS = ("API_KEY", "APP_SECRET")
LISTS = (
    "TASKS_BEFORE_TAGS",
    "AUTO_TAG_MIMETYPES",
    "WEBHOOK_SECRETS",
    "REGISTER_FROM_WORKFLOWS",
    "METRICS_SINKS",
    "SENSITIVE_LABELS",
    "SENSITIVE_LABELS_EXCLUDE",
    "UPLOAD_MIMETYPES",
)
MAPPINGS = ("TAGGERS", "WORKFLOWS", "RULES", "STORAGE")
SWITCHES = (
    "AUTO_TAG",
    "AUTO_TAG_UPLOADS",
    "REUSE_TAGS_BY_HASH",
    "FETCH_METADATA",
    "HIDE_SENSITIVE",
    "ALLOW_PRIVATE_URLS",
    "OUTBOUND_WEBHOOKS",
    "OUTBOUND_ALLOW_INSECURE",
)
COUNTS = (
    "BUDGET_PER_DAY",
    "BUDGET_PER_MONTH",
    "WRITES_PER_MINUTE",
    "NEW_TAGS_PER_HOUR",
    "NEW_TAGS_PER_HOUR_IN_SCOPE",
)
DAYS = (
    "DELIVERY_RETENTION_DAYS",
    "RAW_REPLY_RETENTION_DAYS",
    "RUN_RETENTION_DAYS",
    "EXPORT_RETENTION_DAYS",
    "UNDO_RETENTION_DAYS",
    "OUTBOUND_RETENTION_DAYS",
)
TEXTS = (
    *SECRETS,
    "TAGGER",
    "WORKFLOW_ID",
    "RATE_LIMIT",
    "REDIS_URL",
    "ASSET_SCOPE",
    "UPLOAD_RULES",
)
POSITIVE = (
    "PRICE_PER_CALL",
    *(
        item.name
        for item in fields(Settings)
        if isinstance(getattr(DEFAULTS, item.name), (int, float))
        and item.name not in (*SWITCHES, *COUNTS, "MIN_CONFIDENCE", "TAGS_VERSION")
    ),
)


def wrong_values(values: Any) -> Iterator[CheckMessage]:
    rules: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str, str], ...] = (
        (POSITIVE, _is_positive, "a positive number", "E003"),
        (("MIN_CONFIDENCE",), _is_confidence, "a whole number from 0 to 100", "E004"),
        (URLS, _is_url, "an http or https URL", "E005"),
        (LISTS, _is_list_of_text, "a list of strings", "E006"),
        (TEXTS, _is_text, "a string", "E007"),
        (("SEARCH_MAX_DEPTH",), _is_depth, f"at most {MAX_DEPTH}", "E012"),
        (SWITCHES, lambda value: isinstance(value, bool), "True or False", "E008"),
        (("TAGS_VERSION",), lambda value: value in (1, 2), "1 or 2", "E009"),
        (MAPPINGS, _is_mapping_of_text, "a dict of strings", "E014"),
        (DAYS, _is_long_enough, "1 day or more: Filestack resends half a day later", "E040"),
        (
            ("RUN_RETENTION_DAYS",),
            lambda value: (
                not _is_positive(value) or not LEAST_DAYS <= value < LEAST_DAYS_OF_RUNS
            ),
            "3 days or more: a workflow's result may come 48 hours later",
            "E042",
        ),
        (COUNTS, _is_count, "a whole number, 0 or more, or None", "E015"),
    )
    annotations = {item.name: str(item.type) for item in fields(Settings)}
    for names, is_valid, expected, number in rules:
        for name in names:
            if name in values and not is_valid(values[name]):
                if values[name] is None and "None" in annotations[name]:
                    continue
                # Never show the value: it may be a misplaced secret.
                yield Error(
                    f"{SETTING}[{name!r}] must be {expected}.", id=f"filestack_tags.{number}"
                )


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _is_confidence(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 100


def _is_depth(value: Any) -> bool:
    return not _is_positive(value) or value <= MAX_DEPTH  # that mistake has its own id


def _is_url(value: Any) -> bool:
    return _is_text(value) and value.startswith(("http://", "https://"))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_text, value))


def _is_mapping_of_text(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, (*value, *value.values())))


def _is_count(value: Any) -> bool:
    return value is None or (type(value) is int and value >= 0)


def _is_long_enough(value: Any) -> bool:
    return not _is_positive(value) or value >= LEAST_DAYS  # a value that is no number is E003
