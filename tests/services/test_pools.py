"""Every Celery pool in the manual, with a real worker process on every broker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from filestack_tags.testing import EmulatorServer
from tests.dripping import dripping
from tests.outbound.receiver import receiving

from .reachable import POSTGRES, RABBITMQ, REDIS, Service
from .test_brokers import (
    PHOTO,
    ROOT,
    broker_url,
    emulator,
    environment,
    remove_queue,
    run,
    worker,
)
from .uploads import until

__all__ = ["emulator", "environment"]  # fixtures

pytestmark = pytest.mark.services

UPLOADS = 12
POOLS = {
    "prefork": ("--concurrency=1",),
    "threads": ("--concurrency=4",),
    "solo": (),
    "gevent": ("--concurrency=20",),
}


@pytest.fixture
def host(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment of a host with a separate, migrated database on PostgreSQL."""
    import psycopg

    address = urlsplit(broker_url(POSTGRES))
    name = f"filestack_tags_pools_{os.getpid()}"
    server = address._replace(scheme="postgresql", path="/postgres").geturl()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    environment |= {
        "DJANGO_SETTINGS_MODULE": "tests.services.settings",
        "DATABASE_URL": address._replace(path=f"/{name}").geturl(),
    }
    migrate = [sys.executable, "-m", "django", "migrate", "--verbosity=0"]
    subprocess.run(migrate, cwd=ROOT, env=environment, check=True, timeout=300)
    yield environment
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(
    "service", [pytest.param(REDIS, id="redis"), pytest.param(RABBITMQ, id="rabbitmq")]
)
def test_a_pool_tags_uploads_and_goes_on_with_other_tasks(
    service: Service, pool: str, host: dict[str, str], tmp_path: Path
) -> None:
    url, queue = broker_url(service), f"filestack-tags-test-{os.getpid()}"
    host |= {"BROKER_URL": url, "CELERY_QUEUE": queue}
    log = tmp_path / "worker.log"
    try:
        with worker(host, log, *POOLS[pool], pool=pool):
            result = run("tests.services.uploads", host, str(PHOTO), str(UPLOADS))
    finally:
        remove_queue(url, queue)
    assert result == {
        "states": {"tagged": UPLOADS},
        "calls": UPLOADS,
        "host_rows": ["after tagging", "at the end"],
        "beats": 3,
        "webhooks": {},
        "processes": 1,
    }, log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_pool_that_is_not_tested_is_refused_when_the_worker_starts(
    emulator: EmulatorServer, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "--app=example_project", "worker", "--pool=eventlet"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "--pool prefork, threads, solo, gevent" in done.stderr


def test_a_soft_time_limit_in_the_middle_of_calls_loses_no_answer(
    emulator: EmulatorServer, host: dict[str, str], tmp_path: Path
) -> None:
    """Each asset is called for once, and the worker continues with the others."""
    emulator.app.faults.add("slow", operation="tags", times=None, seconds=4)
    url, queue = broker_url(REDIS), f"filestack-tags-test-{os.getpid()}"
    host |= {"BROKER_URL": url, "CELERY_QUEUE": queue, "SOFT_TIME_LIMIT": "2"}
    log = tmp_path / "worker.log"
    try:
        with worker(host, log, "--concurrency=1", pool="prefork"):
            result = run("tests.services.uploads", host, str(PHOTO), str(UPLOADS))
    finally:
        remove_queue(url, queue)
    assert result["states"] == {"tagged": UPLOADS}, log.read_text()
    assert result["calls"] == UPLOADS
    assert "SoftTimeLimitExceeded" not in log.read_text()


@pytest.mark.parametrize("way", ["never answers", "drips headers"])
def test_two_slow_receivers_of_webhooks_do_not_stop_a_worker_with_two_processes(
    way: str, host: dict[str, str], tmp_path: Path
) -> None:
    """No request to them ends during the test; a third receiver gets all its messages."""
    url, queue = broker_url(REDIS), f"filestack-tags-test-{os.getpid()}"
    host |= {"BROKER_URL": url, "CELERY_QUEUE": queue, "OUTBOUND_TIMEOUT": "300"}
    host |= {"FILESTACK_WEBHOOK_SECRETS": "whsec-A"}
    log = tmp_path / "worker.log"
    with dripping(way) as first, dripping(way) as second, receiving() as third:
        receivers = [f"http://{server.address}/" for server in (first, second)]
        try:
            with worker(host, log, "--concurrency=2", pool="prefork"):
                result = run(
                    "tests.services.uploads",
                    host,
                    str(PHOTO),
                    str(UPLOADS),
                    *receivers,
                    third.url,
                )
                until(lambda: len(set(third.ids)) >= UPLOADS)
        finally:
            remove_queue(url, queue)
        assert first.connections, log.read_text()
        assert second.connections
        assert len(set(third.ids)) == UPLOADS, log.read_text()
    assert result["states"] == {"tagged": UPLOADS}, log.read_text()
    assert result["beats"] == 3
    assert result["host_rows"] == ["after tagging", "at the end"]
    assert result["webhooks"] == {"processed": 1}
