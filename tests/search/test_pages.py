"""Pages: order, both directions, concurrent inserts, cursors, and the cost of a page."""

from __future__ import annotations

import pytest
from django.core import signing
from django.db import connection
from django.test.utils import CaptureQueriesContext

from filestack_tags import curation
from filestack_tags.exceptions import CursorError, InvalidLabel, SearchError
from filestack_tags.models import Asset, Tag
from filestack_tags.search import Search, page_sql, statistics
from filestack_tags.search.pages import Neighbours

from .test_matching import an_asset

pytestmark = pytest.mark.django_db


def references(page) -> list[str]:
    return [asset.reference for asset in page.assets()]


def pages(query: str, **options):
    page = Search(query).page(**options)
    yield page
    while page.next:
        page = Search(query).page(**options, cursor=page.next)
        yield page


def all_references(query: str, **options) -> list[str]:
    return [name for page in pages(query, **options) for name in references(page)]


def test_newest_and_oldest_are_each_other_backwards():
    for number in range(7):
        an_asset(f"{number}", tags={"sky": 90})
    assert all_references("sky", size=3) == list("6543210")
    assert all_references("sky", size=3, order="oldest") == list("0123456")


def test_confidence_ranks_by_the_first_required_tag_or_the_one_named():
    an_asset("a", tags={"sky": 50, "sea": 90})
    an_asset("b", tags={"sky": 70, "sea": 80})
    an_asset("c", tags={"sky": 60, "sea": 70})
    assert all_references("sky sea", order="confidence") == ["b", "c", "a"]
    assert all_references("sky sea", order="confidence", tag="SEA") == ["a", "b", "c"]
    assert Search("sky sea").page(order="confidence", tag="sea").confidences == [90, 80, 70]


def test_assets_without_the_tag_that_ranks_come_last():
    an_asset("a", tags={"sky": 50})
    an_asset("b", tags={"sea": 10})
    an_asset("c", tags={"sky": 60, "sea": {"confidence": 99, "decision": 2}})
    an_asset("d", tags={"sea": 20})
    assert all_references("", order="confidence", tag="sea", size=1) == ["d", "b", "c", "a"]
    page = Search("").page(order="confidence", tag="sea")
    assert page.confidences == [20, 10, None, None]


def test_best_ranks_by_whichever_term_matches_best():
    an_asset("a", tags={"sky": 50, "sea": 90})
    an_asset("b", tags={"sky": 95, "sea": 80})
    an_asset("c", tags={"sky": 60, "sea": 70})
    for query in ("sky sea", "sky OR sea", "s*"):
        page = Search(query).page(order="best")
        assert (references(page), page.confidences) == (["b", "a", "c"], [95, 90, 70])


@pytest.mark.parametrize("query", ["status:new", "-sky", "sky@rejected OR sea", "tagged"])
def test_a_search_that_requires_no_tag_is_ranked_by_age(query):
    an_asset("a", tags={"sea": 50})
    an_asset("b", tags={"sea": 90})
    page = Search(query).page(order="best")
    assert (references(page), page.confidences) == (["b", "a"], [None, None])


@pytest.mark.parametrize("order", ["newest", "oldest", "confidence", "best"])
@pytest.mark.parametrize("query", ["sky>=50", "sky OR sea", "sk*", "sky -whale", "sky sea"])
def test_a_walk_in_which_all_are_alike_meets_each_once_while_others_are_inserted(query, order):
    first = {f"{number}" for number in range(10)}
    for name in sorted(first):
        an_asset(name, tags={"sky": 77, "skin": 77, "sea": 77})
    seen: list[str] = []
    for number, page in enumerate(pages(query, order=order, size=3)):
        seen += references(page)
        if number < 3:
            an_asset(f"new {number}", tags={"sky": 77, "skin": 99, "sea": 77})
    assert len(seen) == len(set(seen))
    assert first <= set(seen)


