"""The app in projects that are set up in other ways; see ``tests/hosts``."""

from __future__ import annotations

import subprocess
import sys

import pytest


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
