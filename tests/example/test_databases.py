"""``DATABASE_URL``."""

from __future__ import annotations

import pytest

from example_project.databases import database


def test_sqlite_waits_for_its_turn_at_the_start_of_a_transaction() -> None:
    entry = database("sqlite:///var/some%20where/db.sqlite3")
    assert entry["NAME"] == "/var/some where/db.sqlite3"
    assert entry["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


def test_a_server_is_named_with_user_password_and_port() -> None:
    assert database("postgres://me:s%40fe@db.example:5433/photos") == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "photos",
        "USER": "me",
        "PASSWORD": "s@fe",
        "HOST": "db.example",
        "PORT": "5433",
        "OPTIONS": {},
    }


def test_mariadb_stores_every_character() -> None:
    assert database("mysql://me@127.0.0.1/photos")["OPTIONS"] == {"charset": "utf8mb4"}


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'oracle': use sqlite:///path, postgres"):
        database("oracle://localhost/x")
