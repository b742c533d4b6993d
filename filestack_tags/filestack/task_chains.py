"""Chains: the tasks that may be applied to a picture before it is tagged or downloaded."""

from __future__ import annotations

import re
from collections.abc import Sequence

from filestack_tags.exceptions import ConfigurationError

NO_CACHE = "cache=false"
"""The task that makes the others run again, bypassing Filestack's cache."""

_JSON = "answers with JSON, so no picture is left"
_COST = "is charged as a separate call"
_OTHER = "does not return a picture"

REFUSED = {
    "security": "is added to each call by the app",
    "tags": "is the task that follows",
    **dict.fromkeys(("sfw", "caption", "image_sentiment", "ocr", "copyright"), _JSON),
    **dict.fromkeys(("text_sentiment", "metadata", "imagesize", "pdfinfo"), _JSON),
    "doc_detection": _COST,
    "store": "stores another file with each call",
    "run_workflow": "starts a workflow with each call",
    "workflow_status": _JSON,
    **dict.fromkeys(("video_convert", "zip", "minify_css", "minify_js"), _OTHER),
}
"""Tasks that end a chain, store something or cost something (Processing API, filestack-js)."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ALLOWED = re.compile(r"[A-Za-z0-9_.,:;\[\]()!*|~$@&+=-]")
_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9_]*:(\[[^\[\]]+\]|[^,\[\]]+)")
_OPTIONS = re.compile(rf"{_OPTION.pattern}(,{_OPTION.pattern})*")


def fault_of(task: object) -> str:
    """Return what is wrong with a task before another one, ``""`` if it is valid."""
    if not isinstance(task, str):
        return f"is not a text but of type {type(task).__name__}"
    if not task:
        return "is empty"
    name, equals, options = task.partition("=")
    if name in REFUSED:
        return f"cannot be used here: {name} {REFUSED[name]}"
    for position, character in enumerate(task, 1):
        if not _ALLOWED.fullmatch(character):
            shown = "a space" if character == " " else repr(character)
            return f"has {shown} at character {position}"
    if not _NAME.fullmatch(name):
        return "does not begin with the name of a task in lower-case letters"
    if equals and task != NO_CACHE and not _OPTIONS.fullmatch(options):
        return "has options that are not written name:value, separated by commas"
    return ""


def check_tasks(tasks: Sequence[str]) -> None:
    """Check tasks that precede another one.

    Raises:
        ConfigurationError: names the first invalid task, and what is wrong with it.
    """
    if isinstance(tasks, str):
        raise ConfigurationError("Tasks put before tags are a list of texts, not one text.")
    for task in tasks:
        if fault := fault_of(task):
            shown = repr(task[:60]) if isinstance(task, str) else "An item"
            raise ConfigurationError(
                f"{shown} {fault}. Write a task as name or name=option:value, such as "
                "resize=h:2000, in the setting TASKS_BEFORE_TAGS or the argument before."
            )
