"""Convert 1000 shares to a few tags."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from filestack_tags.db.text import label_key, label_name
from filestack_tags.tagging.taggers.local.labels import class_groups, class_names, content_tags

TABBY, TIGER_CAT, EGYPTIAN_CAT, TENCH, ESPRESSO, TRIPOD = 281, 282, 285, 0, 967, 872


def shares(**parts: float) -> NDArray[np.float32]:
    """Return shares with the given values (``c281=0.5``), and the rest evenly distributed."""
    result = np.full(1000, (1 - sum(parts.values())) / (1000 - len(parts)), np.float32)
    for name, share in parts.items():
        result[int(name[1:])] = share
    return result


def test_every_class_has_a_name_of_its_own() -> None:
    names = class_names()
    assert len(names) == len(set(names)) == 1000
    assert (names[TENCH], names[TABBY], names[999]) == ("tench", "tabby cat", "toilet paper")


def test_names_are_labels_in_their_normal_form() -> None:
    for name in (*class_names(), *class_groups()):
        assert name == label_name(name) == label_key(name)


def test_groups_hold_classes_each_once() -> None:
    for members in class_groups().values():
        assert len(members) == len(set(members.tolist())) > 0
        assert members.min() >= 0
        assert members.max() < 1000


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ("cat", "mammal"),
        ("mammal", "animal"),
        ("insect", "animal"),
        ("motor vehicle", "vehicle"),
        ("fruit", "food"),
    ],
)
def test_what_is_in_the_narrow_group_is_in_the_wide_one(narrow: str, wide: str) -> None:
    assert set(class_groups()[narrow]) < set(class_groups()[wide])


def test_a_railway_carriage_is_no_car() -> None:
    """In WordNet it is one."""
    carriage = class_names().index("railway carriage")
    assert carriage not in class_groups()["car"]
    assert carriage in class_groups()["train"]


def test_kinds_of_cat_add_up_to_a_cat() -> None:
    tags = content_tags(shares(c281=0.3, c282=0.3, c285=0.3))
    assert set(tags) == {"cat", "mammal", "animal"}
    assert tags["cat"] == pytest.approx(0.9, abs=0.01)


def test_no_idea_gives_no_tag() -> None:
    """Although 398 of the 1000 classes are animals."""
    assert content_tags(shares()) == {}


def test_many_small_shares_do_not_make_an_animal() -> None:
    spread = {f"c{index}": 0.9 / 398 for index in range(398)}
    assert content_tags(shares(**spread)) == {}


def test_a_name_alone_needs_half_of_the_shares() -> None:
    assert "tripod" in content_tags(shares(c872=0.51))
    assert "tripod" not in content_tags(shares(c872=0.49))


def test_a_name_needs_less_where_its_group_supports_it() -> None:
    assert "tabby cat" in content_tags(shares(c281=0.36, c285=0.3))
    assert "tabby cat" not in content_tags(shares(c281=0.34, c285=0.3))
    assert "tabby cat" not in content_tags(shares(c281=0.36))


def test_a_label_that_is_both_group_and_name_keeps_the_higher_share() -> None:
    mushroom, bolete = 947, 997
    tags = content_tags(shares(**{f"c{mushroom}": 0.5, f"c{bolete}": 0.3}))
    assert tags["mushroom"] == pytest.approx(0.8, abs=0.01)


@given(st.lists(st.tuples(st.integers(0, 999), st.floats(0.01, 1)), min_size=1, max_size=8))
def test_shares_of_tags_stay_between_nothing_and_all(parts: list[tuple[int, float]]) -> None:
    weights = np.full(1000, 1e-6)
    for index, weight in parts:
        weights[index] += weight
    tags = content_tags((weights / weights.sum()).astype(np.float32))
    assert all(0.35 <= share <= 1.0001 for share in tags.values())
