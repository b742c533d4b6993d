"""Sweeps every second of the clock. Two such processes sweep at the same times."""

from __future__ import annotations

import sys
import time

import django
from django.db import Error, close_old_connections

from .crashing import append

EVERY = 1.0
"""Seconds."""


def main() -> None:
    django.setup()
    from filestack_tags.tasks import sweep

    while True:
        time.sleep(EVERY - time.time() % EVERY)
        tick = round(time.time() / EVERY)
        try:
            found = sweep()
        except Error as error:  # the database is down; the next sweep finds the same
            append("sweeps.log", f"{tick}\t{sys.argv[1]}\tmissed\t{type(error).__name__}")
        else:
            append("sweeps.log", f"{tick}\t{sys.argv[1]}\tdone\t{found}")
        close_old_connections()


if __name__ == "__main__":
    main()
