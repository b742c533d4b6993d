"""Behind PgBouncer in transaction mode, which gives each transaction another connection."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from .pruning import ROWS
from .reachable import POSTGRES
from .test_brokers import broker_url, emulator, environment, run
from .test_pools import host

__all__ = ["emulator", "environment", "host"]  # fixtures

pytestmark = pytest.mark.services

TIMES = 30


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def pooled(host: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a host whose database is behind a separate pooler."""
    binary = shutil.which("pgbouncer")
    if binary is None:
        reason = "pgbouncer is not installed (on Debian: apt-get install pgbouncer)"
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    database, server = urlsplit(host["DATABASE_URL"]), urlsplit(broker_url(POSTGRES))
    user, port = server.username or "root", free_port()
    folder = tmp_path / "pgbouncer"
    folder.mkdir()
    (folder / "users.txt").write_text(f'"{user}" "{server.password or ""}"\n')
    (folder / "pgbouncer.ini").write_text(
        "[databases]\n"
        f"* = host={server.hostname} port={server.port or 5432} user={user}\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {folder}/users.txt\n"
        "pool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 50\n"
    )
    options: dict[str, object] = {}
    if os.getuid() == 0:  # it refuses to run as root
        nobody = pwd.getpwnam("nobody")
        options = {"user": nobody.pw_uid, "group": nobody.pw_gid}
        for place in (folder, *folder.parents):
            if tmp_path.parents[1] in (place, *place.parents):
                place.chmod(0o755)
    with (tmp_path / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen(
            [binary, str(folder / "pgbouncer.ini")],
            stdout=log,
            stderr=subprocess.STDOUT,
            **options,  # type: ignore[call-overload]
        )
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.05)
        else:
            raise AssertionError((tmp_path / "pgbouncer.log").read_text())
        address = database._replace(netloc=f"{user}@127.0.0.1:{port}")
        yield host | {"DATABASE_URL": address.geturl()}
    finally:
        process.terminate()
        process.wait(20)


def test_pruning_beside_other_requests_never_loses_its_cursor(pooled: dict[str, str]) -> None:
    added = ROWS * TIMES // 2
    assert run("tests.services.pruning", pooled, str(TIMES)) == {
        "results": {"": TIMES},
        "deleted": [added, added, added],
        "left": [0, 2, 0],
    }
