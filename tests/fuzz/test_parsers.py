"""Parsers raise only their documented error, whatever the input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestack_tags.exceptions import PayloadError
from filestack_tags.filestack.payloads import (
    event_key,
    parse_event,
    parse_file,
    parse_job,
    parse_metadata,
    parse_tags_reply,
)
from filestack_tags.tagging.taggers import TaggerReply

from .strategies import ANSWERS, bodies, changed, recorded, webhooks, written

answers = st.sampled_from(ANSWERS).flatmap(lambda name: changed(recorded(f"{name}.json")))


def is_storable(value: Any) -> bool:
    """Whether every database takes it: no NUL, no lone surrogate."""
    if isinstance(value, str):
        return "\x00" not in value and bool(value.encode() or True)
    if isinstance(value, dict):
        return all(map(is_storable, [*value, *value.values()]))
    return not isinstance(value, (list, tuple)) or all(map(is_storable, value))


def read(parse: Callable[[Any], Any], data: Any) -> Any:
    try:
        return parse(data)
    except PayloadError as error:
        refused = str(error)
    assert refused
    assert is_storable(refused)
    return None


@pytest.mark.parametrize("parse", [parse_tags_reply, parse_job, parse_file, parse_metadata])
@given(data=answers.map(written) | bodies)
def test_an_answer_is_read_or_refused(parse: Callable[[Any], Any], data: bytes) -> None:
    found = read(parse, data)
    assert found is None or is_storable(found.raw)


@given(bodies)
def test_an_event_is_read_or_refused(body: bytes) -> None:
    key, action = event_key(body)
    event = read(parse_event, body)
    if event is None:
        return
    assert (event.key, event.action) == (key, action)
    assert is_storable(event.raw)
    read(lambda found: found.file(), event)
    read(lambda found: found.workflow(), event)


@given(webhooks)
def test_the_tags_of_an_event_are_labels_with_confidences(payload: Any) -> None:
    event = read(parse_event, written(payload))
    job = read(lambda found: found.workflow(), event) if event else None
    reply = job.merged_tags() if job else None
    if reply is None:
        return
    for score in TaggerReply.of(reply).scores:
        assert type(score.confidence) is int
        assert 0 <= score.confidence <= 100
        assert score.name.strip() == score.name != ""
        assert is_storable(score.name)
