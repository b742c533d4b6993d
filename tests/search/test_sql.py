"""The SQL of single terms: what is read, and from which index."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import override_settings

from filestack_tags.models import Asset, AssetTag, Tag, TagAlias
from filestack_tags.search import Search
from filestack_tags.search.limits import parse_query
from filestack_tags.search.term_sql import (
    FALSE,
    TRUE,
    Fragment,
    among,
    joined,
    needs_asset,
)

from .test_matching import an_asset

pytestmark = pytest.mark.django_db


def compiled(query: str, *, negated: bool = False) -> Fragment:
    search = Search(query, include_hidden=True)
    with override_settings(FILESTACK_TAGS={"MIN_CONFIDENCE": 50}):
        compiler = search.plan().compiler
    return compiler.condition(search.query.where, asset="a.id", negated=negated)


def selected(condition: Fragment) -> set[str]:
    with connection.cursor() as cursor:
        table = Asset._meta.db_table
        cursor.execute(
            f"SELECT a.reference FROM {table} a WHERE {condition.sql}",  # noqa: S608  # our own
            condition.params,
        )
        return {reference for (reference,) in cursor.fetchall()}


def test_the_placeholders_and_the_values_are_as_many():
    an_asset("a", tags={"sky": 90, "sea": 80, "skyline": 10})
    for query in (
        "sky>=80 (sea:1..9 OR sk*) -sea@user -sky<20",
        "name:a* type:image/* size:>3kb uploaded:2026 handle:a by:me run:v1 tagger:x workflow:y",
        "*@rejected>20 tagged source:user -(decision:accepted *<50)",
    ):
        for negated in (False, True):
            condition = compiled(query, negated=negated)
            assert condition.sql.count("%s") == len(condition.params), query


@pytest.mark.parametrize(
    "query",
    [
        "sky",
        "sky>=80",
        "sky<20",
        "sky:10..95",
        "sk*",
        "sky@user",
        "size:>1",
        "tagged",
        "nothing",
    ],
)
def test_a_condition_and_its_negation_part_the_assets(query):
    an_asset("a", tags={"sky": 90}, size=5)
    an_asset("b", tags={"sky": 10, "skin": {"confidence": 60, "decision": 1}})
    an_asset("c")
    held, denied = selected(compiled(query)), selected(compiled(query, negated=True))
    assert held | denied == {"a", "b", "c"}
    assert not held & denied


def test_one_tag_is_a_scalar_subquery_and_never_an_exists():
    an_asset("a", tags={"sky": 90})
    assert compiled("sky>=80").sql.startswith("(SELECT p.score FROM")
    assert compiled("sky>=80", negated=True).sql.startswith("COALESCE((SELECT p.score FROM")
    assert "EXISTS" not in compiled("sk* -sky tagged").sql


def test_a_tag_that_does_not_exist_needs_no_reading():
    assert compiled("no") == FALSE
    assert compiled("no", negated=True) == TRUE


def test_a_range_without_confidences_is_never_met():
    an_asset("a", tags={"sky": 0})
    assert compiled("sky<0") == FALSE
    assert compiled("sky>100") == FALSE
    assert selected(compiled("sky<=0")) == {"a"}


def test_nothing_joined_is_the_neutral_condition():
    assert joined((), "AND") == TRUE
    assert joined((), "OR") == FALSE
    assert joined((Fragment("x"),), "OR") == Fragment("x")
    assert joined((Fragment("x"), Fragment("y = %s", (1,))), "OR") == Fragment(
        "(x OR y = %s)", (1,)
    )


def test_one_value_is_compared_and_several_are_listed():
    assert among("x", [7]) == Fragment("x = %s", (7,))
    assert among("x", [7, 8]) == Fragment("x IN (%s, %s)", (7, 8))


def test_only_facts_need_the_row_of_the_asset():
    assert not needs_asset(parse_query("sky (sea OR -tagged) *<50").where)
    assert needs_asset(parse_query("sky (sea OR -width:>5)").where)
    assert not needs_asset(parse_query("").where)


def test_a_percent_sign_in_a_name_is_a_letter():
    an_asset("a", filename="100% wool.jpg")
    an_asset("b", filename="100 g wool.jpg")
    assert selected(compiled("name:100%*")) == {"a"}


def test_the_user_is_found_by_the_name_the_host_logs_in_with():
    anna = get_user_model().objects.create(username="anna")
    an_asset("a", uploader=anna)
    an_asset("b")
    assert selected(compiled("by:anna")) == {"a"}
    assert selected(compiled("-by:anna")) == {"b"}


def test_a_decided_row_below_the_threshold_counts():
    an_asset("a", tags={"sky": {"confidence": 10, "decision": 1}})
    an_asset("b", tags={"sky": 10})
    an_asset("c", tags={"sky": {"confidence": 90, "decision": 2}})
    assert selected(compiled("sky")) == {"a"}
    assert selected(compiled("sky>=0")) == {"a", "b"}
    assert selected(compiled("sky@rejected")) == {"c"}
    assert selected(compiled("tagged")) == {"a"}


def test_a_label_means_a_tag_by_its_alias_too_and_once():
    an_asset("a", tags={"sky": 90})
    TagAlias.objects.create(key="skyward", tag=Tag.objects.get(key="sky"))
    assert selected(compiled("skyward")) == {"a"}
    (stream,) = Search("sk*").plan().driver.streams
    assert stream.tag_id == Tag.objects.get(key="sky").pk


@pytest.mark.parametrize("key", ["50%", "a_b", "a\\b"])
def test_a_prefix_is_taken_by_the_letter(key):
    an_asset("a", tags={f"{key}x": 90})
    an_asset("b", tags={"50x": 90, "axbx": 90, "abx": 90})
    quoted = key.replace("\\", "\\\\")
    assert selected(compiled(f'"{quoted}"*')) == {"a"}


@override_settings(FILESTACK_TAGS={"MIN_CONFIDENCE": 50})
def test_the_score_alone_answers_a_search_with_a_confidence():
    an_asset("a", tags={"sky": 90})
    statement = Search("sky>=80").plan().matches().sql
    assert AssetTag._meta.db_table in statement
    assert "decision" not in statement
    assert "JOIN" not in statement


def test_the_user_is_looked_up_once_and_not_for_each_asset():
    assert "a." not in compiled("by:anna").sql.partition("(")[2]


def test_the_beginning_of_a_type_is_a_range_of_its_index():
    an_asset("a", mimetype="audio/mpeg")
    an_asset("b", mimetype="audio")
    an_asset("c", mimetype="image/png")
    condition = compiled("type:AUDIO/*")
    assert selected(condition) == {"a"}
    if connection.vendor != "mysql":  # which also compares letters without accents
        assert "LOWER" not in condition.sql
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
        plan = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        table = Asset._meta.db_table
        cursor.execute(
            f"{plan} SELECT a.id FROM {table} a WHERE {condition.sql}",  # noqa: S608  # our own
            condition.params,
        )
        assert "fst_asset_mimetype" in str(cursor.fetchall())
