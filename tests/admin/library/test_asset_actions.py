"""The asset list's pages: by keyset, in four orders, and Django's for everything else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.db.models import Count
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from filestack_tags import curation
from filestack_tags.admin.forms import RegisterForm
from filestack_tags.admin.library.assets import AssetAdmin
from filestack_tags.assets import registry
from filestack_tags.models import Asset, Tag
from filestack_tags.search.totals import Total
from tests.api.rows import person, tagged

pytestmark = pytest.mark.django_db

LIST = "/admin/filestack_tags/asset/"


@pytest.fixture(autouse=True)
def _pages_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AssetAdmin, "list_per_page", 3)


@pytest.fixture
def ten(db: None) -> list[str]:
    """Ten assets with sky and, every other one, sea; the older, the more confident."""
    for number in range(10):
        sea = {"sea": 60 + number} if number % 2 else {}
        tagged(f"h{number}", {"sky": 95 - number // 2 * 2} | sea, mimetype="image/png")
    return [f"h{number}" for number in range(10)]


def listed(response: Any) -> list[str]:
    assert response.status_code == 200
    return [asset.reference for asset in response.context["cl"].result_list]


def is_by_keyset(response: Any) -> bool:
    return response.context["cl"].list_page is not None


def said(response: Any) -> list[str]:
    """Return the messages under the search box, and those of the page."""
    shown = response.context.get("cl")
    below = [shown.problem, *shown.unknown] if shown else []
    return [str(each) for each in (*below, *response.context["messages"]) if each]


def walk(
    client: Client, page: Any, query: dict[str, str], link: str = "Next", start: str = ""
) -> Iterator[list[str]]:
    """Follow the link from page to page and yield what each lists."""
    response = client.get(LIST + start, query)
    while True:
        yield listed(response)
        href = page(response).links.get(link)
        if href is None:
            return
        response = client.get(LIST + href)


ORDERS = [
    ({}, "9876543210"),
    ({"order": "oldest"}, "0123456789"),
    ({"q": "sky", "order": "confidence"}, "1032547698"),
    ({"order": "confidence", "order_tag": "sea"}, "9753186420"),
    ({"q": "sky OR sea", "order": "best"}, "1032547698"),
    ({"q": "sky sea", "order": "best"}, "13579"),
    ({"q": "sky sea", "order": "confidence", "order_tag": "sea"}, "97531"),
    ({"tag": "sea", "order": "best"}, "97531"),
]


@pytest.mark.parametrize(("query", "expected"), ORDERS)
def test_the_links_lead_over_every_match_once_and_back(
    editor: Client, ten: list[str], page: Any, query: dict[str, str], expected: str
) -> None:
    pages = list(walk(editor, page, query))
    assert [name[1:] for some in pages for name in some] == list(expected)
    assert [len(some) for some in pages[:-1]] == [3] * (len(pages) - 1)
    last = editor.get(LIST, query)
    while href := page(last).links.get("Next"):
        last = editor.get(LIST + href)
    start = last.request["QUERY_STRING"]
    back = list(walk(editor, page, {}, "Previous", f"?{start}"))
    assert back == pages[::-1]
    assert listed(editor.get(LIST + page(last).links["First"])) == pages[0]


def test_what_is_registered_during_a_walk_moves_nothing(
    editor: Client, ten: list[str], page: Any
) -> None:
    seen: list[str] = []
    for number, some in enumerate(walk(editor, page, {"q": "sky"})):
        seen += some
        tagged(f"later{number}", {"sky": 90})
    assert seen == ten[::-1]


def test_the_total_is_exact_up_to_the_cap_and_beyond_it_for_one_tag(
    editor: Client, ten: list[str], page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "10 assets" in page(editor.get(LIST)).text
    assert "5 assets" in page(editor.get(LIST, {"q": "sky sea"})).text
    assert "1 asset " in page(editor.get(LIST, {"q": "sea=69 sky"})).text + " "
    monkeypatch.setattr("filestack_tags.admin.base.COUNT_LIMIT", 4)
    assert "4+ assets" in page(editor.get(LIST)).text
    assert "4+ assets" in page(editor.get(LIST, {"q": "sky sea"})).text
    assert "10 assets" in page(editor.get(LIST, {"q": "sky"})).text
    assert " 0 assets" in page(editor.get(LIST, {"q": "nothing"})).text


def test_a_large_total_is_written_with_its_thousands(editor: Client, ten: list[str]) -> None:
    shown = editor.get(LIST).context["cl"]
    shown.total = Total(10_000, is_exact=False)
    assert shown.total_text == "10,000+"


def test_selecting_all_says_that_there_are_more_than_were_counted(
    editor: Client, ten: list[str], page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Select all 10 assets" in page(editor.get(LIST)).text
    assert "All 10 selected" in page(editor.get(LIST)).text
    monkeypatch.setattr("filestack_tags.admin.base.COUNT_LIMIT", 4)
    for query in ({}, {"o": "6"}):
        text = page(editor.get(LIST, query)).text
        assert "Select all 4+ assets" in text
        assert "All 4+ selected" in text


@pytest.mark.parametrize(
    ("query", "most"),
    [
        ({}, 7),
        ({"q": "sky -only60"}, 8),
        ({"tag": "sky", "confidence": "50"}, 8),
        ({"family": "image", "tagging_state__exact": "tagged"}, 8),  # one looks up the type
        ({"order": "confidence", "order_tag": "sky"}, 9),  # those with sky, those without
    ],
)
def test_a_page_of_fifty_takes_as_many_queries_as_a_page_of_one(
    editor: Client,
    names_at_hand: None,
    monkeypatch: pytest.MonkeyPatch,
    query: dict[str, str],
    most: int,
) -> None:
    monkeypatch.setattr(AssetAdmin, "list_per_page", 50)
    uploader = person("ann")
    tagged("other", {"only60": 90})
    registry.archive(Asset.objects.get().pk)
    counts = []
    for first, last in ((0, 1), (1, 50)):
        for number in range(first, last):
            tagged(f"h{number}", {"sky": 90, f"only{number}": 60}, mimetype="image/png")
        Asset.objects.update(uploader=uploader)
        with CaptureQueriesContext(connection) as asked:
            assert len(listed(editor.get(LIST, query))) == last
        counts.append(len(asked))
    # Session, user, two for permissions, page, assets, their tags; one for the named tags.
    assert counts[0] == counts[1] <= most


def test_a_page_further_on_counts_once_more_and_no_offset_is_skipped(
    editor: Client, ten: list[str], names_at_hand: None, page: Any
) -> None:
    first = page(editor.get(LIST, {"q": "sky -sea>=90"}))
    with CaptureQueriesContext(connection) as asked:
        editor.get(LIST + str(first.links["Next"]))
    assert not [row for row in asked if "OFFSET" in row["sql"]]
    assert len([row for row in asked if "COUNT(" in row["sql"].upper()]) == 1


BAD = "eyJhIjoxfQ:nonsense"


def test_a_cursor_that_was_changed_leads_to_the_first_page_with_a_word(
    editor: Client, ten: list[str], page: Any
) -> None:
    genuine = str(page(editor.get(LIST)).links["Next"]).partition("cursor=")[2]
    for cursor in (BAD, "", "é\x00", "x" * 5000, genuine[:-1], genuine + "A"):
        response = editor.get(LIST, {"cursor": cursor})
        assert listed(response) == ["h9", "h8", "h7"]
        notes = [
            "The link does not point to a page of this list in this order. "
            "The first page is shown instead."
        ]
        assert said(response) == (notes if cursor else [])


@pytest.mark.parametrize("other", [{"q": "sky"}, {"order": "oldest"}, {"family": "image"}])
def test_a_cursor_of_another_list_leads_to_the_first_page_with_a_word(
    editor: Client, ten: list[str], page: Any, other: dict[str, str]
) -> None:
    following = page(editor.get(LIST)).links["Next"]
    foreign = following.partition("cursor=")[2].replace("%3A", ":")
    response = editor.get(LIST, {**other, "cursor": foreign})
    assert listed(response) == listed(editor.get(LIST, other))
    assert "The first page is shown instead." in said(response)[0]


def test_a_page_that_became_empty_leads_to_the_first_with_a_word(
    editor: Client, ten: list[str], page: Any
) -> None:
    following = page(editor.get(LIST)).links["Next"]
    for asset in Asset.objects.exclude(reference__in=["h9", "h8", "h7"]):
        registry.archive(asset.pk)
    response = editor.get(LIST + following)
    assert listed(response) == ["h9", "h8", "h7"]
    assert said(response) == [
        "The requested page is now empty. The first page is shown instead."
    ]


def orders(response: Any) -> list[str]:
    return [each["name"] for each in response.context["cl"].order_links]


def current(response: Any) -> list[str]:
    return [each["name"] for each in response.context["cl"].order_links if each["is_current"]]


@pytest.mark.parametrize(
    ("query", "offered"),
    [
        ("", []),
        ("-sky status:tagged", []),
        ("sky@rejected", []),
        ("tagged", []),
        ("sky>=50 -sea", ["Confidence of “sky”"]),
        ("sky sea", ["Best match", "Confidence of “sky”", "Confidence of “sea”"]),
        ("sky>=60 SKY<90", ["Best match", "Confidence of “sky”"]),
        ("sky OR sea", ["Best match"]),
        ("sk*", ["Best match"]),
        ("sky OR kind:handle", []),
        ("a b c d e f", ["Best match", *(f"Confidence of “{tag}”" for tag in "abcde")]),
    ],
)
def test_the_orders_offered_are_those_that_tell_the_matches_apart(
    editor: Client, ten: list[str], query: str, offered: list[str]
) -> None:
    for tag in "abcdef":
        tagged(f"of_{tag}", dict.fromkeys("abcdef", 90))
    response = editor.get(LIST, {"q": query})
    assert orders(response) == ["Newest", "Oldest", *offered]
    assert current(response) == ["Newest"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"order": "nonsense"}, "Newest"),
        ({"order": "best"}, "Newest"),
        ({"order": "confidence"}, "Newest"),
        ({"order": "oldest", "order_tag": "sky"}, "Oldest"),
        ({"order": "best", "q": "sky"}, "Confidence of “sky”"),
        ({"order": "confidence", "q": "sky OR sea"}, "Best match"),
        ({"order": "confidence", "q": "sky sea"}, "Confidence of “sky”"),
        ({"order": "confidence", "q": "sky sea", "order_tag": " SEA"}, "Confidence of “sea”"),
        ({"order": "confidence", "order_tag": "sea"}, "Confidence of “sea”"),
    ],
)
def test_an_order_is_taken_for_the_one_it_comes_to(
    editor: Client, ten: list[str], query: dict[str, str], expected: str
) -> None:
    assert current(editor.get(LIST, query)) == [expected]


def test_a_tag_to_order_by_that_cannot_be_one_is_explained(
    editor: Client, ten: list[str]
) -> None:
    response = editor.get(LIST, {"order": "confidence", "order_tag": "x" * 201})
    assert listed(response) == ["h9", "h8", "h7"]
    assert "at most 200 characters" in said(response)[0]


def test_links_keep_the_search_and_the_order_but_not_the_place(
    editor: Client, ten: list[str], page: Any
) -> None:
    query = {"q": "sky", "order": "oldest", "kind__exact": "handle"}
    second = page(editor.get(LIST + str(page(editor.get(LIST, query)).links["Next"])))
    assert second.links["First"] == "?kind__exact=handle&order=oldest&q=sky"
    assert second.links["Images"] == "?family=image&kind__exact=handle&order=oldest&q=sky"
    assert second.links["Newest"] == "?kind__exact=handle&q=sky"
    assert second.links["✖ Clear all filters"] == "?order=oldest&q=sky"
    assert second.inputs["order"] == "oldest"
    assert "cursor" not in second.inputs


def test_the_tag_filter_keeps_what_else_the_list_is_asked_for(
    editor: Client, ten: list[str], page: Any
) -> None:
    query = {"q": "sky", "order": "oldest", "_popup": "1"}
    following = page(editor.get(LIST, query)).links["Next"]
    html = page(editor.get(LIST + following)).html
    form = html.partition('class="fst-filter"')[2].partition("</form>")[0]
    hidden = dict(re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', form))
    assert hidden == query


def test_clearing_the_tag_filter_leaves_the_state(
    editor: Client, ten: list[str], page: Any
) -> None:
    query = {"tag": "sky", "tagging_state__exact": "tagged"}
    assert page(editor.get(LIST, query)).links["Clear"] == "?tagging_state__exact=tagged"


def test_up_to_two_hundred_are_shown_on_one_page_if_asked_for(
    editor: Client, ten: list[str], page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = page(editor.get(LIST, {"q": "sky"})).links["Show all"]
    response = editor.get(LIST + link)
    assert listed(response) == ten[::-1]
    assert "Show all" not in page(response).links
    second = page(editor.get(LIST)).links["Next"]
    assert listed(editor.get(f"{LIST}{second}&all=")) == ten[::-1]
    monkeypatch.setattr(AssetAdmin, "list_max_show_all", 9)
    assert "Show all" not in page(editor.get(LIST)).links
    assert len(listed(editor.get(LIST, {"all": ""}))) == 3


# Requests outside the search language


@pytest.mark.parametrize(
    "query",
    [
        {"tag": "sky", "confidence": "75", "source": "auto", "decision": "none"},
        {"family": "image"},
        {"family": "unknown"},
        {"tagging_state__exact": "tagged"},
        {"kind__exact": "handle", "q": "sky"},
    ],
)
def test_our_filters_have_pages_by_keyset(
    editor: Client, ten: list[str], query: dict[str, str]
) -> None:
    assert is_by_keyset(editor.get(LIST, query))


def test_hidden_tags_are_acted_on_where_they_were_searched(
    client_of: Any, ten: list[str], page: Any
) -> None:
    curation.hide(Tag.objects.get(key="sea").pk)
    allowed = client_of("view_asset", "tag_asset", "search_hidden")
    query = {"q": "include:hidden", "tag": "sea"}
    assert listed(allowed.get(LIST, query)) == ["h9", "h7", "h5"]
    response = act_on_all(allowed, page, "?q=include:hidden&tag=sea", "retag")
    assert said(response) == ["5 assets queued."]


def test_a_beginning_of_too_many_tags_is_marked_in_the_text_as_typed(
    editor: Client, ten: list[str], settings: Any
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "SEARCH_MAX_WILDCARD_TAGS": 1}
    response = editor.get(LIST, {"q": "kind:handle    s*", "kind__exact": "handle"})
    assert listed(response) == []
    assert "kind:handle    <mark>s*</mark>" in said(response)[0]


def test_two_states_are_either_of_them(editor: Client, ten: list[str]) -> None:
    Asset.objects.filter(reference="h1").update(tagging_state="failed", due_at=None)
    Asset.objects.filter(reference="h2").update(tagging_state="queued", due_at=timezone.now())
    response = editor.get(f"{LIST}?tagging_state__exact=failed&tagging_state__exact=queued")
    assert listed(response) == ["h2", "h1"]
    assert is_by_keyset(response)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"presence": "archived"}, ["h0"]),
        ({"presence": "archived", "q": "sea"}, []),
        ({"kind__exact": "nonsense"}, []),
        ({"kind__isnull": "False", "q": "sky=95"}, ["h1"]),
        ({"tagging_state__exact": "tagged", "tagging_state__isnull": "True"}, []),
        ({"size__isnull": "True", "q": "sky=95"}, ["h1"]),
    ],
)
def test_what_cannot_be_said_is_left_to_django(
    editor: Client, ten: list[str], query: dict[str, str], expected: list[str]
) -> None:
    registry.archive(Asset.objects.get(reference="h0").pk)
    response = editor.get(LIST, query)
    assert listed(response) == expected
    assert not is_by_keyset(response)


def test_a_column_orders_by_numbered_pages_until_another_order_is_chosen(
    editor: Client, ten: list[str], page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = page(editor.get(LIST, {"q": "sky", "order": "oldest"}))
    by_column = shown.links["Uploaded"]
    assert by_column == "?o=6&q=sky"
    response = editor.get(LIST + by_column)
    assert not is_by_keyset(response)
    assert listed(response) == ["h0", "h1", "h2"]
    assert listed(editor.get(f"{LIST}{by_column}&p=2")) == ["h3", "h4", "h5"]
    assert current(response) == []
    assert page(response).links["Oldest"] == "?order=oldest&q=sky"
    monkeypatch.setattr("filestack_tags.admin.base.COUNT_LIMIT", 4)
    text = page(editor.get(LIST + by_column)).text
    assert "4+ assets" in text
    assert "With this order or filter, you can only page through the first 4 assets." in text
    assert listed(editor.get(f"{LIST}{by_column}&p=2")) == ["h3"]


def test_what_is_to_be_said_of_a_search_is_said_once_by_column_too(
    editor: Client, ten: list[str]
) -> None:
    assert said(editor.get(LIST, {"q": "-nowhere", "o": "6"})) == ["There is no tag “nowhere”."]
    assert len(said(editor.get(LIST, {"q": "sky (", "o": "6"}))) == 1


def test_a_capped_count_stops_in_the_database(
    editor: Client, ten: list[str], names_at_hand: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filestack_tags.admin.base.COUNT_LIMIT", 4)
    with CaptureQueriesContext(connection) as asked:
        editor.get(LIST, {"o": "6"})
    (count,) = [row["sql"] for row in asked if "COUNT(" in row["sql"].upper()]
    assert "LIMIT 5" in count
    assert "ORDER BY" not in count


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[AssetAdmin]], None]:
    """Show the list with a host's own subclass of our admin."""

    def use(subclass: type[AssetAdmin]) -> None:
        monkeypatch.setattr(admin.site.get_model_admin(Asset), "__class__", subclass)

    return use


