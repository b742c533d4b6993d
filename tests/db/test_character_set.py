"""MariaDB with utf8mb3, which has no emoji: a check reports it, and no upload is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.db import connection

from filestack_tags import checks

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "mysql", reason="Only MariaDB has character sets."),
]


@pytest.fixture
def utf8mb3() -> Iterator[str]:
    """The name of a database whose tables have three bytes for a character."""
    name = f"test_utf8mb3_{os.getpid()}"
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb3")
            yield name
            cursor.execute(f"DROP DATABASE {name}")
    finally:
        other.close()


def test_uploads_and_results_with_emoji_are_not_lost(utf8mb3: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.hosts.utf8mb3"],
        env={**os.environ, "UTF8MB3_NAME": utf8mb3},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["assets"] == [["one", "sun \ufffd Straße.jpg"], ["two", ""], ["three", ""]]
    assert found["runs"] == ["succeeded", "failed"]
    assert {state for state, _ in found["deliveries"]} == {"processed"}
    assert "utf8mb4" in found["deliveries"][0][1]
    assert "filestack_tags.W027" in found["checks"]


def test_the_suites_own_database_has_no_problem() -> None:
    assert checks.check_character_set(databases=["default"]) == []
