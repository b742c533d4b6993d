"""Fault injection, and the control endpoints."""

from __future__ import annotations

import time
from typing import Any

import httpx2
import pytest

from filestack_tags.testing import EmulatorApp, Fault
from filestack_tags.testing.faults import KINDS, Faults
from filestack_tags.testing.wire import REASON_HEADER

from .surroundings import BASE, security


@pytest.fixture
def tags(handle: str) -> str:
    """The path of a call that would succeed."""
    return f"/{security('convert')}/tags/{handle}"


def test_a_rate_limit_says_when_it_ends(
    app: EmulatorApp, http: httpx2.Client, tags: str
) -> None:
    app.faults.add("rate_limited", operation="tags", seconds=60)

    reply = http.get(tags)

    assert reply.status_code == 429
    assert reply.headers["Filestack-Remaining"] == "0"
    assert 0 < int(reply.headers["Filestack-Reset"]) - time.time() <= 60
    assert "Retry-After" not in reply.headers
    assert http.get(tags).status_code == 200


@pytest.mark.parametrize(
    ("kind", "choices", "status", "body"),
    [
        ("server_error", {}, 503, "service temporarily unavailable"),
        ("server_error", {"status": 500, "text": "oops"}, 500, "oops"),
        ("plain_text", {}, 400, "bad request"),
        ("error_json", {}, 200, '{"error": "invalid security policy path"}'),
        ("error_json", {"status": 400, "text": "no"}, 400, '{"error": "no"}'),
        ("invalid_application", {}, 200, "Invalid Application"),
        ("accepted", {}, 202, "{}"),
    ],
)
def test_an_answer_is_replaced(
    app: EmulatorApp,
    http: httpx2.Client,
    tags: str,
    kind: str,
    choices: dict[str, Any],
    status: int,
    body: str,
) -> None:
    app.faults.add(kind, **choices)

    reply = http.get(tags)

    assert (reply.status_code, reply.text) == (status, body)


def test_a_truncated_answer_is_half_of_it(
    app: EmulatorApp, http: httpx2.Client, tags: str
) -> None:
    whole = http.get(tags).content
    app.faults.add("truncated")

    assert http.get(tags).content == whole[: len(whole) // 2]


def test_a_slow_answer_is_the_right_one(
    app: EmulatorApp, http: httpx2.Client, tags: str
) -> None:
    app.faults.add("slow", seconds=0.05)
    before = time.monotonic()

    assert http.get(tags).status_code == 200
    assert time.monotonic() - before >= 0.05


def test_a_lost_reply_has_done_its_work(
    app: EmulatorApp, http: httpx2.Client, handle: str
) -> None:
    path = f"/{security('store')}/store/{handle}"
    app.faults.add("drop", operation="store")
    app.faults.add("lost_reply", operation="store")

    for stored in (1, 2):
        with pytest.raises(ConnectionResetError):
            http.get(path)
        assert len(app.store.files()) == stored


def test_a_fault_strikes_only_its_operation_and_only_so_often(
    app: EmulatorApp, http: httpx2.Client, tags: str, handle: str
) -> None:
    app.faults.add("server_error", operation="tags", times=2)

    assert http.get(f"/{security('read')}/{handle}").status_code == 200
    assert [http.get(tags).status_code for _ in range(3)] == [503, 503, 200]
    assert [name for name, _ in app.requests] == ["file", "tags", "tags", "tags"]


def test_chance_repeats_with_its_seed() -> None:
    def struck(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.add("slow", probability=0.5, times=None)
        return [faults.draw("tags", KINDS) is not None for _ in range(64)]

    assert struck(1) == struck(1)
    assert struck(1) != struck(2)
    assert 10 < sum(struck(1)) < 54


@pytest.mark.parametrize(
    "choices",
    [
        {"kind": "odd"},
        {"kind": "slow", "times": 0},
        {"kind": "slow", "probability": 1.1},
        {"kind": "slow", "seconds": -1},
        {"kind": "plain_text", "status": 99},
    ],
)
def test_a_fault_out_of_range_is_refused(choices: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"[Ff]ault"):
        Fault(**choices)


def test_faults_are_set_over_http(http: httpx2.Client, tags: str) -> None:
    added = http.post("/_emulator/faults", json={"kind": "server_error", "times": None})
    assert added.status_code == 201
    assert http.get(tags).status_code == 503

    seen = http.get("/_emulator/faults").json()
    assert [fault["kind"] for fault in seen["faults"]] == ["server_error"]
    assert set(seen["kinds"]) == set(KINDS)

    assert http.delete("/_emulator/faults").status_code == 204
    assert http.get(tags).status_code == 200


@pytest.mark.parametrize(
    "fault", [{"kind": "odd"}, {"odd": 1}, {"kind": "slow", "times": "x"}, []]
)
def test_a_fault_that_cannot_be_read_is_refused(http: httpx2.Client, fault: object) -> None:
    assert http.post("/_emulator/faults", json=fault).status_code == 400


def test_a_page_in_a_browser_cannot_set_faults(http: httpx2.Client) -> None:
    reply = http.post("/_emulator/faults", content=b'{"kind": "drop"}')

    assert reply.status_code == 415
    assert http.get("/_emulator/faults").json()["faults"] == []


def test_the_state_is_shown(http: httpx2.Client, handle: str) -> None:
    (file,) = http.get("/_emulator/files").json()["files"]
    (delivery,) = http.get("/_emulator/events").json()["events"]

    assert file["handle"] == handle
    assert delivery["action"] == "fp.upload"
    assert http.get("/_emulator/").json()["files"] == 1
    assert http.get("/_emulator/odd").status_code == 404
    assert http.put("/_emulator/files").status_code == 405


def test_control_is_for_this_machine_only(app: EmulatorApp) -> None:
    transport = httpx2.WSGITransport(app=app, remote_addr="192.0.2.1")
    with httpx2.Client(transport=transport, base_url=BASE) as http:
        assert http.get("/_emulator/").status_code == 403


def test_a_refusal_is_no_place_for_header_injection(http: httpx2.Client, handle: str) -> None:
    reply = http.get(f"/{security('runWorkflow')}/run_workflow=id:a%0D%0AX: y/{handle}")

    assert reply.status_code == 400
    assert "\n" not in reply.headers[REASON_HEADER]
