"""Backfill: everything that matches is tagged once, however often it is stopped."""

from __future__ import annotations

import io
import os
import signal
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from filestack_tags.assets import registry
from filestack_tags.exceptions import (
    ConfigurationError,
    InvalidApplication,
    SearchError,
    ServerError,
)
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, Backfill, TaggingRun
from filestack_tags.tagging import asset_leases, backfill, circuit_breaker, queue
from filestack_tags.tagging.taggers import PendingJob
from tests import scripted
from tests.tagging.rows import registered

pytestmark = pytest.mark.django_db


def tagged(ids: list[int]) -> None:
    for pk in queue.request(ids):
        queue.tag(pk)


def run(
    row: Backfill | None = None,
    *,
    stop_after: int = 10**9,
    concurrency: int = 1,
    **options: Any,
) -> tuple[Backfill, str]:
    row = row or backfill.start(backfill.Options(**options))
    told: list[int] = []
    ended = backfill.run(
        row,
        concurrency=concurrency,
        report_progress=lambda found: told.append(found.pk),
        is_stopped=lambda: len(told) >= stop_after,
    )
    row.refresh_from_db()
    return row, ended


def command(*arguments: Any, **options: Any) -> str:
    out = io.StringIO()
    call_command("filestack_tags_backfill", *arguments, stdout=out, **options)
    return out.getvalue()


def asked() -> list[str]:
    return [source.reference for source in scripted.asked]


def test_what_has_no_tags_is_tagged_newest_first(script: Any) -> None:
    ids = registered(5)
    tagged(ids[:2])
    scripted.asked.clear()
    row, ended = run()
    assert asked() == ["h4", "h3", "h2"]
    assert (row.state, row.counts, ended) == (Backfill.State.FINISHED, {"tagged": 3}, "")
    assert row.finished_at
    assert run()[0].counts == {}


def test_a_search_and_a_limit_say_what_is_tagged(script: Any) -> None:
    registered(2, mimetype="image/png")
    registry.register(Source.handle("jpeg"), facts=registry.Facts(mimetype="image/jpeg"))
    assert run(query="type:image/png", limit=1)[0].counts == {"tagged": 1}
    assert asked() == ["h1"]


def test_tags_of_another_version_are_outdated(settings: Any, script: Any) -> None:
    first, second = registered(2)
    tagged([first, second])
    TaggingRun.objects.update(tagger="filestack", version=2)
    TaggingRun.objects.filter(asset=first).update(version=1)
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"TAGGER": "filestack"}
    outdated = backfill.matching(backfill.Options(outdated=True))
    assert [asset.pk for asset in outdated] == [first]
    assert not backfill.matching(backfill.Options()).exists()
    others = backfill.matching(backfill.Options(outdated=True, tagger="local"))
    assert others.count() == 2


def test_by_force_all_are_tagged_and_each_once(script: Any) -> None:
    ids = registered(6)
    tagged(ids)
    scripted.asked.clear()
    row, ended = run(force=True, stop_after=2)
    assert (ended, row.state) == ("stopped", Backfill.State.STOPPED)
    row, ended = run(row)
    assert (ended, row.counts) == ("", {"tagged": 6})
    assert sorted(asked()) == [f"h{number}" for number in range(6)]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_stopped_and_resumed_it_comes_to_the_same(script: Any, concurrency: int) -> None:
    ids = registered(30)
    row, ended = run(stop_after=7, concurrency=concurrency)
    assert ended == "stopped"
    states = set(Asset.objects.values_list("tagging_state", flat=True))
    assert states == {Asset.State.NEW, Asset.State.TAGGED}, "nothing is left half done"
    while ended:
        row, ended = run(row, stop_after=7, concurrency=concurrency)
    assert row.counts == {"tagged": 30}
    assert len(asked()) == len(set(asked())) == len(ids)


