"""The two measurements: webhooks stored, and events applied from the first request to the end."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from statistics import quantiles
from time import perf_counter, sleep
from typing import Any

from django.conf import settings
from django.db import connection

from filestack_tags.models import Asset, TaggingRun, WebhookDelivery

from .celery_app import app
from .client import Measured, Orders
from .processes import post, server, worker

PAYLOAD = Path(__file__).parents[2] / "tests" / "payloads" / "webhook_fs_workflow_tags.json"
VIEWS = {"app": "/app/", "floor": "/floor/", "same row": "/same-row/"}
DUPLICATES_EVERY = 20
WARM_UP = 1.0
EVENTS_IN_A_ROUND = 1_000_000
"""More than any round sends, so that no event is sent in two rounds."""
LONGEST = 600.0


def body() -> str:
    """Return the payload from Filestack's documentation, with a new file and job each time."""
    event = json.loads(PAYLOAD.read_text("utf-8"))
    event["id"] = 0
    event["text"] |= {"sources": ["handle@@"], "jobid": "job-@@"}
    return json.dumps(event).replace('"id": 0', '"id": @@')


def orders(port: int, view: str, seconds: float, connections: int, **more: Any) -> Orders:
    first = next(_rounds) * EVENTS_IN_A_ROUND
    (secret,) = settings.FILESTACK_TAGS["WEBHOOK_SECRETS"]
    return Orders(
        port=port,
        path=VIEWS[view],
        seconds=seconds,
        connections=connections,
        secret=secret,
        body=body(),
        first=first,
        **more,
    )


_rounds = count(1)


def accepting(rounds: int, seconds: float, connections: int) -> dict[str, Any]:
    """Measure the views in turn, each time in another order; nothing is processed meanwhile."""
    found: dict[str, list[Measured]] = {view: [] for view in VIEWS}
    names = list(VIEWS)
    with server() as port:
        for view in names:
            post(orders(port, view, WARM_UP, connections))
        for number in range(rounds):
            for view in names[number % 3 :] + names[: number % 3]:
                every = DUPLICATES_EVERY if view == "app" else 0
                measured = post(orders(port, view, seconds, connections, every=every))
                found[view].append(measured)
                print(
                    f"round {number + 1} {view:10} {measured.sent / measured.seconds:7.0f}/s",
                    flush=True,
                )
    duplicates = sum(WebhookDelivery.objects.values_list("duplicates", flat=True))
    return {
        "views": {view: _summary(all_of) for view, all_of in found.items()},
        "duplicates": duplicates,
        "messages": _forget_messages(),
    }


def _summary(rounds: list[Measured]) -> dict[str, Any]:
    times = sorted(time for measured in rounds for time in measured.times)
    cuts = quantiles(times, n=100)
    return {
        "n": len(times),
        "per_second": round(len(times) / sum(measured.seconds for measured in rounds), 1),
        "each_round": [round(measured.sent / measured.seconds, 1) for measured in rounds],
        "p50": round(cuts[49], 2),
        "p95": round(cuts[94], 2),
        "p99": round(cuts[98], 2),
        "max": round(times[-1], 2),
        "refused": sum(measured.refused for measured in rounds),
        "problem": next((x.problem for x in rounds if x.problem), ""),
    }


def applying(events: int, connections: int) -> dict[str, Any]:
    """Post events to the app with a worker running, and wait until each is applied."""
    with connection.cursor() as cursor:
        tables = (WebhookDelivery, TaggingRun, Asset)
        names = ", ".join(model._meta.db_table for model in tables)
        cursor.execute(f"TRUNCATE {names} CASCADE")
    deliveries = WebhookDelivery.objects.all()
    with server() as port, worker():
        post(orders(port, "app", LONGEST, connections, requests=200))  # warms them up
        _wait_for(200)
        start = perf_counter()
        sent = post(orders(port, "app", LONGEST, connections, requests=events))
        posted = perf_counter() - start
        made = (
            posted - sent.seconds
        )  # without the client's start and the signing of its requests
        _wait_for(200 + events)
        elapsed = perf_counter() - start - made
    _forget_messages()
    processed = deliveries.filter(state=WebhookDelivery.State.PROCESSED).count() - 200
    tagged = Asset.objects.filter(tagging_state=Asset.State.TAGGED).count() - 200
    found = {
        "events": events,
        "refused": sent.refused,
        "processed": processed,
        "tagged": tagged,
        "posting_seconds": round(sent.seconds, 2),
        "seconds": round(elapsed, 2),
        "per_second": round(processed / elapsed, 1),
    }
    print(f"applied: {found}", flush=True)
    return found


def _wait_for(events: int) -> None:
    """Wait until ``events`` deliveries are stored and none is open any more."""
    deadline = perf_counter() + LONGEST
    opened = WebhookDelivery.objects.filter(due_at__isnull=False)
    while WebhookDelivery.objects.count() < events or opened.exists():
        if perf_counter() > deadline:
            raise TimeoutError(f"{opened.count()} deliveries are still open.")
        sleep(0.05)


def _forget_messages() -> int:
    """Remove the benchmark's queue from the broker; return how many messages were in it."""
    with app.connection_for_write() as broker:
        channel = broker.default_channel
        # Declared here, too: Redis only deletes a queue that this connection has bound.
        queue = app.amqp.queues[settings.CELERY_TASK_DEFAULT_QUEUE].bind(channel)
        queue.declare()
        waiting = channel.queue_declare(queue.name, durable=True).message_count
        queue.delete()
    return int(waiting)
