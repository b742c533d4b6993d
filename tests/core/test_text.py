"""How text is normalised, for any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestack_tags import text as module
from filestack_tags.exceptions import InvalidLabel
from filestack_tags.text import label_key, label_name, storable, storable_json

anything = st.text(st.characters(exclude_categories=()), max_size=250)


@given(anything)
def test_stored_text_fits_every_database(text: str) -> None:
    clean = storable(text)
    assert "\x00" not in clean
    clean.encode()
    assert storable(clean) == clean


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
    assert storable_json({"a\x00": [1, None, True, {"b": "\ud800"}]}) == {
        "a�": [1, None, True, {"b": "�"}]
    }
    assert storable("abcdef", 3) == "abc"


def test_long_white_space_is_no_reason_to_remember_a_long_text() -> None:
    spaces = " " * 10_000
    before = module._label_name.cache_info().currsize
    for number in range(20):
        assert label_name(f"{spaces * (number + 1)}of one tag{spaces}") == "of one tag"
        assert label_key(f"{spaces * (number + 1)}Of one tag{spaces}") == "of one tag"
    assert module._label_name.cache_info().currsize <= before + 2
