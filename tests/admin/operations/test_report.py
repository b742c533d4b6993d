"""The operations page: what it shows to which user, and its buttons."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Q
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from filestack_tags.admin.operations import report
from filestack_tags.curation import bulk
from filestack_tags.models import Asset, Backfill, Circuit, TagMerge, WebhookDelivery
from filestack_tags.operations import heartbeat

pytestmark = pytest.mark.django_db

APP = "/admin/filestack_tags/"
PAGE = f"{APP}heartbeat/operations/"
LOOK = ("view_heartbeat",)
EVERYTHING = (
    *LOOK,
    *(
        "view_asset",
        "tag_asset",
        "view_bulkjob",
        "view_tag",
        "view_backfill",
        "view_taggingrun",
    ),
    *("view_circuit", "change_circuit", "view_dailyusage"),
    *("view_webhookdelivery", "replay_webhookdelivery"),
)


@pytest.fixture
def trouble() -> None:
    """One of each kind of problem."""
    heartbeat.beat("sweep", assets=2)
    Circuit.objects.create(
        tagger="filestack",
        opened_at=timezone.now(),
        retry_at=timezone.now(),
        error_code="invalid_application",
        reason="Filestack refused tags: Invalid <Application>. Check API_KEY.",
    )
    for number in range(3):
        Asset.objects.create(
            kind="handle",
            reference=f"h{number}",
            digest=str(number),
            tagging_state="failed",
            error_code="file_not_found",
        )
    for number in range(2):
        WebhookDelivery.objects.create(
            event_key=f"e{number}",
            action="fp.upload",
            raw_body=b"{}",
            state="failed",
            due_at=None,
            error_code="payload",
        )
    WebhookDelivery.objects.create(
        event_key="other", raw_body=b"{}", state="failed", due_at=None, error_code="KeyError"
    )
    bulk.create(bulk.BulkRequest("export", format="csv"), user=None)
    TagMerge.objects.create(source_id=1, target_id=2, source_name="a", target_name="b")
    Backfill.objects.create(query="untagged", counts={"tagged": 1200})


def test_the_page_shows_problems_with_fixes_and_links(
    trouble: None, client_of: Any, page: Any
) -> None:
    shown = page(client_of(*EVERYTHING).get(PAGE))
    for text in (
        "3 problems need attention",
        "Check API_KEY",
        "If the file was deleted, archive its asset.",
        "The delivery shows what is invalid.",
        "1,200 tagged",
        "a → b",
        "export: csv",
    ):
        assert text in shown.text, text
    assert "<Application>" not in shown.html
    assert shown.inline == []
    links = [link for link in shown.links.values() if link]
    assert f"{APP}asset/?q=status%3Afailed+error%3Afile_not_found" in links
    assert (
        f"{APP}bulkjob/ask/?query=status%3Afailed+error%3Afile_not_found&action=retag" in links
    )
    assert f"{APP}webhookdelivery/?state__exact=failed&error_code__exact=payload" in links
    named = [(button.get("name"), button.get("value")) for button in shown.buttons]
    assert ("try", "filestack") in named
    assert {value for name, value in named if name == "replay"} == {"payload", "KeyError"}


def test_all_that_it_leads_to_opens(trouble: None, client_of: Any, page: Any) -> None:
    somebody = client_of(*EVERYTHING)
    shown = page(somebody.get(PAGE))
    places = {link for link in shown.links.values() if link and link.startswith(APP)}
    assert len(places) > 8
    for place in places:
        assert somebody.get(place).status_code == 200, place
    listed = page(somebody.get(f"{APP}asset/?q=status%3Afailed+error%3Afile_not_found"))
    assert "3 assets" in listed.text
    asked = somebody.get(f"{APP}bulkjob/ask/?query=status%3Afailed&action=retag")
    assert '<option value="retag" selected>' in asked.content.decode()


def test_nothing_needs_anybody(client_of: Any, page: Any) -> None:
    heartbeat.beat("sweep")
    text = page(client_of(*EVERYTHING).get(PAGE)).text
    assert "Everything is running normally" in text
    assert "need attention" not in text


def test_who_may_only_look_sees_no_controls_and_no_way_to_what_is_not_for_them(
    trouble: None, client_of: Any, page: Any
) -> None:
    viewer = client_of(*LOOK)
    shown = page(viewer.get(PAGE))
    assert "If the file was deleted, archive its asset." in shown.text
    assert not [button for button in shown.buttons if button.get("form") == "fst-act"]
    assert not [
        link for link in shown.links.values() if link and link.startswith(f"{APP}asset")
    ]
    for data in ({"try": "filestack"}, {"replay": "payload"}):
        assert viewer.post(PAGE, data).status_code == 403
    assert Circuit.objects.exclude(opened_at=None).exists()


def nobody_sees_all(user: Any) -> Any:
    return Q(uploader=user.pk)


def test_it_is_for_those_who_see_everything(
    trouble: None, client_of: Any, page: Any, settings: Any
) -> None:
    operator = client_of(*EVERYTHING)
    assert page(operator.get(APP)).links["Operations: status and problems"] == PAGE
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "ASSET_SCOPE": f"{__name__}.nobody_sees_all"
    }
    assert operator.get(PAGE).status_code == 403
    assert "Operations: status and problems" not in page(operator.get(APP)).links
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"ASSET_SCOPE": ""}
    assert client_of("view_asset", "view_circuit").get(PAGE).status_code == 403


def test_a_circuit_is_tried_again_by_a_button(trouble: None, client_of: Any) -> None:
    operator = client_of(*EVERYTHING)
    for told in ("Calls to filestack were resumed.", "Calls to filestack are not paused."):
        response = operator.post(PAGE, {"try": "filestack"}, follow=True)
        assert [str(message) for message in response.context["messages"]] == [told]
    assert not Circuit.objects.exclude(opened_at=None).exists()


def test_all_of_one_reason_are_replayed_once_that_is_confirmed(
    trouble: None, client_of: Any, page: Any
) -> None:
    operator = client_of(*EVERYTHING)
    asked = page(operator.post(PAGE, {"replay": "payload"}))
    assert "2 deliveries failed for this reason" in asked.text
    assert not WebhookDelivery.objects.filter(state="received").exists()
    WebhookDelivery.objects.create(  # after the page counted
        event_key="late", state="failed", due_at=None, error_code="payload", raw_body=b"{}"
    )
    response = operator.post(PAGE, {**asked.inputs, "confirmed": "1"}, follow=True)
    assert [str(message) for message in response.context["messages"]] == [
        "2 deliveries are being replayed."
    ]
    states = dict(WebhookDelivery.objects.values_list("event_key", "state"))
    assert states == {
        "e0": "received",
        "e1": "received",
        "other": "failed",
        "late": "failed",
    }


def test_one_press_replays_so_many_and_no_more(
    trouble: None, client_of: Any, page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "REPLAYED", 1)
    operator = client_of(*EVERYTHING)
    asked = page(operator.post(PAGE, {"replay": "payload"}))
    assert "1 delivery failed for this reason" in asked.text
    operator.post(PAGE, {**asked.inputs, "confirmed": "1"})
    assert WebhookDelivery.objects.filter(state="received").count() == 1


def test_it_takes_as_many_statements_for_much_as_for_nothing(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))

    def statements() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(PAGE).status_code == 200
        return len(asked)

    empty = statements()
    for number in range(30):
        code = f"code{number % 7}"
        Asset.objects.create(
            kind="handle",
            reference=f"h{number}",
            digest=str(number),
            tagging_state="failed",
            error_code=code,
        )
        WebhookDelivery.objects.create(
            event_key=str(number), raw_body=b"{}", state="failed", due_at=None, error_code=code
        )
        bulk.create(bulk.BulkRequest("export", format="csv"), user=User.objects.get())
    assert statements() == empty == 23
