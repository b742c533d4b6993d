"""Scopes do not leak: every URL of the API and the admin is tried from inside one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.db.models import Q
from django.test import Client

from filestack_tags import curation
from filestack_tags.assets import registry, visibility
from filestack_tags.checks import check_scope
from filestack_tags.curation import bulk, saved_searches
from filestack_tags.exceptions import BulkError, ConfigurationError, OutOfScope
from filestack_tags.filestack.sources import Source
from filestack_tags.models import (
    Asset,
    AssetTag,
    Backfill,
    BulkJob,
    Circuit,
    DailyUsage,
    Heartbeat,
    ModelFile,
    OutboundEndpoint,
    OutboundMessage,
    SavedSearch,
    Tag,
    TagDecision,
    TaggingRun,
    TagMerge,
    WebhookDelivery,
)
from filestack_tags.search import completion
from filestack_tags.testing import EmulatorApp, EmulatorConfig, EmulatorServer
from tests.addresses import ours
from tests.api.rows import tagged

pytestmark = pytest.mark.django_db

SECRETS = (b"theirs", b"Hidden Harbour", b"their reply", b"their event")
"""The key of the tag is not among them: URLs contain it, and messages repeat those."""


QUERIES = (
    "tag=sky&low=0&high=100&by=asset&at_least=1",
    "tag=hidden+harbour&low=0&high=100",
    "low=0&high=100&q=status:tagged",
    "tag=hidden+harbour",
    "include=total,facets",
)
"""Parameters of pages that take a search, a tag or confidences."""

OF_THE_INSTALLATION = (
    *(Backfill, Circuit, Heartbeat, ModelFile, OutboundMessage, DailyUsage, OutboundEndpoint),
)
"""Models whose rows concern all users' assets, or none."""


def own_uploads(user: Any) -> Q | None:
    """The scope of these tests: a user's own uploads; superusers see all."""
    return None if user.is_superuser else Q(uploader=user.pk)


def own_type(user: Any) -> Q | None:
    return Q(mimetype=f"image/{user.username}")


def nonsense(user: Any) -> Any:
    return True


@pytest.fixture(autouse=True)
def scoped(settings: Any) -> Iterator[None]:
    settings.FILESTACK_TAGS = {
        **settings.FILESTACK_TAGS,
        "ASSET_SCOPE": f"{__name__}.own_uploads",
    }
    completion.clear_cache()
    yield
    completion.clear_cache()


@pytest.fixture
def anna() -> User:
    """A staff user with every permission of this app."""
    user = User.objects.create_user("anna", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="filestack_tags")
    )
    return user


@pytest.fixture
def theirs(anna: User) -> Asset:
    """Another user's asset, with a tag that none of Anna's has; Anna has one asset."""
    other = User.objects.create_user("other")
    mine = tagged("mine1", {"sky": 90})
    asset = tagged(
        "theirs1",
        {"sky": 70, "Hidden Harbour": 80},
        filename="theirs.jpg",
        mimetype="image/png",
    )
    Asset.objects.filter(pk=mine.pk).update(uploader=anna)
    Asset.objects.filter(pk=asset.pk).update(uploader=other)
    TaggingRun.objects.filter(asset=asset).update(raw_reply="their reply")
    WebhookDelivery.objects.create(
        event_key="their event", asset=asset, raw_body=b"their event", action="fp.upload"
    )
    hidden = Tag.objects.get(key="hidden harbour")
    curation.reject(asset.pk, Tag.objects.get(key="sky").pk, user=other)
    curation.withdraw(asset.pk, Tag.objects.get(key="sky").pk, user=other)
    curation.accept(asset.pk, hidden.pk, user=other)
    curation.withdraw(asset.pk, hidden.pk, user=other)
    bulk.create(bulk.BulkRequest("archive", query="name:theirs*"), user=other)
    shared = saved_searches.SavedSearchInput(
        "theirs", 'name:theirs* "Hidden Harbour"', shared=True
    )
    saved_searches.save(shared, user=other)
    TagMerge.objects.create(
        source_id=hidden.pk,
        target_id=10**6,
        source_name="Hidden Harbour",
        target_name="Hidden Harbour",
    )
    endpoint = OutboundEndpoint.objects.create(url="https://theirs.example/hook")
    OutboundMessage.objects.create(
        endpoint=endpoint, event="asset.tagged", body='{"filename": "theirs.jpg"}'
    )
    ModelFile.objects.create(field="shop.photo.image", row="1", name="theirs.jpg", asset=asset)
    Backfill.objects.create(query='"Hidden Harbour"')
    Circuit.objects.create(tagger="theirs", reason="theirs")
    Heartbeat.objects.create(name="theirs")
    DailyUsage.objects.create(day=date(2026, 11, 24))
    return asset


