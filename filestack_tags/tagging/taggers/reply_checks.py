"""Check the replies of taggers before they are stored: a custom tagger may return or raise
anything.

Nothing here calls ``repr()`` or ``str()`` of a tagger's object, since that may fail too.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from datetime import datetime
from numbers import Real
from typing import Any

from filestack_tags.db.text import label_key, sanitize_text
from filestack_tags.exceptions import InvalidLabel, TaggerError

from .base import PendingJob, TaggerReply, TagScore, notes_of

EXPECTED = (
    "tag() must return TaggerReply(scores, raw), with scores as a tuple of TagScore(name, "
    "confidence), or PendingJob(workflow_id, job_id, raw)."
)
MAX_SMALL = 2**15 - 1
MAX_ID = 100
PLAIN = (str, int, float, bool, type(None))


def check_answer(answer: object) -> TaggerReply | PendingJob:
    """Return a reply whose values can all be stored.

    An invalid label is left out, and noted on the reply.

    Raises:
        TaggerError: with the code ``tagger_error``, if the answer has another shape. The message
            names what was returned and what is expected.
    """
    try:
        if isinstance(answer, TaggerReply):
            return _reply(answer)
        if isinstance(answer, PendingJob):
            return _job(answer)
        if inspect.iscoroutine(answer):
            answer.close()  # it will never be awaited
    except TaggerError:
        raise
    except Exception as error:  # noqa: BLE001  # from a custom tagger's object
        problem = f"a value that raises {_type_name(error)} when it is read"
        raise _wrong(problem) from None
    raise _wrong(_shown(answer))


def check_error(error: TaggerError) -> TaggerError:
    """Return an error whose values can all be stored: itself, or a plain replacement."""
    try:
        text = str(error)
        is_plain = (
            isinstance(text, str)
            and all(type(value) is str for value in (error.code, error.raw_reply))
            and type(error.retryable) is bool
            and _is_small(error.status)
            and (error.retry_at is None or _is_moment(error.retry_at))
        )
    except Exception:  # noqa: BLE001  # from a custom tagger's object
        is_plain = False
    if is_plain:
        return error
    return TaggerError(
        f"The tagger raised {_type_name(error)} with values that cannot be stored.",
        fix="Pass text as message, code, fix and raw_reply, a datetime as retry_at, and a "
        "number as status.",
    )


def _reply(reply: TaggerReply) -> TaggerReply:
    if not isinstance(reply.scores, (tuple, list)):
        raise _wrong(f"{_shown(reply.scores)} as scores")
    _require(reply.raw, "raw", isinstance(reply.raw, str))
    _require(reply.status, "status", _is_small(reply.status))
    _require(reply.version, "version", _is_small(reply.version))
    _require(reply.has_tags, "has_tags", isinstance(reply.has_tags, bool))
    _require(reply.notes, "notes", isinstance(reply.notes, str))
    _require_moment(reply.resumes_at)
    scores: list[TagScore] = []
    odd: list[str] = []
    for number, score in enumerate(reply.scores):
        checked = _score(score, f"scores[{number}]")
        try:
            label_key(checked.name)
        except InvalidLabel as error:
            odd.append(f"{_shown(checked.name)}. {error}")
        else:
            scores.append(checked)
    if odd and not scores:
        raise TaggerError(f"No label of the reply can be a tag: {odd[0]}")
    notes = "\n".join(filter(None, (reply.notes, notes_of(odd))))
    return replace(reply, scores=tuple(scores), notes=notes)


def _score(score: object, place: str) -> TagScore:
    if not isinstance(score, TagScore):
        raise _wrong(f"{_shown(score)} as {place}")
    name: object = score.name
    confidence: Any = score.confidence
    _require(name, f"{place}.name", isinstance(name, str))
    is_number = isinstance(confidence, Real) and not isinstance(confidence, bool)
    if not is_number or not 0 <= confidence <= 100:
        raise _wrong(
            f"{_shown(confidence)} as {place}.confidence",
            "A confidence is a number from 0 to 100.",
        )
    if score.source not in ("auto", "user"):
        raise _wrong(f"{_shown(score.source)} as {place}.source", 'Use "auto" or "user".')
    if type(name) is str and type(confidence) is int:
        return score
    return TagScore(_text(name), math.floor(confidence + 0.5), score.source)


def _job(job: PendingJob) -> PendingJob:
    for name, least in (("job_id", 1), ("workflow_id", 0)):
        value = getattr(job, name)
        is_id = isinstance(value, str) and least <= len(value) <= MAX_ID
        _require(value, name, is_id and sanitize_text(value) == value)
    _require(job.raw, "raw", isinstance(job.raw, str))
    _require_moment(job.resumes_at)
    return job


def _require(value: object, name: str, is_right: bool) -> None:
    if not is_right:
        raise _wrong(f"{_shown(value)} as {name}")


def _require_moment(value: object) -> None:
    _require(value, "resumes_at", value is None or _is_moment(value))


def _is_moment(value: object) -> bool:
    # Years at the ends of the calendar cannot be converted to every time zone.
    return isinstance(value, datetime) and 1970 <= value.year <= 9000


def _is_small(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value <= MAX_SMALL)


def _wrong(returned: str, expected: str = EXPECTED) -> TaggerError:
    return TaggerError(f"The tagger returned {returned}.", fix=expected)


def _text(name: Any) -> str:
    return str.__str__(name)  # not of a subclass such as SafeString


def _shown(value: Any) -> str:
    """Return a value for a message: short, and without running its code."""
    if type(value) not in PLAIN:
        return f"a value of type {_type_name(value)}"
    text = sanitize_text(repr(value)) if not isinstance(value, int) else _integer(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _integer(value: int) -> str:
    return str(value) if abs(value) < 10**20 else "a very large integer"


def _type_name(value: object) -> str:
    return sanitize_text(type(value).__name__, 60)