class Big(admin.SimpleListFilter):
    title, parameter_name = "big", "big"

    def lookups(self, request: Any, model_admin: Any) -> Any:
        return [("yes", "yes")]

    def queryset(self, request: Any, queryset: Any) -> Any:
        return queryset.filter(reference__gt="h4") if self.value() else queryset


class WithFilter(AssetAdmin):
    list_filter = (*AssetAdmin.list_filter, Big, "container")


def test_a_filter_of_the_host_is_left_to_django_once_it_is_used(
    editor: Client, ten: list[str], host: Any
) -> None:
    host(WithFilter)
    assert is_by_keyset(editor.get(LIST))
    response = editor.get(LIST, {"big": "yes", "q": "sea"})
    assert listed(response) == ["h9", "h7", "h5"]
    assert not is_by_keyset(response)
    assert not is_by_keyset(editor.get(LIST, {"container": "none"}))


class Restricted(AssetAdmin):
    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).filter(reference__lt="h2")


class Searching(AssetAdmin):
    def get_search_results(self, request: Any, queryset: Any, search_term: str) -> Any:
        found, twice = super().get_search_results(request, queryset, search_term)
        return found.filter(reference__lt="h2"), twice


class Narrowing(AssetAdmin):
    def get_changelist(self, request: Any, **kwargs: Any) -> Any:
        class Narrow(super().get_changelist(request)):  # type: ignore[misc]  # still a class
            def get_queryset(self, request: Any, exclude_parameters: Any = None) -> Any:
                return super().get_queryset(request).filter(reference__lt="h2")

        return Narrow


