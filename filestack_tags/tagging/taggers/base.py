"""The tagger interface: it turns a file that Filestack can read into tags with confidences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from django.utils.module_loading import import_string

from filestack_tags.conf import get_settings
from filestack_tags.exceptions import ConfigurationError, FilestackTagsError
from filestack_tags.tagging import workflows

if TYPE_CHECKING:
    from filestack_tags.filestack.payloads import TagsReply
    from filestack_tags.filestack.sources import Source


@dataclass(frozen=True)
class TagScore:
    """One label from a tagger. ``confidence`` is 0–100."""

    name: str
    confidence: int
    source: Literal["auto", "user"] = "auto"


@dataclass(frozen=True)
class TaggerReply:
    """A final reply; ``raw`` is the body as received, stored on the run.

    ``resumes_at`` means that the call was the last one allowed until then (aware). ``has_tags`` is
    false when no task looked for tags, as in a workflow job whose tags task was skipped by its
    condition. Such a reply keeps the tags of the same content. ``notes`` lists what was left out,
    one per line.
    """

    scores: tuple[TagScore, ...]
    raw: str
    status: int | None = None
    version: int | None = None
    resumes_at: datetime | None = None
    has_tags: bool = True
    notes: str = ""

    @classmethod
    def of(cls, reply: TagsReply, *, version: int | None = None) -> TaggerReply:
        """Convert Filestack's ``tags``, keeping auto tags and user tags apart."""
        auto = (TagScore(name, confidence) for name, confidence in reply.auto.items())
        user = (TagScore(name, confidence, "user") for name, confidence in reply.user.items())
        return cls(
            (*auto, *user),
            raw=reply.raw,
            status=reply.http_status,
            version=version,
            resumes_at=reply.resumes_at,
            notes=notes_of(reply.odd),
        )


MAX_NOTES = 20
"""Maximum number of omitted parts that are named individually."""


def notes_of(parts: Sequence[str]) -> str:
    """Return the notes on a run about omitted parts, ``""`` for none."""
    named = [f"Left out: {part}" for part in parts[:MAX_NOTES]]
    if len(parts) > MAX_NOTES:
        named.append(f"Left out: {len(parts) - MAX_NOTES} more.")
    return "\n".join(named)


@dataclass(frozen=True)
class PendingJob:
    """The work was started elsewhere; the result comes by webhook or by polling."""

    workflow_id: str
    job_id: str
    raw: str
    status: int | None = None
    resumes_at: datetime | None = None


class Tagger(Protocol):
    """Tags one file per call. Created without arguments, and called from several threads."""

    name: str
    """Written to every run; at most 100 characters."""

    # Not members, since taggers may omit them. With ``paid = True``, each call of ``tag`` is
    # counted against the budget and the rate limit. With ``cached = True``, replies may come from a
    # cache; ``tag`` accepts the keyword ``fresh``, and must not use the cache if it is true.

    def tag(self, source: Source) -> TaggerReply | PendingJob:
        """Tag the file now, or start the work and return its job.

        Raises:
            TaggerError: when the file cannot be tagged; its attributes say whether a retry can
                help.
            ConfigurationError: when a setting is missing.
        """
        ...


@runtime_checkable
class JobTagger(Tagger, Protocol):
    """A tagger whose work is done elsewhere, and that can be polled."""

    def follow(self, job_id: str) -> TaggerReply | PendingJob:
        """Return the job's tags, or the job itself while it is running.

        Raises:
            TaggerError: when the job failed, or ended without tags.
        """
        ...


BUILT_IN = {
    "filestack": "filestack_tags.tagging.taggers.filestack.FilestackTagger",
    "workflow": "filestack_tags.tagging.taggers.filestack.WorkflowTagger",
    "local": "filestack_tags.tagging.taggers.local.LocalTagger",
}


def tagger_names() -> list[str]:
    """Return the names by which clients, rows and code may choose a tagger.

    These are the built-in names, ``workflow:NAME`` for each of ``WORKFLOWS``, and the names in
    ``TAGGERS``. A dotted path is never one of them.
    """
    return list(dict.fromkeys((*BUILT_IN, *workflows.taggers(), *get_settings().TAGGERS)))


def check_tagger_name(name: str) -> None:
    """Check that *name* is one of :func:`tagger_names`. Imports nothing.

    Raises:
        ConfigurationError: if it is not; the message lists the names that are allowed.
    """
    if name not in tagger_names():
        raise ConfigurationError(
            f"There is no tagger {name!r}. Use one of: {', '.join(tagger_names())}."
        )


def get_tagger(name: str | None = None) -> Tagger:
    """Return a new tagger.

    Only code that the settings name is imported: names come from requests and from stored rows.

    Args:
        name: one of :func:`tagger_names`, or the value of the setting ``TAGGER``, which is also
            the default. The settings ``TAGGER`` and ``TAGGERS`` take the dotted path of a class
            or a factory that is called with no arguments.

    Raises:
        ConfigurationError: if there is no such tagger, or it cannot be imported or created.
    """
    settings = get_settings()
    chosen = settings.TAGGER if name is None else name
    kind, _colon, workflow = chosen.partition(":")
    if chosen != settings.TAGGER or kind == workflows.TAGGER:
        check_tagger_name(chosen)
    path = settings.TAGGERS.get(chosen, chosen)
    factory = _imported(chosen, BUILT_IN.get(kind if workflow else path, path))
    try:
        return factory(workflow) if workflow else factory()
    except FilestackTagsError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"The tagger {chosen!r} cannot be created: {type(error).__name__}."
        ) from error


def _imported(name: str, path: str) -> Callable[..., Tagger]:
    try:
        factory: Callable[..., Tagger] | object = import_string(path)
    except ImportError as error:
        raise ConfigurationError(
            f"The tagger {name!r} cannot be imported: {error}. Set TAGGER to one of "
            f"{', '.join(tagger_names())}, or to the dotted path of a class."
        ) from error
    if not callable(factory):
        raise ConfigurationError(f"The tagger {name!r} is not a class or a function.")
    return factory


def options_of(tagger: Tagger, *, fresh: bool) -> dict[str, bool]:
    """Return the keyword arguments for ``tag`` of a tagger."""
    return {"fresh": True} if fresh and getattr(tagger, "cached", False) else {}


def is_paid(name: str) -> bool:
    """Whether each call of the tagger is counted against the budget and the rate limit.

    That is the case if the tagger's ``paid`` is true, as for ``filestack`` and ``workflow``. A
    tagger that cannot be created costs nothing.
    """
    try:
        return bool(getattr(get_tagger(name), "paid", False))
    except FilestackTagsError:
        return False
