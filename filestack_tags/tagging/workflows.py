"""Workflows: their names in the settings, their taggers, and whether their jobs register files.

An id is what Filestack's portal shows; it need not be a UUID.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from filestack_tags.conf import get_settings

TAGGER = "workflow"
"""The tagger that runs ``WORKFLOW_ID``; followed by ``:NAME``, it runs one of ``WORKFLOWS``."""


def taggers() -> dict[str, str]:
    """Return every tagger that runs a workflow, with the workflow's id."""
    settings = get_settings()
    known = {TAGGER: settings.WORKFLOW_ID} if settings.WORKFLOW_ID else {}
    return known | {f"{TAGGER}:{name}": key for name, key in settings.WORKFLOWS.items()}


def taggers_of(workflow_id: str) -> list[str]:
    """Return the taggers that run this workflow, named ones first."""
    running = [tagger for tagger, key in taggers().items() if key == workflow_id]
    return sorted(running, key=lambda tagger: tagger == TAGGER)


def described(workflow_id: str) -> str:
    """Return a workflow for display: its name in ``WORKFLOWS``, if it has one, and its id."""
    names = _names(workflow_id)
    return f"{names[0]} ({workflow_id})" if names else workflow_id


def registers_files(workflow_id: str) -> bool:
    """Whether a job of this workflow that was not started here registers its file.

    Depends on ``REGISTER_FROM_WORKFLOWS``: names, ids, or patterns of either.
    """
    called = (workflow_id, *_names(workflow_id))
    return any(
        fnmatchcase(name, pattern)
        for pattern in get_settings().REGISTER_FROM_WORKFLOWS
        for name in called
    )


def _names(workflow_id: str) -> list[str]:
    return [name for name, key in get_settings().WORKFLOWS.items() if key == workflow_id]