@pytest.mark.parametrize("subclass", [Restricted, Searching, Narrowing])
@pytest.mark.parametrize("query", [{}, {"q": "sky"}, {"tag": "sky", "order": "oldest"}])
def test_what_a_host_hides_is_on_no_page(
    editor: Client, ten: list[str], host: Any, subclass: Any, query: dict[str, str]
) -> None:
    host(subclass)
    if subclass is Searching:
        query = {name: value for name, value in query.items() if name != "order"}
    response = editor.get(LIST, query)
    assert set(listed(response)) == {"h0", "h1"}
    assert response.context["cl"].result_count == 2


class Ordered(AssetAdmin):
    ordering = ("-reference",)


def test_an_order_of_the_host_holds_until_another_is_chosen(
    editor: Client, ten: list[str], host: Any
) -> None:
    host(Ordered)
    tagged("a", {"sky": 90})
    assert listed(editor.get(LIST)) == ["h9", "h8", "h7"]
    assert listed(editor.get(LIST, {"order": "newest"})) == ["a", "h9", "h8"]


class Counting(AssetAdmin):
    list_display = (*AssetAdmin.list_display, "how_many")
    list_select_related = ("uploader",)

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).annotate(tag_count=Count("asset_tags"))

    def how_many(self, asset: Any) -> str:
        return f"has {asset.tag_count}"


