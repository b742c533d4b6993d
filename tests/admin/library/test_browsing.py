"""Finding assets: terms to click, completion, tags of the result, two views."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from hypothesis import given

from filestack_tags import curation
from filestack_tags.admin.library import search_terms
from filestack_tags.admin.library.search_terms import Term, Word
from filestack_tags.models import Asset, Tag
from filestack_tags.search import completion as completion
from filestack_tags.search.language.parser import Limits, parse
from filestack_tags.search.language.tree import Query
from tests.api.rows import tagged
from tests.search.strategies import queries

LIST = "/admin/filestack_tags/asset/"
FACETS = f"{LIST}facets/"
COMPLETE = f"{LIST}complete/"
WIDE = Limits(length=100_000, terms=1000, depth=30)
AS_PART = {"headers": {"X-Requested-With": "XMLHttpRequest"}}


@pytest.fixture
def three(db: None) -> None:
    tagged("first", {"sky": 90, "New York": 60})
    tagged("second", {"sky": 60, "sea": 95})
    tagged("third", {"sea": 40})
    completion.clear_cache()


# Terms


def test_each_required_term_is_removed_alone_and_what_is_nested_stays_whole() -> None:
    query = parse("sky>=80 (beach OR -(sea x)) -person include:hidden")
    assert search_terms.terms(query) == [
        Term("sky>=80", "(beach OR -(sea x)) -person include:hidden"),
        Term("beach OR -(sea x)", "sky>=80 -person include:hidden"),
        Term("-person", "sky>=80 (beach OR -(sea x)) include:hidden"),
        Term("include:hidden", "sky>=80 (beach OR -(sea x)) -person"),
    ]


def test_alternatives_are_one_term_and_nothing_is_none() -> None:
    assert search_terms.terms(parse("a OR b")) == [Term("a OR b", "")]
    assert search_terms.terms(parse("")) == []


@given(queries)
def test_whatever_is_clicked_can_be_read_again_and_says_the_same_of_the_rest(
    query: Query,
) -> None:
    shown = [term.text for term in search_terms.terms(query)]
    for index, term in enumerate(search_terms.terms(query)):
        rest = [each.text for each in search_terms.terms(parse(term.rest, WIDE))]
        assert rest == shown[:index] + shown[index + 1 :]
    for name in ("AND", 'say "hi"', "new york"):
        added = parse(search_terms.with_tag(query, name), WIDE)
        assert search_terms.stance(added, name) == "included"
        out = parse(search_terms.with_tag(added, name, exclude=True), WIDE)
        assert search_terms.stance(out, name) == "excluded"
        assert search_terms.stance(parse(search_terms.without_tag(out, name), WIDE), name) == ""
    raised = parse(search_terms.with_minimum(query, 70), WIDE)
    assert search_terms.minimum(raised) in (None, 70)


@pytest.mark.parametrize(
    ("text", "name", "exclude", "expected"),
    [
        ("", "sky", False, "sky"),
        ("sea>=60", "New York", False, 'sea>=60 "New York">=60'),
        ("sea>=60", "sky", True, "sea>=60 -sky"),
        ("-sky sea", "Sky", False, "sea Sky"),
        ("sky>=80 sea", "sky", True, "sea -sky"),
        ("a OR b", "c", False, "(a OR b) c"),
    ],
)
def test_a_tag_is_required_or_excluded_once(
    text: str, name: str, exclude: bool, expected: str
) -> None:
    assert search_terms.with_tag(parse(text), name, exclude=exclude) == expected


@pytest.mark.parametrize(
    ("text", "least", "raised"),
    [
        ("", None, ""),
        ("-sky status:failed", None, "-sky status:failed"),
        ("sky", 0, "sky>=70"),
        ("sky>=50 (sea>=50 OR x>=50)", 50, "sky>=70 (sea>=70 OR x>=70)"),
        ("sky>=50 sea", 0, "sky>=70 sea>=70"),
        ("sky:10..20 sea -x>=5", 0, "sky:10..20 sea>=70 -x>=5"),
    ],
)
def test_the_minimum_is_that_of_all_tags_asked_for(
    text: str, least: int | None, raised: str
) -> None:
    query = parse(text)
    assert search_terms.minimum(query) == least
    assert search_terms.with_minimum(query, 70) == raised
    assert search_terms.minimum(parse(search_terms.with_minimum(query, 0))) in (0, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("|", Word("", "", "")),
        ("sk|", Word("sk", "", "")),
        ("sky se|a x", Word("se", "sky ", " x")),
        ("-(be|", Word("be", "-(", "")),
        ("--be|", Word("be", "--", "")),
        ("a OR |", Word("", "a OR ", "")),
        ("a OR|", None),
        ('-"new y|', Word("new y", "-", "")),
        ('"new york"|', Word("new york", "", "")),
        ("sky>=8|", None),
        ("status:fa|", None),
        ("sky@us|", None),
        ("bea*|", Word("bea", "", "")),
        ("😀 sk|y", Word("sk", "😀 ", "")),
    ],
)
def test_the_word_under_the_caret_is_what_is_completed(
    text: str, expected: Word | None
) -> None:
    caret = text.index("|")
    assert search_terms.word_at(text.replace("|", ""), caret) == expected


# Completion


def test_names_are_completed_as_they_are_written_in_a_search(
    editor: Client, three: None
) -> None:
    answer = editor.get(COMPLETE, {"before": "-(sky OR yo", "after": ") x"})
    assert answer.json() == {
        "before": "-(sky OR ",
        "after": ") x",
        "tags": [{"name": "New York", "text": '"New York"', "count": 1, "note": ""}],
    }
    assert editor.get(COMPLETE, {"before": "sky>="}).json()["tags"] == []


def test_a_count_that_is_not_what_the_name_finds_says_so(editor: Client, three: None) -> None:
    curation.set_minimum(Tag.objects.get(key="sky").pk, 80)
    completion.clear_cache()
    (sky,) = editor.get(COMPLETE, {"before": "sk"}).json()["tags"]
    assert sky == {
        "name": "sky",
        "text": "sky",
        "count": 2,
        "note": "at any confidence; minimum 80",
    }
    found = editor.get(LIST, {"q": sky["text"]}).context["cl"]
    assert found.result_count == 1
    found = editor.get(LIST, {"q": f"{sky['text']}>=0"}).context["cl"]
    assert found.result_count == sky["count"]
    with translation.override("de"):
        (sky,) = editor.get(COMPLETE, {"before": "sk"}).json()["tags"]
    assert sky["note"] == "bei jeder Konfidenz; Minimum 80"


def test_hidden_names_are_completed_for_who_may_and_asks(client_of: Any, three: None) -> None:
    curation.hide(Tag.objects.get(key="sea").pk)
    completion.clear_cache()

    def found(client: Client, before: str) -> list[str]:
        return [tag["name"] for tag in client.get(COMPLETE, {"before": before}).json()["tags"]]

    allowed = client_of("view_asset", "search_hidden")
    assert found(allowed, "include:hidden se") == ["sea"]
    assert found(allowed, "se") == []
    assert found(client_of("view_asset"), "include:hidden se") == []


def test_completion_says_what_is_refused(client_of: Any) -> None:
    assert client_of("view_tag").get(COMPLETE, {"before": "s"}).status_code == 403
    answer = client_of("view_asset").get(COMPLETE, {"before": "s" * 3000})
    assert (answer.status_code, answer.json()) == (400, {"error": "This search is too long."})


# Tags of a result


def test_the_tags_of_a_result_are_counted_with_links(
    editor: Client, three: None, page: Any
) -> None:
    response = editor.get(FACETS, {"q": "sky", "view": "table"}, **AS_PART)
    shown = [(tag["name"], tag["count"], tag["stance"]) for tag in response.context["tags"]]
    assert shown == [("sky", 2, "included"), ("New York", 1, ""), ("sea", 1, "")]
    text = page(response)
    assert "Exact counts." in text.text
    assert f'href="{LIST}?q=sky+sea&amp;view=table"><bdi>sea</bdi>' in text.html
    assert f'href="{LIST}?view=table" aria-current="true"><bdi>sky</bdi>' in text.html
    assert f'href="{LIST}?q=sky+-sea&amp;view=table"' in text.html


def test_filters_narrow_the_result_whose_tags_are_counted(editor: Client, three: None) -> None:
    response = editor.get(FACETS, {"tag": "sea", "confidence": "90"}, **AS_PART)
    assert {tag["name"] for tag in response.context["tags"]} == {"sky", "sea"}


def test_what_cannot_be_counted_says_so(editor: Client, three: None, page: Any) -> None:
    for query in ({"presence": "archived"}, {"q": "sky ("}):
        assert "not available" in page(editor.get(FACETS, query, **AS_PART)).text
    assert "No asset" in page(editor.get(FACETS, {"q": "untagged"}, **AS_PART)).text


def test_tags_and_neighbors_are_left_out_if_a_prefix_matches_too_many_tags(
    editor: Client, three: None, page: Any, settings: Any
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "SEARCH_MAX_WILDCARD_TAGS": 1}
    assert "not available for this list" in page(editor.get(FACETS, {"q": "s*"})).text
    asset = Asset.objects.latest("pk")
    result = {"_changelist_filters": "q=s*"}
    links = page(editor.get(f"{LIST}{asset.pk}/change/", result)).links
    assert "Back to the results" in links
    assert not {"Previous asset", "Next asset"} & links.keys()


def test_the_tags_of_a_result_are_a_page_of_their_own_without_javascript(
    editor: Client, client_of: Any, three: None, page: Any
) -> None:
    shown = page(editor.get(FACETS, {"q": "sky"}))
    assert f'<a href="{LIST}?q=sky">Assets</a>' in shown.html
    assert not shown.inline
    assert client_of("view_tag").get(FACETS).status_code == 403


# The list


def test_the_slider_is_written_into_the_search(editor: Client, three: None) -> None:
    answer = editor.get(LIST, {"q": "sky -sea", "at_least": "70", "view": "grid"})
    assert (answer.status_code, answer["Location"]) == (302, "?q=sky%3E%3D70+-sea&view=grid")
    answer = editor.get(LIST, {"q": "sky (", "at_least": "7000"})
    assert answer["Location"] == "?q=sky+%28"


def test_terms_are_chips_that_keep_filters_and_view(
    editor: Client, three: None, page: Any
) -> None:
    shown = page(editor.get(LIST, {"q": "sky -sea", "kind__exact": "handle", "view": "table"}))
    assert 'aria-label="Remove -sea"' in shown.html
    assert 'href="?kind__exact=handle&amp;q=sky&amp;view=table"' in shown.html
    assert shown.links["Remove all"] == "?kind__exact=handle&view=table"


def test_the_view_is_remembered_and_nonsense_is_not(editor: Client, three: None) -> None:
    assert editor.get(LIST).context["cl"].view == "grid"
    assert editor.get(LIST, {"view": "table"}).context["cl"].view == "table"
    assert editor.get(LIST).context["cl"].view == "table"
    response = editor.get(LIST, {"view": "nonsense"})
    assert (response.status_code, response.context["cl"].view) == (200, "grid")
    assert editor.cookies["view"].value == "table"


def test_the_whole_question_is_one_search_for_what_is_done_with_all_of_it(
    editor: Client, three: None
) -> None:
    def text(**query: str) -> str | None:
        said: str | None = editor.get(LIST, query).context["cl"].search_text
        return said

    assert text(q="sky OR sea", kind__exact="handle") == "(sky OR sea) kind:handle"
    assert text() == ""
    assert text(q="sky (") is None
    assert text(presence="archived") is None


def test_tags_of_a_list_that_cannot_be_filtered_so_are_refused_in_words(
    editor: Client,
) -> None:
    reply = editor.get(FACETS, {"nothing_we_know": "1"})
    assert reply.status_code == 400
    assert reply.content == b"The list does not support this filter."


def test_a_page_costs_the_same_queries_however_many_assets_it_shows(
    editor: Client, three: None, names_at_hand: None
) -> None:
    def counted(path: str, **query: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert editor.get(path, query).status_code == 200
        return len(queries)

    (
        counted(LIST, q="sky"),
        counted(FACETS, q="sky"),
    )  # values that a process caches on first use
    few = counted(LIST, q="sky"), counted(FACETS, q="sky")
    for number in range(20):
        tagged(f"more{number}", {"sky": 80, f"tag{number}": 50})
    assert (counted(LIST, q="sky"), counted(FACETS, q="sky")) == few
    assert few == (8, 7)
