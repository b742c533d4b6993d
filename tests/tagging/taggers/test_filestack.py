"""The taggers that call Filestack, against a server on loopback."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest

from filestack_tags.exceptions import ConfigurationError, ConnectionFailed, TaggerError
from filestack_tags.filestack.shared_client import shared_client
from filestack_tags.filestack.sources import Source
from filestack_tags.tagging.taggers import PendingJob, TagScore, get_tagger
from filestack_tags.tagging.taggers.filestack import FilestackTagger, WorkflowTagger
from tests.tagging.taggers.conftest import Filestack

if TYPE_CHECKING:
    from pytest_django import Settings

SOURCE = Source.handle("pR4oeS63QLmYIFNs2ZvZ")
WORKFLOW = "67d273c3-249c-4192-b228-9c3e1d003963"
JOB = "7dba00f5-aee2-4f65-bd16-631e626b3c93"


def job(**changes: Any) -> bytes:
    """A job as returned by ``run_workflow`` and ``workflow_status`` (docs: Workflows API)."""
    answer = {
        "createdAt": "2019-10-24T20:50:38.695634422Z",
        "jobid": JOB,
        "results": {},
        "sources": [SOURCE.reference],
        "status": "Started",
        "updatedAt": "2019-10-24T20:50:38.695634422Z",
        "workflow": WORKFLOW,
    }
    return json.dumps(answer | changes).encode()


def tags_task(**auto: int) -> dict[str, Any]:
    return {"tags_1552311891723": {"data": {"tags": {"auto": auto, "user": None}}}}


def test_the_reply_is_kept_as_received(filestack: Filestack) -> None:
    body = b'{"tags": {"auto": {"no person": 98, "sky": 60},  "user": null}}'
    filestack.answers(body)
    reply = FilestackTagger().tag(SOURCE)
    assert reply.scores == (TagScore("no person", 98), TagScore("sky", 60))
    assert (reply.raw, reply.status, reply.version) == (body.decode(), 200, 2)


def test_the_settings_say_which_tasks_and_version(
    filestack: Filestack, settings: Settings
) -> None:
    settings.FILESTACK_TAGS = {
        **settings.FILESTACK_TAGS,
        "TASKS_BEFORE_TAGS": ["resize=h:2000"],
        "TAGS_VERSION": 1,
    }
    filestack.answers(b'{"tags": {"auto": {"sky": 60}, "user": null}}')
    reply = FilestackTagger().tag(SOURCE)
    assert reply.version == 1
    (path,) = filestack.paths
    assert path.index("/resize=h:2000/") < path.index("/tags=version:1")


def test_a_workflow_answers_with_its_job(filestack: Filestack) -> None:
    filestack.answers(job())
    pending = WorkflowTagger().tag(SOURCE)
    assert pending == PendingJob(WORKFLOW, JOB, raw=job().decode(), status=200)
    assert f"run_workflow=id:{WORKFLOW}" in filestack.paths[0]


def test_without_a_workflow_id_nothing_is_sent(
    filestack: Filestack, settings: Settings
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "WORKFLOW_ID": ""}
    with pytest.raises(ConfigurationError, match=r"FILESTACK_TAGS\['WORKFLOW_ID'\]"):
        WorkflowTagger().tag(SOURCE)
    assert filestack.paths == []


def test_a_named_workflow_is_the_one_that_runs(
    filestack: Filestack, settings: Settings
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "WORKFLOWS": {"look": "687r07d2"}}
    filestack.answers(job(workflow="687r07d2"))
    tagger = get_tagger("workflow:look")
    assert tagger.tag(SOURCE) == PendingJob(
        "687r07d2", JOB, raw=job(workflow="687r07d2").decode(), status=200
    )
    assert "run_workflow=id:687r07d2" in filestack.paths[0]


def test_a_named_workflow_without_an_id_sends_nothing(
    filestack: Filestack, settings: Settings
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "WORKFLOWS": {"look": ""}}
    with pytest.raises(ConfigurationError, match=r"\['WORKFLOWS'\]\['look'\]"):
        get_tagger("workflow:look").tag(SOURCE)
    assert filestack.paths == []


@pytest.mark.parametrize("results", [{}, tags_task(rain=96)], ids=["no tags", "tags so far"])
@pytest.mark.parametrize("status", ["Started", "started", "pending", "Running", "Done", ""])
def test_a_job_under_way_stays_pending(
    filestack: Filestack, status: str, results: dict[str, Any]
) -> None:
    """The tags of one task need not be all of them."""
    filestack.answers(job(status=status, results=results))
    assert isinstance(WorkflowTagger().follow(JOB), PendingJob)
    assert f"job_id:{JOB}" in filestack.paths[0]


def test_a_finished_job_gives_its_tags(filestack: Filestack) -> None:
    filestack.answers(job(status="Finished", results=tags_task(umbrella=97, rain=96)))
    reply = WorkflowTagger().follow(JOB)
    assert not isinstance(reply, PendingJob)
    assert set(reply.scores) == {TagScore("umbrella", 97), TagScore("rain", 96)}


@pytest.mark.parametrize("status", ["Finished", "Failed", "finished", "Error"])
def test_a_job_of_which_a_part_failed_gives_the_tags_it_has(
    filestack: Filestack, status: str
) -> None:
    failed = {"tags_2": {"error": "service temporarily unavailable"}}
    filestack.answers(job(status=status, results=tags_task(rain=96) | failed))
    reply = WorkflowTagger().follow(JOB)
    assert not isinstance(reply, PendingJob)
    assert reply.scores == (TagScore("rain", 96),)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"status": "Failed"}, "workflow_failed"),
        (
            {
                "status": "Finished",
                "results": {"tags_1": {"data": {"tags": {"auto": {"x": -1}}}}},
            },
            "workflow_task_failed",
        ),
    ],
)
def test_a_failed_job_without_tags_says_why(
    filestack: Filestack, changes: dict[str, Any], code: str
) -> None:
    filestack.answers(job(**changes))
    with pytest.raises(TaggerError) as caught:
        WorkflowTagger().follow(JOB)
    assert caught.value.code == code
    assert json.loads(caught.value.raw_reply) == changes.get("results", {})


@pytest.mark.parametrize("results", [{}, {"sfw_1": {"data": {"sfw": False}}}])
def test_a_finished_job_whose_tags_task_did_not_run_has_a_result_without_tags(
    filestack: Filestack, results: dict[str, Any]
) -> None:
    filestack.answers(job(status="Finished", results=results))
    reply = WorkflowTagger().follow(JOB)
    assert not isinstance(reply, PendingJob)
    assert (reply.has_tags, reply.scores) == (False, ())
    assert json.loads(reply.raw) == results


def test_threads_share_one_client(filestack: Filestack) -> None:
    together = Barrier(4)

    def client(_: int) -> int:
        together.wait()
        return id(shared_client())

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(client, range(4)))) == 1


def test_changed_settings_make_a_new_client_and_close_the_old(
    filestack: Filestack, settings: Settings
) -> None:
    filestack.answers(b'{"tags": {"auto": {}, "user": null}}')
    before = shared_client()
    before.tags(SOURCE)
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "CDN_URL": "http://127.0.0.1:1"}
    with pytest.raises(ConnectionFailed):
        FilestackTagger().tag(SOURCE)
    with pytest.raises(RuntimeError, match="closed"):
        before.tags(SOURCE)


def test_after_settings_that_make_no_client_the_next_ones_do(
    filestack: Filestack, settings: Settings
) -> None:
    filestack.answers(b'{"tags": {"auto": {"sky": 60}, "user": null}}')
    shared_client()
    good = settings.FILESTACK_TAGS
    settings.FILESTACK_TAGS = {**good, "APP_SECRET": ""}
    with pytest.raises(ConfigurationError, match="APP_SECRET"):
        FilestackTagger().tag(SOURCE)
    settings.FILESTACK_TAGS = good
    assert FilestackTagger().tag(SOURCE).scores == (TagScore("sky", 60),)


# Python 3.12 and later warn about a fork beside the server's thread; this child takes no lock of
# it.
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_worker_makes_its_own_client(filestack: Filestack) -> None:
    """Two processes must not write to the same connection."""
    filestack.answers(b'{"tags": {"auto": {}, "user": null}}')
    parent = shared_client()
    parent.tags(SOURCE)
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    worker = fork.Process(target=lambda: sender.send(shared_client() is parent))
    worker.start()
    worker.join()
    assert receiver.recv() is False
    receiver.close()
    sender.close()
    assert shared_client() is parent
    assert parent.tags(SOURCE).auto == {}
