"""``python -m tests.services.pruning TIMES``: prune in some threads while others read.

Every second call is a dry run; each of the others first adds :data:`ROWS` old deliveries, runs and
outbound messages. Prints the results of the calls, by the name of the exception, how many rows the
calls and one more at the end deleted, and how many rows are left.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event

import django

ROWS = 600
"""More than one batch."""


def main(times: int) -> None:
    django.setup()
    from django.db import connections
    from django.utils import timezone

    from filestack_tags.assets import registry
    from filestack_tags.filestack.sources import Source
    from filestack_tags.models import (
        Asset,
        OutboundEndpoint,
        OutboundMessage,
        TaggingRun,
        WebhookDelivery,
    )
    from filestack_tags.operations import retention

    ended = Event()
    asset, sharing = (registry.register(Source.handle(name))[0] for name in ("a", "b"))
    endpoint = OutboundEndpoint.objects.create(url="https://hooks.example/", events=[])
    old = timezone.now() - timedelta(days=400)

    def run(of: Asset) -> TaggingRun:
        return TaggingRun(
            asset=of, tagger="t", trigger="code", content_version=1, state="succeeded",
            raw_reply="{}", finished_at=old,
        )  # fmt: skip

    def add(number: int) -> None:
        WebhookDelivery.objects.bulk_create(
            WebhookDelivery(
                event_key=f"{number}-{place}", raw_body=b"{}", state="processed",
                received_at=old, due_at=None,
            )
            for place in range(ROWS)
        )  # fmt: skip
        TaggingRun.objects.bulk_create(run(asset) for _ in range(ROWS))
        OutboundMessage.objects.bulk_create(
            OutboundMessage(
                endpoint=endpoint, event="asset.tagged", state="sent", due_at=None,
                created_at=old,
            )
            for _ in range(ROWS)
        )  # fmt: skip

    def read() -> None:
        while not ended.is_set():
            Asset.objects.count()
        connections.close_all()

    def prune(number: int) -> tuple[str, retention.Pruned]:
        is_dry = bool(number % 2)
        try:
            if not is_dry:
                add(number)
            pruned = retention.prune(dry_run=is_dry)
        except Exception as error:  # noqa: BLE001  the test reports all
            return type(error).__name__, retention.Pruned()
        finally:
            connections.close_all()
        return "", retention.Pruned() if is_dry else pruned

    # Neither is deleted: the second asset's current run shares the reply of the first run.
    source, current = run(asset), run(sharing)
    source.save()
    current.shared_from = source
    current.save()
    Asset.objects.filter(pk=sharing.pk).update(current_run=current)
    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        calls = list(pool.map(prune, range(times)))
        ended.set()
        for reader in readers:
            reader.result()
    total = retention.prune()
    for _, pruned in calls:
        total = total.plus(pruned)
    result = {
        "results": Counter(name for name, _ in calls),
        "deleted": [total.deliveries, total.runs, total.messages],
        "left": [
            model.objects.count() for model in (WebhookDelivery, TaggingRun, OutboundMessage)
        ],
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
