"""Rules: what is recorded for a result, and which document each rule is evaluated on."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from filestack_tags.assets import registry
from filestack_tags.filestack.payloads import parse_tags_reply
from filestack_tags.filestack.sources import Source
from filestack_tags.filestack.workflow_logic import parse_rule
from filestack_tags.models import Asset, TaggingRun
from filestack_tags.signals import asset_tagged
from filestack_tags.tagging import result_rules, results
from filestack_tags.tagging.results import Result
from filestack_tags.tagging.taggers import TaggerReply
from filestack_tags.testing.payloads import fs_workflow, tags_reply
from tests import scripted

HANDLE = "VJQTvCboRVivWJ2BpKgd"
RULES = {
    "sky": 'tags.auto kex "sky"',
    "sure of sky": "tags.auto.sky gte 90",
    "safe": "sfw eq true",
    "not safe": "sfw neq true",
    "bird": 'caption kex "bird"',
}


@pytest.fixture(autouse=True)
def _rules(settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"RULES": RULES}


def called(auto: dict[str, int]) -> TaggerReply:
    return TaggerReply.of(parse_tags_reply(json.dumps(tags_reply(auto))))


def job(**tasks: Any) -> TaggerReply:
    return TaggerReply((), raw=json.dumps(tasks))


def test_of_a_call_the_reply_is_looked_at() -> None:
    assert result_rules.outputs(called({"sky": 80})) == [tags_reply({"sky": 80})]
    assert result_rules.evaluate(called({"sky": 80})) == {
        "sky": True, "sure of sky": False, "safe": False, "not safe": False, "bird": False,
    }  # fmt: skip


def test_of_a_job_each_tasks_data_is_looked_at_for_itself() -> None:
    reply = job(
        tags={"data": tags_reply({"sky": 95})},
        Look={"data": {"sfw": True}},
        late={"error": "service temporarily unavailable"},
        small={"url": "https://cdn.filestackcontent.com/h", "mimetype": "image/png"},
    )
    assert result_rules.outputs(reply) == [tags_reply({"sky": 95}), {"sfw": True}]
    assert result_rules.evaluate(reply) == {
        "sky": True, "sure of sky": True, "safe": True, "not safe": False, "bird": False,
    }  # fmt: skip


def test_one_task_of_which_it_is_true_is_enough() -> None:
    reply = job(a={"data": tags_reply({"sea": 1})}, b={"data": tags_reply({"sky": 95})})
    assert result_rules.evaluate(reply)["sky"] is True


@pytest.mark.parametrize(
    "raw", ["", "no JSON", "[]", "{}", '{"tags": null}', '{"a": {"data": 1}}', "[" * 100_000]
)
def test_of_a_tagger_of_the_hosts_the_tags_are_looked_at(raw: str) -> None:
    reply = scripted.reply({"sky": 90}, {"bird": 100})
    own = TaggerReply(reply.scores, raw=raw)
    assert result_rules.outputs(own) == [{"tags": {"auto": {"sky": 90}, "user": {"bird": 100}}}]
    assert result_rules.evaluate(own)["sure of sky"] is True


@pytest.mark.django_db
def test_a_job_records_what_the_rules_say(deliver: Any) -> None:
    body = fs_workflow(
        HANDLE,
        tags={"sky": 95},
        results={
            "sfw_1": {"data": {"sfw": False}},
            "caption_1": {"data": {"caption": "a bird"}},
        },
    )
    deliver(body)
    assert TaggingRun.objects.get().rule_results == {
        "sky": True, "sure of sky": True, "safe": False, "not safe": True, "bird": True,
    }  # fmt: skip


@pytest.mark.django_db
def test_listeners_get_a_run_that_knows_what_the_rules_say(
    asset: Asset, script: Any, django_capture_on_commit_callbacks: Any
) -> None:
    heard: list[dict[str, bool]] = []

    def listener(run: TaggingRun, **kwargs: Any) -> None:
        heard.append(run.rule_results)

    asset_tagged.connect(listener)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            run = TaggingRun.objects.create(
                asset=asset, tagger="t", trigger="code", content_version=1
            )
            results.apply(run.pk, called({"sky": 90}), result_at=timezone.now())
    finally:
        asset_tagged.disconnect(listener)
    assert heard == [
        {"sky": True, "sure of sky": True, "safe": False, "not safe": False, "bird": False}
    ]


@pytest.mark.django_db
def test_a_rule_that_cannot_be_read_is_left_out_and_keeps_no_result_back(
    asset: Asset, settings: Any, caplog: pytest.LogCaptureFixture, tags_of: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "RULES": {"good": "tags.auto.sky gt 1", "bad": "tags.auto > 1"}
    }
    run = TaggingRun.objects.create(asset=asset, tagger="t", trigger="code", content_version=1)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            results.apply(run.pk, called({"sky": 90}), result_at=timezone.now())
    run.refresh_from_db()
    assert run.rule_results == {"good": True}
    assert tags_of(asset) == {"sky": 90}
    assert [record.getMessage() for record in caplog.records] == [
        "The rule 'bad' is left out: '>' is not an operator; there are eq, neq, kex, gt, gte, lt, "
        "lte. Did you mean gt?"
    ]


@pytest.mark.django_db
def test_any_name_is_recorded_for_many_runs_at_once(settings: Any) -> None:
    names = ["a,b", 'say "x"', "back\\slash", "{1,2}", "NULL", "Straße 🦜", "nul\x00", "\ud800"]
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "RULES": dict.fromkeys(names, 'tags.auto kex "sky"')
    }
    runs = [
        TaggingRun.objects.create(
            asset=registry.register(Source.handle(f"h{number}"))[0],
            tagger="t",
            trigger="code",
            content_version=1,
        )
        for number in range(3)
    ]
    replies = [called({"sky": 90}), called({"sea": 90}), called({})]
    now = timezone.now()
    results.apply_all(
        [Result(run.pk, reply, now) for run, reply in zip(runs, replies, strict=True)]
    )
    shown = [name.replace("\x00", "\ufffd").replace("\ud800", "\ufffd") for name in names]
    for run, expected in zip(runs, (True, False, False), strict=True):
        run.refresh_from_db()
        assert run.rule_results == dict.fromkeys(shown, expected)


@pytest.mark.django_db
def test_without_rules_nothing_is_recorded(asset: Asset, settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"RULES": {}}
    run = TaggingRun.objects.create(asset=asset, tagger="t", trigger="code", content_version=1)
    results.apply(run.pk, called({"sky": 90}), result_at=timezone.now())
    run.refresh_from_db()
    assert run.rule_results == {}


def test_every_rule_of_the_documentation_can_be_read() -> None:
    text = (Path(__file__).parents[2] / "docs" / "workflows.md").read_text("utf-8")
    written = re.findall(r"`([\w.]+(?:\.\"[^\"]+\")? (?:gte|gt|lt|neq|eq|kex) [^`]+)`", text)
    block = text.partition('"RULES": {')[2].partition("}")[0]
    written += re.findall(r": '([^']+)',", block) + re.findall(r': "([^"]+)",', block)
    assert len(written) == 5
    assert [str(parse_rule(rule)) for rule in written] == written
