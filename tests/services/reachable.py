"""Find the databases and brokers that answer on this machine, with their own clients."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT = 3


@dataclass(frozen=True)
class Service:
    """One service, its address, and the variable that sets it."""

    name: str
    variable: str
    default: str

    @property
    def url(self) -> str:
        return os.environ.get(self.variable) or self.default

    @property
    def address(self) -> str:
        """Host and port, without the login."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"

    def problem(self) -> str:
        """Return why the service cannot be used, or ``""`` when it answers."""
        try:
            _connect(self.url)
        except ImportError as error:
            return f"its driver is not installed ({error.name})"
        except Exception as error:  # noqa: BLE001  every driver has its own exceptions
            return " ".join(str(error).split())[:200] or type(error).__name__
        return ""


POSTGRES = Service("PostgreSQL", "TEST_POSTGRES_URL", "postgres://root@127.0.0.1:5432/test")
MARIADB = Service("MariaDB", "TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/test")
REDIS = Service("Redis", "TEST_REDIS_URL", "redis://127.0.0.1:6379/15")
RABBITMQ = Service("RabbitMQ", "TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")

DATABASES = (POSTGRES, MARIADB)
BROKERS = (REDIS, RABBITMQ)


def _connect(url: str) -> None:
    """Log in and disconnect."""
    parts = urlsplit(url)
    if parts.scheme == "postgres":
        import psycopg

        server = parts._replace(scheme="postgresql", path="/postgres").geturl()
        psycopg.connect(server, connect_timeout=TIMEOUT).close()
    elif parts.scheme == "mysql":
        import MySQLdb

        MySQLdb.connect(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 3306,
            user=parts.username or "root",
            password=parts.password or "",
            connect_timeout=TIMEOUT,
        ).close()
    else:
        from kombu import Connection

        with Connection(url, connect_timeout=TIMEOUT) as connection:
            connection.ensure_connection(max_retries=1, timeout=TIMEOUT)
