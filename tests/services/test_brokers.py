"""A real worker process tags a real picture, through every available broker.

The web process and the worker share only a database file and a broker, as on two machines.
Filestack is the emulator, in a third process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kombu import Connection

from filestack_tags.testing import Account, EmulatorApp, EmulatorConfig, EmulatorServer

from .reachable import RABBITMQ, REDIS, Service

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "example_project" / "photos" / "cat.jpg"
ACCOUNT = Account(api_key="AKEY", app_secret="TESTSECRET0000000000000000")
WORKER_STOPS_IN = 20


def broker_url(service: Service | None) -> str:
    """Return the URL of a broker; skip or, if it is required, fail if it does not answer."""
    if service is None:
        return "folder://"
    if problem := service.problem():
        reason = f"{service.name} does not answer at {service.address}: {problem}"
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return service.url


@pytest.fixture
def emulator() -> Iterator[EmulatorServer]:
    with EmulatorApp(EmulatorConfig(account=ACCOUNT)) as app, EmulatorServer(app) as server:
        yield server


@pytest.fixture
def environment(emulator: EmulatorServer, tmp_path: Path) -> dict[str, str]:
    """The example project's environment: a new database file, and the emulator's address."""
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "DATABASE_URL": f"sqlite://{tmp_path}/db.sqlite3",
        "STATE_DIR": str(tmp_path),
        "FILESTACK_API_KEY": ACCOUNT.api_key,
        "FILESTACK_APP_SECRET": ACCOUNT.app_secret,
        "FILESTACK_CDN_URL": emulator.url,
        "FILESTACK_API_URL": f"{emulator.url}/api",
    }


@contextmanager
def worker(
    environment: dict[str, str], log: Path, *options: str, pool: str = "solo"
) -> Iterator[None]:
    command = ["-m", "celery", "--app=example_project", "worker"]
    command += [f"--pool={pool}", "--loglevel=INFO", *options]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(WORKER_STOPS_IN)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def store_and_wait(environment: dict[str, str]) -> dict[str, object]:
    """Run the other process: it stores the photo, registers it, and waits for its tags."""
    return run("tests.services.roundtrip", environment, str(PHOTO))


def run(module: str, environment: dict[str, str], *arguments: str) -> dict[str, object]:
    """Run a module as the host's process, and return what it prints at its end."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def remove_queue(url: str, queue: str) -> None:
    with Connection(url) as connection:
        connection.default_channel.queue_delete(queue)


@pytest.mark.parametrize(
    "service",
    [
        pytest.param(None, id="folder"),
        pytest.param(REDIS, id="redis", marks=pytest.mark.services),
        pytest.param(RABBITMQ, id="rabbitmq", marks=pytest.mark.services),
    ],
)
@pytest.mark.slow
def test_a_worker_process_tags_an_asset_through_the_broker(
    service: Service | None, environment: dict[str, str], tmp_path: Path
) -> None:
    url = broker_url(service)
    # A separate queue: other projects may use the same broker.
    queue = f"filestack-tags-test-{os.getpid()}"
    environment |= {"BROKER_URL": url, "CELERY_QUEUE": queue}
    log = tmp_path / "worker.log"
    try:
        with worker(environment, log):
            result = store_and_wait(environment)
    finally:
        if service:
            remove_queue(url, queue)
    assert result == {"state": "tagged", "cat": True, "same_process": False}, log.read_text()


@pytest.mark.slow
def test_an_eager_celery_tags_an_asset_in_the_process_that_asks(
    environment: dict[str, str],
) -> None:
    result = store_and_wait(environment | {"CELERY_EAGER": "1"})
    assert result == {"state": "tagged", "cat": True, "same_process": True}
