"""One asset's page: registering it, its facts, and deciding about its tags."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from filestack_tags import curation
from filestack_tags.assets import registry
from filestack_tags.models import Asset, AssetTag, Tag, TaggingRun, WebhookDelivery
from tests.api.rows import person, tagged

pytestmark = pytest.mark.django_db

LIST = "/admin/filestack_tags/asset/"
ADD = f"{LIST}add/"


def said(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def decide(client: Client, asset: Asset, **data: Any) -> Any:
    return client.post(f"{LIST}{asset.pk}/decide/", data, follow=True)


def decision(asset: Asset, key: str) -> str | None:
    row = asset.asset_tags.filter(tag__key=key).first()
    return AssetTag.Decision(row.decision).name.lower() if row else None


def tag_id(key: str) -> int:
    return Tag.objects.get(key=key).pk


def register(client: Client, **data: str) -> Any:
    return client.post(ADD, {"filename": "", "mimetype": "", **data}, follow=True)


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        (" VJQTvCboRVivWJ2BpKgd ", "handle"),
        ("https://example.com/a.jpg", "url"),
        ("src://pictures/a.jpg", "alias"),
    ],
)
def test_a_file_is_registered_and_noted_with_its_uploader(
    editor: Client, reference: str, kind: str
) -> None:
    response = register(editor, reference=reference, filename="a.jpg", mimetype="image/jpeg")
    assert response.redirect_chain
    asset = Asset.objects.get()
    assert (asset.kind, asset.reference) == (kind, reference.strip())
    assert (asset.filename, asset.mimetype) == ("a.jpg", "image/jpeg")
    assert asset.uploader is not None
    assert asset.uploader.username == "staff0"
    assert LogEntry.objects.get().object_id == str(asset.pk)


@pytest.mark.parametrize(("data", "state"), [({"tag": "on"}, "queued"), ({}, "new")])
def test_tagging_at_once_is_asked(editor: Client, data: dict[str, str], state: str) -> None:
    register(editor, reference="h1", **data)
    assert Asset.objects.get().tagging_state == state


@pytest.mark.parametrize(("auto_tag", "state"), [(True, "queued"), (False, "new")])
def test_without_the_permission_to_tag_the_setting_decides(
    client_of: Any, page: Any, settings: Any, auto_tag: bool, state: str
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"AUTO_TAG": auto_tag}
    client = client_of("add_asset", "view_asset")
    assert "tag" not in page(client.get(ADD)).inputs
    register(client, reference="h1", tag="on")
    assert Asset.objects.get().tagging_state == state


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("", "This field is required."),
        ("not a handle", "A handle has 1 to 64 characters"),
        ("ftp://example.com/a", "Only http, https and src://"),
        ("https://me:pass@example.com/a", "user name or password"),
        ("x" * 4097, "at most 4096 characters"),
    ],
)
def test_what_cannot_be_registered_is_refused_at_the_field(
    editor: Client, reference: str, message: str
) -> None:
    response = register(editor, reference=reference)
    assert list(response.context["adminform"].errors) == ["reference"]
    assert message in response.context["adminform"].errors["reference"][0]
    assert not Asset.objects.exists()


def test_a_known_file_is_refreshed_and_shown_not_made_twice(editor: Client) -> None:
    asset = tagged("h1", {"sky": 90}, filename="a.jpg")
    response = register(editor, reference="h1", mimetype="image/png")
    assert response.redirect_chain[-1][0] == f"{LIST}{asset.pk}/change/"
    assert said(response) == ["This file is already registered. This is its asset."]
    asset.refresh_from_db()
    assert (asset.filename, asset.mimetype) == ("a.jpg", "image/png")
    assert not LogEntry.objects.exists()


def test_registering_needs_the_permission(client_of: Any) -> None:
    viewer = client_of("view_asset")
    assert viewer.get(ADD).status_code == 403
    assert register(viewer, reference="h1").status_code == 403
    assert not Asset.objects.exists()


def test_the_page_shows_facts_tags_runs_and_deliveries(editor: Client, page: Any) -> None:
    asset = tagged(
        "h1",
        {"sky": 90, "fog": 20},
        {"holiday": 100},
        filename="a.jpg",
        size=2048,
        width=40,
        upload_tags={"id": "7"},
    )
    curation.set_minimum(tag_id("fog"), 50)
    curation.reject(asset.pk, tag_id("sky"), user=person("ann"))
    run = TaggingRun.objects.get()
    delivery = WebhookDelivery.objects.create(
        event_key="k", action="fp.upload", raw_body=b"{}", asset=asset
    )
    shown = page(editor.get(f"{LIST}{asset.pk}/change/"))
    assert "40 × ?" in shown.text
    assert "2.0" in shown.text
    assert '"id": "7"' in shown.text
    order = [
        shown.text.index(word) for word in ("holiday", "below the minimum", "rejected ann")
    ]
    assert order == sorted(order)
    assert shown.links[str(run)] == f"/admin/filestack_tags/taggingrun/{run.pk}/change/"
    assert shown.links[str(delivery)].endswith(f"webhookdelivery/{delivery.pk}/change/")
    for name in ("All runs", "All deliveries"):
        path = str(shown.links[name])
        assert len(editor.get(path).context["cl"].result_list) == 1


def test_missing_facts_do_not_disturb_the_page(editor: Client, page: Any) -> None:
    asset = tagged("h1")
    shown = page(editor.get(f"{LIST}{asset.pk}/change/"))
    assert "Not tagged yet." in shown.text
    assert "None yet." in shown.text
    assert "None" not in shown.text.replace("None yet.", "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tagging_state": "failed", "error": "It broke."}, "Tagging failed."),
        ({"tagging_state": "tagged"}, "No tags."),
        ({"tags_version": 1, "content_version": 2}, "The file changed after it was tagged"),
    ],
)
def test_the_page_says_what_state_the_tags_are_in(
    editor: Client, page: Any, changes: dict[str, Any], words: str
) -> None:
    asset = tagged("h1")
    Asset.objects.filter(pk=asset.pk).update(**changes)
    shown = page(editor.get(f"{LIST}{asset.pk}/change/"))
    assert words in shown.text
    assert str(changes.get("error", "")) in shown.text


def test_the_pages_need_no_inline_script_or_style(editor: Client, page: Any) -> None:
    asset = tagged("h1", {"sky": 90})
    for path in (LIST, ADD, f"{LIST}{asset.pk}/change/"):
        assert page(editor.get(path)).inline == [], path


def test_right_to_left_and_hostile_names_are_shown_as_text(editor: Client, page: Any) -> None:
    asset = tagged("h1", {"<b>שמיים</b>": 90}, filename="<script>alert(1)</script>ים.jpg")
    for path in (LIST, f"{LIST}{asset.pk}/change/"):
        shown = page(editor.get(path))
        assert "<script>alert" not in shown.html
        assert "<b>שמיים" not in shown.html
        assert "<bdi>&lt;b&gt;שמיים" in shown.html


def test_accept_reject_and_withdraw_are_recorded_with_who_and_when(editor: Client) -> None:
    asset = tagged("h1", {"sky": 90})
    sky = tag_id("sky")
    for verb, after, words in (
        ("accept", "accepted", "Accepted sky."),
        ("reject", "rejected", "Rejected sky."),
        ("withdraw", "none", "Withdrew the decision about sky."),
    ):
        response = decide(editor, asset, **{verb: sky})
        assert response.redirect_chain == [(f"{LIST}{asset.pk}/change/#tags", 302)]
        assert said(response) == [words]
        assert decision(asset, "sky") == after
        if after != "none":
            assert asset.asset_tags.get().decided_by.username == "staff0"
    assert LogEntry.objects.count() == 3


def test_a_tag_is_added_by_hand(editor: Client) -> None:
    asset = tagged("h1")
    data = {"add": "Add", "add-name": " Old  Harbour ", "add-confidence": "80"}
    assert said(decide(editor, asset, **data)) == ["Added Old Harbour."]
    row = asset.asset_tags.get()
    assert (row.tag.name, row.confidence, row.decision) == ("Old Harbour", 80, 3)
    decide(editor, asset, **{"add": "Add", "add-name": "sea", "add-confidence": ""})
    assert asset.asset_tags.get(tag__key="sea").confidence == 100


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"add": "1", "add-name": ""}, "required"),
        ({"add": "1", "add-name": "x" * 201}, "at most 200"),
        ({"add": "1", "add-name": "a\x01b"}, "control characters"),
        ({"add": "1", "add-name": "a", "add-confidence": "101"}, "less than or equal to 100"),
        ({"accept": "999999"}, "The decision or the tag does not exist."),
        ({"accept": "x"}, "The decision or the tag does not exist."),
        ({"accept": "9" * 40}, "The decision or the tag does not exist."),
        ({"accept": "٣"}, "The decision or the tag does not exist."),
        ({}, "The decision or the tag does not exist."),
    ],
)
def test_a_decision_that_cannot_be_made_is_explained(
    editor: Client, data: dict[str, str], message: str
) -> None:
    asset = tagged("h1", {"sky": 90})
    assert message in said(decide(editor, asset, **data))[0]
    assert asset.asset_tags.count() == 1
    assert not LogEntry.objects.exists()


def test_a_tag_that_the_asset_lost_meanwhile_is_explained(editor: Client) -> None:
    asset, other = tagged("h1", {"sky": 90}), tagged("h2", {"sea": 90})
    assert said(decide(editor, asset, accept=tag_id("sea"))) == [
        "The asset does not have this tag."
    ]
    assert decision(other, "sea") == "none"


def test_decisions_are_posted_never_got(editor: Client) -> None:
    asset = tagged("h1", {"sky": 90})
    response = editor.get(f"{LIST}{asset.pk}/decide/?accept={tag_id('sky')}")
    assert response.status_code == 405
    assert decision(asset, "sky") == "none"


def test_decisions_need_a_csrf_token(editor: Client) -> None:
    asset = tagged("h1", {"sky": 90})
    editor.handler.enforce_csrf_checks = True
    assert decide(editor, asset, accept=tag_id("sky")).status_code == 403
    assert decision(asset, "sky") == "none"


def test_who_may_only_look_sees_no_controls_and_cannot_post(client_of: Any, page: Any) -> None:
    asset = tagged("h1", {"sky": 90})
    WebhookDelivery.objects.create(event_key="k", raw_body=b"{}", asset=asset)
    viewer = client_of("view_asset")
    shown = page(viewer.get(f"{LIST}{asset.pk}/change/"))
    assert "sky" in shown.text
    assert [row for row in shown.buttons if row.get("name")] == []
    assert "Add a tag" not in shown.text
    assert "Recent tagging runs" not in shown.text
    assert "Recent deliveries" not in shown.text
    assert decide(viewer, asset, reject=tag_id("sky")).status_code == 403
    assert viewer.post(f"{LIST}{asset.pk}/change/", {"reference": "x"}).status_code == 403
    assert decision(asset, "sky") == "none"


@pytest.mark.parametrize("permissions", [("change_asset",), ("view_asset", "change_asset")])
def test_deciding_takes_the_permission_to_change(client_of: Any, permissions: Any) -> None:
    asset = tagged("h1", {"sky": 90})
    assert decide(client_of(*permissions), asset, accept=tag_id("sky")).status_code == 200
    assert decision(asset, "sky") == "accepted"


def test_facts_cannot_be_posted_by_anybody(editor: Client) -> None:
    asset = tagged("h1", filename="a.jpg")
    response = editor.post(f"{LIST}{asset.pk}/change/", {"filename": "b.jpg"})
    assert response.status_code == 403
    asset.refresh_from_db()
    assert asset.filename == "a.jpg"


def test_the_buttons_of_the_page_do_what_the_actions_of_the_list_do(
    editor: Client, page: Any
) -> None:
    asset = tagged("h1", {"sky": 90})
    url = f"{LIST}{asset.pk}/change/"
    names = [row.get("value") for row in page(editor.get(url)).buttons if row.get("name")]
    assert names[:2] == ["retag", "archive"]
    data = {"_selected_action": asset.pk, "index": 0}
    assert said(editor.post(LIST, data | {"action": "retag"}, follow=True)) == [
        "1 asset queued."
    ]
    registry.archive(asset.pk)
    shown = page(editor.get(url))
    assert "Archived on" in shown.text
    assert next(row["value"] for row in shown.buttons if row.get("name")) == "restore"


def test_an_asset_that_is_not_there_leads_back(editor: Client) -> None:
    assert editor.get(f"{LIST}999/change/").status_code == 302
    assert editor.post(f"{LIST}999/decide/", {"accept": 1}).status_code == 404


def test_the_page_takes_as_many_queries_for_thirty_tags_as_for_three(
    editor: Client, django_assert_max_num_queries: Any
) -> None:
    ann = person("ann")
    counts = []
    for reference, count in (("h1", 3), ("h2", 30)):
        asset = tagged(reference, {f"tag{number}": 90 for number in range(count)})
        for row in asset.asset_tags.all():
            curation.accept(asset.pk, row.tag_id, user=ann)
        editor.get(f"{LIST}{asset.pk}/change/")  # fills the cache of content types
        with django_assert_max_num_queries(20) as asked:
            editor.get(f"{LIST}{asset.pk}/change/")
        counts.append(len(asked))
    assert counts[0] == counts[1]
