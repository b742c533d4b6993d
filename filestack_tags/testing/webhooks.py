"""Send events to the project: signed, retried, and not always in order (docs: Webhooks)."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from .config import EmulatorConfig
from .faults import WEBHOOK_FAULTS, Faults
from .loopback import SEND_TIMEOUT
from .payloads import event
from .store import Database
from .worker import Worker

DELIVERED = frozenset({200, 201, 204})


def sign(body: bytes, secret: str, timestamp: str) -> str:
    """Return ``FS-Signature``: hex HMAC-SHA256 of ``timestamp.body`` (docs: Webhooks)."""
    return hmac.new(
        secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256
    ).hexdigest()


def signed_request(
    event: Mapping[str, Any] | bytes, secret: str, *, timestamp: int | None = None
) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of the request Filestack would make for ``event``.

    Args:
        event: a dict from :mod:`filestack_tags.testing.payloads`, or the exact bytes to send.
        secret: the webhook's secret, not the app secret.
        timestamp: ``FS-Timestamp`` in unix seconds; now by default.
    """
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    moment = str(int(time.time()) if timestamp is None else timestamp)
    return body, {
        "Content-Type": "application/json",
        "FS-Timestamp": moment,
        "FS-Signature": sign(body, secret, moment),
    }


class Webhooks:
    """The outbox: every event, its delivery state, and the thread that delivers it."""

    def __init__(self, config: EmulatorConfig, database: Database, faults: Faults) -> None:
        self._config = config
        self._account = config.account
        self._database = database
        self._faults = faults
        self.worker = Worker("filestack-emulator-webhooks", self.deliver_next)
        database.create(
            "CREATE TABLE IF NOT EXISTS event_ids (last INTEGER NOT NULL)",
            "CREATE TABLE IF NOT EXISTS deliveries (id INTEGER PRIMARY KEY AUTOINCREMENT, "
            "event INTEGER NOT NULL, action TEXT NOT NULL, body BLOB NOT NULL, due REAL NOT NULL, "
            "attempts INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL, held INTEGER NOT NULL, "
            "statuses TEXT NOT NULL DEFAULT '', url TEXT NOT NULL)",
            "CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (state, due)",
        )

    def emit(self, action: str, text: Mapping[str, Any]) -> int:
        """Record an event and schedule its delivery; return its id.

        An event that the webhook is not registered for is recorded as dropped.
        """
        events = self._account.events
        is_registered = events is None or action in events
        return self._record_event(
            action,
            lambda event_id: event(action, text, event_id=event_id),
            self._account.webhook_url if is_registered else "",
        )

    def emit_bare(self, url: str, text: Mapping[str, Any]) -> int:
        """Record a workflow's result for the webhook of that workflow: without an envelope."""
        return self._record_event("fs.workflow", lambda event_id: text, url)

    def _record_event(
        self, action: str, made: Callable[[int], Mapping[str, Any]], url: str
    ) -> int:
        fault = self._faults.draw(action, WEBHOOK_FAULTS.keys() - {"wrong_signature"})
        kind = fault.kind if fault else ""
        due = time.time() + self._config.webhook_delay * self._config.time_scale
        if fault and kind in {"late", "reordered"}:
            due += fault.seconds
        state = "pending" if url and kind != "dropped" else "dropped"
        with self._database.transaction() as connection:
            event_id = self._next_id()
            body = json.dumps(made(event_id)).encode()
            for _ in range(2 if kind == "duplicate" else 1):
                connection.execute(
                    "INSERT INTO deliveries (event, action, body, due, state, held, url) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (event_id, action, body, due, state, kind == "reordered", url),
                )
            if kind != "reordered":
                connection.execute(
                    "UPDATE deliveries SET held = 0, due = ? WHERE held AND due > ?",
                    (due + 1e-3, due),
                )
        if self._config.background:
            self.worker.wake()
        return event_id

    def _next_id(self) -> int:
        # Ids grow over time and stay unique across restarts and processes: microseconds,
        # incremented if two events collide.
        rows = self._database.rows("SELECT last FROM event_ids")
        last = rows[0]["last"] if rows else 0
        following = max(last + 1, time.time_ns() // 1000)
        self._database.rows("DELETE FROM event_ids")
        self._database.rows("INSERT INTO event_ids VALUES (?)", (following,))
        return int(following)

    def deliver_next(self) -> bool:
        """Attempt the delivery that has been due longest; return false if none is due."""
        row = self._claim()
        if row is None:
            return False
        wrong = self._faults.draw(row["action"], {"wrong_signature"})
        secret = (
            "not-" + self._account.webhook_secret if wrong else self._account.webhook_secret
        )
        body, headers = signed_request(row["body"], secret)
        try:
            status = self._config.send(row["url"], body, headers)
        except OSError:
            status = 0
        self._record(row, status)
        return True

    def _claim(self) -> Mapping[str, Any] | None:
        # The row stays pending with a later due time: if this process crashes while sending, the
        # delivery is repeated, as after a lost response.
        now = time.time()
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT * FROM deliveries WHERE state = 'pending' AND due <= ? "
                "ORDER BY due, id LIMIT 1",
                (now,),
            ).fetchone()
            if row is not None:
                connection.execute(
                    "UPDATE deliveries SET due = ?, attempts = attempts + 1 WHERE id = ?",
                    (now + 2 * SEND_TIMEOUT, row["id"]),
                )
            return dict(row) if row is not None else None

    def _record(self, row: Mapping[str, Any], status: int) -> None:
        retries = self._config.webhook_retries
        attempts, due = row["attempts"], time.time()
        if status in DELIVERED:
            state = "delivered"
        elif attempts >= len(retries):
            state = "given_up"
        else:
            state, due = "pending", due + retries[attempts] * self._config.time_scale
        statuses = f"{row['statuses']} {status}".strip()
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET state = ?, due = ?, statuses = ? WHERE id = ?",
                (state, due, statuses, row["id"]),
            )

    def pending(self) -> int:
        """Return how many deliveries are pending."""
        rows = self._database.rows(
            "SELECT count(*) AS n FROM deliveries WHERE state = 'pending'"
        )
        return int(rows[0]["n"])

    def deliveries(self) -> list[dict[str, Any]]:
        """Return every delivery: event, action, state, its response statuses (0 for no response),
        and the event itself.

        The states are pending, delivered, given_up and dropped (on purpose, or because the account
        has no webhook URL).
        """
        rows = self._database.rows("SELECT * FROM deliveries ORDER BY id")
        return [
            {
                "event": row["event"],
                "action": row["action"],
                "state": row["state"],
                "statuses": [int(status) for status in row["statuses"].split()],
                "body": json.loads(row["body"]),
            }
            for row in rows
        ]
