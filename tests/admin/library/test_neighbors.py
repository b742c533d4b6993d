"""Navigation from asset to asset within a result, at any depth."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.db.models import Q
from django.test import Client
from django.test.utils import CaptureQueriesContext

from filestack_tags.models import Asset, Tag
from tests.api.rows import tagged

pytestmark = pytest.mark.django_db

LIST = "/admin/filestack_tags/asset/"
PREVIOUS, NEXT, BACK = "Previous asset", "Next asset", "Back to the results"


@pytest.fixture
def five() -> list[Asset]:
    return [
        tagged(f"h{number}", {"sky": 90 - number, "sea": 50}, filename=f"{number}.jpg")
        for number in range(5)
    ]


def walked(editor: Client, page: Any, start: str, link: str) -> list[str]:
    """Return the names of the assets that a link leads to, one after the other."""
    names = []
    at = start
    while at:
        shown = page(editor.get(at))
        names.append(at.partition("/change/")[0].rpartition("/")[2])
        at = shown.links.get(link)
    return names


@pytest.mark.parametrize(
    "asked",
    ["?q=sky", "?q=sky&order=oldest", "?q=sky&order=confidence&order_tag=sky", "", "?tag=sea"],
)
def test_links_walk_the_result_in_its_order_and_back(
    five: list[Asset], editor: Client, page: Any, asked: str
) -> None:
    listed = page(editor.get(LIST + asked))
    names = [name for name in listed.links if name.endswith(".jpg")]
    assert len(names) == 5
    ids = [str(Asset.objects.get(filename=name).pk) for name in names]
    first, last = listed.links[names[0]], listed.links[names[-1]]
    assert walked(editor, page, first, NEXT) == ids
    assert walked(editor, page, last, PREVIOUS) == ids[::-1]
    back = page(editor.get(first)).links[BACK]
    assert [name for name in page(editor.get(back)).links if name.endswith(".jpg")] == names


def test_the_page_and_the_view_of_the_list_are_not_part_of_the_way(
    five: list[Asset], editor: Client, page: Any
) -> None:
    shown = page(editor.get(f"{LIST}?q=sky&view=table&presence="))
    said = parse_qs(urlsplit(shown.links["0.jpg"]).query)
    assert said == {"_changelist_filters": ["presence=&q=sky"]}


def test_after_a_decision_the_way_goes_on(five: list[Asset], editor: Client, page: Any) -> None:
    asked = "?q=sky&order=confidence&order_tag=sky"
    link = page(editor.get(LIST + asked)).links["2.jpg"]
    query = urlsplit(link).query
    sky = Tag.objects.get(key="sky")
    url = f"{LIST}{five[2].pk}/decide/?{query}"
    shown = page(editor.get(link))
    assert f'action="{url.replace("&", "&amp;")}"' in shown.html
    shown = page(editor.post(url, {"reject": sky.pk}, follow=True))
    assert "Rejected sky." in shown.text
    assert f"/{five[3].pk}/change/" in shown.links[NEXT]
    assert f"/{five[1].pk}/change/" in shown.links[PREVIOUS]


def test_what_cannot_be_read_or_walked_leads_back_only(
    five: list[Asset], editor: Client, page: Any
) -> None:
    for asked in ("q%3Dsky%3E%3D", "presence%3Darchived", "o%3D6"):
        shown = page(editor.get(f"{LIST}{five[0].pk}/change/?_changelist_filters={asked}"))
        assert BACK in shown.links, asked
        assert NEXT not in shown.links, asked
    shown = page(editor.get(f"{LIST}{five[0].pk}/change/"))
    assert not {BACK, NEXT, PREVIOUS} & shown.links.keys()


def odd_ones(user: Any) -> Q:
    return Q(filename__in=("1.jpg", "3.jpg"))


def test_the_way_leads_past_what_somebody_may_not_see(
    five: list[Asset], editor: Client, page: Any, settings: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"ASSET_SCOPE": f"{__name__}.odd_ones"}
    shown = page(editor.get(f"{LIST}{five[3].pk}/change/?_changelist_filters=q%3Dsky"))
    assert f"/{five[1].pk}/change/" in shown.links[NEXT]
    assert PREVIOUS not in shown.links


def test_the_way_costs_a_few_statements_wherever_it_is(
    five: list[Asset], editor: Client, names_at_hand: None
) -> None:
    def statements(query: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert editor.get(f"{LIST}{five[2].pk}/change/?{query}").status_code == 200
        return len(asked)

    alone = statements("")
    newest = statements("_changelist_filters=q%3Dsky")
    assert newest - alone <= 5
    best = statements("_changelist_filters=q%3Dsky+sea%26order%3Dbest")
    assert best - alone <= 7
    for number in range(30):
        tagged(f"more{number}", {"sky": 70, "sea": 40})
    assert statements("_changelist_filters=q%3Dsky") == newest
