"""The emulator, in a separate process: records every tagging call, and kills its callers."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filestack_tags.testing import (
    Account,
    EmulatorApp,
    EmulatorConfig,
    EmulatorServer,
    Workflow,
)

from . import canned, crashing, plan

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

WORKFLOW = "chaos"
RETRIES = (0.2, 0.4, 0.8, *(1.5,) * 200)
"""Seconds before each retry of a webhook: Filestack retries for hours, this for minutes."""

FAULTS: tuple[dict[str, object], ...] = (
    # A tenth of the tagging calls.
    {"kind": "rate_limited", "operation": "tags", "probability": 0.02, "seconds": 2},
    {"kind": "server_error", "operation": "tags", "probability": 0.02},
    {"kind": "drop", "operation": "tags", "probability": 0.02},
    {"kind": "lost_reply", "operation": "tags", "probability": 0.02},
    {"kind": "truncated", "operation": "tags", "probability": 0.02},
    {"kind": "slow", "operation": "tags", "probability": 0.03, "seconds": 1.5},
    {"kind": "server_error", "operation": "workflow_status", "probability": 0.1},
    {"kind": "no_webhook", "operation": WORKFLOW, "probability": 0.1},
    {"kind": "task_error", "operation": WORKFLOW, "probability": 0.03},
    {"kind": "duplicate", "operation": "f*", "probability": 0.1},
    {"kind": "late", "operation": "f*", "probability": 0.05, "seconds": 4},
    {"kind": "reordered", "operation": "f*", "probability": 0.1, "seconds": 2},
    {"kind": "wrong_signature", "operation": "f*", "probability": 0.03},
)
"""Filestack's faults during the storm."""

_TAGS = re.compile(r"/tags(?:=[^/]*)?/([A-Za-z0-9]+)$")


class Watched:
    """The emulator, watched: see :data:`plan.DURING_CALL`."""

    def __init__(self, app: EmulatorApp) -> None:
        self.app = app

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if found := _TAGS.search(environ["RAW_URI"].partition("?")[0]):
            crashing.append("calls.log", f"{time.time():.3f}\t{found[1]}")
            self._strike(int(environ["REMOTE_PORT"]), int(environ["SERVER_PORT"]))
        return self.app(environ, start_response)

    @staticmethod
    def _strike(theirs: int, ours: int) -> None:
        if (who := crashing.take(plan.DURING_CALL)) is None:
            return
        pid = owner(theirs, ours)
        if pid is None:  # already gone: keep the token for the next one
            name = f"{plan.POINTS.index(plan.DURING_CALL)}-again-{time.time_ns()}"
            (crashing.directory() / "tokens" / name).write_text(who)
        else:
            crashing.kill(plan.DURING_CALL, who, pid)


def owner(local: int, remote: int) -> int | None:
    """Return the process that holds the connection from port ``local`` to ``remote``."""
    wanted = f":{local:04X}", f":{remote:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        cells = line.split()
        if cells[1].endswith(wanted[0]) and cells[2].endswith(wanted[1]):
            return _holder(f"socket:[{cells[9]}]")
    return None


def _holder(socket: str) -> int | None:
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # closed meanwhile, or of another user
            if str(entry.readlink()) == socket:
                return int(entry.parts[2])
    return None


def main() -> None:
    """Serve until SIGTERM. Arguments: the port, and where webhooks go."""
    port, webhook_url = int(sys.argv[1]), sys.argv[2]
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    config = EmulatorConfig(
        account=Account(
            # Uploads need no policy; tags always do.
            security=False,
            webhook_url=webhook_url,
            workflows=(Workflow(WORKFLOW),),
        ),
        tagger=canned.labels,
        webhook_retries=RETRIES,
        seed=int(os.environ.get("CHAOS_SEED", "0")),
    )
    with EmulatorApp(config) as app, EmulatorServer(Watched(app), port=port):  # type: ignore[arg-type]
        stopped.wait()


if __name__ == "__main__":
    main()
