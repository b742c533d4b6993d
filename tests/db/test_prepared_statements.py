"""Statements are prepared if the host allows it, and also work without that."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from filestack_tags.db import prepared_statements
from filestack_tags.search import Search
from tests.search.test_matching import an_asset

pytestmark = pytest.mark.django_db

on_postgresql = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="only PostgreSQL prepares statements"
)


def test_nothing_is_prepared_unless_the_host_says_so(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {})
    assert not prepared_statements.allowed("default")
    with connection.cursor() as ours, prepared_statements.cursor("default") as theirs:
        assert type(ours.cursor) is type(theirs.cursor)


def test_ids_are_found_with_and_without_preparing():
    made = {an_asset(f"{number}").pk for number in range(3)}
    wanted, parameters = prepared_statements.among("id", made, "default")
    with prepared_statements.cursor("default") as cursor:
        cursor.execute(f"SELECT id FROM filestack_tags_asset WHERE {wanted}", parameters)  # noqa: S608  # our own condition
        assert {pk for (pk,) in cursor.fetchall()} == made


@on_postgresql
def test_a_search_asked_often_is_prepared_and_is_readable_when_logged(monkeypatch):
    for number in range(3):
        an_asset(f"{number}", tags={"sky": 90, "sea": 70 + number})
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"prepare_threshold": 1})
    monkeypatch.setattr(connection.connection, "prepare_threshold", 1)
    found = [Search("sky sea>=71 -sand").page().ids for _ in range(4)]
    assert len(found[0]) == 2
    assert found == found[:1] * 4
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        prepared_now = [statement for (statement,) in cursor.fetchall()]
    assert any("ORDER BY d.asset_id" in statement for statement in prepared_now)
    with CaptureQueriesContext(connection) as queries:
        Search("sky sea>=71 -sand").page()
    assert ">= 71" in queries.captured_queries[-1]["sql"]