def test_a_column_that_a_host_computes_is_on_the_pages(
    editor: Client, ten: list[str], host: Any, page: Any
) -> None:
    host(Counting)
    response = editor.get(LIST)
    assert is_by_keyset(response)
    assert page(response).text.count("has 2") == 2
    assert page(response).text.count("has 1") == 1


class Dated(AssetAdmin):
    date_hierarchy = "uploaded_at"


def test_a_date_hierarchy_is_left_to_django_once_it_is_used(
    editor: Client, ten: list[str], host: Any, page: Any
) -> None:
    host(Dated)
    response = editor.get(LIST, {"q": "sea"})
    assert is_by_keyset(response)
    (link,) = re.findall(r'href="(\?[^"]*uploaded_at__day[^"]*)"', page(response).html)[:1]
    response = editor.get(LIST + link.replace("&amp;", "&"))
    assert listed(response) == ["h9", "h7", "h5"]
    assert not is_by_keyset(response)


# Actions


def act(client: Client, query: str, **data: Any) -> Any:
    return client.post(
        LIST + query,
        {"_selected_action": [Asset.objects.latest("pk").pk], "select_across": 1, **data},
        follow=True,
    )


def act_on_all(client: Client, page: Any, query: str, action: str) -> Any:
    """Ask for an action on all that match, and confirm it."""
    question = page(act(client, query, action=action, index=0))
    return client.post(LIST + query, {**question.inputs, "action": action}, follow=True)


