"""``python -m tests.services.uploads PHOTO NUMBER [ENDPOINT…]``: a host whose users upload photos.

Stores and registers them, waits until they are tagged, and runs further tasks: those of the app
that use the database, and one of the host. Prints the results. The endpoints receive webhooks; if
there are any, a webhook of Filestack is processed too.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import django

WAIT = 90.0
TASKS = ("sweep", "refresh_statistics", "prune")


def main(photo: Path, number: int, endpoints: Sequence[str]) -> None:
    django.setup()
    from django.contrib.auth.models import Group

    from filestack_tags import tasks
    from filestack_tags.error_codes import ErrorCode
    from filestack_tags.filestack.client import FilestackClient
    from filestack_tags.filestack.sources import Source
    from filestack_tags.models import Asset, Heartbeat, TaggingRun, WebhookDelivery
    from filestack_tags.outbound import delivery, outbox
    from filestack_tags.testing.payloads import fp_upload
    from tests import signed_headers

    from .host_tasks import write_row

    for url in endpoints:
        delivery.save_endpoint(url=url, events=outbox.EVENTS)
    with FilestackClient.from_settings() as client:
        for place in range(number):
            stored = client.store_bytes(
                photo.read_bytes(), filename=f"{place}.jpg", mimetype="image/jpeg"
            )
            tasks.register(Source.handle(stored.handle))
    resting = (Asset.State.TAGGED, Asset.State.FAILED)
    until(lambda: Asset.objects.filter(tagging_state__in=resting).count() == number)
    if endpoints:
        body = json.dumps(fp_upload(stored.handle)).encode()
        tasks.receive(body, signed_headers(body))
        processed = WebhookDelivery.objects.filter(state=WebhookDelivery.State.PROCESSED)
        until(processed.exists)
    write_row.delay("after tagging")
    for name in TASKS:
        getattr(tasks, name).delay()
    write_row.delay("at the end")
    until(lambda: Group.objects.count() == 2 and Heartbeat.objects.count() == len(TASKS))
    rows = Group.objects.values_list("name", flat=True)
    result = {
        "states": Counter(Asset.objects.values_list("tagging_state", flat=True)),
        "calls": TaggingRun.objects.exclude(error_code=ErrorCode.RELEASED).count(),
        "host_rows": sorted(name.rpartition(" ")[0] for name in rows),
        "beats": Heartbeat.objects.count(),
        "webhooks": Counter(WebhookDelivery.objects.values_list("state", flat=True)),
        "processes": len({name.rpartition(" ")[2] for name in rows}),
    }
    sys.stdout.write(json.dumps(result) + "\n")


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
