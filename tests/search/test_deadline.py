"""A search that takes too long is stopped, and nothing else is limited by that."""

from __future__ import annotations

from contextlib import suppress

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError, connection, transaction
from django.db.models import Q
from django.db.models.expressions import RawSQL
from django.test import Client
from django.test.utils import CaptureQueriesContext

from filestack_tags.curation import bulk, saved_searches
from filestack_tags.exceptions import SearchTimeout
from filestack_tags.models import Asset, AssetTag, SavedSearch, Tag
from filestack_tags.search import Search
from filestack_tags.search.completion import clear_cache, complete
from filestack_tags.search.deadline import in_background, time_limit
from tests.api.rows import tagged

PREFIX = "urn:filestack-tags:problem:"


def counting(power: int) -> str:
    """Return SQL that counts 3 to this power rows."""
    three = "(SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3)"
    return f"(SELECT COUNT(*) FROM {', '.join(f'{three} x{n}' for n in range(power))})"  # noqa: S608  # a constant


def never(user) -> Q:
    """A scope that takes the database minutes to evaluate."""
    return Q(pk__lt=RawSQL(counting(19), ()))  # noqa: S611  # a constant


@pytest.fixture
def limited(settings):
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "SEARCH_TIMEOUT": 0.1}


@pytest.fixture
def slow(db, limited):
    clear_cache()
    yield tagged("one", {"sky": 90, "skyline": 80}, filename="one.jpg")
    clear_cache()


@pytest.fixture
def late(slow, settings):
    """Every search exceeds the limit before its first statement."""
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "SEARCH_TIMEOUT": 1e-9}
    return slow


PARTS = {
    "page": lambda q: Search("sky", scope=q).page(),
    "page of a prefix": lambda q: Search("sk*", scope=q).page(),
    "neighbours": lambda q: Search("sky", scope=q).neighbours(0),
    "total": lambda q: Search("sky", scope=q).total(),
    "facets": lambda q: Search("sky", scope=q).facets(),
    "histogram": lambda q: Search("sky", scope=q).histogram(Tag.objects.get(key="sky").pk),
    "hints": lambda q: Search("sky", scope=q).hints(),
    "explain": lambda q: Search("sky", scope=q).explain(analyze=True),
    "rows": lambda q: list(Asset.objects.within(q).search("sky")),
    "count": lambda q: Asset.objects.within(q).search("sky").count(),
    "exists": lambda q: Asset.objects.within(q).search("sky").exists(),
    "first": lambda q: Asset.objects.search("sky").within(q).first(),
    "values": lambda q: list(Asset.objects.within(q).search("sky").values_list("pk")),
}


@pytest.mark.parametrize("part", PARTS)
def test_every_part_of_a_search_is_stopped_and_the_transaction_goes_on(slow, part):
    with transaction.atomic():
        tagged("two", {"sea": 90})
        with pytest.raises(SearchTimeout):
            PARTS[part](never(None))
        assert Tag.objects.filter(key="sea").exists()
    with time_limit("default", seconds=60):
        assert Search("sea").total().count == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("part", ["page", "rows", "count", "facets"])
def test_outside_a_transaction_the_connection_stays_usable(limited, part):
    tagged("one", {"sky": 90}, filename="one.jpg")
    with pytest.raises(SearchTimeout):
        PARTS[part](never(None))
    assert not connection.in_atomic_block
    with time_limit("default", seconds=60):
        assert Search("sky").total().count == 1


@pytest.fixture
def never_in_scope(slow, settings):
    path = f"{__name__}.{never.__name__}"
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "ASSET_SCOPE": path}


def test_checking_a_search_to_save_is_stopped(never_in_scope):
    user = User.objects.create_user("anna")
    with pytest.raises(SearchTimeout):
        saved_searches.check(saved_searches.SavedSearchInput("Skies", "sk*"), user=user)


def test_completion_offers_nothing_where_counting_takes_too_long(slow):
    assert complete("sk", scope=never(None)) == []
    assert [tag.name for tag in complete("sk")] == ["sky", "skyline"]