def test_an_action_on_all_that_matches_reaches_what_is_on_no_page_shown(
    editor: Client, ten: list[str], page: Any
) -> None:
    following = page(editor.get(LIST, {"q": "sea", "kind__exact": "handle"})).links["Next"]
    response = act_on_all(editor, page, following, "retag")
    assert said(response) == ["5 assets queued."]
    queued = Asset.objects.filter(queued_by="admin").values_list("reference", flat=True)
    assert set(queued) == {"h1", "h3", "h5", "h7", "h9"}
    assert listed(response) == ["h3", "h1"]


def test_an_action_on_all_leaves_archived_assets_alone(
    editor: Client, ten: list[str], page: Any
) -> None:
    registry.archive(Asset.objects.get(reference="h3").pk)
    assert said(act_on_all(editor, page, "", "retag")) == ["9 assets queued."]


def test_archiving_all_that_matches_asks_once_without_naming_each(
    editor: Client, ten: list[str], page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filestack_tags.admin.base.NAMED", 2)
    question = page(act(editor, "?q=sea", action="archive", index=0))
    assert "5 assets are selected: These include: h9 h7" in question.text
    assert question.text.count("h9") == question.text.count("h7") == 1
    assert "h5" not in question.text
    assert question.html.count('name="_selected_action"') == 1
    tagged("h10", {"sea": 90})  # after the page counted
    gone = Asset.objects.get(reference="h1")
    curation.reject(gone.pk, Tag.objects.get(key="sea").pk, user=None)  # and no longer a match
    response = editor.post(
        f"{LIST}?q=sea", {**question.inputs, "action": "archive"}, follow=True
    )
    assert said(response) == ["5 assets archived."]
    assert listed(editor.get(LIST)) == ["h10", "h8", "h6"]


@pytest.mark.parametrize("action", ["tag_now", "retag", "archive"])
@pytest.mark.parametrize(("query", "words"), [("h9", "1 asset is"), ("h*", "10 assets are")])
def test_every_action_on_all_is_for_the_assets_that_were_counted(
    editor: Client, ten: list[str], page: Any, action: str, query: str, words: str
) -> None:
    Asset.objects.update(tagging_state="new", due_at=None, tags_version=0)
    for number in range(10):
        Asset.objects.filter(reference=f"h{number}").update(filename=f"h{number}")
    place = f"?q=name:{query}"
    question = page(act(editor, place, action=action, index=0))
    assert f"{words} selected" in question.text
    before = set(Asset.objects.values_list("pk", flat=True))
    tagged("h10", {"sea": 90}, filename="h9")
    tagged("h11", {"sea": 90}, filename="h1")
    editor.post(LIST + place, {**question.inputs, "action": action})
    touched = Asset.objects.exclude(tagging_state="new", deleted_at=None)
    touched = touched.exclude(reference__in=("h10", "h11"))
    assert touched.count() == int(words.split()[0])
    assert not Asset.objects.exclude(pk__in=before).exclude(deleted_at=None).exists()
    assert not Asset.objects.filter(reference__in=("h10", "h11"), queued_by="admin").exists()


def test_a_confirmation_reaches_no_asset_out_of_scope(
    editor: Client, ten: list[str], page: Any, settings: Any
) -> None:
    question = page(act(editor, "", action="archive", index=0))
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "ASSET_SCOPE": "tests.admin.scopes.first"
    }
    editor.post(LIST, {**question.inputs, "action": "archive"})
    assert Asset.objects.present().count() == 9


