"""A private PostgreSQL that can be crashed: it recovers from its log like any other."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg

from .processes import free_port

SETTINGS = (
    # This machine does not lose power: data written to its files survives a crash of the server.
    "fsync=off",
    "listen_addresses=127.0.0.1",
    "shared_buffers=64MB",
    "max_connections=120",
    "log_min_messages=fatal",
)
OPEN = "datname = current_database() AND pid <> pg_backend_pid()"
IN_TRANSACTION = f"{OPEN} AND state <> 'idle' AND xact_start IS NOT NULL"

OPEN_CIRCUITS = "SELECT count(*) FROM filestack_tags_circuit WHERE opened_at IS NOT NULL"


def binaries() -> Path | None:
    """Return the directory that holds ``initdb`` and ``pg_ctl``."""
    places = [Path(found).resolve().parent] if (found := shutil.which("initdb")) else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "pg_ctl").exists()), None)


class Cluster:
    """The cluster, as a context manager: created on entry, removed on exit."""

    def __init__(self) -> None:
        found = binaries()
        if found is None:
            raise FileNotFoundError("initdb and pg_ctl are in no known place")
        self._bin = found
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._home = Path(tempfile.mkdtemp(prefix="chaos-postgres-"))
        self.port = free_port()

    def __enter__(self) -> Cluster:
        if self._user:
            shutil.chown(self._home, self._user)
        self._run(
            "initdb", "-D", "data", "-U", "root", "-A", "trust", "-E", "UTF8", "--no-sync"
        )
        settings = " ".join(f"-c {setting}" for setting in SETTINGS)
        self._options = f"-p {self.port} -k {self._home} {settings}"
        self._control("start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._run("pg_ctl", "-D", "data", "-m", "immediate", "stop", check=False)
        finally:
            shutil.rmtree(self._home, ignore_errors=True)

    def create(self, database: str) -> str:
        """Create a database and return its URL."""
        with self.connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return f"postgres://root@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """Return a connection for the chaos controller."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="root",
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def crash(self) -> None:
        """Kill every process of the server, and restart it."""
        self._control("restart", "-m", "immediate")

    def in_transaction(self, database: str) -> int:
        """Return how many transactions are open."""
        with self.connect(database) as connection:
            query = f"SELECT count(*) FROM pg_stat_activity WHERE {IN_TRANSACTION}"
            row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def has_open_circuit(self, database: str) -> bool:
        """Whether a circuit is open, so that at most one call is made."""
        with self.connect(database) as connection:
            row = connection.execute(OPEN_CIRCUITS).fetchone()
        return bool(row and row[0])

    def terminate(self, database: str) -> int:
        """End every connection to the database; return how many there were."""
        with self.connect(database) as connection:
            query = (
                f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {OPEN}"
            )
            row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def dump(self, database: str, path: Path) -> None:
        """Dump all rows to a file, to help find the cause."""
        server = ("--host=127.0.0.1", f"--port={self.port}", "--username=root")
        self._run("pg_dump", *server, "--file=dump", database)
        shutil.copy(self._home / "dump", path)

    def log(self) -> str:
        """Return the server's log."""
        log = self._home / "log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def _control(self, *action: str) -> None:
        self._run("pg_ctl", "-D", "data", "-l", "log", "-o", self._options, "-w", *action)

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        done = subprocess.run(
            [self._bin / program, *arguments],
            cwd=self._home,
            user=self._user,
            stdin=subprocess.DEVNULL,
            # Not a pipe: the server inherits it and keeps it open, so it would never reach EOF.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"{program} {arguments} failed: {self.log()[-500:]}")