def test_killed_and_resumed_it_leaves_none_out(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(9)
    monkeypatch.setattr(backfill, "SAVED_EVERY", 0)

    def die(found: Backfill) -> None:
        if found.counts == {"tagged": 4}:
            raise SystemExit

    row = backfill.start(backfill.Options())
    with pytest.raises(SystemExit):
        backfill.run(row, concurrency=1, report_progress=die, is_stopped=lambda: False)
    row, ended = run(Backfill.objects.get())
    assert ended == ""
    assert set(Asset.objects.values_list("tagging_state", flat=True)) == {"tagged"}


def test_what_fails_for_now_is_tried_again(
    script: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"RETRY_DELAY": 0.01}
    registered(1)
    script[:] = [ServerError("Filestack answered 502."), scripted.reply({"sky": 90})]
    assert run()[0].counts == {"tagged": 1}
    assert len(asked()) == 2


def test_what_is_due_much_later_is_left_to_the_workers(script: Any, settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"RETRY_DELAY": 3600}
    registered(1)
    script[:] = [ServerError("Filestack answered 502.")]
    assert run()[0].counts == {"left": 1}
    assert Asset.objects.get().tagging_state == Asset.State.QUEUED


def test_jobs_and_failures_are_counted_as_such(script: Any) -> None:
    registered(2)
    script[:] = [PendingJob("wf", "job-1", raw="{}"), queue.TaggerError("No.")]
    assert run()[0].counts == {"started": 1, "failed": 1}


@pytest.mark.parametrize(
    ("change", "answer", "held"),
    [
        ({"BUDGET_PER_DAY": 3}, None, "budget"),
        ({}, InvalidApplication("The key is unknown."), "circuit"),
    ],
)
def test_it_stops_where_no_more_calls_are_allowed_and_goes_on_later(
    paid: Any, settings: Any, change: dict[str, Any], answer: Exception | None, held: str
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | change | {"MAX_ATTEMPTS": 1}
    registered(6)
    if answer:
        paid[:] = [*[scripted.reply({"sky": 90})] * 3, answer]
    row, ended = run()
    assert (ended, row.state, row.counts["tagged"]) == (held, Backfill.State.STOPPED, 3)
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"BUDGET_PER_DAY": None}
    paid[:] = [scripted.reply({"sky": 90})]
    circuit_breaker.close("tests.scripted.ScriptedTagger")
    row, ended = run(row)
    assert ended == ""
    assert Asset.objects.filter(tagging_state="new").count() == 0


def test_what_others_are_at_work_on_is_left_to_them(script: Any) -> None:
    ids = registered(3)
    queue.request(ids[:1])
    asset_leases.acquire(ids[:1])
    assert run()[0].counts == {"tagged": 2}


def test_an_estimate_counts_calls_once_for_the_same_bytes(settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "TAGGER": "filestack", "PRICE_PER_CALL": 0.5, "BUDGET_PER_DAY": 2,
    }  # fmt: skip
    registered(3, sha256="ab" * 32)
    registry.register(Source.handle("other"))
    assert backfill.estimate(backfill.Options()) == backfill.Estimate(4, 2, 1.0, 2)
    assert backfill.estimate(backfill.Options(limit=3)).assets == 3
    assert backfill.estimate(backfill.Options(tagger="local")).calls == 0


class TestTheCommand:
    def test_says_what_it_did(self, script: Any) -> None:
        registered(2)
        said = command()
        assert "2 assets to tag, 0 calls." in said
        assert "2 tagged." in said
        assert "0 assets to tag" in command()
        assert "Nothing was tagged." in command()

    def test_only_estimates_when_run_dry(self, paid: Any, settings: Any) -> None:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
            "PRICE_PER_CALL": 0.25, "BUDGET_PER_DAY": 1, "RATE_LIMIT": "20/second",
        }  # fmt: skip
        registered(2)
        said = command("--dry-run")
        assert "2 assets to tag, 2 calls, about 0.50 in total, at most 20/second." in said
        assert "The budget currently allows 1 more calls." in said
        assert not scripted.asked
        assert not Backfill.objects.exists()

    def test_explains_why_it_stopped(self, paid: Any, settings: Any) -> None:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"BUDGET_PER_DAY": 1}
        registered(2)
        with pytest.raises(CommandError, match="BUDGET_PER_DAY") as caught:
            command()
        row = Backfill.objects.get()
        assert f"filestack_tags_backfill --resume {row.pk}" in str(caught.value)
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"BUDGET_PER_DAY": None}
        assert f"Continuing backfill {row.pk}: all assets" in command("--resume")
        with pytest.raises(CommandError, match="No backfill was stopped"):
            command("--resume")

    def test_gives_the_reason_of_an_open_circuit(self, paid: Any) -> None:
        registered(2)
        paid[:] = [InvalidApplication("The key is unknown.")]
        with pytest.raises(CommandError, match=r"rejects all of them\. The key is unknown\."):
            command("--concurrency", "1")

    def test_applies_what_is_in_flight_when_it_is_interrupted(self, script: Any) -> None:
        registered(4)
        before = signal.getsignal(signal.SIGINT)

        def interrupt(source: Source) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            return scripted.reply({"sky": 90})

        script[:] = [interrupt]
        out = io.StringIO()
        with pytest.raises(SystemExit) as ended:
            call_command("filestack_tags_backfill", "--concurrency", "1", stdout=out)
        assert ended.value.code == 130
        assert "1 tagged." in out.getvalue()
        assert "Stopped; nothing is lost. Continue with" in out.getvalue()
        assert signal.getsignal(signal.SIGINT) is before
        assert Asset.objects.filter(tagging_state="new").count() == 3

    def test_prints_a_line_now_and_then_where_there_is_no_terminal(
        self, script: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module = "filestack_tags.management.commands.filestack_tags_backfill"
        monkeypatch.setattr(f"{module}.LINE_EVERY", 0)
        registered(3)
        assert "2 of 3 assets, " in command()
        assert " of " not in command("--force", verbosity=0)

    def test_draws_a_bar_on_a_terminal(
        self, script: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        registered(3)
        out = Terminal()
        call_command("filestack_tags_backfill", stdout=out, no_color=True)
        assert "3/3" in out.getvalue()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["sky>="], "sky>="),
            (["--tagger", "nobody"], "nobody"),
            (["--limit", "0"], "--limit must be 1 or more"),
            (["--concurrency", "-1"], "--concurrency must be 1 or more"),
            (["--resume", "99"], "No backfill"),
        ],
    )
    def test_explains_what_it_cannot_do(self, arguments: list[str], message: str) -> None:
        with pytest.raises(CommandError, match=message):
            command(*arguments)


def test_a_backfill_that_cannot_be_is_not_begun() -> None:
    for options, error in (
        (backfill.Options("sky>="), SearchError),
        (backfill.Options(tagger="nobody"), ConfigurationError),
    ):
        with pytest.raises(error):
            backfill.start(options)
    assert backfill.unfinished() is None
