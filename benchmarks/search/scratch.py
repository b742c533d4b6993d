"""A scratch database on the servers that the tests use."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

ROOT = Path(__file__).parents[2]
SERVERS = {
    "postgres": ("TEST_POSTGRES_URL", "postgres://root@127.0.0.1:5432/test"),
    "mariadb": ("TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/test"),
}


def address(database: str, size: str) -> str:
    """Return the URL of the scratch database for ``postgres``, ``sqlite`` or ``mariadb``."""
    if given := os.environ.get("BENCHMARK_DATABASE_URL"):
        return given
    if database == "sqlite":
        folder = ROOT / "var" / "benchmarks"
        folder.mkdir(parents=True, exist_ok=True)
        return f"sqlite://{folder / f'search-{size}.sqlite3'}"
    variable, default = SERVERS[database]
    server = urlsplit(os.environ.get(variable, default))
    return urlunsplit(server._replace(path=f"/filestack_tags_benchmark_{size}"))


def recreate(url: str) -> None:
    """Drop the database, if it exists, and create an empty one."""
    parts = urlsplit(url)
    name = parts.path.lstrip("/")
    if parts.scheme == "sqlite":
        for suffix in ("", "-wal", "-shm"):
            Path(parts.path + suffix).unlink(missing_ok=True)
    elif parts.scheme == "postgres":
        import psycopg  # only where it is installed

        with psycopg.connect(
            urlunsplit(parts._replace(scheme="postgresql", path="/postgres")), autocommit=True
        ) as server:
            server.execute(f'DROP DATABASE IF EXISTS "{name}"')
            server.execute(f'CREATE DATABASE "{name}"')
            # The usual settings for solid-state disks, the same for all designs.
            server.execute(f'ALTER DATABASE "{name}" SET random_page_cost = 1.1')
            server.execute(f"ALTER DATABASE \"{name}\" SET work_mem = '64MB'")
    else:
        import MySQLdb  # only where it is installed

        server = MySQLdb.connect(
            host=parts.hostname or "",
            port=parts.port or 3306,
            user=parts.username or "",
            password=parts.password or "",
        )
        cursor = server.cursor()
        cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")
        cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        server.close()
