"""``DATABASES`` from one URL."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

ENGINES = {"postgres": "postgresql", "postgresql": "postgresql", "mysql": "mysql"}


def database(url: str) -> dict[str, Any]:
    """Return the entry for ``sqlite:///path``, ``postgres://…`` or ``mysql://…``.

    Raises:
        ValueError: for any other scheme.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(parts.path),
            "OPTIONS": {
                # The web server and the worker write at the same time: readers are not
                # blocked, and a transaction that will write waits for its turn at the start.
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
                "transaction_mode": "IMMEDIATE",
                "timeout": 30,
            },
        }
    if parts.scheme not in ENGINES:
        raise ValueError(
            f"DATABASE_URL starts with {parts.scheme!r}: use sqlite:///path, "
            "postgres://user:password@host:port/name or mysql://user:password@host:port/name."
        )
    return {
        "ENGINE": f"django.db.backends.{ENGINES[parts.scheme]}",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "OPTIONS": {"charset": "utf8mb4"} if parts.scheme == "mysql" else {},
    }
