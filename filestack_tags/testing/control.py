"""``/_emulator/…``: control the running emulator over HTTP, for tests and developers.

========  =====================  ==============================================================
GET       ``/_emulator/``        the numbers of files, deliveries and faults
GET       ``/_emulator/faults``  the active faults, and the available kinds
POST      ``/_emulator/faults``  add one: the fields of :class:`~.faults.Fault` as a JSON object
DELETE    ``/_emulator/faults``  remove all
GET       ``/_emulator/files``   every file
GET       ``/_emulator/events``  every webhook delivery and its state
========  =====================  ==============================================================

Callers must be on loopback. A POST must be JSON, so that a web page cannot send one.
"""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPMethod

from . import wire
from .faults import KINDS, Faults
from .loopback import is_loopback
from .store import Store
from .webhooks import Webhooks
from .wire import Refused, Reply, Request, json_reply

CONTROL = "/_emulator/"


class Control:
    """Answers the control endpoints."""

    def __init__(self, faults: Faults, store: Store, webhooks: Webhooks) -> None:
        self._faults = faults
        self._store = store
        self._webhooks = webhooks

    def answer(self, request: Request, remote_address: str) -> Reply:
        """Answer a request under :data:`CONTROL`."""
        if not is_loopback(remote_address):
            return json_reply({"error": "only from loopback"}, 403)
        try:
            return self._do(request.method, request.path.removeprefix(CONTROL), request)
        except Refused as err:
            return err.reply

    def _do(self, method: str, what: str, request: Request) -> Reply:
        if what == "faults" and method == HTTPMethod.POST:
            return self._add_fault(request)
        if what == "faults" and method == HTTPMethod.DELETE:
            self._faults.clear()
            return Reply(204)
        if method != HTTPMethod.GET:
            raise wire.task_error("Method not allowed", 405)
        if what == "faults":
            return json_reply({"faults": self._faults.active(), "kinds": dict(KINDS)})
        if what == "files":
            return json_reply({"files": [asdict(file) for file in self._store.files()]})
        if what == "events":
            return json_reply({"events": self._webhooks.deliveries()})
        if what == "":
            summary = {
                "files": len(self._store.files()),
                "deliveries": len(self._webhooks.deliveries()),
                "pending_deliveries": self._webhooks.pending(),
                "faults": len(self._faults.active()),
            }
            return json_reply(summary)
        raise wire.not_found("control")

    def _add_fault(self, request: Request) -> Reply:
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise wire.task_error("Content-Type must be application/json", 415)
        try:
            return json_reply(asdict(self._faults.add(**request.json())), 201)
        except (TypeError, ValueError) as err:
            raise wire.task_error(str(err)) from err