@pytest.mark.parametrize("order", ["newest", "oldest", "confidence", "best"])
def test_previous_leads_back_page_by_page(order):
    for number in range(8):
        an_asset(f"{number}", tags={"sky": 50 + number % 3})
    forward = list(pages("sky", order=order, size=3))
    assert [len(page.ids) for page in forward] == [3, 3, 2]
    assert forward[0].previous is None
    assert forward[-1].next is None
    page = forward[-1]
    for earlier in forward[-2::-1]:
        page = Search("sky").page(order=order, size=3, cursor=page.previous)
        assert (page.ids, page.confidences) == (earlier.ids, earlier.confidences)
        assert page.next
    assert page.previous is None


def test_an_empty_page_leads_nowhere():
    page = Search("sky").page()
    assert (page.ids, page.confidences, page.next, page.previous) == ([], [], None, None)
    assert page.assets() == []


def test_a_deleted_asset_leaves_its_place_in_a_page():
    for name in "abc":
        an_asset(name, tags={"sky": 90})
    page = Search("sky").page(order="oldest")
    asset = Asset.objects.get(reference="b")
    asset.asset_tags.all().delete()
    asset.delete()
    assert references(page) == ["a", "c"]


@pytest.mark.parametrize(
    "change",
    [
        lambda cursor: cursor[:-1] + ("A" if cursor[-1] != "A" else "B"),
        lambda cursor: "x" + cursor,
        lambda cursor: "",
        lambda cursor: "nothing",
        lambda cursor: signing.dumps(["a", 1, 0, 1, None]),
        lambda cursor: signing.Signer(salt="filestack_tags.search.page").sign_object([1, 0]),
    ],
    ids=["last letter", "first letter", "empty", "unsigned", "of another signer", "as before"],
)
def test_a_cursor_that_was_changed_is_refused(change):
    for name in "abc":
        an_asset(name, tags={"sky": 90})
    cursor = Search("sky").page(size=1).next
    changed = change(cursor)
    with pytest.raises(CursorError, match="first page"):
        Search("sky").page(size=1, cursor=changed)


def test_a_cursor_serves_one_search_in_one_order():
    for name in "abc":
        an_asset(name, tags={"sky": 90, "sea": 80})
    cursor = Search("sky").page(size=1, order="confidence", tag="sea").next
    assert Search("sky").page(size=1, order="confidence", tag=" SEA", cursor=cursor).ids
    assert Search(" sky ").page(size=2, order="confidence", tag="sea", cursor=cursor).ids
    for query, order, tag in (
        ("sea", "confidence", "sea"),
        ("sky", "newest", None),
        ("sky", "confidence", "sky"),
        ("sky", "confidence", None),
        ("sky", "best", None),
    ):
        with pytest.raises(CursorError, match="another search"):
            Search(query).page(size=1, order=order, tag=tag, cursor=cursor)


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match="newest, oldest, confidence, best"):
        Search("").page(order="random")
    with pytest.raises(ValueError, match="at least one"):
        Search("").page(size=0)
    with pytest.raises(InvalidLabel):
        Search("").page(order="confidence", tag="\x00")
    with pytest.raises(SearchError):
        Search("(").page()


def test_a_page_takes_at_most_three_queries_and_its_assets_one(django_assert_num_queries):
    for number in range(5):
        an_asset(f"{number}", tags={"sky": 50 + number, "sea": 80, "sand": 30})
    statistics.refresh()
    for query in ("sky>=10", "sky OR sea", "s*"):
        with django_assert_num_queries(2):
            page = Search(query).page(size=2)
        with django_assert_num_queries(1):
            assert len(page.assets()) == 2
        with django_assert_num_queries(2):
            Search(query).page(size=2, cursor=page.next)
    for query, order in (("sky sea -sand>=90", "newest"), ("sky s* sea", "best")):
        with django_assert_num_queries(3):
            page = Search(query).page(order=order, size=2)
        with django_assert_num_queries(3):
            Search(query).page(order=order, size=2, cursor=page.next)
    with django_assert_num_queries(1):
        Search("width:>1").page(size=2)
    with django_assert_num_queries(2):  # one looks up assets with the state
        Search("status:new").page(size=2)


