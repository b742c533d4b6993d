"""The app in projects with other setups; see ``tests/hosts``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "host",
    ["custom_user", "other_database", "atomic_requests", "naive_times", "webhook_only"],
)
def test_an_upload_goes_all_the_way_in_every_kind_of_project(host: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.hosts", host], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "One upload went all the way."


def answers_of_a_project(folder: Path, *mode: str, replica: str) -> list[str]:
    """Return every response of ``tests.hosts.replica``, as lines."""

    def run(*arguments: str, replica: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "tests.hosts.replica", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"REPLICA": replica, "REPLICA_FOLDER": str(folder)},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    folder.mkdir()
    run("seed", replica="off")
    return run(*mode, replica=replica)


def test_what_was_written_is_answered_although_the_replica_lags(tmp_path: Path) -> None:
    with_replica = answers_of_a_project(tmp_path / "on", replica="on")
    without = answers_of_a_project(tmp_path / "off", replica="off")
    assert len(without) > 70
    assert not [line for line in without if line.startswith("[5")]
    assert with_replica == without


def test_plain_reads_use_the_replica(tmp_path: Path) -> None:
    (line,) = answers_of_a_project(tmp_path / "on", "reads", replica="on")
    assert json.loads(line) == {
        "response": ["fourth", ["cliff", "sea"]],
        "stored": 4,
        "asset": 404,
        "list": 3,
        "tags": 0,
        "admin's list": 3,
        "search": 0,
    }
