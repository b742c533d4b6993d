"""Metrics: declared events, and how they are reported."""

from __future__ import annotations

import ast
import inspect
import logging
from pathlib import Path
from typing import Any

import pytest

import filestack_tags
from filestack_tags import exceptions, metrics
from filestack_tags.exceptions import TaggerError
from filestack_tags.tagging.taggers.base import BUILT_IN
from filestack_tags.webhooks.handlers import HANDLERS

PACKAGE = Path(filestack_tags.__file__).parent


def calls() -> list[tuple[str, ast.Call]]:
    """Return every call of ``metrics.count`` and ``metrics.observe`` in the package."""
    return [
        (str(path.relative_to(PACKAGE)), node)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("count", "observe")
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "metrics"
    ]


def names(node: ast.expr) -> set[str]:
    """Return the possible names in the first argument: one, or one of two."""
    if isinstance(node, ast.IfExp):
        return names(node.body) | names(node.orelse)
    assert isinstance(node, ast.Constant), ast.dump(node)
    return {node.value}


def test_the_package_tells_only_of_what_is_declared() -> None:
    kinds = {"count": "counter", "observe": "duration"}
    for path, call in calls():
        assert isinstance(call.func, ast.Attribute)
        for name in names(call.args[0]):
            assert name in metrics.CATALOGUE, f"{path}: {name}"
            event = metrics.CATALOGUE[name]
            assert event.kind == kinds[call.func.attr], f"{path}: {name}"
            told = {keyword.arg for keyword in call.keywords}
            assert told == event.labels.keys(), f"{path}: {name}"


def test_every_declared_event_is_told_of_somewhere() -> None:
    told = {name for _, call in calls() for name in names(call.args[0])}
    assert told == metrics.CATALOGUE.keys()


def test_every_error_of_a_tagger_has_its_label() -> None:
    classes = [
        found
        for _, found in inspect.getmembers(exceptions, inspect.isclass)
        if issubclass(found, TaggerError)
    ]
    assert len(classes) > 10
    assert {found.code for found in classes} <= metrics.CODES


def test_no_error_code_is_written_as_a_text() -> None:
    written = [
        f"{path.name}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg in ("code", "error_code")
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value
    ]
    assert not written, "Use a member of ErrorCode."


def test_the_labels_of_actions_and_taggers_are_those_there_are() -> None:
    assert {*HANDLERS, "unknown"} == metrics.ACTIONS
    assert {*BUILT_IN, metrics.OTHER} == metrics.TAGGERS


def test_a_count_is_told_with_its_event_and_labels(told: list[metrics.Measurement]) -> None:
    metrics.count("webhook.refused", reason="signature")
    metrics.count("sweep.found", 12, what="assets")
    metrics.observe("call.seconds", 0.3, tagger="filestack", outcome="answered")
    metrics.observe("call.seconds", -1, tagger="filestack", outcome="answered")
    assert [(one.name, one.value, dict(one.labels)) for one in told] == [
        ("webhook.refused", 1, {"reason": "signature"}),
        ("sweep.found", 12, {"what": "assets"}),
        ("call.seconds", 0.3, {"tagger": "filestack", "outcome": "answered"}),
        ("call.seconds", 0, {"tagger": "filestack", "outcome": "answered"}),
    ]
    assert told[0].event is metrics.CATALOGUE["webhook.refused"]


def test_nothing_found_is_not_told(told: list[metrics.Measurement]) -> None:
    metrics.count("sweep.found", 0, what="assets")
    assert not told


@pytest.mark.parametrize(
    ("tagger", "label"),
    [
        ("filestack", "filestack"),
        ("workflow:moderation", "workflow"),
        ("shop.taggers.Faces", "other"),
        ("", "other"),
    ],
)
def test_a_tagger_is_told_by_its_kind(
    told: list[metrics.Measurement], tagger: str, label: str
) -> None:
    metrics.count("circuit.closed", tagger=tagger)
    assert told[0].labels == {"tagger": label}


def test_a_code_of_the_hosts_own_is_told_as_other(told: list[metrics.Measurement]) -> None:
    metrics.count("tagging.failed", code="https://example.com/?policy=p")
    assert told[0].labels == {"code": "other"}


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("no.such", {}),
        ("broker.unreachable", {"host": "h"}),
        ("webhook.refused", {}),
        ("webhook.refused", {"reason": "whim"}),
    ],
)
def test_what_is_not_declared_is_logged_and_never_raised(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    labels: dict[str, str],
) -> None:
    monkeypatch.undo()  # as in production
    metrics.count(name, **labels)
    assert f"The event {name} does not match its declaration" in caplog.text
    assert "whim" not in caplog.text


def test_without_a_listener_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[Any] = []
    monkeypatch.setattr(metrics, "_listeners", ())
    monkeypatch.setattr(metrics, "_emit", lambda *values: looked_at.append(values))
    metrics.count("webhook.received")
    metrics.observe("call.seconds", 1)
    assert looked_at == []


def test_a_listener_can_be_ended_twice_and_only_its_own(
    told: list[metrics.Measurement],
) -> None:
    heard: list[Any] = []
    ends = [metrics.subscribe(heard.append), metrics.subscribe(heard.append)]
    ends[0]()
    metrics.count("webhook.received")
    assert len(heard) == 1
    for end in (*ends, *ends):
        end()
    metrics.count("webhook.received")
    assert len(heard) == 1
    assert len(told) == 2


def test_one_listener_that_fails_does_not_keep_others_from_hearing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[Any] = []

    def fail(measurement: metrics.Measurement) -> None:
        raise RuntimeError

    ends = [metrics.subscribe(fail), metrics.subscribe(heard.append)]
    caplog.set_level(logging.ERROR)
    metrics.count("webhook.received")
    for end in ends:
        end()
    assert len(heard) == 1
    assert "metrics listener failed on webhook.received" in caplog.text
