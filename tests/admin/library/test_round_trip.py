"""Every filter of the list can be written as a search with the same result."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filestack_tags.models import Asset, AssetTag, BulkJob, SavedSearch, Tag
from filestack_tags.search.language.parser import parse
from tests import examples
from tests.api.rows import tagged

pytestmark = pytest.mark.django_db

LIST = "/admin/filestack_tags/asset/"
ASK = "/admin/filestack_tags/bulkjob/ask/"

NAMES = [
    "sky",
    "wall clock",
    'say "x"',
    "status:failed",
    "AND",
    "tagged",
    "a\\",
    "-x",
    "İ*",
    "ß",
]
FILTERS = {
    "q": [
        "",
        "sky",
        "sky OR sea",
        "-sky",
        "include:hidden (sea OR sky)",
        "name:IMG*",
        "type:jpg",
    ],
    "tag": NAMES,
    "confidence": ["50", "75", "90", "x"],
    "source": ["auto", "user", "x"],
    "decision": ["none", "accepted", "rejected", "added"],
    "tagging_state__exact": Asset.State.values,
    "family": ["image", "video", "audio", "application", "unknown", "x"],
    "kind__exact": Asset.Kind.values,
    "order": ["newest", "oldest", "best"],
}
combinations = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) for name, values in FILTERS.items()}
)


@pytest.fixture
def client() -> Client:
    for number, name in enumerate(NAMES):
        tags = {name: 40 + 6 * number, "sky": 90 - 9 * number}
        mimetype = ["", "image/jpeg", "video/mp4", "unknown"][number % 4]
        tagged(f"r{number}", tags, filename=f"IMG{number}", mimetype=mimetype)
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@settings(examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=combinations)
def test_every_combination_of_filters_round_trips(
    client: Client, chosen: dict[str, str]
) -> None:
    reply = client.get("/admin/filestack_tags/asset/", chosen)
    assert reply.status_code == 200
    changelist = reply.context["cl"]
    text = changelist.search_text
    assert text is not None, chosen
    query = parse(text)
    assert str(query) == text
    shown = sorted(asset.pk for asset in changelist.result_list)
    found = Asset.objects.search(text, include_hidden=True)
    assert sorted(found.values_list("pk", flat=True)) == shown
    again = client.get("/admin/filestack_tags/asset/", {"q": text}).context["cl"]
    assert sorted(asset.pk for asset in again.result_list) == shown


def test_a_file_without_a_type_is_found_by_the_filter_and_its_search(client: Client) -> None:
    reply = client.get("/admin/filestack_tags/asset/", {"family": "unknown"})
    changelist = reply.context["cl"]
    assert changelist.search_text == "type:unknown"
    assert {asset.mimetype for asset in changelist.result_list} == {"", "unknown"}
    page = "/admin/filestack_tags/bulkjob/ask/"
    assert client.get(page, {"query": changelist.search_text}).status_code == 200


def test_a_bulk_job_from_the_filter_for_an_unknown_type_changes_what_it_shows(
    client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    chosen = {"action": "in_bulk", "select_across": "1", "index": "0"}
    shown = client.get(LIST, {"family": "unknown"}).context["cl"].result_list
    chosen["_selected_action"] = str(shown[0].pk)
    form = client.post(f"{LIST}?family=unknown", chosen, follow=True)
    assert form.request["PATH_INFO"] == ASK
    said = {
        "query": form.context["form"]["query"].value(),
        "action": "add_tag",
        "tag": "untyped",
        "key": form.context["form"]["key"].value(),
    }
    with django_capture_on_commit_callbacks(execute=True):
        client.post(ASK, {**said, "confirmed": "1"})
    job = BulkJob.objects.get()
    assert (job.query, job.state) == ("type:unknown", "finished")
    changed = AssetTag.objects.filter(tag__key="untyped").values_list("asset_id", flat=True)
    assert sorted(changed) == sorted(asset.pk for asset in shown)


def test_a_search_saved_from_the_filter_for_an_unknown_type_finds_what_it_shows(
    client: Client,
) -> None:
    changelist = client.get(LIST, {"family": "unknown"}).context["cl"]
    form = client.get(f"/admin/filestack_tags/savedsearch/add/?{changelist.save_query}")
    said = {
        "name": "No type",
        "query": form.context["adminform"].form["query"].value(),
        "order": "newest",
        "_save": "1",
    }
    client.post("/admin/filestack_tags/savedsearch/add/", said)
    saved = SavedSearch.objects.get()
    assert saved.query == "type:unknown"
    assert list(saved.assets()) == list(changelist.result_list)


@settings(examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=combinations)
def test_archived_assets_have_no_search_whatever_is_filtered(
    client: Client, chosen: dict[str, str]
) -> None:
    Asset.objects.filter(reference__in=["r0", "r4"]).update(deleted_at=timezone.now())
    reply = client.get(LIST, {**chosen, "presence": "archived"})
    assert reply.status_code == 200
    changelist = reply.context["cl"]
    assert (changelist.search_text, changelist.save_query) == (None, "")
    assert {asset.reference for asset in changelist.result_list} <= {"r0", "r4"}


def test_a_search_that_is_too_long_with_its_filters_says_so(client: Client) -> None:
    long = " ".join(["x" * 199] * 5)
    reply = client.get("/admin/filestack_tags/asset/", {"q": long, "tag": "y" * 199})
    assert "The search and the filters together exceed a limit." in reply.content.decode()
    assert reply.context["cl"].search_text is None


def test_the_number_of_a_tag_leads_to_as_many_assets(client: Client) -> None:
    Tag.objects.filter(key="sky").update(min_confidence=60)
    page = client.get("/admin/filestack_tags/tag/").content.decode()
    links = re.findall(r'href="(/admin/filestack_tags/asset/[?][^"]*)">([0-9]+)</a>', page)
    assert len(links) == Tag.objects.count()
    for link, number in links:
        changelist = client.get(unescape(link)).context["cl"]
        assert changelist.result_count == int(number), link
