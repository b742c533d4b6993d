"""Autocomplete suggests tags for a few letters, and follows changes of the tags."""

from __future__ import annotations

import threading
import time
import unicodedata

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import example, given
from hypothesis import strategies as st

from filestack_tags.db.text import label_key
from filestack_tags.models import Tag, TagAlias
from filestack_tags.search import completion as module
from filestack_tags.search.completion import Completion, clear_cache, complete, folded

from .strategies import labels


@pytest.fixture(autouse=True)
def _nothing_kept():
    clear_cache()
    yield
    clear_cache()


def make(name: str, count: int = 0, **fields) -> Tag:
    return Tag.objects.create(key=label_key(name), name=name, asset_count=count, **fields)


def names(text: str, **options) -> list[str]:
    return [found.name for found in complete(text, **options)]


def stop_time(monkeypatch) -> None:
    """Make the following independent of its duration."""
    pass_time(monkeypatch, 0)


def pass_time(monkeypatch, seconds: float) -> None:
    later = time.monotonic() + seconds
    monkeypatch.setattr(module.time, "monotonic", lambda: later)


@pytest.mark.django_db
def test_a_prefix_finds_the_most_used_names_first():
    make("beach", 5)
    make("bear", 9)
    make("Bean", 5)
    make("abeam", 99)
    assert names("BEA") == ["bear", "beach", "Bean"]
    assert names("bea", limit=1) == ["bear"]
    assert names("beax") == []


@pytest.mark.django_db
def test_an_answer_says_which_tag_and_how_many_assets():
    tag = make("Beach", 5)
    assert complete("b") == [Completion(tag.pk, "Beach", 5)]


@pytest.mark.django_db
def test_an_answer_says_which_minimum_a_search_for_the_name_applies(settings):
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "MIN_CONFIDENCE": 40}
    make("sky", 3)
    make("sea", 2, min_confidence=60)
    make("sun", 1, min_confidence=0)
    found = {each.name: each.min_confidence for each in complete("s")}
    assert found == {"sky": 40, "sea": 60, "sun": 0}


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["york", "york c", "city", "new york city", "NEW  YORK", "c"])
def test_every_word_of_a_name_begins_a_match(text):
    make("New York City")
    assert names(text) == ["New York City"]


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["ork", "ew", "new city", "york new"])
def test_what_begins_within_a_word_or_skips_one_matches_nothing(text):
    make("New York City")
    assert names(text) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Café au lait", "cafe"),
        ("Cafe", "CAFÉ"),
        ("Straße", "strass"),
        ("Ｓｋｙ", "sk"),
        ("İstanbul", "istan"),
        ("Ảnh đẹp", "anh đep"),
        ("trip (journey)", "jou"),
        ("t-shirt", "shirt"),
        ("-20%", "20"),
        ("#sun", "#s"),
        ("ΟΔΟΣ", "οδος"),
        ("🏖 beach", "🏖"),
        ("हिन्दी", "हिन"),
    ],
)
def test_case_accents_width_and_signs_do_not_matter(name, text):
    make(name)
    assert names(text) == [name]


@pytest.mark.django_db
def test_vowel_signs_do_not_begin_a_word():
    make("हिन्दी")
    assert names("न") == []


@pytest.mark.django_db
def test_no_text_gives_the_most_used_of_all():
    make("sky", 3)
    make("sea", 4)
    make("sun", 5, hidden=True)
    assert names("") == names("  ") == ["sea", "sky"]
    assert names("", limit=1) == ["sea"]


@pytest.mark.django_db
def test_an_alias_finds_its_tag_once():
    tag = make("New York City", 1)
    TagAlias.objects.create(key="nyc", tag=tag)
    TagAlias.objects.create(key="new york", tag=tag)
    assert names("ny") == ["New York City"]
    assert names("new") == ["New York City"]


@pytest.mark.django_db
def test_a_hidden_tag_is_found_only_when_asked_for():
    tag = make("secret", 2, hidden=True)
    TagAlias.objects.create(key="private", tag=tag)
    make("sea", 1)
    assert names("se") == ["sea"]
    assert names("private") == []
    assert names("se", include_hidden=True) == ["secret", "sea"]
    assert names("", include_hidden=True) == ["secret", "sea"]


@pytest.mark.django_db
@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit):
    with pytest.raises(ValueError, match="limit must be at least 1"):
        complete("a", limit=limit)


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["\x00", "\ud800", "a" * 100_000, "%", "\\", "\U0010ffff"])
def test_any_text_may_be_typed(text):
    make("sky")
    assert names(text) == []


@pytest.mark.django_db
def test_names_are_read_once_and_then_answered_without_a_query(monkeypatch):
    stop_time(monkeypatch)
    make("sky")
    with CaptureQueriesContext(
        connection,
    ) as first:
        complete("s")
    with CaptureQueriesContext(connection) as later:
        for text in ("s", "sk", "x", ""):
            complete(text)
    assert len(first) == 4
    assert len(later) == 0


