"""The emulator's storage for files and unfinished uploads: one SQLite database.

It is in memory, or in a directory: then everything survives a restart, and several processes may
share it. Jobs and deliveries have their tables in the same database (see their modules).
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import string
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .grammar import UploadTags

HANDLE_ALPHABET = string.ascii_letters + string.digits
HANDLE_LENGTH = 20


class Database:
    """One SQLite connection, shared by the threads of a process, one transaction at a time."""

    def __init__(self, directory: Path | None = None) -> None:
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        self.shared = directory is not None
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            ":memory:" if directory is None else directory / "emulator.sqlite3",
            check_same_thread=False,
            isolation_level=None,
            timeout=30,
        )
        self._connection.row_factory = sqlite3.Row
        if self.shared:
            self._connection.execute("PRAGMA journal_mode=WAL")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock, also against other processes, until the block ends.

        A nested block joins the outer transaction.
        """
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Run one statement and return all its rows."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def create(self, *statements: str) -> None:
        """Run ``CREATE … IF NOT EXISTS`` statements."""
        with self.transaction() as connection:
            for statement in statements:
                connection.execute(statement)

    def close(self) -> None:
        """Close the connection; in-memory data is lost."""
        with self._lock:
            self._connection.close()


@dataclass(frozen=True)
class StoredFile:
    """A stored file. ``uploaded`` is unix milliseconds, ``size`` bytes."""

    handle: str
    filename: str
    mimetype: str
    size: int
    key: str
    container: str
    path: str
    location: str
    uploaded: float
    upload_tags: UploadTags = field(default_factory=dict)


@dataclass(frozen=True)
class Upload:
    """A multipart upload that was started. ``store`` are the client's storage options."""

    id: str
    filename: str
    mimetype: str
    size: int
    store: dict[str, Any]
    intelligent: bool


class Store:
    """Files by handle, and uploads in parts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transaction = database.transaction
        database.create(
            "CREATE TABLE IF NOT EXISTS files "
            "(handle TEXT PRIMARY KEY, facts TEXT NOT NULL, content BLOB NOT NULL)",
            "CREATE TABLE IF NOT EXISTS uploads (id TEXT PRIMARY KEY, facts TEXT NOT NULL)",
            "CREATE TABLE IF NOT EXISTS chunks (upload TEXT, part INTEGER, start INTEGER, "
            "content BLOB NOT NULL, etag TEXT NOT NULL, PRIMARY KEY (upload, part, start))",
        )

    def add(
        self,
        content: bytes,
        *,
        filename: str,
        mimetype: str,
        container: str,
        path: str = "",
        location: str = "S3",
        upload_tags: UploadTags | None = None,
    ) -> StoredFile:
        """Store a new file under a new handle."""
        handle = new_handle()
        file = StoredFile(
            handle=handle,
            filename=filename,
            mimetype=mimetype,
            size=len(content),
            key=f"{path}{new_handle()}_{filename}",
            container=container,
            path=path,
            location=location,
            uploaded=time.time_ns() / 1e6,
            upload_tags=upload_tags or {},
        )
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO files VALUES (?, ?, ?)",
                (handle, json.dumps(asdict(file)), content),
            )
        return file

    def get(self, handle: str) -> StoredFile | None:
        """Return the file, or ``None``."""
        rows = self._database.rows("SELECT facts FROM files WHERE handle = ?", (handle,))
        return StoredFile(**json.loads(rows[0]["facts"])) if rows else None

    def content(self, handle: str) -> bytes | None:
        """Return the file's bytes, or ``None``."""
        rows = self._database.rows("SELECT content FROM files WHERE handle = ?", (handle,))
        return rows[0]["content"] if rows else None

    def overwrite(self, file: StoredFile, content: bytes) -> bool:
        """Replace content and facts of ``file.handle``; return false if it does not exist."""
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "UPDATE files SET facts = ?, content = ? WHERE handle = ?",
                (json.dumps(asdict(file)), content, file.handle),
            )
            return cursor.rowcount == 1

    def remove(self, handle: str) -> bool:
        """Delete a file; return false if it does not exist."""
        with self._database.transaction() as connection:
            return (
                connection.execute("DELETE FROM files WHERE handle = ?", (handle,)).rowcount
                == 1
            )

    def files(self) -> list[StoredFile]:
        """Return every file, the oldest first."""
        rows = self._database.rows("SELECT facts FROM files ORDER BY rowid")
        return [StoredFile(**json.loads(row["facts"])) for row in rows]

    def start_upload(self, upload: Upload) -> None:
        """Store an upload whose parts will follow."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO uploads VALUES (?, ?)", (upload.id, json.dumps(asdict(upload)))
            )

    def upload(self, upload_id: str) -> Upload | None:
        """Return a started upload, or ``None``."""
        rows = self._database.rows("SELECT facts FROM uploads WHERE id = ?", (upload_id,))
        return Upload(**json.loads(rows[0]["facts"])) if rows else None

    def put_chunk(
        self, upload_id: str, part: int, start: int, content: bytes, etag: str
    ) -> None:
        """Store the bytes of a part from ``start``; sending them again replaces them."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?, ?)",
                (upload_id, part, start, content, etag),
            )

    def chunks(self, upload_id: str) -> list[tuple[int, str, bytes]]:
        """Return part number, ETag and bytes of all parts received, in order."""
        rows = self._database.rows(
            "SELECT part, etag, content FROM chunks WHERE upload = ? ORDER BY part, start",
            (upload_id,),
        )
        return [(row["part"], row["etag"], row["content"]) for row in rows]

    def end_upload(self, upload_id: str) -> bool:
        """Delete an upload and its parts; return false if another thread has just done so."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM chunks WHERE upload = ?", (upload_id,))
            return (
                connection.execute("DELETE FROM uploads WHERE id = ?", (upload_id,)).rowcount
                == 1
            )


def new_handle() -> str:
    """Return 20 random URL-safe characters."""
    return "".join(secrets.choice(HANDLE_ALPHABET) for _ in range(HANDLE_LENGTH))