def addresses(asset: Asset) -> list[str]:
    """Every URL of the admin and the API, with ids that are out of Anna's scope."""
    tag = Tag.objects.get(key="hidden harbour")
    # The segment before a placeholder shows which kind of row it is.
    rows = {
        "admin": "filestack_tags",
        "asset": asset.pk,
        "assets": asset.pk,
        "backfill": Backfill.objects.get().pk,
        "bulkjob": BulkJob.objects.get().pk,
        "jobs": BulkJob.objects.get().pk,
        "circuit": Circuit.objects.get().pk,
        "heartbeat": Heartbeat.objects.get().pk,
        "modelfile": ModelFile.objects.get().pk,
        "outboundmessage": OutboundMessage.objects.get().pk,
        "savedsearch": SavedSearch.objects.get().pk,
        "saved-searches": SavedSearch.objects.get().pk,
        "dailyusage": DailyUsage.objects.get().pk,
        "tag": tag.pk,
        "tags": tag.key,
        "aliases": tag.key,
        "tagdecision": TagDecision.objects.latest("pk").pk,
        "decisions": TagDecision.objects.latest("pk").pk,
        "taggingrun": TaggingRun.objects.get(asset=asset).pk,
        "runs": TaggingRun.objects.get(asset=asset).pk,
        "tagmerge": TagMerge.objects.get().pk,
        "merges": TagMerge.objects.get().pk,
        "webhookdelivery": WebhookDelivery.objects.get().pk,
        "deliveries": WebhookDelivery.objects.get().pk,
        "outboundendpoint": OutboundEndpoint.objects.get().pk,
    }
    placeholder = re.compile(r"(?<=/)([\w-]+)/<(?:\w+:)?\w+>")
    found = {
        placeholder.sub(lambda part: f"{part[1]}/{rows[part[1]]}", path) for path in ours()
    }
    return sorted(found | {f"{path}?{query}" for path in found for query in QUERIES})


def test_no_page_shows_anything_out_of_scope(anna: User, theirs: Asset) -> None:
    client = Client()
    client.force_login(anna)
    tried = addresses(theirs)
    assert len(tried) > 30
    told = {}
    for address in tried:
        reply = client.get(address)
        body = b"".join(reply) if reply.streaming else reply.content
        assert reply.status_code < 500, address
        # An error page repeats the requested URL.
        body = body.replace(address.encode(), b"")
        if leaks := [secret for secret in SECRETS if secret in body]:
            told[address] = leaks
    assert not told


def test_the_same_pages_show_it_to_who_sees_everything(theirs: Asset) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    shown = b"".join(client.get(address).content for address in addresses(theirs)[:400])
    assert all(secret in shown for secret in SECRETS[:2])


