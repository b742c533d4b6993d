"""Workflow jobs: started by a call or an upload, run in the background, reported by an event (docs:
Workflows, Workflows API).
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import payloads
from .config import EmulatorConfig
from .faults import JOB_FAULTS, Fault, Faults
from .grammar import Source
from .payloads import RESULTS_KEPT, job_text
from .pictures import Eye
from .store import Database
from .webhooks import Webhooks
from .wire import Refused, invalid_parameter, not_found
from .worker import Worker

logger = logging.getLogger(__name__)

LEASE = 60.0
"""Seconds after which a job of a crashed process is restarted by another."""

UNAVAILABLE = {"error": "service temporarily unavailable"}
Reader = Callable[[Source], tuple[bytes, str, str]]


class Workflows:
    """The account's workflow jobs."""

    def __init__(
        self,
        config: EmulatorConfig,
        database: Database,
        faults: Faults,
        webhooks: Webhooks,
        eye: Eye,
        read: Reader,
    ) -> None:
        self._config = config
        self._database = database
        self._faults = faults
        self._webhooks = webhooks
        self._eye = eye
        self._read = read
        self.worker = Worker("filestack-emulator-workflows", self.run_next)
        database.create(
            "CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, workflow TEXT NOT NULL, "
            "kind TEXT NOT NULL, reference TEXT NOT NULL, status TEXT NOT NULL, "
            "results TEXT NOT NULL DEFAULT '{}', created INTEGER NOT NULL, "
            "updated INTEGER NOT NULL, due REAL NOT NULL)",
            "CREATE INDEX IF NOT EXISTS jobs_due ON jobs (status, due)",
        )

    def run(self, workflow_id: str, source: Source) -> dict[str, Any]:
        """Start a job; return the reply of ``run_workflow``. Raises Refused (400)."""
        if self._config.account.workflow(workflow_id) is None:
            raise invalid_parameter(f"the account has no workflow {workflow_id!r}")
        job_id, now = str(uuid.uuid4()), time.time_ns()
        due = now / 1e9 + self._config.workflow_delay * self._config.time_scale
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO jobs (id, workflow, kind, reference, status, created, updated, due) "
                "VALUES (?, ?, ?, ?, 'Started', ?, ?, ?)",
                (job_id, workflow_id, source.kind, source.reference, now, now, due),
            )
        if self._config.background:
            self.worker.wake()
        started = self._text(self._row(job_id))
        return {key: started[key] for key in started if key not in {"results", "ttl"}}

    def run_all(self, workflows: Iterable[object], source: Source) -> dict[str, dict[str, str]]:
        """Start the workflows an upload names (ids, or ``{"id": …}``); return id → job."""
        ids = [str(item.get("id") if isinstance(item, dict) else item) for item in workflows]
        return {item: {"jobid": self.run(item, source)["jobid"]} for item in ids}

    def check(self, workflows: Iterable[object]) -> None:
        """Reject an upload that names a workflow the account does not have."""
        for item in workflows:
            workflow_id = str(item.get("id") if isinstance(item, dict) else item)
            if self._config.account.workflow(workflow_id) is None:
                raise invalid_parameter(f"the account has no workflow {workflow_id!r}")

    def status(self, job_id: str) -> dict[str, Any]:
        """Return the reply of ``workflow_status``. Raises Refused (404), also after 48 h."""
        return self._text(self._row(job_id))

    def _row(self, job_id: str) -> Mapping[str, Any]:
        rows = self._database.rows("SELECT * FROM jobs WHERE id = ?", (job_id,))
        if not rows or rows[0]["created"] < time.time_ns() - RESULTS_KEPT * 1_000_000_000:
            raise not_found("job")
        return dict(rows[0])

    @staticmethod
    def _text(row: Mapping[str, Any]) -> dict[str, Any]:
        return job_text(
            [str(Source(row["kind"], row["reference"]))],
            workflow=row["workflow"],
            job_id=row["id"],
            results=json.loads(row["results"]),
            status=row["status"],
            created=row["created"],
            updated=row["updated"],
        )

    def run_next(self) -> bool:
        """Run the job that has been due longest; return false if none is due."""
        row = self._claim()
        if row is None:
            return False
        fault = self._faults.draw(row["workflow"], JOB_FAULTS)
        results = self._results(row, fault)
        status = "Failed" if fault and fault.kind == "job_failed" else "Finished"
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "UPDATE jobs SET status = ?, results = ?, updated = ? "
                "WHERE id = ? AND status = 'Started'",
                (status, json.dumps(results), time.time_ns(), row["id"]),
            )
            ended = cursor.rowcount == 1
            # In the same transaction: no job ends without its event, even after a crash.
            if ended and not (fault and fault.kind == "no_webhook"):
                text = self._text(self._row(row["id"]))
                if fault and fault.kind == "early_event":
                    self._emit(_early(text, fault.text or "Running"))
                self._emit(text)
        return True

    def _emit(self, text: Mapping[str, Any]) -> None:
        self._webhooks.emit("fs.workflow", text)
        workflow = self._config.account.workflow(text["workflow"])
        if workflow and workflow.webhook_url:
            self._webhooks.emit_bare(workflow.webhook_url, text)

    def _claim(self) -> Mapping[str, Any] | None:
        now = time.time()
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT * FROM jobs WHERE status = 'Started' AND due <= ? ORDER BY due LIMIT 1",
                (now,),
            ).fetchone()
            if row is not None:
                connection.execute(
                    "UPDATE jobs SET due = ? WHERE id = ?", (now + LEASE, row["id"])
                )
            return dict(row) if row is not None else None

    def _results(self, row: Mapping[str, Any], fault: Fault | None) -> dict[str, Any]:
        if fault and fault.kind == "job_failed":
            return {}
        workflow = self._config.account.workflow(row["workflow"])
        tasks = workflow.parsed_tasks() if workflow else []
        if fault and fault.kind == "task_error":
            return {task.name: UNAVAILABLE for task in tasks}
        if fault and fault.kind == "task_skipped":
            return {}
        source = Source(row["kind"], row["reference"])
        results: dict[str, Any] = {}
        for task in tasks:
            if task.rule is None or _holds(task.rule, results):
                results[task.name] = self._result(task.kind, source)
        return results

    def _result(self, task: str, source: Source) -> dict[str, Any]:
        try:
            content, mimetype, _ = self._read(source)
            if task == "metadata":
                digest = hashlib.sha256(content).hexdigest()
                return {"data": {"mimetype": mimetype, "sha256": digest}}
            return {"data": self._eye.answer(task, content)}
        except Refused as err:
            return {"error": json.loads(err.reply.body)["error"]}
        except Exception:
            logger.exception("The task %s of a workflow job failed", task)
            return UNAVAILABLE

    def pending(self) -> int:
        """Return how many jobs have not ended."""
        rows = self._database.rows("SELECT count(*) AS n FROM jobs WHERE status = 'Started'")
        return int(rows[0]["n"])


def _holds(rule: tuple[str, str, object], results: Mapping[str, Any]) -> bool:
    """Return whether a task's condition is met by the result of the task that it names."""
    path, operator, value = rule
    name, _, rest = path.partition(".")
    found = results.get(name, {}).get("data")
    if found is None:  # it was skipped itself, or failed
        return False
    for key in rest.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    if operator == "kex":
        return isinstance(found, dict | str) and str(value) in found
    is_equal = type(found) is type(value) and found == value
    return is_equal if operator == "eq" else not is_equal


def _early(text: Mapping[str, Any], status: str) -> dict[str, Any]:
    results = dict(list(text["results"].items())[:1])
    for name, result in results.items():
        auto = result.get("data", {}).get("tags", {}).get("auto")
        if auto:
            half = dict(list(auto.items())[: -(-len(auto) // 2)])
            results[name] = {"data": payloads.tags_reply(half)}
    return {**text, "status": status, "results": results}
