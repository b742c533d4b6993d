"""One object for one search: it looks up names once, counts once, and obeys its user."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models import Q
from django.test import Client
from django.test.utils import CaptureQueriesContext

from filestack_tags import search as search_package
from filestack_tags.exceptions import SearchError
from filestack_tags.models import Asset, Tag
from filestack_tags.search import Search, completion, statistics
from tests.api.rows import tagged

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def library(monkeypatch):
    for pause in ("CHECK_AFTER", "READ_AFTER"):  # names in memory are not reloaded
        monkeypatch.setattr(completion, pause, 3600.0)
    for number in range(4):
        tagged(f"r{number}", {"sky": 90, "sea": 60 + number, "New York": 80}, filename="ours")
    tagged("other", {"sky": 70}, filename="theirs")
    statistics.refresh()
    completion.clear_cache()
    completion.complete("")
    yield
    completion.clear_cache()


def only_ours(user: User) -> Q:
    return Q(filename="ours")


def statements(read) -> int:
    """Return how many statements read rows; a time limit is a savepoint on PostgreSQL."""
    with CaptureQueriesContext(connection) as captured:
        read()
    return sum("SAVEPOINT" not in query["sql"] for query in captured)


def test_names_are_looked_up_once_for_all_methods():
    search = Search("sky sea")
    assert statements(lambda: search.page(size=2)) == 3  # names, statistics, page
    assert statements(search.total) == 1
    assert statements(search.facets) == 1
    assert statements(lambda: list(search.assets())) == 1
    assert statements(lambda: search.histogram(Tag.objects.get(key="sky").pk)) == 2
    assert statements(lambda: search.page(size=2, order="best")) == 1
    assert statements(search.total) == 0


def test_hints_and_a_tag_to_order_by_take_one_lookup_for_names_that_the_search_has_not():
    search = Search("new york")
    assert [hint.term for hint in search.hints()] == ["new york"]
    assert statements(search.hints) == 0
    assert statements(search.page) == 0  # no asset has a tag "new"
    search = Search("sky")
    search.page()
    assert statements(lambda: search.page(order="confidence", tag="sky")) == 1
    assert statements(lambda: search.page(order="confidence", tag="sea", size=2)) == 3


def test_a_page_with_all_matches_is_counted_without_a_query():
    search = Search("sky")
    assert search.page(size=5).next is None
    assert statements(search.total) == 0
    assert str(search.total()) == "5"
    last = Search("sky")
    first = last.page(size=3)
    assert len(last.page(size=3, cursor=first.next).ids) == 2
    assert last.total().count == 5


def test_a_larger_limit_counts_again():
    search = Search("sky -sea")
    assert str(Search("sky tagged").total(cap=2)) == "2+"
    search = Search("sky tagged")
    assert not search.total(cap=2).is_exact
    assert search.total(cap=4).count == 4
    assert statements(lambda: search.total(cap=3)) == 0
    assert search.total().is_exact


def test_facets_match_the_total_that_was_counted():
    search = Search("sky")
    search.page()
    facets = search.facets()
    assert (facets.matches, facets.is_approximate) == (5, False)
    assert {tag.name: tag.count for tag in facets.tags}["sea"] == 4


def test_a_user_finds_what_scope_and_permissions_allow(settings):
    settings.FILESTACK_TAGS = {"ASSET_SCOPE": f"{__name__}.only_ours"}
    user = User.objects.create_user("ann")
    search = Search("sky", user=user)
    assert search.total().count == len(search.page().ids) == search.assets().count() == 4
    assert search.facets().matches == 4
    assert Search("sky").total().count == 5
    assert Search("sky", scope=Q(filename="theirs")).total().count == 1
    with pytest.raises(TypeError, match="not both"):
        Search("sky", user=user, scope=Q())


def test_hidden_tags_need_the_users_permission():
    Tag.objects.filter(key="sea").update(hidden=True)
    user = User.objects.create_user("ann")
    for options in ({}, {"user": user}, {"scope": Q()}):
        with pytest.raises(SearchError, match="permission"):
            Search("sea include:hidden", **options)
    user.user_permissions.add(Permission.objects.get(codename="search_hidden"))
    user = User.objects.get()
    assert Search("sea include:hidden", user=user).total().count == 4
    assert Search("sea include:hidden", include_hidden=True).total().count == 4
    with pytest.raises(SearchError, match="permission"):
        Search("sea include:hidden", user=user, include_hidden=False)


def test_ids_are_walked_from_the_newest():
    ids = sorted(Search("sea").assets().values_list("pk", flat=True), reverse=True)
    search = Search("sea")
    assert search.ids_before(ids[0] + 1, limit=3) == ids[:3]
    assert statements(lambda: search.ids_before(ids[2], limit=3)) == 1
    assert search.ids_before(ids[3], limit=3) == []


def test_a_queryset_that_is_kept_finds_tags_that_were_created_later():
    kept = Asset.objects.search("sand")
    once = Search("sand").assets()
    assert not kept.exists()
    assert not once.exists()
    tagged("late", {"sand": 90})
    assert kept.all().get().reference == "late"
    assert not once.all().exists()  # a Search belongs to one request


def test_the_assets_of_a_search_are_filtered_ordered_and_archived_on_request():
    search = Search("sea>=61")
    assert [each.reference for each in search.assets().order_by("pk")[1:]] == ["r2", "r3"]
    assert search.assets(Asset.objects.filter(reference="r3")).get().reference == "r3"
    Asset.objects.filter(reference="r1").update(deleted_at="2026-01-01T00:00:00Z")
    archived = Asset.objects.exclude(deleted_at=None)
    assert search.assets(archived, archived=True).get().reference == "r1"


@pytest.mark.parametrize(
    ("path", "number"),
    [
        # One query each for names, statistics, the page, its assets and their tags.
        ("/api/v1/assets/?q=sky+sea", 5),
        ("/api/v1/assets/?q=sky+sea&page_size=2&include=total,facets", 7),
        ("/api/v1/assets/?q=sky+sea&page_size=2&include=total,facets,hints", 7),
        ("/api/v1/assets/facets/?q=sky+sea", 3),
        ("/api/v1/assets/count/?q=sky+sea", 3),
    ],
)
def test_the_api_looks_up_names_once_a_request(path, number):
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    client.get(path)
    session_and_user = 2
    assert statements(lambda: client.get(path)) - session_and_user == number


def test_the_admin_looks_up_names_once_a_request():
    client = Client()
    client.force_login(User.objects.create_superuser("root"))

    def number(path: str) -> int:
        assert client.get(path).status_code == 200
        return statements(lambda: client.get(path))

    page = "/admin/filestack_tags/asset/"
    # A lookup of names, and no query else, is added by a search that matches everything.
    assert number(f"{page}?q=sky") - number(page) == 1
    assert number(f"{page}?q=sky&tag=sky&confidence=50") - number(page) == 2  # statistics
    assert number(f"{page}?q=sky&o=6") - number(f"{page}?o=6") == 1
    # Without a tag, facets need no statistics either.
    assert number(f"{page}facets/?q=sky+sea") - number(f"{page}facets/?q=-name:x") == 2


def test_the_package_exports_the_search_and_its_error():
    assert search_package.SearchError is SearchError
    with pytest.raises(AttributeError):
        search_package.nothing  # noqa: B018  # raises