def test_nothing_out_of_scope_is_changed_by_any_request(anna: User, theirs: Asset) -> None:
    def state() -> list[Any]:
        return [
            list(Asset.objects.filter(pk=theirs.pk).values()),
            list(AssetTag.objects.filter(asset=theirs).order_by("tag").values()),
            list(Tag.objects.filter(key="hidden harbour").values()),
            list(TaggingRun.objects.filter(asset=theirs).values()),
            list(WebhookDelivery.objects.values()),
            list(TagDecision.objects.filter(asset=theirs).values()),
            list(TagMerge.objects.values()),
            *(list(kind.objects.values()) for kind in OF_THE_INSTALLATION),
            list(SavedSearch.objects.filter(owner=theirs.uploader).values()),
            list(BulkJob.objects.filter(requested_by=theirs.uploader).values()),
        ]

    client = Client()
    client.force_login(anna)
    tag = Tag.objects.get(key="hidden harbour")
    before = state()
    saved = SavedSearch.objects.get().pk
    forms = [
        {"reject": tag.pk, "accept": tag.pk, "name": "x", "_save": "1"},
        {"action": "archive", "confirmed": "yes", "_selected_action": [theirs.pk]},
        {"action": "retag", "_selected_action": [theirs.pk]},
        {"action": "replay", "_selected_action": [WebhookDelivery.objects.get().pk]},
        {"asset": theirs.pk, "reject": Tag.objects.get(key="sky").pk},
        {"undo": TagDecision.objects.latest("pk").pk},
        {"all": "1", "at_least": "0", "state": "tag=sky&low=0&high=100"},
        {"action": "undo", "_selected_action": [TagDecision.objects.latest("pk").pk]},
        {"action": "delete_selected", "post": "yes", "_selected_action": [saved], "index": 0},
        {"name": "mine now", "query": "sky", "order": "newest", "_save": "1"},
    ]
    for address in (each for each in addresses(theirs) if "?" not in each):
        for form in forms if address.startswith("/admin/") else ():
            assert client.post(address, form).status_code < 500, address
        for method in ("post", "put", "patch", "delete"):
            body = {} if method == "delete" else {"data": "{}"}
            reply = getattr(client, method)(address, content_type="application/json", **body)
            assert reply.status_code < 500, address
    assert state() == before


def test_the_api_answers_404_for_what_is_out_of_scope(anna: User, theirs: Asset) -> None:
    client = Client()
    client.force_login(anna)
    place = next(path for path in addresses(theirs) if path.endswith(f"/assets/{theirs.pk}/"))
    missing = place.replace(str(theirs.pk), "999999")
    for method in ("get", "delete"):
        reply, unknown = getattr(client, method)(place), getattr(client, method)(missing)
        assert reply.status_code == 404
        assert reply.content == unknown.content.replace(b"999999", str(theirs.pk).encode())


def test_the_api_counts_nothing_that_is_out_of_scope(anna: User, theirs: Asset) -> None:
    client = Client()
    client.force_login(anna)

    def get(path: str) -> Any:
        return client.get(f"/api/v1/assets/{path}").json()

    assert get("count/") == {"count": 1, "exact": True}
    assert get("count/?tag=hidden harbour")["count"] == 0
    assert [(tag["key"], tag["count"]) for tag in get("facets/")["tags"]] == [("sky", 1)]
    listed = get("?include=total,facets")
    assert (listed["total"]["count"], listed["facets"]) == (1, get("facets/"))
    assert get("histogram/?tag=sky")["counts"] == [{"confidence": 90, "count": 1}]
    assert get("histogram/?tag=hidden harbour")["counts"] == []


def test_the_api_decides_nothing_that_is_out_of_scope(anna: User, theirs: Asset) -> None:
    client = Client()
    client.force_login(anna)
    before = (
        list(AssetTag.objects.order_by("asset", "tag").values()),
        TagDecision.objects.count(),
    )
    decision = TagDecision.objects.latest("pk")
    assert decision.asset_id == theirs.pk
    missing = {}
    for asset, number in ((theirs.pk, decision.pk), (999999, 999999)):
        for method, path, body in (
            ("get", f"assets/{asset}/tags/", None),
            ("get", f"assets/{asset}/tags/sky/", None),
            ("put", f"assets/{asset}/tags/sky/", {"decision": "rejected"}),
            ("patch", f"assets/{asset}/tags/hidden harbour/", {"decision": "rejected"}),
            ("post", f"assets/{asset}/tags/", {"name": "sky"}),
            ("patch", f"assets/{asset}/", {"filename": "stolen.jpg"}),
            ("get", f"decisions/?asset={asset}", None),
            ("get", f"decisions/{number}/", None),
            ("post", f"decisions/{number}/undo/", {}),
        ):
            send = getattr(client, method)
            reply = send(f"/api/v1/{path}", body, content_type="application/json")
            assert reply.status_code == 404, path
            missing.setdefault(asset, []).append(reply.content)
    assert missing[theirs.pk] == missing[999999]
    assert client.get("/api/v1/decisions/").json()["results"] == []
    assert client.get("/api/v1/tags/complete/?q=h").json()["results"] == []
    after = (
        list(AssetTag.objects.order_by("asset", "tag").values()),
        TagDecision.objects.count(),
    )
    assert after == before


