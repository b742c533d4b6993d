"""Claims: many assets at once, each by one process, and the same bytes paid for once."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from filestack_tags.assets import registry
from filestack_tags.filestack.client import FilestackClient
from filestack_tags.filestack.payloads import parse_tags_reply
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, AssetTag, TaggingRun
from filestack_tags.tagging import asset_leases, call_budget, pipeline, queue
from filestack_tags.tagging.taggers import PendingJob, TaggerReply
from filestack_tags.testing import EmulatorApp, EmulatorConfig, EmulatorServer
from tests.tagging.rows import registered

pytestmark = pytest.mark.django_db

SKY = '{"tags": {"auto": {"sky": 90}, "user": null}}'


def works(ids: list[int], **options: Any) -> list[asset_leases.Lease]:
    return [
        item
        for item in asset_leases.acquire(ids, **options)
        if isinstance(item, asset_leases.Lease)
    ]


def refusals(ids: list[int], **options: Any) -> list[asset_leases.LeaseRefused]:
    return [
        item
        for item in asset_leases.acquire(ids, **options)
        if isinstance(item, asset_leases.LeaseRefused)
    ]


def reply() -> TaggerReply:
    return TaggerReply.of(parse_tags_reply(SKY), version=2)


def test_what_is_claimed_cannot_be_claimed_again(script: Any) -> None:
    ids = registered(3)
    queue.request(ids)
    assert [work.asset_id for work in works(ids)] == ids
    assert [item.state for item in refusals(ids)] == [Asset.State.RUNNING] * 3


def test_many_are_claimed_by_as_many_statements_as_one(
    script: Any, django_assert_max_num_queries: Any
) -> None:
    ids = registered(31)
    queue.request(ids)
    for batch in (ids[:1], ids[1:]):
        with django_assert_max_num_queries(12):
            assert len(works(batch)) == len(batch)


def test_assets_at_rest_are_claimed_on_request_alone(script: Any) -> None:
    new, tagged, queued, gone = registered(4)
    queue.request([tagged])
    queue.tag(tagged)
    queue.request([queued])
    registry.archive(gone)
    ids = [new, tagged, queued, gone]
    by_id = {item.asset_id: item.state for item in refusals([new, tagged, gone])}
    assert by_id == {new: "new", tagged: "tagged", gone: "gone"}
    backfill = asset_leases.LeaseRequest(TaggingRun.Trigger.COMMAND)
    assert [work.asset_id for work in works(ids, request=backfill)] == [new, queued]
    again = asset_leases.LeaseRequest(TaggingRun.Trigger.COMMAND, force=True)
    assert [work.asset_id for work in works(ids, request=again)] == [tagged]
    assert TaggingRun.objects.get(asset=new).trigger == TaggingRun.Trigger.COMMAND


def test_an_unknown_asset_is_gone(script: Any) -> None:
    assert [item.state for item in refusals([10**9])] == ["gone"]


def test_a_job_is_asked_about_again_and_an_abandoned_run_is_replaced(
    script: Any, settings: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "TAGGER": "tests.scripted.FollowedTagger"
    }
    with_job, abandoned = registered(2)
    queue.request([with_job, abandoned])
    script[:] = [PendingJob("wf", "job-1", raw="{}")]
    queue.tag(with_job)
    (first,) = works([abandoned])
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        following, again = sorted(works([with_job, abandoned]), key=lambda work: work.asset_id)
    assert following.job_id == "job-1"
    assert again.run_id != first.run_id
    assert TaggingRun.objects.get(pk=first.run_id).error_code == "abandoned"
    # Its process was only slow: the result is used anyway.
    assert queue.apply_replies([(first, reply())])[0].state == TaggingRun.State.SUCCEEDED


class TestTheSameBytes:
    @pytest.fixture(autouse=True)
    def _filestack(self, settings: Any) -> None:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"TAGGER": "filestack"}

    def test_are_tagged_by_one_call(self) -> None:
        first, second = registered(2, sha256="ab" * 32)
        queue.request([first])
        queue.apply_replies([(works([first])[0], reply())])
        queue.request([second])
        (work,) = works([second])
        assert work.shared is not None
        assert queue.apply_replies([(work, work.shared)])[0].state == TaggingRun.State.SUCCEEDED
        assert AssetTag.objects.filter(asset=second, tag__key="sky", confidence=90).exists()
        run = TaggingRun.objects.get(asset=second)
        assert run.shared_from == TaggingRun.objects.get(asset=first)
        assert (run.raw_reply, run.version) == (SKY, 2)
        assert call_budget.usage().today == 1

    def test_wait_for_the_call_that_is_under_way(self) -> None:
        ids = registered(3, sha256="ab" * 32)
        queue.request(ids)
        claimed = asset_leases.acquire(ids)
        assert [type(item) for item in claimed] == [
            asset_leases.Lease, asset_leases.LeaseRefused, asset_leases.LeaseRefused,
        ]  # fmt: skip
        assert all(
            item.retry_at for item in claimed[1:] if isinstance(item, asset_leases.LeaseRefused)
        )
        assert call_budget.usage().today == 1
        assert isinstance(asset_leases.acquire(ids[1:2])[0], asset_leases.LeaseRefused)

    def test_are_asked_about_again_where_a_newer_answer_is_wanted(self) -> None:
        first, second, third = registered(3, sha256="ab" * 32)
        queue.request([first])
        queue.apply_replies([(works([first])[0], reply())])
        fresh = asset_leases.LeaseRequest(
            TaggingRun.Trigger.COMMAND, force=True, fresh_since=timezone.now()
        )
        (work,) = works([second], request=fresh)
        assert work.shared is None
        queue.apply_replies([(work, reply())])
        assert works([third], request=fresh)[0].shared is not None

    @pytest.mark.parametrize(
        "change",
        [
            {"REUSE_TAGS_BY_HASH": False},
            {"TAGS_VERSION": 1},
            {"TAGGER": "tests.scripted.ScriptedTagger"},
        ],
    )
    def test_are_not_shared_where_the_answer_may_differ(
        self, settings: Any, change: dict[str, Any]
    ) -> None:
        first, second = registered(2, sha256="ab" * 32)
        queue.request([first])
        queue.apply_replies([(works([first])[0], reply())])
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | change
        queue.request([second])
        assert works([second])[0].shared is None

    def test_are_not_shared_once_the_file_changed(self) -> None:
        first, second = registered(2, sha256="ab" * 32)
        queue.request([first])
        queue.apply_replies([(works([first])[0], reply())])
        registry.content_changed(first, facts=registry.Facts(), at=timezone.now())
        queue.request([second])
        assert works([second])[0].shared is None
        assert Asset.objects.get(pk=first).sha256 is None


def test_the_bytes_of_others_are_others(settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"TAGGER": "filestack"}
    ids = registered(2)
    queue.request(ids)
    assert len(works(ids)) == 2


@pytest.mark.django_db(transaction=True)
def test_files_whose_digest_is_asked_for_are_tagged_by_one_call(settings: Any) -> None:
    picture = (Path(__file__).parents[2] / "example_project/photos/cat.jpg").read_bytes()
    looked: list[bytes] = []

    def look(content: bytes) -> dict[str, int]:
        looked.append(content)
        return {"red": 90}

    config = EmulatorConfig(tagger=look)
    with EmulatorApp(config) as app, EmulatorServer(app) as server:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
            "CDN_URL": server.url, "API_URL": f"{server.url}/api", "TAGGER": "filestack",
            "API_KEY": config.account.api_key, "APP_SECRET": config.account.app_secret,
            "FETCH_METADATA": True,
        }  # fmt: skip
        with FilestackClient.from_settings() as client:
            handles = [
                client.store_bytes(picture, filename=f"{n}.jpg", mimetype="image/jpeg").handle
                for n in range(2)
            ]
        first, second = (registry.register(Source.handle(handle))[0].pk for handle in handles)
        queue.request([first, second])
        pipeline.work(first, lambda outcome: None)
        Asset.objects.filter(tagging_state="queued").update(due_at=timezone.now())
        pipeline.work(second, lambda outcome: None)
    assert len(looked) == call_budget.usage().today == 1
    known = set(Asset.objects.values_list("sha256", "tagging_state", "size"))
    assert known == {(hashlib.sha256(picture).hexdigest(), "tagged", len(picture))}
