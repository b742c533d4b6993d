"""A project that uses the public API, rightly and wrongly."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_type

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from filestack_tags import (
    Facts,
    FilestackClient,
    Search,
    SearchError,
    Source,
    Tagger,
    TaggerReply,
    TagScore,
    archive,
    curation,
    metrics,
    register,
    request_tagging,
    restore,
    tasks,
)
from filestack_tags.assets import upload_policy
from filestack_tags.assets.visibility import assets_of
from filestack_tags.exceptions import TaggerError, WebhookError
from filestack_tags.fields import AssetOf
from filestack_tags.filestack.payloads import StoredFile
from filestack_tags.models import Asset, AssetQuerySet, AssetTag, Tag, TaggingRun
from filestack_tags.search.completion import complete
from filestack_tags.search.language.parser import parse
from filestack_tags.search.pages import Page
from filestack_tags.search.totals import Total
from filestack_tags.signals import asset_tagged
from filestack_tags.tagging.taggers import PendingJob, get_tagger
from filestack_tags.testing.fixtures import Filestack, Make
from filestack_tags.views import WebhookView
from filestack_tags.webhooks.inbox import Receipt
from tests.hosts.shop.models import Photo


def searching() -> None:
    found = Asset.objects.search("sky>=80")
    assert_type(found, AssetQuerySet)
    assert_type(found.present().search(parse("-person")), AssetQuerySet)
    assert_type(found.first(), Asset | None)
    assert_type([asset.filename for asset in found], list[str])
    assert_type(Search("sky").page(order="best", size=50), Page)
    assert_type(Search("sky").page().next, str | None)
    assert_type(Search("sky").total(), Total)
    assert_type([tag.name for tag in complete("sk")], list[str])
    Asset.objects.search(80)  # type: ignore[arg-type]
    Asset.objects.search("sky", hidden=True)  # type: ignore[call-arg]
    Search("sky").page(order="biggest")  # type: ignore[arg-type]
    Search("sky").page(50)  # type: ignore[call-arg, arg-type]


def registering() -> None:
    asset, created = register(Source.handle("HANDLE"), facts=Facts(filename="a.jpg"))
    assert_type(asset, Asset)
    assert_type(created, bool)
    assert_type(request_tagging(asset, force=True), list[int])
    assert_type(request_tagging(Asset.objects.search("sky")), list[int])
    assert_type(archive(asset), bool)
    assert_type(restore(asset.pk), bool)
    assert_type(asset.deleted_at, datetime | None)
    register("HANDLE")  # type: ignore[arg-type]
    request_tagging("HANDLE")  # type: ignore[arg-type]
    request_tagging([asset.pk], True)  # type: ignore[call-arg, arg-type]
    archive("HANDLE")  # type: ignore[arg-type]
    assert_type(tasks.replay([1]), list[int])
    Facts(size="12")  # type: ignore[arg-type]
    Source("path", "a.jpg")  # type: ignore[arg-type]


def files_of_models(photo: Photo) -> None:
    assert_type(photo.asset, Asset | None)
    assert photo.asset.filename  # type: ignore[union-attr]
    found = Photo.objects.filter(asset__in=Asset.objects.search("sky"))
    assert_type(found, QuerySet[Photo, Photo])
    AssetOf("file", alias="media", archive=False)
    AssetOf()  # type: ignore[call-arg]
    AssetOf("file", max_size="large")  # type: ignore[arg-type]


def deciding(asset: Asset, tag: Tag, request: HttpRequest) -> None:
    if not request.user.is_authenticated:
        return
    assert_type(curation.accept(asset, "sky", user=request.user), AssetTag)
    curation.reject(asset.pk, tag, user=request.user)
    curation.accept(asset.pk, tag.pk)  # type: ignore[call-arg]
    assert_type(curation.rename("sky", "Sky"), Tag)
    assert_type([row.confidence for row in AssetTag.objects.filter(asset=asset)], list[int])
    assert_type(assets_of(request.user), AssetQuerySet)


class WordTagger:
    """A tagger that inherits from no class."""

    name = "words"

    def tag(self, source: Source) -> TaggerReply:
        return TaggerReply((TagScore("word", 100),), raw=source.reference)


class Nameless:
    def tag(self, source: Source) -> TaggerReply:
        raise TaggerError("no", retryable=True, code="mine")


class Wordy:
    name = "wordy"

    def tag(self, source: Source) -> list[str]:
        return []


def taggers() -> None:
    good: Tagger = WordTagger()
    assert_type(good.tag(Source.handle("HANDLE")), TaggerReply | PendingJob)
    bad: Tagger = Nameless()  # type: ignore[assignment]
    worse: Tagger = Wordy()  # type: ignore[assignment]
    assert_type(get_tagger("local"), Tagger)
    assert bad is not worse
    TagScore("word", 100, "machine")  # type: ignore[arg-type]


def tell(*, asset: Asset, run: TaggingRun, **kwargs: Any) -> None:
    assert_type(run.rule_results, Any)


def listening() -> None:
    asset_tagged.connect(tell)
    end = metrics.subscribe(lambda told: told.labels)
    end()
    metrics.subscribe("call.seconds")  # type: ignore[arg-type]


def uploading() -> None:
    with FilestackClient.from_settings() as client:
        stored = client.store_bytes(b"", filename="a.jpg", mimetype="image/jpeg")
        assert_type(stored, StoredFile)
        client.store_bytes("text", filename="a", mimetype="b")  # type: ignore[arg-type]
    assert upload_policy.permit is not None


class OwnWebhookView(WebhookView):
    def receive(self, body: bytes, headers: Mapping[str, str]) -> Receipt:
        return super().receive(body, headers)

    def reject(self, error: WebhookError) -> HttpResponse:
        return HttpResponse(status=error.status)


def errors() -> None:
    try:
        parse("(")
    except SearchError as error:
        assert_type(error.position, int)


def test_ours(filestack: Filestack, filestack_make: Make) -> None:
    filestack.says({"sky": 90})
    filestack.says(["sky"])  # type: ignore[arg-type]
    assert_type(filestack.store(b""), str)
    assert_type(filestack_make.asset({"sky": 90}), Asset)