def host_statement() -> int:
    """The host's own statement, which takes longer than the limit."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {counting(13)}")
        return cursor.fetchone()[0]


@pytest.mark.django_db
@pytest.mark.parametrize("fails", [False, True])
def test_the_limit_does_not_outlast_the_search(limited, fails):
    tagged("one", {"sky": 90}, filename="one.jpg")
    if fails:
        with pytest.raises(SearchTimeout):
            Search("sky", scope=never(None)).page()
    else:
        with suppress(SearchTimeout):  # where the machine is busy
            assert Search("sky").page().ids
    assert host_statement() == 3**13


@pytest.mark.django_db
def test_no_limit_means_no_limit(settings):
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "SEARCH_TIMEOUT": None}
    tagged("one", {"sky": 90}, filename="one.jpg")
    with CaptureQueriesContext(connection) as queries:
        assert Search("sky").page().ids
    assert len(queries) <= 2


@pytest.mark.django_db
def test_a_lower_limit_of_the_host_stays_in_effect(settings):
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "SEARCH_TIMEOUT": 5.0}
    tagged("one", {"sky": 90}, filename="one.jpg")
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no limit of its own.")
    name, value, off = {
        "postgresql": ("statement_timeout", "50ms", "0"),
        "mysql": ("max_statement_time", 0.05, 0),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION {name} = %s", (value,))
    try:
        with transaction.atomic(), pytest.raises(SearchTimeout):
            Search("sky", scope=never(None)).page()
        with pytest.raises(OperationalError), transaction.atomic():
            host_statement()
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION {name} = %s", (off,))


@pytest.mark.django_db
def test_parts_share_the_limit_of_a_block(limited):
    tagged("one", {"sky": 90}, filename="one.jpg")
    with time_limit("default", seconds=60):
        assert host_statement() == 3**13
        assert Search("sky").total().count == 1
        assert host_statement() == 3**13
    with time_limit("default", seconds=0), pytest.raises(SearchTimeout):
        Search("sky").total()


def many() -> None:
    """900 assets with 27 of 300 tags each, all with the same confidence."""
    now = Asset.objects.create(kind="handle", reference="x", digest="x").uploaded_at
    Asset.objects.all().delete()
    Asset.objects.bulk_create(
        Asset(kind="handle", reference=f"h{n}", digest=f"{n}", uploaded_at=now, filename=f"{n}")
        for n in range(900)
    )
    Tag.objects.bulk_create(Tag(key=f"w{n}", name=f"w{n}") for n in range(300))
    assets = list(Asset.objects.values_list("pk", flat=True))
    tags = list(Tag.objects.values_list("pk", flat=True))
    AssetTag.objects.bulk_create(
        AssetTag(asset_id=asset, tag_id=tags[(n * 7 + m) % 300], confidence=90, score=90)
        for n, asset in enumerate(assets)
        for m in range(27)
    )


@pytest.mark.django_db
def test_the_error_names_the_slow_terms_and_suggests_a_search_without_them(settings):
    many()
    terms = " OR ".join(f"*@none:{n}..{n}" for n in range(28))
    seconds = 0.0001 if connection.vendor == "mysql" else 0.001
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "SEARCH_TIMEOUT": seconds}
    with pytest.raises(SearchTimeout) as caught:
        Search(f"status:new ({terms})").total()
    assert caught.value.terms == ("*@none:0..0", "*@none:1..1", "*@none:2..2")
    assert caught.value.suggestion == "status:new"
    assert "*@none:0..0" in caught.value.message
    with pytest.raises(SearchTimeout) as caught:
        Search("name:*nosuch* -w*").page()
    assert caught.value.terms == ("name:*nosuch*",)
    assert caught.value.suggestion == "-w*"


# Through HTTP


def client_of(*permissions: str) -> Client:
    user = User.objects.create_user("anna", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize(
    "path",
    [
        "assets/?q=sky",
        "assets/?tag=sky&include=total,facets",
        "assets/count/?q=sky",
        "assets/facets/?q=sky",
        "assets/histogram/?tag=sky",
    ],
)
def test_the_api_answers_with_a_problem(late, path):
    client = client_of("view_asset")
    reply = client.get(f"/api/v1/{path}")
    assert reply.status_code == 400, reply.content
    assert reply.json()["type"] == PREFIX + "search-timeout"
    assert set(reply.json()) >= {"parameter", "terms", "suggestion", "detail"}


def test_previews_of_jobs_and_saved_searches_answer_with_a_problem(late):
    of_searches = ("view_savedsearch", "add_savedsearch", "change_savedsearch")
    client = client_of("view_asset", "tag_asset", *of_searches)
    anna = User.objects.get(username="anna")
    saved = SavedSearch.objects.create(name="Skies", query="sky", owner=anna)
    for method, path in (("post", ""), ("patch", f"{saved.pk}/")):
        reply = getattr(client, method)(
            f"/api/v1/saved-searches/{path}",
            {"name": "Sea", "query": "sea"},
            content_type="application/json",
        )
        assert (reply.status_code, reply.json()["type"]) == (400, PREFIX + "search-timeout")
    reply = client.get(f"/api/v1/saved-searches/{saved.pk}/assets/")
    assert (reply.status_code, reply.json()["type"]) == (400, PREFIX + "search-timeout")
    for ids in (None, [late.pk]):
        body = {"action": "retag", "q": "sky", "asset_ids": ids}
        reply = client.post(
            "/api/v1/jobs/preview/",
            {name: value for name, value in body.items() if value is not None},
            content_type="application/json",
        )
        assert (reply.status_code, reply.json()["type"]) == (400, PREFIX + "search-timeout")


@pytest.mark.parametrize(
    "path",
    [
        "asset/?q=sky",
        "asset/?q=sky&o=1",
        "asset/?tag=sky&confidence=90",
        "asset/?q=sk*",
        "asset/?q=sky&presence=archived",
        "asset/facets/?q=sky",
        "asset/complete/?before=sk",
        "asset/review/?tag=sky&low=0&high=100&q=sky",
        "asset/{pk}/change/?_changelist_filters=q%3Dsky",
    ],
)
def test_the_admin_says_so_and_shows_the_page(late, path):
    client = client_of("view_asset", "change_asset", "view_tag")
    reply = client.get(f"/admin/filestack_tags/{path.format(pk=late.pk)}")
    assert reply.status_code == 200, reply


def test_counting_tags_in_the_admin_is_stopped(never_in_scope):
    reply = client_of("view_asset").get("/admin/filestack_tags/asset/facets/?q=sk*")
    assert "Counting the tags took too long." in reply.content.decode()


def test_a_list_that_takes_too_long_names_its_reason(late, settings):
    client = client_of("view_asset")
    page = client.get("/admin/filestack_tags/asset/?q=sky").content.decode()
    assert "The search took too long and was stopped." in page


def test_an_action_on_all_that_matches_is_refused_with_a_message(late):
    client = client_of("view_asset", "tag_asset")
    reply = client.post(
        "/admin/filestack_tags/asset/?q=sky",
        {"action": "retag", "select_across": "1", "_selected_action": [late.pk]},
        follow=True,
    )
    assert reply.status_code == 200
    assert "The search took too long and was stopped." in reply.content.decode()


def test_a_bulk_job_whose_search_takes_too_long_fails_and_says_why(slow, settings):
    before = settings.FILESTACK_TAGS
    user = User.objects.create_superuser("root")
    job, _created = bulk.create(bulk.BulkRequest(action="retag", query="sky"), user=user)
    settings.FILESTACK_TAGS = {**before, "SEARCH_TIMEOUT": 1e-9}
    for _ in range(5):
        bulk.step(job.pk)
    job.refresh_from_db()
    assert job.state == "failed"
    assert "The search took too long and was stopped." in job.error


def test_workers_may_take_longer(settings):
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "SEARCH_TIMEOUT": 5.0}
    assert in_background() == 50.0
