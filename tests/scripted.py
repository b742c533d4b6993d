"""A custom tagger with scripted replies, and builders for replies."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from filestack_tags.filestack.sources import Source
from filestack_tags.tagging.taggers import PendingJob, TaggerReply, TagScore

Answer = TaggerReply | PendingJob | Exception | Callable[[Source], TaggerReply]

answers: list[Answer] = []
"""The replies to the next calls, in order; the last one is repeated."""
asked: list[Source] = []


class ScriptedTagger:
    name = "scripted"

    def tag(self, source: Source) -> TaggerReply | PendingJob:
        asked.append(source)
        return self._next(source)

    def _next(self, source: Source) -> TaggerReply | PendingJob:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(source) if callable(answer) else answer


class FollowedTagger(ScriptedTagger):
    """A scripted tagger whose jobs can be polled."""

    def follow(self, job_id: str) -> TaggerReply | PendingJob:
        return self._next(Source.handle("unused"))


def reply(auto: Mapping[str, int], user: Mapping[str, int] | None = None) -> TaggerReply:
    scores = [TagScore(name, value) for name, value in auto.items()]
    scores += [TagScore(name, value, "user") for name, value in (user or {}).items()]
    return TaggerReply(tuple(scores), raw="{}", status=200, version=2)
