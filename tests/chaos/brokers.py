"""Brokers that can be stopped: a private Redis, a virtual host of a RabbitMQ."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

from redis import Redis

from tests.services.reachable import RABBITMQ

from .processes import Group, answers, free_port


class Broker(Protocol):
    """A broker that a run can disrupt. It is a context manager: running while entered."""

    url: str

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def flush(self, pause: float) -> None:
        """Stop it for some seconds, losing everything queued."""
        ...

    def cut(self) -> None:
        """Cut every connection to it. Queued messages stay."""
        ...


class PrivateRedis:
    """A Redis server for this run, which stores nothing on disk."""

    def __init__(self, logs: Path) -> None:
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        command = ["redis-server", "--port", str(self._port), "--bind", "127.0.0.1"]
        self._server = Group(
            "redis", [*command, "--save", "", "--appendonly", "no"], logs / "redis.log"
        )

    @staticmethod
    def problem() -> str:
        """Return why it cannot be used here, or ``""``."""
        return "" if shutil.which("redis-server") else "redis-server is not installed"

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.kill()

    def flush(self, pause: float) -> None:
        self._server.kill()
        time.sleep(pause)
        self._start()

    def cut(self) -> None:
        with Redis(port=self._port) as client:
            for kind in ("normal", "pubsub"):
                client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def _start(self) -> None:
        self._server.start(os.environ)
        while not answers(self._port):
            time.sleep(0.02)


class VirtualHost:
    """A RabbitMQ virtual host for this run; deleting it simulates losing the broker."""

    def __init__(self, logs: Path) -> None:
        self._log = logs / "rabbitmq.log"
        self._name = f"chaos-{os.getpid()}"
        parts = urlsplit(RABBITMQ.url)
        self._user = parts.username or "guest"
        self.url = parts._replace(path=f"/{self._name}").geturl()

    @staticmethod
    def problem() -> str:
        """Return why it cannot be used here, or ``""``."""
        if problem := RABBITMQ.problem():
            return f"RabbitMQ at {RABBITMQ.address}: {problem}"
        if not shutil.which("rabbitmqctl"):
            return "rabbitmqctl is not installed"
        asked = subprocess.run(
            ["rabbitmqctl", "-q", "list_vhosts"], capture_output=True, text=True, check=False
        )
        return "" if asked.returncode == 0 else "rabbitmqctl may not control this RabbitMQ"

    def __enter__(self) -> Self:
        self._create()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ask("delete_vhost", self._name, check=False)

    def flush(self, pause: float) -> None:
        self._ask("delete_vhost", self._name)
        time.sleep(pause)
        self._create()

    def cut(self) -> None:
        self._ask("close_all_connections", "--vhost", self._name, "cut", check=False)

    def _create(self) -> None:
        self._ask("add_vhost", self._name)
        self._ask("set_permissions", "-p", self._name, self._user, ".*", ".*", ".*")

    def _ask(self, *command: str, check: bool = True) -> None:
        with self._log.open("ab") as output:
            subprocess.run(
                ["rabbitmqctl", "-q", *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=60,
                check=check,
            )


BROKERS: dict[str, type[PrivateRedis] | type[VirtualHost]] = {
    "redis": PrivateRedis,
    "rabbitmq": VirtualHost,
}
