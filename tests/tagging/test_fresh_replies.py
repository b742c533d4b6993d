"""Fresh replies: Filestack's cache is bypassed when a file may have changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from filestack_tags.assets import registry
from filestack_tags.filestack.client import FilestackClient
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, TaggingRun
from filestack_tags.tagging import asset_leases, pipeline, queue
from filestack_tags.testing import EmulatorConfig, EmulatorServer
from tests.account import AccountApp

pytestmark = pytest.mark.django_db(transaction=True)

PHOTOS = Path(__file__).parents[2] / "example_project/photos"
CAT, DOG = ((PHOTOS / name).read_bytes() for name in ("cat.jpg", "dogs.jpg"))
LABELS = {CAT: {"cat": 90}, DOG: {"dog": 90}}


@dataclass
class Account:
    """A Filestack account behind its cache, and a host's operations on it."""

    app: AccountApp
    client: FilestackClient

    def store(self, content: bytes) -> str:
        return self.client.store_bytes(content, filename="a.jpg", mimetype="image/jpeg").handle

    def overwrite(self, handle: str, content: bytes) -> None:
        facts = {"filename": "a.jpg", "mimetype": "image/jpeg", "base_url": "http://cdn"}
        self.app.files.overwrite(handle, content, **facts)

    def register(self, handle: str) -> int:
        return registry.register(Source.handle(handle))[0].pk

    def tag(self, pk: int, **options: Any) -> set[str]:
        """Tag one asset like a worker; return its tags."""
        assert queue.request([pk], **options) == [pk]
        pipeline.work(pk, lambda outcome: None)
        asset = Asset.objects.get(pk=pk)
        assert asset.tagging_state == Asset.State.TAGGED, asset.error
        return set(asset.asset_tags.values_list("tag__key", flat=True))


@pytest.fixture
def account(settings: Any) -> Iterator[Account]:
    config = EmulatorConfig(tagger=LABELS.__getitem__)
    with AccountApp(config) as app, EmulatorServer(app) as server:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
            "CDN_URL": server.url, "API_URL": f"{server.url}/api", "TAGGER": "filestack",
            "API_KEY": config.account.api_key, "APP_SECRET": config.account.app_secret,
        }  # fmt: skip
        with FilestackClient.from_settings() as client:
            yield Account(app, client)


def test_a_first_call_may_be_answered_from_the_cache(account: Account) -> None:
    handle = account.store(CAT)
    assert account.tag(account.register(handle)) == {"cat"}
    assert account.app.tagged == [f"/tags=version:2/{handle}"]


def test_an_overwritten_file_gets_the_tags_of_its_new_content(account: Account) -> None:
    handle = account.store(CAT)
    pk = account.register(handle)
    assert account.tag(pk) == {"cat"}
    account.overwrite(handle, DOG)
    registry.content_changed(pk, facts=registry.Facts(), at=timezone.now())
    assert account.tag(pk) == {"dog"}
    assert account.app.tagged[1:] == [f"/cache=false/tags=version:2/{handle}"]


def test_a_file_known_by_its_overwrite_alone_is_tagged_anew(account: Account) -> None:
    handle = account.store(CAT)
    account.client.tags(Source.handle(handle), version=2)  # by another system
    account.overwrite(handle, DOG)
    pk = account.register(handle)
    assert account.tag(pk, trigger=TaggingRun.Trigger.OVERWRITE) == {"dog"}


def test_a_forced_request_bypasses_the_cache_also_when_it_is_retried(account: Account) -> None:
    handle = account.store(CAT)
    pk = account.register(handle)
    account.tag(pk)
    account.overwrite(handle, DOG)  # and its webhook is lost
    assert queue.request([pk]) == []
    account.app.faults.add("server_error", operation="tags")
    queue.request([pk], force=True)
    pipeline.work(pk, lambda outcome: None)
    assert Asset.objects.get(pk=pk).attempts == 1
    Asset.objects.update(due_at=timezone.now())
    pipeline.work(pk, lambda outcome: None)
    assert set(Asset.objects.get(pk=pk).asset_tags.values_list("tag__key", flat=True)) == {
        "dog"
    }


def test_a_forced_request_for_a_queued_file_bypasses_the_cache(account: Account) -> None:
    handle = account.store(CAT)
    account.client.tags(Source.handle(handle), version=2)
    account.overwrite(handle, DOG)
    pk = account.register(handle)
    queue.request([pk])
    assert account.tag(pk, force=True) == {"dog"}


def test_a_later_request_that_is_not_forced_may_use_the_cache_again(account: Account) -> None:
    pk = account.register(account.store(CAT))
    account.tag(pk, force=True)
    Asset.objects.update(tagging_state=Asset.State.FAILED, due_at=None)
    account.tag(pk)
    assert ["cache=false" in path for path in account.app.tagged] == [True, False]


def test_no_file_gets_the_tags_of_a_cached_reply_by_its_digest(
    account: Account, settings: Any
) -> None:
    handle = account.store(CAT)
    account.client.tags(Source.handle(handle), version=2)  # by another system
    account.overwrite(handle, DOG)
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"FETCH_METADATA": True}
    first, second = account.register(handle), account.register(account.store(DOG))
    assert account.tag(first) == account.tag(second) == {"dog"}
    runs = TaggingRun.objects.order_by("pk")
    assert runs[0].sha256 == runs[1].sha256 == Asset.objects.get(pk=second).sha256
    assert [run.shared_from_id for run in runs] == [None, runs[0].pk]


def test_a_digest_that_is_learned_after_the_call_shares_nothing(
    account: Account, settings: Any
) -> None:
    handle = account.store(CAT)
    account.client.tags(Source.handle(handle), version=2)
    account.overwrite(handle, DOG)
    first = account.register(handle)
    assert account.tag(first) == {"cat"}  # no event reported that it was overwritten
    registry.describe([first])
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"FETCH_METADATA": True}
    assert account.tag(account.register(account.store(DOG))) == {"dog"}


def test_a_digest_that_was_corrected_shares_nothing(account: Account) -> None:
    cat, dog, other = "ca" * 32, "d0" * 32, account.store(DOG)
    first = account.register(account.store(CAT))
    registry.amend(first, registry.Facts(sha256=cat))
    assert account.tag(first) == {"cat"}
    registry.amend(first, registry.Facts(sha256=dog))
    second = account.register(other)
    registry.amend(second, registry.Facts(sha256=dog))
    assert account.tag(second) == {"dog"}


def test_a_forced_request_is_not_answered_by_an_earlier_reply(account: Account) -> None:
    ids = [account.register(account.store(CAT)) for _ in range(3)]
    for pk in ids:
        registry.amend(pk, registry.Facts(sha256="ca" * 32))
    account.tag(ids[0])
    account.tag(ids[1])
    assert len(account.app.tagged) == 1
    account.tag(ids[1], force=True)
    assert len(account.app.tagged) == 2
    # Several files with the same bytes in one forced request still need one call.
    assert queue.request(ids, force=True) == ids
    (work,) = [
        item for item in asset_leases.acquire(ids) if isinstance(item, asset_leases.Lease)
    ]
    assert work.fresh
    assert work.shared is None
