"""The asset's page: setting a confidence, undoing, comparing runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from filestack_tags import curation
from filestack_tags.admin.records.run_difference import difference, labels_of
from filestack_tags.models import Asset, AssetTag, Tag, TagDecision, TaggingRun
from tests.api.rows import person, tagged

pytestmark = pytest.mark.django_db

LIST = "/admin/filestack_tags/asset/"


def decide(client: Client, asset: Asset, **data: Any) -> list[str]:
    response = client.post(f"{LIST}{asset.pk}/decide/", data, follow=True)
    return [str(message) for message in response.context["messages"]]


def sky() -> int:
    return Tag.objects.get(key="sky").pk


def test_a_confidence_is_set_by_hand_and_what_the_tagger_said_is_shown(
    editor: Client, page: Any
) -> None:
    asset = tagged("h1", {"sky": 90})
    assert decide(editor, asset, change=sky(), confidence="40") == [
        "Set the confidence of sky to 40."
    ]
    row = AssetTag.objects.get()
    assert (row.confidence, row.tagger_confidence) == (40, 90)
    assert "tagger: 90" in page(editor.get(f"{LIST}{asset.pk}/change/")).text


@pytest.mark.parametrize("confidence", ["", "101", "-1", "x"])
def test_a_confidence_that_is_none_is_refused(editor: Client, confidence: str) -> None:
    asset = tagged("h1", {"sky": 90})
    assert decide(editor, asset, change=sky(), confidence=confidence)
    assert not TagDecision.objects.exists()


def test_the_last_decision_is_undone_by_a_button(editor: Client, page: Any) -> None:
    asset = tagged("h1", {"sky": 90})
    decide(editor, asset, reject=sky())
    shown = page(editor.get(f"{LIST}{asset.pk}/change/"))
    entry = TagDecision.objects.get()
    assert entry.origin == "admin"
    assert [row["value"] for row in shown.buttons if row.get("name") == "undo"] == [
        str(entry.pk)
    ]
    assert decide(editor, asset, undo=entry.pk) == ["Undid the decision about sky."]
    assert AssetTag.objects.get().decision == 0
    assert "undone" in page(editor.get(f"{LIST}{asset.pk}/change/")).text


@pytest.mark.parametrize("verb", ["accept", "reject", "change", "withdraw", "add"])
def test_another_users_decision_is_overridden_only_after_a_question(
    client_of: Any, page: Any, verb: str
) -> None:
    ann = client_of("view_asset", "change_asset")
    bob = person("bob")
    asset = tagged("h1", {"sky": 90})
    tag = sky()
    if verb == "withdraw":
        curation.reject(asset.pk, tag, user=bob)
    seen = page(ann.get(f"{LIST}{asset.pk}/change/")).inputs["seen"]
    if verb in ("reject", "withdraw"):
        curation.accept(asset.pk, tag, user=bob)
    else:
        curation.reject(asset.pk, tag, user=bob)
    of_bob = TagDecision.objects.latest("pk")
    data = {verb: str(tag), "confidence": "40", "seen": seen}
    if verb == "add":
        data = {"add": "1", "add-name": "SKY", "add-confidence": "40", "seen": seen}
    refused = ann.post(f"{LIST}{asset.pk}/decide/", data, follow=True)
    (message,) = [str(each) for each in refused.context["messages"]]
    assert message.startswith(f"bob {of_bob.get_act_display()} “sky” (")
    assert message.endswith("Nothing was changed.")
    assert TagDecision.objects.latest("pk") == of_bob
    asked = page(refused)
    assert "anyway?" in asked.text
    question = refused.context["question"]
    assert (question.asset, question.tag.pk, question.seen) == (asset, tag, of_bob.pk)
    data = {question.verb: str(tag), "confidence": question.confidence, "seen": question.seen}
    ann.post(f"{LIST}{asset.pk}/decide/", data)
    last = TagDecision.objects.latest("pk")
    assert last.user.get_username() == "staff0"
    assert last.act == ("accept" if verb == "add" else verb)


@pytest.mark.parametrize("last", ["own", "other tag", "same result"])
def test_nothing_is_asked_where_nobody_is_overridden(
    client_of: Any, page: Any, last: str
) -> None:
    ann = client_of("view_asset", "change_asset")
    asset = tagged("h1", {"sky": 90, "sea": 80})
    seen = page(ann.get(f"{LIST}{asset.pk}/change/")).inputs["seen"]
    if last == "own":
        decide(ann, asset, reject=sky())
    elif last == "other tag":
        curation.reject(asset.pk, Tag.objects.get(key="sea").pk, user=person("bob"))
    else:
        curation.accept(asset.pk, sky(), user=person("bob"))
    assert decide(ann, asset, accept=sky(), seen=str(seen)) == ["Accepted sky."]
    assert AssetTag.objects.get(tag__key="sky").decision == 1


@pytest.mark.parametrize(
    "confirm", ["", "accept", "accept:1:2:3", "nonsense:1:1:1:", "\x00:x:::"]
)
def test_a_question_about_nothing_is_not_asked(editor: Client, confirm: str) -> None:
    asset = tagged("h1", {"sky": 90})
    shown = editor.get(f"{LIST}{asset.pk}/change/", {"confirm": confirm})
    assert shown.context["question"] is None


def test_a_script_gets_the_id_of_the_decision_to_undo_it_later(editor: Client) -> None:
    asset = tagged("h1", {"sky": 90})
    shown = editor.post(
        f"{LIST}{asset.pk}/decide/",
        {"accept": sky()},
        follow=True,
        headers={"X-Requested-With": "XMLHttpRequest"},
    )
    entry = TagDecision.objects.get()
    assert f'data-fst-decided="{entry.pk}"' in shown.content.decode()


def test_undoing_names_who_decided_since_and_touches_no_other_asset(editor: Client) -> None:
    asset, other = tagged("h1", {"sky": 90}), tagged("h2", {"sky": 80})
    curation.accept(asset.pk, sky(), user=person("ann"))
    first = TagDecision.objects.get()
    curation.reject(asset.pk, sky(), user=person("bob"))
    (message,) = decide(editor, asset, undo=first.pk)
    assert message.startswith("bob decided about this tag")
    assert decide(editor, other, undo=first.pk) == ["The decision or the tag does not exist."]
    assert TagDecision.objects.count() == 2


def test_who_may_only_look_sees_the_decisions_and_no_controls(
    client_of: Any, page: Any
) -> None:
    asset = tagged("h1", {"sky": 90})
    curation.reject(asset.pk, sky(), user=person("ann"))
    viewer = client_of("view_asset")
    shown = page(viewer.get(f"{LIST}{asset.pk}/change/"))
    assert "rejected ann" in shown.text
    assert not [row for row in shown.buttons if row.get("name")]
    assert "live.js" not in shown.html
    path = f"{LIST}{asset.pk}/decide/"
    assert viewer.post(path, {"undo": TagDecision.objects.get().pk}).status_code == 403
    assert viewer.get(f"{LIST}{asset.pk}/runs/").status_code == 403


def run_of(asset: Asset, raw: str) -> TaggingRun:
    return TaggingRun.objects.create(
        asset=asset,
        tagger="t",
        trigger="code",
        content_version=1,
        state="succeeded",
        raw_reply=raw,
    )


def reply(**labels: int) -> str:
    return json.dumps({"tags": {"auto": labels, "user": None}})


def test_two_runs_are_compared_by_what_was_gained_lost_and_moved(
    editor: Client, page: Any
) -> None:
    asset = tagged("h1")
    earlier = run_of(asset, reply(sky=90, sea=50, sand=40, fog=20))
    results = {"a task": {"data": json.loads(reply(Sky=91, sea=40, dog=70, sand=49))}}
    later = run_of(asset, json.dumps(results))
    found = difference(labels_of(earlier) or {}, labels_of(later) or {})
    assert found.gained == (("dog", 70),)
    assert found.lost == (("fog", 20),)
    assert [(move.label, move.points) for move in found.moved] == [("sea", -10)]
    assert found.small == 2
    shown = page(editor.get(f"{LIST}{asset.pk}/runs/"))
    assert "dog added – 70 fog removed 20 – sea -10 50 40" in shown.text
    assert shown.inline == []
    turned = page(editor.get(f"{LIST}{asset.pk}/runs/?earlier={later.pk}&later={earlier.pk}"))
    assert "fog added" in turned.text


def test_a_run_whose_reply_was_deleted_cannot_be_compared_and_says_so(
    editor: Client, page: Any
) -> None:
    asset = tagged("h1")
    path = f"{LIST}{asset.pk}/runs/"
    assert "Not tagged yet." in page(editor.get(path)).text
    pruned, other = run_of(asset, ""), run_of(asset, "[not a reply")
    assert "A comparison needs two runs" in page(editor.get(path)).text
    shown = page(editor.get(f"{path}?earlier={pruned.pk}&later={other.pk}"))
    assert f"{pruned}, {other} cannot be compared" in shown.text


def test_a_workflow_that_the_settings_name_is_run_from_the_page(
    editor: Client, page: Any, settings: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"WORKFLOWS": {"moods": "wf-1"}}
    asset = tagged("h1", {"sky": 90})
    shown = page(editor.get(f"{LIST}{asset.pk}/change/"))
    assert "workflow:moods" in [row.get("value") for row in shown.buttons]
    data = {"_selected_action": asset.pk, "index": 0, "action": "workflow:moods"}
    editor.post(LIST, data)
    asset.refresh_from_db()
    assert asset.queued_for == "workflow:moods"


def test_two_runs_that_say_the_same_have_no_differences(editor: Client, page: Any) -> None:
    asset = tagged("h1")
    for _ in range(2):
        run_of(asset, reply(sky=90, sea=50))
    shown = page(editor.get(f"{LIST}{asset.pk}/runs/")).text
    assert "No differences." in shown
    assert "moved by less than" not in shown
    run_of(asset, reply(sky=91, sea=50))
    shown = page(editor.get(f"{LIST}{asset.pk}/runs/")).text
    assert "The confidence of 1 tag changed by less than 10 points." in shown
    assert "No differences." not in shown


@pytest.mark.parametrize(
    "words",
    ["Golden Gate Bridge", "golden  gate", "GATE", "dge", "Frisco Bridge", "frisco", "bob"],
)
def test_the_log_finds_a_tag_by_any_part_of_its_name_or_alias(
    client_of: Any, words: str
) -> None:
    asset = tagged("h1", {"Golden Gate Bridge": 90, "sea": 80})
    bridge, sea = (Tag.objects.get(key=key).pk for key in ("golden gate bridge", "sea"))
    curation.add_alias(bridge, "Frisco bridge")
    curation.accept(asset.pk, bridge, user=person("bob"))
    curation.accept(asset.pk, sea, user=person("ann"))
    reader = client_of("view_tagdecision", "view_asset")
    shown = reader.get("/admin/filestack_tags/tagdecision/", {"q": words})
    assert [entry.tag_id for entry in shown.context["cl"].result_list] == [bridge]
