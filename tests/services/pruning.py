"""``python -m tests.services.pruning TIMES``: prune in some threads while others read.

Prints the results of the calls, by the name of the exception.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import django


def main(times: int) -> None:
    django.setup()
    from django.db import connections

    from filestack_tags.models import Asset
    from filestack_tags.operations import retention

    ended = Event()

    def read() -> None:
        while not ended.is_set():
            Asset.objects.count()
        connections.close_all()

    def prune(number: int) -> str:
        try:
            retention.prune(dry_run=bool(number % 2))
        except Exception as error:  # noqa: BLE001  the test reports all
            return type(error).__name__
        finally:
            connections.close_all()
        return ""

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        found = Counter(pool.map(prune, range(times)))
        ended.set()
        for reader in readers:
            reader.result()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