def test_nobody_moves_an_asset_out_of_their_own_scope(
    anna: User, theirs: Asset, settings: Any
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "ASSET_SCOPE": f"{__name__}.own_type"}
    mine = Asset.objects.get(reference="mine1")
    Asset.objects.filter(pk=mine.pk).update(mimetype="image/anna")
    client = Client()
    client.force_login(anna)
    for pk, mimetype, status in (
        (mine.pk, "image/other", 400),
        (mine.pk, "image/anna", 200),
        (theirs.pk, "image/anna", 404),
    ):
        body = {"mimetype": mimetype}
        reply = client.patch(f"/api/v1/assets/{pk}/", body, content_type="application/json")
        assert reply.status_code == status
    with pytest.raises(OutOfScope):
        registry.amend(theirs.pk, registry.Facts(mimetype="image/anna"), within=own_type(anna))
    assert Asset.objects.get(pk=mine.pk).mimetype == "image/anna"
    assert Asset.objects.get(pk=theirs.pk).mimetype == "image/png"


def test_no_resource_of_the_api_lets_anybody_out(
    anna: User, theirs: Asset, settings: Any
) -> None:
    client = Client()
    client.force_login(anna)
    run, job = TaggingRun.objects.get(asset=theirs), BulkJob.objects.get()
    saved, delivery = SavedSearch.objects.get(), WebhookDelivery.objects.get()
    for path in (
        f"runs/{run.pk}/",
        f"assets/{theirs.pk}/workflows/",
        *(f"jobs/{job.pk}/{part}" for part in ("", "items/", "download/")),
        *(f"saved-searches/{saved.pk}/{part}" for part in ("", "assets/")),
    ):
        assert client.get(f"/api/v1/{path}").status_code == 404, path
    for path in ("jobs/", "saved-searches/", f"runs/?asset={theirs.pk}"):
        assert client.get(f"/api/v1/{path}").json()["results"] == [], path
    for path in ("deliveries/", f"deliveries/{delivery.pk}/"):
        assert client.get(f"/api/v1/{path}").status_code == 403
    everything = {"action": "reject_tag", "q": "name:theirs* OR sky", "tag": "sky"}
    shown = client.post("/api/v1/jobs/preview/", everything, content_type="application/json")
    assert shown.json()["assets"] == 1
    stored = {"handle": "theirs1", "filename": "stolen.jpg"}
    with EmulatorApp(EmulatorConfig()) as app, EmulatorServer(app) as server:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
            "CDN_URL": server.url, "API_URL": f"{server.url}/api",
        }  # fmt: skip
        reply = client.post(
            "/api/v1/uploads/complete/", stored, content_type="application/json"
        )
    assert reply.status_code == 400
    # A shared search is run in the scope of the current user.
    SavedSearch.objects.update(scope_digest=visibility.digest_of(anna), query="sky")
    found = client.get(f"/api/v1/saved-searches/{saved.pk}/assets/").json()["results"]
    assert [asset["reference"] for asset in found] == ["mine1"]


def test_registering_a_known_file_out_of_scope_tells_and_changes_nothing(
    anna: User, theirs: Asset
) -> None:
    scope = visibility.scope_of(anna)
    before = Asset.objects.values().get(pk=theirs.pk)
    facts = registry.Facts(filename="stolen.jpg")
    with pytest.raises(OutOfScope) as known:
        registry.register(Source.handle("theirs1"), facts=facts, uploader=anna, within=scope)
    assert Asset.objects.values().get(pk=theirs.pk) == before
    with pytest.raises(OutOfScope) as new:
        registry.register(Source.handle("new1"), within=scope)
    assert str(new.value) == str(known.value)
    assert not Asset.objects.filter(reference="new1").exists()
    asset, created = registry.register(Source.handle("new1"), uploader=anna, within=scope)
    assert created
    assert registry.register(Source.handle("new1"), within=scope) == (asset, False)


