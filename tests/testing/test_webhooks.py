"""Deliveries: signatures, ids, retries, order."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import time_machine
from filestack.helpers import verify_webhook_signature
from hypothesis import given
from hypothesis import strategies as st

from filestack_tags.testing import Account, EmulatorApp, signed_request
from filestack_tags.testing.payloads import (
    event,
    fp_delete,
    fp_overwrite,
    fp_upload,
    fs_workflow,
    next_event_id,
    rfc3339nano,
)
from filestack_tags.testing.webhooks import sign

from .surroundings import Receiver, config

PAYLOADS = Path(__file__).parents[1] / "payloads"
VECTORS = json.loads((PAYLOADS / "webhook_vectors.json").read_text())


class Post:
    """Replaces the network: stores what was sent, answers as configured."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.sent: list[tuple[bytes, dict[str, str]]] = []

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.sent.append((body, dict(headers)))
        status = self.statuses.pop(0) if self.statuses else 200
        if not status:
            raise OSError("no answer")
        return status

    @property
    def actions(self) -> list[str]:
        return [json.loads(body)["action"] for body, _ in self.sent]


def told(post: Post, **more: Any) -> EmulatorApp:
    """An emulator whose account has a webhook."""
    account = Account(webhook_url="http://127.0.0.1:1/hook/")
    return EmulatorApp(config(account=account, send=post, **more))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["fs_signature"][:8])
def test_signatures_are_filestacks(vector: dict[str, str]) -> None:
    signature = sign(vector["body"].encode(), vector["secret"], vector["fs_timestamp"])

    assert signature == vector["fs_signature"]


@given(st.binary(), st.text(st.characters(exclude_categories=("Cs",)), min_size=1))
def test_the_body_is_sent_as_given(body: bytes, secret: str) -> None:
    sent, headers = signed_request(body, secret, timestamp=1710000000)

    assert sent == body
    assert headers["FS-Signature"] == sign(body, secret, "1710000000")


def test_the_official_sdk_accepts_a_signed_event() -> None:
    body, headers = signed_request(fp_upload("H"), "whsec-A")

    assert verify_webhook_signature("whsec-A", body, headers) == (True, {})
    assert verify_webhook_signature("other", body, headers)[0] is False


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (fp_upload("VJQTvCboRVivWJ2BpKgd"), "webhook_fp_upload.json"),
        (fp_upload("H", upload_tags={"a": "b"}), "webhook_fp_upload_with_tags.json"),
        (fp_overwrite("VJQTvCboRVivWJ2BpKgd"), "webhook_fp_overwrite.json"),
        (fp_delete("VJQTvCboRVivWJ2BpKgd"), "webhook_fp_delete.json"),
    ],
)
def test_events_have_the_documented_keys_and_types(made: dict[str, Any], name: str) -> None:
    documented = json.loads((PAYLOADS / name).read_text())

    assert {key: type(value) for key, value in made.items()} == {
        key: type(value) for key, value in documented.items()
    }
    assert {key: type(value) for key, value in made["text"].items()} == {
        key: type(value) for key, value in documented["text"].items()
    }


def test_a_workflow_event_is_the_documented_one() -> None:
    documented = json.loads((PAYLOADS / "webhook_fs_workflow_tags.json").read_text())
    (task,) = documented["text"]["results"]
    tags = documented["text"]["results"][task]["data"]["tags"]["auto"]

    made = fs_workflow("VJQTvCboRVivWJ2BpKgd", tags=tags, task_name=task, job_id="J")

    assert made["text"]["results"] == documented["text"]["results"]
    assert documented["text"].keys() | {"jobid", "ttl"} == made["text"].keys()
    assert made["text"]["jobid"] == "J"
    assert fs_workflow("H", status="Failed")["text"]["results"] == {}
    assert fs_workflow("H")["text"]["jobid"] != fs_workflow("H")["text"]["jobid"]


def test_ids_and_times_may_be_chosen() -> None:
    assert event("fp.scan", {}, event_id=7, timestamp=9) == {
        "id": 7,
        "action": "fp.scan",
        "timestamp": 9,
        "text": {},
    }


def test_ids_grow() -> None:
    ids = [next_event_id() for _ in range(100)]

    assert ids == sorted(set(ids))


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (1552312194_233362645, "2019-03-11T13:49:54.233362645Z"),
        (1551126113_929667080, "2019-02-25T20:21:53.92966708Z"),
        (1551126113_900000000, "2019-02-25T20:21:53.9Z"),
        (1551126113_000000000, "2019-02-25T20:21:53Z"),
    ],
)
def test_times_are_written_as_go_does(nanoseconds: int, text: str) -> None:
    assert rfc3339nano(nanoseconds) == text


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_no_time_ends_in_a_zero_fraction(nanoseconds: int) -> None:
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z", rfc3339nano(nanoseconds)
    )


@pytest.mark.parametrize("status", [200, 201, 204])
def test_an_event_is_delivered_once_when_it_is_answered(status: int) -> None:
    post = Post(status)
    with told(post) as app:
        event_id = app.webhooks.emit("fp.upload", {"url": "u"})
        assert app.run_due() == 1
        assert app.run_due() == 0
        (delivery,) = app.webhooks.deliveries()

    assert (delivery["state"], delivery["statuses"]) == ("delivered", [status])
    body, headers = post.sent[0]
    assert json.loads(body)["id"] == event_id
    assert verify_webhook_signature("whsec-A", body, headers)[0]


