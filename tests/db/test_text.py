"""Text normalization, for any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestack_tags.db import text as module
from filestack_tags.db.text import fold, label_key, label_name, sanitize_json, sanitize_text
from filestack_tags.exceptions import InvalidLabel

anything = st.text(st.characters(exclude_categories=()), max_size=250)


@given(anything)
def test_stored_text_fits_every_database(text: str) -> None:
    clean = sanitize_text(text)
    assert "\x00" not in clean
    clean.encode()
    assert sanitize_text(clean) == clean


@given(anything)
def test_a_key_is_the_same_again_and_for_every_case(text: str) -> None:
    try:
        key = label_key(text)
    except InvalidLabel:
        return
    assert label_key(key) == key
    assert label_key(label_name(text)) == key
    assert 0 < len(key) <= 200


@pytest.mark.parametrize(
    ("label", "key"),
    [
        ("No  Person", "no person"),
        ("\tTrip (Journey) ", "trip (journey)"),
        ("Straße", "strasse"),
        ("ﬁsh", "fish"),
        ("ＳＫＹ", "sky"),
        ("É", "é"),
        ("e\u0301", "é"),
        ("سماء", "سماء"),
    ],
)
def test_labels_that_read_alike_share_a_key(label: str, key: str) -> None:
    assert label_key(label) == key


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("", "cannot be empty"),
        ("  ", "cannot be empty"),
        ("a\x00b", "control characters"),
        ("a\ud800", "control characters"),
        ("a" * 201, "at most 200 characters; this one has 201"),
        ("ﷺ" * 50, "at most 200 characters"),
    ],
)
def test_what_cannot_be_a_tag_says_why(label: str, message: str) -> None:
    with pytest.raises(InvalidLabel, match=message):
        label_key(label)


def test_json_is_made_storable_all_the_way_down() -> None:
    assert sanitize_json({"a\x00": [1, None, True, {"b": "\ud800"}]}) == {
        "a�": [1, None, True, {"b": "�"}]
    }
    assert sanitize_text("abcdef", 3) == "abc"


def test_long_white_space_is_no_reason_to_remember_a_long_text() -> None:
    spaces = " " * 10_000
    before = module._label_key.cache_info().currsize
    for number in range(20):
        assert label_name(f"{spaces * (number + 1)}of one tag{spaces}") == "of one tag"
        assert label_key(f"{spaces * (number + 1)}Of one tag{spaces}") == "of one tag"
    assert module._label_key.cache_info().currsize <= before + 2


IGNORABLE = "\u00ad\u034f\u061c\u180e\u200b\u200d\u2060\u202e\u3164\ufe0f\ufeff\uffa0\U000e0041"


@given(st.text(max_size=20))
def test_folding_is_idempotent(text):
    assert fold(fold(text)) == fold(text)


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8), st.data())
def test_characters_that_are_not_shown_do_not_count(text, data):
    place = data.draw(st.integers(0, len(text)))
    inserted = data.draw(st.text(st.sampled_from(IGNORABLE), min_size=1, max_size=3))
    seen = fold(text)
    assert "".join(fold(text[:place] + inserted + text[place:]).split()) == "".join(
        seen.split()
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("İstanbul", "istanbul"),
        ("İSTANBUL", "i\u0307stanbul"),
        ("I\u0307stanbul", "ISTANBUL"),
        ("I\u0323\u0307x", "ịx"),
        ("sky\u200b", "sky"),
        ("s\u00adky", "sky"),
        ("🏖\ufe0f", "🏖"),
        ("ＳＫＹ", "sky"),
    ],
)
def test_names_that_look_the_same_have_one_key(one, other):
    assert label_key(one) == label_key(other)


def test_letters_that_differ_keep_their_keys():
    assert len({label_key(name) for name in ("i", "ı", "í", "j", "ì")}) == 5


@pytest.mark.parametrize(
    "name", ["\u200b", "\u200b \u00ad", "\u3164", "\u2800", "\ufe0f", "\u202e\u202c", "\u2063"]
)
def test_a_name_needs_a_visible_character(name):
    for check in (label_name, label_key):
        with pytest.raises(InvalidLabel, match="visible"):
            check(name)
