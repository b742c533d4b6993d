"""How many statements it takes to apply an event: counted in this process, not timed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from filestack_tags.filestack.payloads import event_key
from filestack_tags.models import WebhookDelivery
from filestack_tags.testing.payloads import fp_delete, fp_overwrite, fp_upload, fs_workflow
from filestack_tags.webhooks import inbox, processing

Make = Callable[[str], Mapping[str, Any]]

LABELS = {f"label {number}": number for number in range(40, 60)}
KINDS: dict[str, tuple[Make, bool]] = {
    "upload of a new file": (fp_upload, False),
    "overwrite of a file with tags": (fp_overwrite, True),
    "deletion of a file with tags": (fp_delete, True),
    "workflow's 20 tags for a new file": (
        lambda handle: fs_workflow(handle, tags=LABELS),
        False,
    ),
    "workflow's 20 tags for a known file": (
        lambda handle: fs_workflow(handle, tags=LABELS),
        True,
    ),
}
"""The kinds of event, and whether the file has tags already."""


def each() -> dict[str, dict[str, float]]:
    """Return for each kind the number of statements of a single event, and per event in a batch."""
    _apply(
        [fs_workflow("first", tags=LABELS)]
    )  # the tags are created once, not with each event
    found = {}
    for kind, (make, is_known) in KINDS.items():
        alone, together = _handles(1), _handles(inbox.BATCH_SIZE)
        if is_known:
            for handle in (*alone, *together):
                _apply([fs_workflow(handle, tags=LABELS | {"once": 50})])
        found[kind] = {
            "alone": _apply([make(handle) for handle in alone]),
            "together": _apply([make(handle) for handle in together]) / len(together),
        }
        print(f"{kind:36} {found[kind]}", flush=True)
    return found


_numbers = count(1)


def _handles(number: int) -> list[str]:
    return [f"counted{next(_numbers)}" for _ in range(number)]


def _apply(events: Sequence[Mapping[str, Any]]) -> int:
    """Store deliveries and process them; return the number of statements, including commits."""
    ids = []
    for event in events:
        body = json.dumps(event).encode()
        key, action = event_key(body)
        delivery = WebhookDelivery.objects.create(
            event_key=key, action=action, raw_body=body, due_at=timezone.now()
        )
        ids.append(delivery.pk)
    with CaptureQueriesContext(connection) as captured:
        outcomes = processing.process(ids)
    if wrong := [one.state for one in outcomes if one.state != "processed"]:
        raise RuntimeError(f"Not every event was processed: {wrong}")
    return len(captured)