def test_archiving_more_than_are_counted_says_so(
    editor: Client, ten: list[str], page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filestack_tags.admin.base.COUNT_LIMIT", 4)
    question = page(act(editor, "", action="archive", index=0))
    assert "The first 4 of the matching assets are selected." in question.text
    editor.post(LIST, {**question.inputs, "action": "archive"})
    assert Asset.objects.present().count() == 6


def test_chosen_assets_are_archived_alone(editor: Client, ten: list[str], page: Any) -> None:
    question = page(act(editor, "?q=sea", action="archive", index=0, select_across=0))
    assert "select_across" not in question.inputs
    act(editor, "?q=sea", action="archive", confirmed="1", select_across=0)
    assert Asset.objects.present().count() == 9


def test_a_bad_cursor_does_not_keep_an_action_from_being_done(
    editor: Client, ten: list[str], page: Any
) -> None:
    response = act_on_all(editor, page, f"?q=sea&cursor={BAD}", "retag")
    assert said(response)[0] == "5 assets queued."
    assert len(said(response)) == 2


def test_nothing_is_done_to_a_search_that_cannot_be_read(
    editor: Client, ten: list[str]
) -> None:
    act(editor, "?q=sky+(", action="archive", confirmed="1")
    assert Asset.objects.present().count() == 10


@pytest.mark.parametrize("allowed", [False, True])
def test_an_external_url_of_a_private_host_is_registered_where_the_setting_says_so(
    settings: Any, allowed: bool
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "ALLOW_PRIVATE_URLS": allowed}
    form = RegisterForm({"reference": "http://127.1/a.jpg"})
    assert form.is_valid() is allowed
    assert ("reference" in form.errors) is not allowed
