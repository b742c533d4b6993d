"""``python -m tests.services.roundtrip PHOTO``: a host's web process with an upload.

Stores the photo, registers it, waits until a worker has tagged it, and prints the result.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import django

WAIT = 60


def main(photo: Path) -> None:
    django.setup()
    from django.core.management import call_command

    from filestack_tags.filestack.client import FilestackClient
    from filestack_tags.filestack.sources import Source
    from filestack_tags.models import Asset
    from filestack_tags.signals import asset_tagged
    from filestack_tags.tasks import register

    tagged_here: list[int] = []
    asset_tagged.connect(lambda asset, **_: tagged_here.append(asset.pk), weak=False)
    call_command("migrate", verbosity=0)
    with FilestackClient.from_settings() as client:
        stored = client.store_bytes(
            photo.read_bytes(), filename=photo.name, mimetype="image/jpeg"
        )
    asset, _ = register(Source.handle(stored.handle))
    deadline = time.monotonic() + WAIT
    while asset.tagging_state != Asset.State.TAGGED and time.monotonic() < deadline:
        time.sleep(0.1)
        asset.refresh_from_db()
    result = {
        "state": asset.tagging_state,
        "cat": Asset.objects.search("cat>=80").filter(pk=asset.pk).exists(),
        "same_process": tagged_here == [asset.pk],
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
