"""Handlers: the function that applies each kind of webhook event.

A handler gets events of its kind and returns the result of each, by delivery id. It runs inside the
transaction that closes the deliveries, and may run again after a crash or a replay. It may leave
out some of several events, which are then handled one by one. The actions and their fields are
those of PROTOCOL (docs: Webhooks; docs: Workflows).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from filestack_tags import metrics
from filestack_tags.db.transactions import on_commit

from . import file_events, workflow_jobs
from .handler_types import IGNORED, HandlerResult, ReceivedEvent

Handler = Callable[[Sequence[ReceivedEvent]], dict[int, HandlerResult]]


def ignore(events: Sequence[ReceivedEvent]) -> dict[int, HandlerResult]:
    """Ignore events that do not affect tags, and count those with an unknown action."""
    unknown = sum(received.event.action not in HANDLERS for received in events)
    on_commit(lambda: metrics.count("webhook.unknown_action", unknown))
    return {
        received.delivery.pk: HandlerResult(
            IGNORED,
            f"{received.event.action} does not concern the tags of an asset."
            if received.event.action in HANDLERS
            else f"Unknown action {received.event.action!r}.",
        )
        for received in events
    }


# Jobs first: a file that already has its tags need not be tagged after its upload event.
HANDLERS: Mapping[str, Handler] = {
    "fs.workflow": workflow_jobs.apply,
    **dict.fromkeys(file_events.EFFECTS, file_events.apply),
    "fp.converse": ignore,
    "fp.video_converse": ignore,
    "fp.scan": ignore,
    "fp.export": ignore,
    "fp.dialog": ignore,
}
"""The handler of each action. Deliveries that are leased together are handled in this order."""


def group_by_handler(
    events: Sequence[ReceivedEvent],
) -> list[tuple[Handler, list[ReceivedEvent]]]:
    """Return events by their handler, in the order of :data:`HANDLERS`."""
    groups: dict[Handler, list[ReceivedEvent]] = {
        handler: [] for handler in (*HANDLERS.values(), ignore)
    }
    for received in events:
        groups[HANDLERS.get(received.event.action, ignore)].append(received)
    return [(handler, group) for handler, group in groups.items() if group]