def test_everything_but_success_is_retried_by_the_schedule_and_then_given_up() -> None:
    post = Post(500, 403, 302, 0)
    with told(post, webhook_retries=(10, 60, 300), time_scale=0.1) as app:
        app.webhooks.emit("fp.upload", {})
        now = time.time()
        for wait in (0, 1.1, 6.1, 30.1):
            now += wait
            with time_machine.travel(now, tick=False):
                assert app.run_due() == 1
                assert app.run_due() == 0
        (delivery,) = app.webhooks.deliveries()
        assert app.webhooks.pending() == 0

    assert (delivery["state"], delivery["statuses"]) == ("given_up", [500, 403, 302, 0])
    assert len({body for body, _ in post.sent}) == 1
    assert len({headers["FS-Timestamp"] for _, headers in post.sent}) == 4


def test_without_a_webhook_url_nothing_is_sent() -> None:
    post = Post()
    with EmulatorApp(config(send=post)) as app:
        app.webhooks.emit("fp.upload", {})
        app.run_due()
        assert app.webhooks.deliveries()[0]["state"] == "dropped"

    assert post.sent == []


def test_a_duplicate_has_the_same_id() -> None:
    post = Post()
    with told(post) as app:
        app.faults.add("duplicate", operation="fp.*")
        app.webhooks.emit("fp.upload", {})
        app.run_due()

    assert len(post.sent) == 2
    assert post.sent[0][0] == post.sent[1][0]


def test_a_dropped_event_never_comes() -> None:
    post = Post()
    with told(post) as app:
        app.faults.add("dropped")
        app.webhooks.emit("fp.upload", {})
        app.webhooks.emit("fp.delete", {})
        app.run_due()

    assert post.actions == ["fp.delete"]


def test_a_reordered_event_comes_behind_the_next() -> None:
    post = Post()
    with told(post) as app:
        app.faults.add("reordered", operation="fp.upload", seconds=3600)
        app.webhooks.emit("fp.upload", {})
        assert app.run_due() == 0
        app.webhooks.emit("fp.delete", {})
        app.webhooks.emit("fp.overwrite", {})
        with time_machine.travel(time.time() + 1):
            app.run_due()

    assert post.actions.index("fp.delete") < post.actions.index("fp.upload")
    assert sorted(post.actions) == ["fp.delete", "fp.overwrite", "fp.upload"]


def test_a_late_event_comes_late() -> None:
    post = Post()
    with told(post) as app:
        app.faults.add("late", seconds=100)
        app.webhooks.emit("fp.upload", {})
        assert app.run_due() == 0
        with time_machine.travel(time.time() + 101):
            assert app.run_due() == 1


def test_a_wrong_signature_is_for_one_attempt() -> None:
    post = Post(403)
    with told(post, webhook_retries=(0,)) as app:
        app.faults.add("wrong_signature")
        app.webhooks.emit("fp.upload", {})
        app.run_due()

    good = [verify_webhook_signature("whsec-A", *sent)[0] for sent in post.sent]
    assert good == [False, True]


def test_ids_grow_across_restarts_and_processes(tmp_path: Path) -> None:
    ids = []
    for _ in range(3):
        with (
            EmulatorApp(config(directory=tmp_path)) as app,
            EmulatorApp(config(directory=tmp_path)) as other,
        ):
            for each in (app, other, app):
                ids.append(each.webhooks.emit("fp.upload", {}))  # noqa: PERF401 - order matters

    assert ids == sorted(set(ids))


def test_what_was_not_delivered_is_delivered_after_a_restart(tmp_path: Path) -> None:
    with told(Post(500), directory=tmp_path, webhook_retries=(0,)) as app:
        app.webhooks.emit("fp.upload", {})
        assert app.webhooks.deliver_next()
    post = Post()
    with told(post, directory=tmp_path) as app:
        app.run_due()

    assert post.actions == ["fp.upload"]


def test_threads_deliver_by_themselves_over_http(tmp_path: Path) -> None:
    with Receiver(statuses=[500]) as receiver:
        account = Account(webhook_url=receiver.url)
        settings = {"account": account, "background": True, "webhook_retries": (0.0,)}
        with EmulatorApp(config(directory=tmp_path, **settings)) as app:
            app.webhooks.emit("fp.upload", {"url": "u"})
            assert app.wait_idle()

    assert [event["action"] for event in receiver.events] == ["fp.upload", "fp.upload"]


def test_waiting_ends_when_there_is_still_something_to_do() -> None:
    with told(Post(), webhook_delay=100) as app:
        app.webhooks.emit("fp.upload", {})
        assert app.wait_idle(timeout=0.01) is False


def test_ids_grow_also_where_nothing_was_kept() -> None:
    with EmulatorApp(config()) as first:
        before = first.webhooks.emit("fp.upload", {})
    with EmulatorApp(config()) as second:
        assert second.webhooks.emit("fp.upload", {}) > before