@pytest.mark.django_db
def test_a_check_that_finds_no_change_costs_two_queries(monkeypatch):
    stop_time(monkeypatch)
    make("sky")
    complete("s")
    pass_time(monkeypatch, 30)
    with CaptureQueriesContext(connection) as checked:
        complete("s")
        complete("s")
    assert len(checked) == 2


def hide(tag):
    Tag.objects.filter(pk=tag.pk).update(hidden=True)


def remove(tag):
    tag.delete()


def add(tag):
    make("skyline")


def give_alias(tag):
    TagAlias.objects.create(key="sk8", tag=tag)
    Tag.objects.filter(pk=tag.pk).update(name="Renamed")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (hide, []),
        (remove, []),
        (add, ["sky", "skyline"]),
        (give_alias, ["Renamed"]),
    ],
)
def test_a_change_is_seen_at_the_next_check(monkeypatch, change, expected):
    stop_time(monkeypatch)
    tag = make("sky")
    assert names("sk") == ["sky"]
    change(tag)
    pass_time(monkeypatch, 30)
    assert names("sk") == expected


@pytest.mark.django_db
@pytest.mark.parametrize(("before", "after"), [(None, 60), (None, 0), (60, 70), (0, None)])
def test_another_minimum_is_a_change(monkeypatch, before, after):
    stop_time(monkeypatch)
    tag = make("sky", min_confidence=before)
    assert [each.min_confidence for each in complete("sk")] == [before or 0]
    Tag.objects.filter(pk=tag.pk).update(min_confidence=after, asset_count=7)
    pass_time(monkeypatch, 30)
    assert [(each.min_confidence, each.count) for each in complete("sk")] == [(after or 0, 7)]


@pytest.mark.django_db
def test_hiding_one_tag_and_showing_another_is_a_change(monkeypatch):
    stop_time(monkeypatch)
    sky, sea = make("sky"), make("sea", hidden=True)
    assert names("s") == ["sky"]
    Tag.objects.filter(pk=sky.pk).update(hidden=True)
    Tag.objects.filter(pk=sea.pk).update(hidden=False)
    pass_time(monkeypatch, 30)
    assert names("s") == ["sea"]


@pytest.mark.django_db
def test_counts_are_read_again_after_a_minute(monkeypatch):
    stop_time(monkeypatch)
    make("sky", 1)
    sea = make("sea", 2)
    assert names("s") == ["sea", "sky"]
    Tag.objects.filter(pk=sea.pk).update(asset_count=0)
    pass_time(monkeypatch, 30)
    assert names("s") == ["sea", "sky"]
    pass_time(monkeypatch, 61)
    assert names("s") == ["sky", "sea"]


@pytest.mark.django_db
def test_a_process_that_read_for_long_rests_for_longer(monkeypatch):
    make("sky")
    clock = iter([0.0, 10.0, 150.0, 211.0, 211.0, 221.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    assert names("sk") == ["sky"]
    make("skyline")
    assert names("sk") == ["sky"]
    assert names("sk") == ["sky", "skyline"]


@pytest.mark.django_db
def test_while_one_thread_reads_the_others_go_on_with_what_there_is(monkeypatch):
    stop_time(monkeypatch)
    make("sky")
    assert names("s") == ["sky"]
    make("sea")
    pass_time(monkeypatch, 30)
    answers = []
    with module._kept["default"]._lock:
        thread = threading.Thread(target=lambda: answers.append(names("s")))
        thread.start()
        thread.join(10)
        assert answers == [["sky"]]
    assert names("s") == ["sea", "sky"]


@example(["a\U0010ffff", "a\U0010ffffb", "b"], "a")
@example(["\U0010ffff" * 2, "\ue000"], "\U0010ffff")
@given(st.lists(labels, max_size=8, unique_by=label_key), st.text(max_size=3) | labels)
def test_the_index_finds_what_a_plain_reading_finds(some, text):
    tags = [
        (number, label_key(name), name, number % 3 == 0, number % 2, number % 5)
        for number, name in enumerate(some)
    ]
    wanted = folded(text)

    def begins(key: str) -> bool:
        plain = folded(key)
        return not wanted or any(
            plain.startswith(wanted, place)
            for place in range(len(plain))
            if place == 0 or (is_letter(plain[place]) and not is_letter(plain[place - 1]))
        )

    expected = [
        Completion(number, name, count, minimum)
        for number, key, name, hidden, count, minimum in sorted(
            tags, key=lambda tag: (-tag[4], tag[1])
        )
        if not hidden and begins(key)
    ]
    assert module._Index(tags, []).search(wanted, 5, False) == expected[:5]


def is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] in "LNM"