def test_many_tags_are_read_in_several_statements(monkeypatch):
    monkeypatch.setattr(page_sql, "MAX_SELECTS", 2)
    for number in range(6):
        an_asset(f"{number}", tags={f"sky{number}": 50 + number, f"sky{5 - number}": 70})
    assert all_references("sky*", size=4) == list("543210")
    assert all_references("sky*", size=4, order="best") == list("543210")


def test_many_values_are_put_in_several_statements(monkeypatch):
    for number in range(6):
        tags = {f"sky{number}": 50 + number, f"sky{5 - number}": 70, f"sea{number}": 60}
        an_asset(f"{number}", tags=tags)
    monkeypatch.setattr(page_sql, "MAX_UNION", 100)  # PostgreSQL, too, one select for each tag
    monkeypatch.setattr(page_sql, "MAX_PARAMS", 30)
    for order in ("newest", "best"):
        with CaptureQueriesContext(connection) as asked:
            assert Search("sky* sea*").page(order=order).ids
        assert len(asked) > 3
        assert all_references("sky* sea*", size=4, order=order) == list("543210")


def test_sorting_what_the_rare_term_finds_gives_the_same_as_walking(monkeypatch):
    for number in range(9):
        tags = {"sky": 10 * number, "sea": 50}
        an_asset(f"{number}", tags=tags if number % 2 else tags | {"whale": 5 * number})
    chosen = []
    for sorts in (True, False):
        monkeypatch.setattr(page_sql, "_sorts", lambda *args, sorts=sorts: sorts)
        chosen += [
            all_references("sky>=20 whale", order=order, size=2)
            for order in ("confidence", "best")
        ]
    assert chosen == [["8", "6", "4", "2"]] * 4


def test_a_rare_term_beside_the_ranking_one_is_sorted_by_and_a_common_one_walked():
    for number in range(30):
        tags = {"sky": number, "sea": 50}
        an_asset(f"{number}", tags=tags | ({"whale": 5} if number < 2 else {}))
    statistics.refresh()
    for query, expected in (("sky whale", True), ("sky sea", False)):
        made = Search(query).plan()
        ranking = [clause for clause in made.clauses if str(clause.node) == "sky"]
        assert page_sql._sorts(made, ranking, 10) is expected


def test_statistics_of_no_asset_do_no_harm():
    Tag.objects.create(key="sky", name="sky")
    Tag.objects.create(key="sea", name="sea")
    assert Search("sky sea").page(order="best").ids == []


@pytest.mark.parametrize("order", ["newest", "oldest", "confidence", "best"])
@pytest.mark.parametrize(
    "query", ["sky", "sky OR sea", "s*", "-whale", "sky sea", "", "nothing"]
)
@pytest.mark.parametrize("tag", [None, "sea"])
def test_neighbours_are_those_of_the_pages(query, order, tag):
    for number in range(9):
        tags = {"sky": 50 + number % 3, "sea": 90 - number % 2} if number % 4 else {"sea": 70}
        an_asset(f"{number}", tags={**tags, "whale": 60} if number == 5 else tags)
    ids = Search(query).page(order=order, tag=tag).ids
    for place, pk in enumerate(ids):
        beside = Search(query).neighbours(pk, order=order, tag=tag)
        assert beside.previous == (ids[place - 1] if place else None)
        assert beside.next == (ids[place + 1] if place + 1 < len(ids) else None)


@pytest.mark.parametrize("order", ["newest", "oldest", "confidence", "best"])
def test_an_asset_that_a_decision_took_out_of_the_result_keeps_its_place(order):
    for number in range(5):
        an_asset(f"{number}", tags={"sky": 50 + number % 3})
    ids = Search("sky").page(order=order).ids
    row = Asset.objects.get(pk=ids[2]).asset_tags.get()
    curation.reject(row.asset_id, row.tag_id, user=None)
    assert ids[2] not in Search("sky").page(order=order).ids
    beside = Search("sky").neighbours(ids[2], order=order)
    assert (beside.previous, beside.next) == (ids[1], ids[3])
    stranger = an_asset("stranger", tags={"sea": 10})
    if order in ("confidence", "best"):
        assert Search("sky").neighbours(stranger.pk, order=order) == Neighbours(None, None)
