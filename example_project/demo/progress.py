"""Wait for the tags, and report progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from example_project.demo.children import Children, DemoFailed
from example_project.demo.uploads import Upload
from filestack_tags.models import Asset

TIMEOUT = 60.0
POLL = 0.25


def wait_until_tagged(uploads: Sequence[Upload], children: Children) -> list[Asset]:
    """Return the assets of ``uploads`` in order, once each is tagged.

    Raises:
        DemoFailed: when a process ends, an asset fails, or :data:`TIMEOUT` seconds pass.
    """
    deadline = time.monotonic() + TIMEOUT
    while True:
        children.check()
        assets = _assets(uploads)
        for asset in assets.values():
            if asset.tagging_state == Asset.State.FAILED:
                raise DemoFailed(f"{asset} could not be tagged: {asset.error}")
        missing = [item for item in uploads if not _is_tagged(assets.get(item.handle))]
        _show(len(uploads) - len(missing), len(uploads))
        if not missing:
            return [assets[item.handle] for item in uploads]
        if time.monotonic() > deadline:
            names = ", ".join(f"{item.filename} (by {item.way})" for item in missing)
            raise DemoFailed(f"Not tagged after {TIMEOUT:.0f} s: {names}.")
        time.sleep(POLL)


def _assets(uploads: Sequence[Upload]) -> dict[str, Asset]:
    rows = Asset.objects.filter(kind="handle", reference__in=[item.handle for item in uploads])
    return {asset.reference: asset for asset in rows}


def _is_tagged(asset: Asset | None) -> bool:
    return asset is not None and asset.tagging_state == Asset.State.TAGGED


def _show(done: int, total: int) -> None:
    if sys.stdout.isatty():
        ending = "\n" if done == total else ""
        print(f"\r   tagged {done} of {total}", end=ending, flush=True)
    elif done == total:
        print(f"   tagged {done} of {total}", flush=True)
