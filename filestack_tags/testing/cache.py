"""The CDN's cache: a URL gets the same answer again (docs: Delivery, CDN).

Policies and signatures are not part of the cache key. So after an overwrite, or after the file
behind a storage alias changed, the same URL still returns the old picture and its tags, for 30
days. ``cache=expiry:N`` sets the seconds; ``cache=false`` neither reads nor writes it.
"""

from __future__ import annotations

import json
import time

from .grammar import Call
from .store import Database
from .wire import Reply, invalid_parameter

USUAL = 30 * 24 * 3600
LONGEST = 31_536_000
"""Seconds of ``cache=expiry:max``."""


class Cache:
    """Replies by URL. Shared by the emulators that share a directory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(
            "CREATE TABLE IF NOT EXISTS cache (url TEXT PRIMARY KEY, source TEXT NOT NULL, "
            "expires REAL NOT NULL, type TEXT NOT NULL, headers TEXT NOT NULL, "
            "body BLOB NOT NULL)"
        )

    def get(self, call: Call) -> Reply | None:
        """Return the reply that is cached for the URL, or ``None``."""
        if not _seconds(call):
            return None
        rows = self._database.rows(
            "SELECT * FROM cache WHERE url = ? AND expires > ?", (_url(call), time.time())
        )
        if not rows:
            return None
        row = rows[0]
        return Reply(200, row["body"], row["type"], json.loads(row["headers"]))

    def put(self, call: Call, reply: Reply) -> None:
        """Cache the reply to the URL for as long as its ``cache`` task says."""
        seconds = _seconds(call)
        if not seconds or reply.status != 200:
            return
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO cache VALUES (?, ?, ?, ?, ?, ?)",
                (
                    _url(call),
                    str(call.source),
                    time.time() + seconds,
                    reply.content_type,
                    json.dumps(dict(reply.headers)),
                    reply.body,
                ),
            )

    def remove(self, handle: str) -> None:
        """Remove the replies about a file that was deleted."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM cache WHERE source = ?", (handle,))


def _url(call: Call) -> str:
    tasks = [[task.name, dict(task.options)] for task in call.tasks if task.name != "security"]
    return json.dumps([call.api_key, tasks, str(call.source)])


def _seconds(call: Call) -> int:
    """Return how long the reply may be cached; 0 means not at all.

    Raises:
        Refused: 400 for an expiry that is not a number.
    """
    task = next((task for task in call.tasks if task.name == "cache"), None)
    if task is None:
        return USUAL
    if "false" in task.options:
        return 0
    expiry = task.text("expiry") or str(USUAL)
    if expiry == "max":
        return LONGEST
    if not expiry.isdecimal():
        raise invalid_parameter("cache: expiry is seconds or max")
    return min(int(expiry), LONGEST)