def test_what_belongs_to_assets_is_in_the_scope_of_its_asset(anna: User, theirs: Asset) -> None:
    assert [asset.reference for asset in visibility.assets_of(anna)] == ["mine1"]
    assert {run.asset_id for run in visibility.runs_of(anna)} == {
        asset.pk for asset in visibility.assets_of(anna)
    }
    assert [(tag.key, tag.visible_assets) for tag in visibility.tags_of(anna)] == [("sky", 1)]
    root = User.objects.create_superuser("root")
    assert visibility.sees_everything(root)
    assert {tag.key: tag.visible_assets for tag in visibility.tags_of(root)} == {
        "sky": 2,
        "hidden harbour": 1,
    }


def test_a_bulk_job_stays_in_the_scope_of_who_asked_for_it(anna: User, theirs: Asset) -> None:
    request = bulk.BulkRequest(action="reject_tag", tag="sky")
    assert bulk.preview(request, user=anna).assets.count == 1
    chosen = bulk.BulkRequest(action="reject_tag", tag="sky", asset_ids=(theirs.pk,))
    assert bulk.preview(chosen, user=anna).assets.count == 0
    for asked in (chosen, request):
        job, _ = bulk.create(asked, user=anna, trigger="api")
        while bulk.step(job.pk).goes_on:
            pass
    rejected = AssetTag.objects.filter(decision=AssetTag.Decision.REJECTED)
    assert [row.asset.reference for row in rejected] == ["mine1"]
    with pytest.raises(BulkError, match="There is no tag"):
        bulk.create(bulk.BulkRequest(action="reject_tag", tag="hidden harbour"), user=anna)


def test_undoing_a_bulk_job_stays_in_the_scope_of_who_undoes_it(
    anna: User, theirs: Asset
) -> None:
    for request in (bulk.BulkRequest("reject_tag", tag="sky"), bulk.BulkRequest("archive")):
        job, _ = bulk.create(request, user=User.objects.create_superuser(request.action))
        while bulk.step(job.pk).goes_on:
            pass
        undoing = bulk.undo(job.pk, user=anna)
        while bulk.step(undoing.pk).goes_on:
            pass
        undoing.refresh_from_db()
        assert undoing.changed == 1, request.action
    rejected = AssetTag.objects.filter(decision=AssetTag.Decision.REJECTED)
    assert [row.asset_id for row in rejected] == [theirs.pk]
    assert [asset.reference for asset in Asset.objects.present()] == ["mine1"]


def test_a_threshold_is_explored_with_the_assets_in_scope(anna: User, theirs: Asset) -> None:
    client = Client()
    client.force_login(anna)
    sky = Tag.objects.get(key="sky")
    shown = client.get(f"/admin/filestack_tags/tag/{sky.pk}/threshold/")
    assert shown.context["total"] == 1


def test_a_bulk_job_whose_person_is_gone_touches_nothing(anna: User, theirs: Asset) -> None:
    job, _ = bulk.create(
        bulk.BulkRequest(action="reject_tag", tag="sky"), user=anna, trigger="api"
    )
    anna.delete()
    while bulk.step(job.pk).goes_on:
        pass
    assert not AssetTag.objects.filter(decision=AssetTag.Decision.REJECTED).exists()


def test_a_hook_that_answers_anything_else_shows_nothing(settings: Any) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "ASSET_SCOPE": f"{__name__}.nonsense"}
    with pytest.raises(ConfigurationError, match="returned bool"):
        visibility.assets_of(AnonymousUser())


@pytest.mark.parametrize("path", ["nowhere.at.all", f"{__name__}.SECRETS"])
def test_a_hook_that_cannot_be_used_is_a_system_check(settings: Any, path: str) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "ASSET_SCOPE": path}
    assert [message.id for message in check_scope()] == ["filestack_tags.E050"]
