"""Workflow jobs from start to event."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import time_machine

from filestack_tags.testing import Account, EmulatorApp, Workflow
from filestack_tags.testing.grammar import Source

from .surroundings import BASE, WORKFLOW, config, picture, raw_app, security

PAYLOADS = Path(__file__).parents[1] / "payloads"


def test_a_job_starts_runs_and_is_told_of(
    app: EmulatorApp, http: httpx2.Client, handle: str
) -> None:
    path = f"/{security('runWorkflow')}/run_workflow=id:{WORKFLOW}/{handle}"
    started = http.get(path).json()
    expected = json.loads((PAYLOADS / "run_workflow_response.json").read_text())
    assert set(started) == set(expected)
    assert (started["status"], started["sources"]) == ("Started", [handle])

    status = f"/AKEY/{security('runWorkflow')}/workflow_status=job_id:{started['jobid']}"
    before = http.get(status).json()
    assert (before["status"], before["results"], before["ttl"]) == ("Started", {}, 172800)

    assert app.run_due() == 1
    finished = http.get(status).json()
    assert finished["status"] == "Finished"
    (result,) = finished["results"].values()
    assert result["data"]["tags"] == {"auto": {"red": 99, "40 x 20": 90}, "user": None}
    event = app.webhooks.deliveries()[-1]["body"]
    assert (event["action"], event["text"]) == ("fs.workflow", finished)


def test_every_kind_of_task_answers_under_its_name(app: EmulatorApp, handle: str) -> None:
    tasks = ("seen=tags", "sfw", "caption", "Get MimeType=metadata")
    account = Account(workflows=(Workflow("wf-1", tasks),))
    with EmulatorApp(config(account=account)) as other:
        file = other.files.add(
            picture(), filename="a.jpg", mimetype="", options={}, base_url=BASE
        )
        job = other.workflows.run("wf-1", Source("handle", file.handle))
        other.run_due()
        results = other.workflows.status(job["jobid"])["results"]

    assert list(results) == [
        "seen",
        "sfw_1552311891724",
        "caption_1552311891725",
        "Get MimeType",
    ]
    assert results["sfw_1552311891724"] == {"data": {"sfw": True}}
    assert results["Get MimeType"]["data"]["mimetype"] == "image/jpeg"


def test_a_task_that_cannot_be_done_is_an_error_in_a_finished_job(app: EmulatorApp) -> None:
    file = app.files.add(b"no", filename="a.txt", mimetype="", options={}, base_url=BASE)
    gone = app.workflows.run(WORKFLOW, Source("handle", "gone"))
    unreadable = app.workflows.run(WORKFLOW, Source("handle", file.handle))
    app.run_due()

    for job, error in ((gone, "file not found"), (unreadable, "Unsupported input format")):
        status = app.workflows.status(job["jobid"])
        assert status["status"] == "Finished"
        assert list(status["results"].values()) == [{"error": error}]


def test_a_tagger_that_breaks_is_a_service_unavailable(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(content: bytes) -> dict[str, int]:
        raise RuntimeError("broken")

    with EmulatorApp(config(tagger=broken)) as app:
        file = app.files.add(picture(), filename="a", mimetype="", options={}, base_url=BASE)
        job = app.workflows.run(WORKFLOW, Source("handle", file.handle))
        app.run_due()
        results = app.workflows.status(job["jobid"])["results"]

    assert list(results.values()) == [{"error": "service temporarily unavailable"}]
    assert "tags" in caplog.text


def test_a_job_takes_as_long_as_it_is_told_to(handle: str) -> None:
    with EmulatorApp(config(workflow_delay=100.0, time_scale=0.5)) as app:
        job = app.workflows.run(WORKFLOW, Source("url", "http://127.0.0.1:1/a.jpg"))
        assert app.run_due() == 0
        with time_machine.travel(time.time() + 51):
            assert app.run_due() == 1
        assert app.workflows.status(job["jobid"])["status"] == "Finished"


def test_results_are_kept_for_48_hours(app: EmulatorApp, http: httpx2.Client) -> None:
    job = app.workflows.run(WORKFLOW, Source("alias", "photos/a.jpg"))
    assert job["sources"] == ["src://photos/a.jpg"]

    with time_machine.travel(time.time() + 172801):
        path = f"/AKEY/{security('runWorkflow')}/workflow_status=job_id:{job['jobid']}"
        assert http.get(path).status_code == 404


def test_workflow_status_needs_the_key_and_a_job(http: httpx2.Client) -> None:
    segment = security("runWorkflow")

    assert http.get(f"/{segment}/workflow_status=job_id:x").status_code == 401
    assert http.get(f"/AKEY/{segment}/workflow_status=job_id:x").status_code == 404
    assert http.get(f"/AKEY/{segment}/workflow_status").status_code == 400


@pytest.mark.parametrize(
    ("kind", "status", "results"),
    [
        ("task_error", "Finished", [{"error": "service temporarily unavailable"}]),
        ("job_failed", "Failed", []),
    ],
)
def test_jobs_go_wrong_on_purpose(
    app: EmulatorApp, handle: str, kind: str, status: str, results: list[object]
) -> None:
    app.faults.add(kind, operation=WORKFLOW)
    job = app.workflows.run(WORKFLOW, Source("handle", handle))
    app.run_due()

    seen = app.workflows.status(job["jobid"])
    assert (seen["status"], list(seen["results"].values())) == (status, results)
    assert app.webhooks.deliveries()[-1]["body"]["text"]["status"] == status


def test_a_job_may_end_without_an_event(app: EmulatorApp, handle: str) -> None:
    app.faults.add("no_webhook")
    job = app.workflows.run(WORKFLOW, Source("handle", handle))
    app.run_due()

    assert app.workflows.status(job["jobid"])["status"] == "Finished"
    assert [item["action"] for item in app.webhooks.deliveries()] == ["fp.upload"]


def test_a_job_begun_by_a_process_that_died_is_begun_again(tmp_path: Path) -> None:
    with EmulatorApp(config(directory=tmp_path)) as first:
        job = first.workflows.run(WORKFLOW, Source("handle", "gone"))
        assert first.workflows._claim() is not None  # started, and then the process crashes
    with EmulatorApp(config(directory=tmp_path)) as second:
        assert second.run_due() == 0
        with time_machine.travel(time.time() + 61):
            assert second.run_due() == 1
        assert second.workflows.status(job["jobid"])["status"] == "Finished"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("",), "needs an id"), (("wf", ("virus",)), "unknown kind 'virus'")],
)
def test_a_workflow_that_cannot_run_is_refused_when_written(
    arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Workflow(*arguments)


def test_run_workflow_on_a_url_needs_the_key() -> None:
    with (
        EmulatorApp(config()) as app,
        httpx2.Client(transport=raw_app(app), base_url=BASE) as http,
    ):
        path = f"{security('runWorkflow')}/run_workflow=id:{WORKFLOW}/http://127.0.0.1:1/a.jpg"
        assert http.get(f"/{path}").status_code == 401
        assert http.get(f"/AKEY/{path}").json()["sources"] == ["http://127.0.0.1:1/a.jpg"]


def test_no_job_ends_without_its_event(
    app: EmulatorApp, handle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(action: str, text: object) -> int:
        raise KeyboardInterrupt

    job = app.workflows.run(WORKFLOW, Source("handle", handle))
    monkeypatch.setattr(app.webhooks, "emit", die)
    with pytest.raises(KeyboardInterrupt):
        app.workflows.run_next()

    assert app.workflows.status(job["jobid"])["status"] == "Started"


def results_of(*tasks: str, tagger: Any = None) -> dict[str, Any]:
    account = Account(workflows=(Workflow("wf-1", tasks),))
    more = {"tagger": tagger} if tagger else {}
    with EmulatorApp(config(account=account, **more)) as app:
        file = app.files.add(picture(), filename="a", mimetype="", options={}, base_url=BASE)
        job = app.workflows.run("wf-1", Source("handle", file.handle))
        app.run_due()
        status = app.workflows.status(job["jobid"])
    assert status["status"] == "Finished"
    return status["results"]  # type: ignore[no-any-return]  # JSON


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("safe.sfw eq true", True),
        ("safe.sfw eq false", False),
        ("safe.sfw neq false", True),
        ('safe.sfw eq "true"', False),
        ("said.caption kex red", True),
        ('said.caption kex "blue"', False),
        ("safe.other eq true", False),
    ],
)
def test_a_task_whose_condition_is_false_is_absent(rule: str, holds: bool) -> None:
    results = results_of("safe=sfw", "said=caption", f"labels=tags if {rule}")
    assert list(results) == ["safe", "said", *(["labels"] if holds else [])]


def test_an_unsafe_picture_never_gets_tags() -> None:
    results = results_of(
        "safe=sfw",
        "labels=tags if safe.sfw eq true",
        "after=caption if labels.tags.auto kex gore",
        tagger=lambda content: {"gore": 90},
    )
    assert results == {"safe": {"data": {"sfw": False}}}


def test_a_tag_decides_about_the_next_task() -> None:
    results = results_of("labels=tags", "safe=sfw if labels.tags.auto kex red")
    assert list(results) == ["labels", "safe"]


@pytest.mark.parametrize(
    "tasks",
    [
        ("tags if safe.sfw eq true",),
        ("tags if later.sfw eq true", "later=sfw"),
        ("safe=sfw", "tags if safe.sfw"),
        ("safe=sfw", "tags if safe.sfw gt 3"),
    ],
)
def test_a_condition_that_cannot_be_read_is_refused(tasks: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="condition"):
        Workflow("wf-1", tasks)


def test_tasks_can_be_skipped_on_purpose(app: EmulatorApp, handle: str) -> None:
    app.faults.add("task_skipped", operation=WORKFLOW)
    job = app.workflows.run(WORKFLOW, Source("handle", handle))
    app.run_due()
    status = app.workflows.status(job["jobid"])
    assert (status["status"], status["results"]) == ("Finished", {})


@pytest.mark.parametrize(("text", "word"), [("", "Running"), ("InProgress", "InProgress")])
def test_an_event_with_an_unknown_status_comes_before_the_end(
    app: EmulatorApp, handle: str, text: str, word: str
) -> None:
    app.faults.add("early_event", operation=WORKFLOW, text=text)
    app.workflows.run(WORKFLOW, Source("handle", handle))
    app.run_due()

    early, last = (
        item["body"]["text"]
        for item in app.webhooks.deliveries()
        if item["action"] == "fs.workflow"
    )
    assert (early["status"], last["status"]) == (word, "Finished")
    (some,), (every,) = early["results"].values(), last["results"].values()
    assert len(some["data"]["tags"]["auto"]) < len(every["data"]["tags"]["auto"])


def test_a_workflow_of_its_own_webhook_gets_the_result_without_an_envelope() -> None:
    posted: list[tuple[str, dict[str, Any], Mapping[str, str]]] = []

    def send(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        posted.append((url, json.loads(body), headers))
        return 200

    account = Account(
        webhook_url="http://127.0.0.1:1/all/",
        workflows=(Workflow("wf-1", webhook_url="http://127.0.0.1:1/one/"),),
        events=["fs.workflow"],
    )
    with EmulatorApp(config(account=account, send=send)) as app:
        file = app.files.add(picture(), filename="a", mimetype="", options={}, base_url=BASE)
        app.workflows.run("wf-1", Source("handle", file.handle))
        app.run_due()

    (url, event, _), (own_url, bare, headers) = posted
    assert (url, own_url) == ("http://127.0.0.1:1/all/", "http://127.0.0.1:1/one/")
    assert bare == event["text"]
    assert "action" not in bare
    assert headers["FS-Signature"]


def test_a_webhook_beyond_loopback_is_refused_for_a_workflow() -> None:
    with pytest.raises(ValueError, match="loopback"):
        Workflow("wf-1", webhook_url="https://example.com/")
