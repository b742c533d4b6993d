"""Runs and deliveries: read, never written; deliveries can be replayed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from filestack_tags.admin.display import MAX_SHOWN, raw_block
from filestack_tags.models import Asset, TaggingRun, WebhookDelivery
from tests.api.rows import tagged

pytestmark = pytest.mark.django_db

RUNS = "/admin/filestack_tags/taggingrun/"
DELIVERIES = "/admin/filestack_tags/webhookdelivery/"


def run(asset: Asset, **facts: Any) -> TaggingRun:
    values = {"tagger": "filestack", "trigger": "upload", "content_version": 1} | facts
    return TaggingRun.objects.create(asset=asset, **values)


def delivery(key: str, **facts: Any) -> WebhookDelivery:
    values = {"action": "fp.upload", "state": "processed", "raw_body": b"{}"} | facts
    if values["state"] not in ("received", "processing"):
        values["due_at"] = None
    return WebhookDelivery.objects.create(event_key=key, **values)


def listed(client: Client, path: str, **query: str) -> list[str]:
    return [str(row) for row in client.get(path, query).context["cl"].result_list]


def test_a_run_shows_its_reply_indented(client_of: Any, editor: Client, page: Any) -> None:
    row = run(tagged("h1"), raw_reply='{"tags":{"auto":{"שמיים":90}}}', http_status=200)
    row.finished_at = row.started_at
    row.save()
    assert "שמיים" not in page(editor.get(f"{RUNS}{row.pk}/change/")).text
    curator = client_of("view_taggingrun", "search_hidden")
    shown = page(curator.get(f"{RUNS}{row.pk}/change/"))
    assert '{ "tags": { "auto": { "שמיים": 90 } } }' in shown.text
    assert "0.0" in shown.text


def test_runs_are_filtered_by_state_trigger_and_tagger(editor: Client) -> None:
    asset = tagged("h1")
    ours, hosts = run(asset, state="failed"), run(asset, tagger="own", trigger="api")
    assert listed(editor, RUNS, state__exact="failed") == [str(ours)]
    assert listed(editor, RUNS, trigger__exact="api") == [str(hosts)]
    assert listed(editor, RUNS, by="filestack") == [str(ours)]
    assert listed(editor, RUNS, by="other") == [str(hosts)]
    assert listed(editor, RUNS, by="nonsense") == [str(hosts), str(ours)]


def test_a_run_shows_its_workflow_by_name_and_what_the_rules_said(
    editor: Client, page: Any, settings: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"WORKFLOWS": {"look": "wf-1"}}
    row = run(
        tagged("h1"), tagger="workflow:look", workflow_id="wf-1",
        rule_results={"safe": False, "<b>beach": True},
    )  # fmt: skip
    shown = page(editor.get(f"{RUNS}{row.pk}/change/"))
    assert "look (wf-1)" in shown.text
    assert "<li>&lt;b&gt;beach: yes</li><li>safe: no</li>" in shown.html
    assert listed(editor, RUNS, by="workflow:look") == [str(row)]
    assert listed(editor, RUNS, by="other") == []


def test_a_delivery_leads_to_the_runs_it_brought_a_result_for(
    editor: Client, page: Any
) -> None:
    told = delivery("a", action="fs.workflow")
    row = run(tagged("h1"), delivery=told, state="succeeded")
    shown = page(editor.get(f"{DELIVERIES}{told.pk}/change/"))
    assert shown.links[str(row)] == f"{RUNS}{row.pk}/change/"
    assert f"{row} (succeeded)" in shown.text


def test_runs_are_found_by_job(editor: Client) -> None:
    asset = tagged("h1")
    wanted = run(asset, job_id="job-1")
    run(asset, job_id="job-12")
    assert listed(editor, RUNS, q="job-1") == [str(wanted)]


def test_a_delivery_shows_its_body_whatever_it_holds(editor: Client, page: Any) -> None:
    readable = delivery("a", raw_body=b'{"a":[1]}', headers={"FS-Timestamp": "17"})
    broken = delivery("b", raw_body=b"\xff<b>", error="Line one\nline two")
    shown = page(editor.get(f"{DELIVERIES}{readable.pk}/change/"))
    assert '{ "a": [ 1 ] }' in shown.text
    assert '"FS-Timestamp": "17"' in shown.text
    shown = page(editor.get(f"{DELIVERIES}{broken.pk}/change/"))
    assert "\ufffd&lt;b&gt;" in shown.html
    assert "Line one\nline two" in shown.html


def test_deliveries_are_filtered_by_state_and_action(editor: Client) -> None:
    upload = delivery("a", state="failed")
    other = delivery("b", action="fp.new")
    assert listed(editor, DELIVERIES, state__exact="failed") == [str(upload)]
    assert listed(editor, DELIVERIES, event="fp.upload") == [str(upload)]
    assert listed(editor, DELIVERIES, event="other") == [str(other)]
    assert listed(editor, DELIVERIES, event="nonsense") == [str(other), str(upload)]
    assert listed(editor, DELIVERIES, q="a") == [str(upload)]


def test_replay_queues_what_is_closed_and_leaves_what_is_open(editor: Client) -> None:
    closed, failed, still_open = (
        delivery("a"),
        delivery("b", state="failed", attempts=8),
        delivery("c", state="received"),
    )
    chosen = [closed.pk, failed.pk, still_open.pk]
    response = editor.post(
        DELIVERIES, {"action": "replay", "index": 0, "_selected_action": chosen}, follow=True
    )
    assert [str(message) for message in response.context["messages"]] == [
        "2 deliveries are being replayed.",
        "1 delivery has not been processed yet and was skipped.",
    ]
    failed.refresh_from_db()
    assert (failed.state, failed.attempts) == ("received", 0)


def test_replay_needs_its_permission(client_of: Any, page: Any) -> None:
    row = delivery("a", state="failed")
    viewer = client_of("view_webhookdelivery")
    assert "action" not in page(viewer.get(DELIVERIES)).inputs
    data = {"action": "replay", "index": 0, "_selected_action": [row.pk]}
    viewer.post(DELIVERIES, data, follow=True)
    row.refresh_from_db()
    assert row.state == "failed"


@pytest.mark.parametrize("count", [3, 30])
@pytest.mark.parametrize("path", [RUNS, DELIVERIES])
def test_the_lists_take_as_many_queries_for_thirty_rows_as_for_three(
    editor: Client, django_assert_num_queries: Any, path: str, count: int
) -> None:
    for number in range(count):
        asset = tagged(f"h{number}")
        run(asset)
        delivery(f"k{number}", asset=asset)
    with django_assert_num_queries(6) as asked:  # session, user, permissions twice, count, rows
        assert len(listed(editor, path)) == count
    assert "raw_" not in asked.captured_queries[-1]["sql"]


@pytest.mark.parametrize("path", [RUNS, DELIVERIES])
def test_ledgers_are_read_only_for_superusers_too(client: Client, path: str) -> None:
    client.force_login(User.objects.create_superuser("root"))
    row = run(tagged("h1"), pk=7) if path == RUNS else delivery("a", pk=7)
    assert client.get(f"{path}{row.pk}/change/").status_code == 200
    assert client.get(f"{path}add/").status_code == 403
    for suffix in ("7/change/", "7/delete/", "add/"):
        assert client.post(f"{path}{suffix}", {"post": "yes"}).status_code == 403


def test_a_long_body_is_cut_and_the_rest_counted() -> None:
    shown = raw_block("x" * (MAX_SHOWN + 5))
    assert "Only the first 100000 characters are shown." in shown
    assert shown.count("x") == MAX_SHOWN


@pytest.mark.parametrize("body", ["", b""], ids=["text", "bytes"])
def test_an_empty_body_is_a_dash(body: str | bytes) -> None:
    assert raw_block(body) == "–"


def test_a_body_nested_too_deep_is_shown_as_it_is() -> None:
    assert "[[[[" in raw_block("[" * 50_000)
    assert json.dumps("a") in raw_block('"a"').replace("&quot;", '"')
