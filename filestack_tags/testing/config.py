"""The configuration of an emulator: its account, and its behavior."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .loopback import is_loopback_url, post

Tagger = Callable[[bytes], Mapping[str, int]]
"""Analyzes the bytes of a picture and returns label → confidence 0–100.

Raises:
    ValueError: (or :class:`~filestack_tags.exceptions.UnreadableImage`) when the bytes are not a
        picture it can read.
"""

Send = Callable[[str, bytes, Mapping[str, str]], int]
"""Posts a body with headers to a URL and returns the HTTP status; raises OSError otherwise."""

RETRIES = (10.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds before each retry of a webhook, as Filestack's plugin documents them."""

RETRIES_OF_THE_DOCS = (300.0, 1800.0, 43200.0)
"""The schedule of the docs (Webhooks page); the sources disagree."""

WORKFLOW_TASKS = ("tags", "sfw", "caption", "metadata")
RULE_OPERATORS = ("eq", "neq", "kex")
"""The operators of conditions that Filestack's docs show."""

_NAMED_AT = 1552311891723


@dataclass(frozen=True)
class WorkflowTask:
    """One task of a workflow.

    Args:
        name: the name under which its result is reported.
        kind: one of :data:`WORKFLOW_TASKS`.
        rule: path, operator and value of its condition, or ``None``. The first part of the path is
            the name of the task whose result is tested.
    """

    name: str
    kind: str
    rule: tuple[str, str, object] | None = None


@dataclass(frozen=True)
class Workflow:
    """A workflow of the account: its id, and its tasks in order.

    A task is written ``"tags"``, ``"name=tags"`` or, with a condition,
    ``"tags if safe.sfw eq true"``, where ``safe`` is the name of an earlier task. Filestack
    names a task ``<task>_<epoch milliseconds>`` unless it is renamed (docs: Workflows), and so
    does this. A task whose condition is false does not run and is absent from the results; so
    are the tasks that depend on it.

    Args:
        webhook_url: where this workflow's results go without an envelope, on loopback, in
            addition to the account's webhook; nowhere when empty.
    """

    id: str
    tasks: tuple[str, ...] = ("tags",)
    webhook_url: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("A workflow needs an id.")
        _check_webhook_url(self.webhook_url)
        earlier: set[str] = set()
        for task in self.parsed_tasks():
            if task.kind not in WORKFLOW_TASKS:
                raise ValueError(
                    f"Workflow task {task.name!r} is of unknown kind {task.kind!r}; "
                    f"the emulator runs: {', '.join(WORKFLOW_TASKS)}."
                )
            if task.rule and task.rule[0].partition(".")[0] not in earlier:
                raise ValueError(
                    f"The condition of workflow task {task.name!r} must begin with the name of "
                    f"an earlier task and a dot, such as safe.sfw; it begins with "
                    f"{task.rule[0]!r}."
                )
            earlier.add(task.name)

    def parsed_tasks(self) -> list[WorkflowTask]:
        """Return the tasks in order."""
        parsed = []
        for index, written in enumerate(self.tasks):
            task, has_rule, rule = written.partition(" if ")
            name, separator, kind = task.partition("=")
            parsed.append(
                WorkflowTask(
                    name if separator else f"{name}_{_NAMED_AT + index}",
                    kind or name,
                    _rule(rule) if has_rule else None,
                )
            )
        return parsed


def _rule(text: str) -> tuple[str, str, object]:
    path, operator, value = [*text.split(maxsplit=2), "", "", ""][:3]
    if operator not in RULE_OPERATORS or not value:
        raise ValueError(
            f"The condition {text!r} must be written PATH OPERATOR VALUE; "
            f"the operators are: {', '.join(RULE_OPERATORS)}."
        )
    try:
        return path, operator, json.loads(value)
    except ValueError:
        return path, operator, value.strip('"')


def _check_webhook_url(url: str) -> None:
    if url and not is_loopback_url(url):
        raise ValueError(
            "webhook_url must be an http URL on loopback, such as "
            f"http://127.0.0.1:8000/filestack/webhook/, not {url!r}."
        )


@dataclass(frozen=True)
class Account:
    """The Filestack app that is emulated.

    Args:
        api_key: the app's API key.
        app_secret: signs policies.
        security: whether every call requires a policy; ``tags`` always requires one (docs:
            Tagging).
        webhook_url: where events are sent, on loopback; none when empty.
        webhook_secret: signs webhooks. It is not the app secret (docs: Webhooks).
        workflows: the workflows that calls and uploads may run.
        aliases: storage alias → directory, read by ``src://ALIAS/PATH``.
        foreign_handles: handles of files of another app. Calls for them are rejected, because that
            app's secret did not sign the policy.
        events: actions that the webhook is registered for; ``None`` means all.
    """

    api_key: str = "AKEY"
    app_secret: str = field(default="TESTSECRET0000000000000000", repr=False)
    security: bool = True
    webhook_url: str = ""
    webhook_secret: str = field(default="whsec-A", repr=False)
    workflows: tuple[Workflow, ...] = ()
    aliases: Mapping[str, Path] = field(default_factory=dict)
    foreign_handles: Collection[str] = ()
    events: Collection[str] | None = None

    def __post_init__(self) -> None:
        if not self.api_key or not self.app_secret:
            raise ValueError("An account needs an api_key and an app_secret.")
        _check_webhook_url(self.webhook_url)

    def workflow(self, workflow_id: str) -> Workflow | None:
        """Return the workflow with this id, or ``None``."""
        return next((item for item in self.workflows if item.id == workflow_id), None)


@dataclass(frozen=True)
class EmulatorConfig:
    """The behavior of an emulator. Durations are seconds, sizes bytes.

    Args:
        account: the emulated Filestack app.
        tagger: analyzes pictures; defaults to
        :func:`filestack_tags.tagging.taggers.local.tag_picture`,
            imported for the first picture.
        unsafe_labels: labels that make the ``sfw`` task answer false.
        directory: stores files, uploads, jobs and undelivered webhooks, so that they survive a
            restart and can be shared by processes; in memory when ``None``.
        workflow_delay: minimum duration of a workflow job.
        webhook_delay: time between an event and its first delivery.
        webhook_retries: delays before each retry of a delivery that was not answered 200, 201 or
            204.
        time_scale: multiplies every delay above; 0.001 makes a second a millisecond.
        background: whether threads run jobs and deliveries automatically. Otherwise they wait for
            :meth:`~filestack_tags.testing.app.EmulatorApp.run_due`.
        send: posts webhooks; by default over HTTP, with a timeout of 30 s.
        cdn_cache: whether the CDN answers the same URL from its cache, as Filestack's does.
        seed: makes random faults reproducible.
        max_body: largest request accepted. Filestack converts up to 256 MB.
    """

    account: Account = field(default_factory=Account)
    tagger: Tagger | None = None
    unsafe_labels: frozenset[str] = frozenset({"blood", "gore", "nudity", "weapon"})
    directory: Path | None = None
    workflow_delay: float = 0.0
    webhook_delay: float = 0.0
    webhook_retries: tuple[float, ...] = RETRIES
    time_scale: float = 1.0
    background: bool = True
    send: Send = post
    cdn_cache: bool = True
    seed: int = 0
    max_body: int = 256 * 1024 * 1024
