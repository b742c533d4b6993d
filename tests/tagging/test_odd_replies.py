"""Odd replies: whatever a tagger returns or raises, its run ends at once and others are applied."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from django.db import DataError, IntegrityError, OperationalError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filestack_tags.assets import registry
from filestack_tags.exceptions import TaggerError
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, AssetTag, TaggingRun
from filestack_tags.tagging import asset_leases, call_budget, pipeline, queue, results
from filestack_tags.tagging.taggers import PendingJob, TaggerReply, TagScore
from tests import scripted

numbers = count()
LAST = datetime.max.replace(tzinfo=UTC)


class Hostile:
    """An object whose every attribute access fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("no attributes")


class HostileError(TaggerError):
    def __init__(self) -> None:
        """Set no attribute."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def reply(*scores: Any, **changes: Any) -> Any:
    return replace(TaggerReply(scores, raw="{}"), **changes)


async def coroutine() -> TaggerReply:
    return reply(TagScore("sky", 90))


SHAPES: dict[str, tuple[Callable[[], Any], str]] = {
    "dict": (lambda: {"sky": 90}, "a value of type dict"),
    "None": (lambda: None, "None"),
    "text": (lambda: "sky", "'sky'"),
    "bytes": (lambda: b"sky", "a value of type bytes"),
    "bool": (lambda: True, "True"),
    "NaN": (lambda: math.nan, "nan"),
    "generator": (lambda: (score for score in ()), "a value of type generator"),
    "coroutine": (coroutine, "a value of type coroutine"),
    "several replies": (lambda: [reply(), reply()], "a value of type list"),
    "a reply in a tuple": (lambda: (reply(),), "a value of type tuple"),
    "class": (lambda: TaggerReply, "a value of type type"),
    "hostile": (Hostile, "raises RuntimeError when it is read"),
    "scores: dict": (lambda: reply(scores={"sky": 90}), "a value of type dict as scores"),
    "scores: None": (lambda: reply(scores=None), "None as scores"),
    "scores: generator": (
        lambda: reply(scores=(score for score in ())),
        "a value of type generator as scores",
    ),
    "score: pair": (lambda: reply(("sky", 90)), "a value of type tuple as scores[0]"),
    "score: text": (lambda: reply(TagScore("sky", 90), "sea"), "'sea' as scores[1]"),
    "score: nested": (lambda: reply([TagScore("sky", 90)]), "a value of type list as scores[0]"),
    "score: hostile": (lambda: reply(Hostile()), "raises RuntimeError when it is read"),
    "name: None": (lambda: reply(TagScore(None, 9)), "None as scores[0].name"),  # type: ignore[arg-type]  # the fault
    "name: bytes": (lambda: reply(TagScore(b"x", 9)), "a value of type bytes as scores[0].name"),  # type: ignore[arg-type]  # the fault
    "raw: None": (lambda: reply(raw=None), "None as raw"),
    "raw: bytes": (lambda: reply(raw=b"{}"), "a value of type bytes as raw"),
    "status: text": (lambda: reply(status="200"), "'200' as status"),
    "version: large": (lambda: reply(version=10**9), "1000000000 as version"),
    "moment: text": (lambda: reply(resumes_at="soon"), "'soon' as resumes_at"),
    "moment: last": (lambda: reply(resumes_at=LAST), "as resumes_at"),
    "source": (lambda: reply(TagScore("x", 9, "other")), "'other' as scores[0].source"),  # type: ignore[arg-type]  # the fault
    "job: None": (lambda: PendingJob("wf", None, raw=""), "None as job_id"),  # type: ignore[arg-type]  # the fault
    "job: empty": (lambda: PendingJob("wf", "", raw=""), "'' as job_id"),
    "job: long": (lambda: PendingJob("wf", "x" * 101, raw=""), "as job_id"),
    "job: NUL": (lambda: PendingJob("w\x00f", "1", raw=""), "as workflow_id"),
} | {
    f"confidence: {shown}": (
        lambda confidence=confidence: reply(TagScore("x", confidence)),
        f"{shown} as scores[0].confidence",
    )
    for confidence, shown in (
        (120, "120"), (-1, "-1"), (math.nan, "nan"), (math.inf, "inf"), (True, "True"),
        ("90", "'90'"), (b"90", "a value of type bytes"), (None, "None"), (90j, "complex"),
        (10**500, "a very large integer"), ([90], "a value of type list"),
    )
}  # fmt: skip


def queued(number: int = 1) -> list[int]:
    ids = [registry.register(Source.handle(f"odd{next(numbers)}"))[0].pk for _ in range(number)]
    assert queue.request(ids) == ids
    return ids


def ended(pk: int) -> Asset:
    """Return an asset that is not being tagged any more."""
    asset = Asset.objects.get(pk=pk)
    assert asset.tagging_state in (Asset.State.TAGGED, Asset.State.FAILED), asset.tagging_state
    assert asset.due_at is None
    assert not asset.runs.filter(state=TaggingRun.State.STARTED).exists()
    return asset


@pytest.mark.django_db
@pytest.mark.parametrize("shape", SHAPES)
def test_a_wrong_answer_is_named_and_not_retried(script: Any, shape: str) -> None:
    make, named = SHAPES[shape]
    script[:] = [lambda source: make()]
    (pk,) = queued()
    assert queue.tag(pk).state == Asset.State.FAILED
    asset = ended(pk)
    assert (asset.error_code, asset.attempts) == ("tagger_error", 1)
    assert asset.error.startswith("The tagger returned ")
    assert named in asset.error
    assert len(scripted.asked) == 1


ERRORS: dict[str, Callable[[], Exception]] = {
    "hostile": HostileError,
    "status": lambda: TaggerError("no", status="500"),  # type: ignore[arg-type]  # the fault
    "raw_reply": lambda: TaggerError("no", raw_reply=b"{}"),  # type: ignore[arg-type]  # the fault
    "code": lambda: TaggerError("no", code=7),  # type: ignore[arg-type]  # the fault
    "retry_at": lambda: TaggerError("no", retry_at="soon"),  # type: ignore[arg-type]  # the fault
    "last moment": lambda: TaggerError("no", retry_at=LAST),
    "message": lambda: TaggerError(Hostile()),  # type: ignore[arg-type]  # the fault
}


@pytest.mark.django_db
@pytest.mark.parametrize("part", ERRORS)
def test_an_odd_error_ends_the_run(script: Any, part: str) -> None:
    script[:] = [ERRORS[part]()]
    (pk,) = queued()
    queue.tag(pk)
    assert ended(pk).error_code == "tagger_error"


@pytest.mark.django_db
def test_labels_that_cannot_be_tags_are_left_out_and_noted(script: Any, tags_of: Any) -> None:
    odd = [TagScore(name, 90) for name in ("", " ", "x" * 201, "a\x00b", "\ud800")]
    script[:] = [reply(TagScore("sky", 90.4), *odd, TagScore("sea", 60))]  # type: ignore[arg-type]  # rounded
    (pk,) = queued()
    assert queue.tag(pk).state == TaggingRun.State.SUCCEEDED
    assert tags_of(ended(pk)) == {"sky": 90, "sea": 60}
    notes = TaggingRun.objects.get(asset=pk).notes.splitlines()
    assert len(notes) == 5
    assert notes[0] == "Left out: ''. A tag cannot be empty."


@pytest.mark.django_db
def test_a_reply_without_one_usable_label_changes_no_tags(script: Any, tags_of: Any) -> None:
    (pk,) = queued()
    queue.tag(pk)
    script[:] = [reply(TagScore("", 90))]
    queue.request([pk], force=True)
    queue.tag(pk)
    asset = ended(pk)
    assert asset.error_code == "tagger_error"
    assert tags_of(asset) == {"sky": 90}


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=5),
    st.binary(max_size=5),
    st.sampled_from([math.nan, Hostile, object(), 10**400, "\ud800", "x" * 300]),
)
names = st.text(st.characters(), max_size=5) | anything
scores = st.builds(TagScore, names, st.integers(0, 100) | anything) | anything
replies = st.builds(
    TaggerReply,
    scores=st.lists(scores, max_size=4).map(tuple) | anything,
    raw=st.text(st.characters(), max_size=5) | anything,
    status=st.none() | anything,
    version=st.none() | anything,
)
jobs = st.builds(PendingJob, names, names, raw=anything)


@pytest.mark.django_db
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(answer=anything | replies | st.lists(replies, max_size=2))
def test_whatever_comes_back_nothing_stays_running(script: Any, answer: Any) -> None:
    script[:] = [lambda source: answer]
    (pk,) = queued()
    queue.tag(pk)
    asset = ended(pk)
    if asset.tagging_state == Asset.State.FAILED:
        assert asset.error_code == "tagger_error"


@pytest.mark.django_db
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(answer=jobs)
def test_whatever_job_is_named_it_is_kept_or_refused(script: Any, answer: Any) -> None:
    script[:] = [lambda source: answer]
    (pk,) = queued()
    queue.tag(pk)
    run = TaggingRun.objects.get(asset=pk)
    assert run.job_id or ended(pk).error_code == "tagger_error" or run.error


def works(number: int) -> list[asset_leases.Lease]:
    return [
        item
        for item in asset_leases.acquire(queued(number))
        if isinstance(item, asset_leases.Lease)
    ]


@pytest.mark.django_db
def test_an_odd_answer_keeps_no_other_from_being_applied(script: Any) -> None:
    def leave(source: Source) -> Any:
        raise SystemExit

    good: Any = scripted.reply({"sky": 90})
    odd: list[Any] = [
        lambda source: {"sky": 90},
        lambda source: Hostile(),
        HostileError(),
        leave,
    ]
    script[:] = [*odd, good]
    ids = queued(7)
    pipeline.work(ids[0], lambda outcome: None)
    states = Asset.objects.filter(pk__in=ids).values_list("tagging_state", "error_code")
    assert sorted(states) == [
        *[("failed", "tagger_error")] * 3,
        ("queued", "tagger_crashed"),
        *[("tagged", "")] * 3,
    ]


@pytest.mark.django_db(transaction=True)
class TestTheDatabase:
    """Database errors while several paid replies are applied."""

    @pytest.fixture(autouse=True)
    def _quickly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("filestack_tags.db.transactions.FIRST_PAUSE", 0.001)

    @pytest.mark.parametrize("error", [DataError, IntegrityError, OperationalError])
    def test_a_reply_that_it_does_not_take_loses_no_other(
        self, script: Any, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
    ) -> None:
        write = results.update_rows

        def refuse(rows: Any, names: Any) -> None:
            if any(getattr(row, "raw_reply", "") == "bad" for row in rows):
                raise error('null value in column "secret_column"')
            write(rows, names)

        monkeypatch.setattr(results, "update_rows", refuse)
        several = works(5)
        answers = [scripted.reply({"sky": 90})] * 4
        bad = replace(answers[0], raw="bad")
        outcomes = queue.apply_replies(
            list(zip(several, [*answers[:2], bad, *answers[2:]], strict=True))
        )
        assert [outcome.state == "succeeded" for outcome in outcomes] == [
            True, True, False, True, True,
        ]  # fmt: skip
        asset = Asset.objects.get(pk=several[2].asset_id)
        assert asset.error_code == "unusable_reply"
        assert error.__name__ in asset.error
        assert "secret_column" not in asset.error

    def test_a_run_that_cannot_be_closed_loses_no_other(self, script: Any) -> None:
        several = works(4)
        Asset.objects.filter(pk=several[0].asset_id).delete()
        Asset.objects.filter(pk=several[1].asset_id).delete()
        answers: list[Any] = [TaggerError("no"), PendingJob("wf", "job-1", raw="{}")]
        answers += [scripted.reply({"sky": 90}), TaggerError("no")]
        outcomes = queue.apply_replies(list(zip(several, answers, strict=True)))
        assert [outcome.state for outcome in outcomes[2:]] == ["succeeded", "failed"]

    @pytest.mark.parametrize("error", [OperationalError, IntegrityError, RuntimeError])
    def test_an_error_in_giving_back_loses_no_answer(
        self,
        script: Any,
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
        error: type[Exception],
    ) -> None:
        monkeypatch.setattr(scripted.ScriptedTagger, "paid", True, raising=False)
        ids = queued(6)
        asked: list[Source] = []

        def answer(source: Source) -> TaggerReply:
            asked.append(source)
            return scripted.reply({"sky": 90})

        def fail(given: Any, **options: Any) -> None:
            raise error("no")

        script[:] = [answer]
        monkeypatch.setattr(asset_leases, "release", fail)
        pipeline.run(
            Supply(ids),
            concurrency=2,
            report_progress=lambda outcome: None,
            is_stopped=lambda: bool(asked),
        )
        applied = AssetTag.objects.count()
        assert applied == len(asked) > 0
        assert call_budget.usage().today >= applied

    def test_an_error_of_the_caller_loses_no_answer(self, script: Any) -> None:
        ids = queued(4)
        script[:] = [scripted.reply({"sky": 90})]

        def report_progress(outcome: results.Outcome) -> None:
            raise RuntimeError("no")

        with pytest.raises(RuntimeError, match="no"):
            pipeline.run(
                Supply(ids),
                concurrency=4,
                report_progress=report_progress,
                is_stopped=lambda: False,
            )
        assert AssetTag.objects.count() == 4


class Supply:
    """Supplies a list of assets, all at once."""

    def __init__(self, ids: list[int]) -> None:
        self._ids = ids

    def candidates(self, limit: int) -> list[int]:
        ids, self._ids = self._ids, []
        return ids

    def acquire(self, asset_ids: Any) -> Any:
        return asset_leases.acquire(asset_ids)

    def may_have_more(self) -> bool:
        return False
