"""The review queue: undecided tags between two confidences."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from filestack_tags import curation
from filestack_tags.admin.review.queue import PAGE
from filestack_tags.curation import merging
from filestack_tags.models import Asset, AssetTag, Tag, TagDecision
from filestack_tags.search import statistics
from tests.api.rows import person, tagged

pytestmark = pytest.mark.django_db

REVIEW = "/admin/filestack_tags/asset/review/"


def tag_id(key: str) -> int:
    return Tag.objects.get(key=key).pk


def queue(client: Client, page: Any, query: str = "tag=sky") -> Any:
    return page(client.get(f"{REVIEW}?{query}"))


def listed(client: Client, query: str = "tag=sky") -> list[str]:
    groups = client.get(f"{REVIEW}?{query}").context["groups"]
    return [f"{row.asset} {row.tag}" for _, rows in groups for row in rows]


def press(client: Client, **data: Any) -> list[str]:
    response = client.post(f"{REVIEW}decide/", {"state": "tag=sky", **data}, follow=True)
    assert response.redirect_chain == [(f"{REVIEW}?{data.get('state', 'tag=sky')}", 302)]
    return [str(message) for message in response.context["messages"]]


def test_the_queue_holds_what_is_undecided_and_shown_between_the_confidences(
    editor: Client,
) -> None:
    for name, confidence in (("a", 39), ("b", 40), ("c", 80), ("d", 81), ("e", 60), ("f", 60)):
        tagged(name, {"sky": confidence})
    sky = tag_id("sky")
    curation.accept(AssetTag.objects.get(asset__reference="e").asset_id, sky, user=None)
    curation.reject(AssetTag.objects.get(asset__reference="f").asset_id, sky, user=None)
    assert listed(editor) == ["c sky", "b sky"]
    assert listed(editor, "tag=SKY&low=0&high=100") == ["d sky", "c sky", "b sky", "a sky"]
    curation.set_minimum(sky, 70)
    assert listed(editor) == ["c sky"]
    curation.hide(sky)
    assert listed(editor) == []


def test_a_search_narrows_the_queue_and_one_that_cannot_be_read_is_explained(
    editor: Client, page: Any
) -> None:
    tagged("a", {"sky": 60, "sea": 90})
    tagged("b", {"sky": 60})
    assert listed(editor, "tag=sky&q=sea") == ["a sky"]
    assert listed(editor, "tag=sky&q=sky>=60 OR sea") == ["b sky", "a sky"]
    assert listed(editor, "tag=sky&q=sky>60") == []
    assert "fst-note" in queue(editor, page, "tag=sky&q=(sea").html
    assert "There is no tag “nothing”." in queue(editor, page, "tag=nothing").text


def test_pages_hold_every_row_once(editor: Client, page: Any) -> None:
    for number in range(PAGE + 5):
        tagged(f"h{number}", {"sky": 60 - number % 2})
    first = listed(editor)
    following = str(queue(editor, page).links["Next page"])
    rest = listed(editor, following.lstrip("?"))
    assert len(first) == PAGE
    assert len({*first, *rest}) == len(first) + len(rest) == PAGE + 5
    assert listed(editor, "tag=sky&after=x-1") == first


def test_tags_are_decided_and_undone_from_the_queue(editor: Client, page: Any) -> None:
    assets = [tagged(name, {"sky": 60}) for name in ("a", "b")]
    sky = tag_id("sky")
    assert press(editor, asset=assets[0].pk, accept=sky) == ["Accepted sky."]
    assert press(editor, asset=assets[1].pk, reject=sky) == ["Rejected sky."]
    assert listed(editor) == []
    assert "There are no unreviewed tags" in queue(editor, page).text
    for entry in TagDecision.objects.all():
        assert press(editor, undo=entry.pk) == ["Undid the decision about sky."]
    assert listed(editor) == ["b sky", "a sky"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"asset": "1000000000", "accept": "1"}, "The asset no longer exists."),
        ({"asset": "x", "accept": "1"}, "The asset no longer exists."),
        ({"asset": "known"}, "The decision or the tag does not exist"),
        ({"undo": "1000000000"}, "The decision or the tag does not exist."),
        ({"undo": "x"}, "The decision or the tag does not exist."),
    ],
)
def test_what_cannot_be_decided_is_explained(
    editor: Client, data: dict[str, str], words: str
) -> None:
    asset = tagged("a", {"sky": 60})
    known = {"accept": tag_id("sky"), "known": asset.pk}
    data = {name: str(known.get(name, known.get(text, text))) for name, text in data.items()}
    assert words in press(editor, **data)[0]


def test_a_queue_that_is_older_than_a_decision_asks_before_it_overrides(
    editor: Client, page: Any
) -> None:
    asset = tagged("a", {"sky": 60})
    sky, bob = tag_id("sky"), person("bob")
    seen = queue(editor, page).inputs["seen"]
    curation.reject(asset.pk, sky, user=bob)
    data = {"state": "tag=sky", "asset": asset.pk, "accept": sky, "seen": seen}
    refused = editor.post(f"{REVIEW}decide/", data, follow=True)
    assert "bob rejected “sky” (" in str(next(iter(refused.context["messages"])))
    assert "Accept “sky” on a anyway?" in page(refused).text
    assert AssetTag.objects.get().decision == 2
    data["seen"] = refused.context["question"].seen
    editor.post(f"{REVIEW}decide/", data)
    assert AssetTag.objects.get().decision == 1


def test_all_above_a_confidence_are_accepted_after_a_preview(editor: Client, page: Any) -> None:
    for name, confidence in (("a", 50), ("b", 70), ("c", 75)):
        tagged(name, {"sky": confidence, "sea": 70})
    shown = queue(editor, page, "tag=sky&at_least=70")
    assert "sky is unreviewed on 2 assets" in shown.text
    chosen = str(shown.inputs["assets"])
    tagged("d", {"sky": 80})  # after the page counted
    curation.reject(Asset.objects.get(reference="b").pk, tag_id("sky"), user=person("bob"))
    assert press(editor, all="1", assets=chosen) == ["Accepted sky on 1 asset."]
    assert AssetTag.objects.get(asset__reference="b", tag__key="sky").decision == 2
    assert listed(editor) == ["d sky", "a sky"]
    assert press(editor, all="1", assets="x,,-1,99999999999999999999") == [
        "Accepted sky on 0 assets."
    ]
    accepted = TagDecision.objects.filter(act="accept")
    assert set(accepted.values_list("tag__key", "origin")) == {("sky", "admin")}


def test_by_asset_all_its_undecided_tags_are_shown_together(editor: Client) -> None:
    tagged("a", {"sky": 60, "sea": 70, "fog": 30, "sand": 75})
    tagged("b", {"sea": 70})
    curation.set_minimum(tag_id("sand"), 80)
    assert listed(editor, "tag=sky&by=asset") == ["a sea", "a sky"]


def test_without_a_tag_the_most_used_ones_are_offered(editor: Client, page: Any) -> None:
    assert "No assets have tags yet." in queue(editor, page, "").text
    tagged("a", {"sky": 60, "sea": 70, "old harbour & pier": 50})
    curation.hide(tag_id("sea"))
    statistics.refresh()
    shown = queue(editor, page, "")
    assert "≈ 1" in shown.text
    assert "sea" not in shown.text.split("Select a tag")[1]
    link = next(url for name, url in shown.links.items() if name.startswith("old harbour"))
    assert listed(editor, str(link).lstrip("?")) == ["a old harbour & pier"]


def test_who_may_only_look_sees_no_controls_and_cannot_post(client_of: Any, page: Any) -> None:
    asset = tagged("a", {"sky": 60})
    viewer = client_of("view_asset")
    shown = queue(viewer, page, "tag=sky&at_least=50")
    assert "sky" in shown.text
    assert not [row for row in shown.buttons if row.get("name")]
    assert "live.js" not in shown.html
    data = {"asset": asset.pk, "accept": tag_id("sky")}
    assert viewer.post(f"{REVIEW}decide/", data).status_code == 403
    assert client_of().get(REVIEW).status_code == 403
    assert client_of("change_asset", "view_asset").get(f"{REVIEW}decide/").status_code == 405
    assert not TagDecision.objects.exists()


def test_the_queue_needs_no_inline_script_or_style(editor: Client, page: Any) -> None:
    tagged("a", {"<b>sky": 60})
    shown = queue(editor, page, "tag=<b>sky")
    assert shown.inline == []
    assert "<b>sky" not in shown.html


def test_a_full_page_takes_as_many_queries_as_one_row(
    editor: Client, django_assert_max_num_queries: Any
) -> None:
    counts = []
    for many in (1, PAGE + 1):
        for number in range(many):
            tagged(f"{many}-{number}", {"sky": 60, "sea": 70})
        for query in ("tag=sky", "tag=sky&by=asset&at_least=50"):
            editor.get(f"{REVIEW}?{query}")
            with django_assert_max_num_queries(13) as asked:
                editor.get(f"{REVIEW}?{query}")
            counts.append(len(asked))
    assert counts[:2] == counts[2:]


def test_the_log_says_who_decided_what_and_undoes_what_is_chosen(
    client_of: Any, page: Any
) -> None:
    editor = client_of("view_asset", "change_asset", "view_tagdecision")
    asset = tagged("a", {"sky": 60})
    sky = tag_id("sky")
    press(editor, asset=asset.pk, accept=sky)
    first = TagDecision.objects.get().pk
    press(editor, asset=asset.pk, reject=sky)
    log = "/admin/filestack_tags/tagdecision/"
    shown = page(editor.get(log)).text
    assert "rejected" in shown
    assert "staff0" in shown
    assert page(editor.get(f"{log}{first}/change/")).text
    chosen = {"action": "undo", "_selected_action": [first], "index": 0}
    told = editor.post(log, chosen, follow=True).context["messages"]
    assert ["0 decisions undone." in str(text) for text in told] == [True, False]
    chosen["_selected_action"] = [entry.pk for entry in TagDecision.objects.all()]
    told = editor.post(log, chosen, follow=True).context["messages"]
    assert [str(text) for text in told] == ["2 decisions undone."]
    viewer = client_of("view_tagdecision")
    assert 'name="action"' not in page(viewer.get(log)).html
    viewer.post(log, chosen)
    assert TagDecision.objects.count() == 4
    assert client_of("view_asset").get(log).status_code == 403


def test_a_tag_that_is_being_merged_stands_for_its_target(editor: Client, page: Any) -> None:
    for name, tags in (("a", {"bike": 10, "cycle": 60}), ("b", {"cycle": 70})):
        tagged(name, tags)
    merging.start(tag_id("bike"), tag_id("cycle"), user=None)
    assert listed(editor, "tag=bike") == ["b cycle", "a cycle"]
    chosen = str(queue(editor, page, "tag=bike&at_least=40").inputs["assets"])
    assert press(editor, state="tag=bike", all="1", assets=chosen) == [
        "Accepted cycle on 2 assets."
    ]
    assert AssetTag.objects.get(tag__key="bike").decision == AssetTag.Decision.NONE


def test_hidden_names_are_not_confirmed(client_of: Any, page: Any) -> None:
    tagged("a", {"secret": 60})
    curation.add_alias(tag_id("secret"), "public")
    curation.hide(tag_id("secret"))
    reviewer = client_of("view_asset", "change_asset")
    for name in ("secret", "public"):
        shown = queue(reviewer, page, f"tag={name}")
        assert f"There is no tag “{name}”." in shown.text
        assert shown.text.count("secret") == (name == "secret")
        assert press(reviewer, state=f"tag={name}", all="1", assets="1") == [
            "The decision or the tag does not exist."
        ]
    allowed = client_of("view_asset", "change_asset", "search_hidden")
    assert "This tag is hidden" in queue(allowed, page, "tag=public").text


def test_a_cursor_of_another_queue_is_explained(editor: Client, page: Any) -> None:
    for number in range(PAGE + 1):
        tagged(f"h{number}", {"sky": 60})
    following = str(queue(editor, page).links["Next page"]).lstrip("?")
    curation.set_minimum(tag_id("sky"), 50)
    shown = queue(editor, page, following)
    assert "The first page is shown instead." in shown.text
    assert len(listed(editor, following)) == PAGE
