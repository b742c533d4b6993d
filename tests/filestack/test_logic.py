"""Workflow logic: each operator on a task's output, compared with an independent implementation."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filestack_tags.exceptions import RuleError
from filestack_tags.filestack.workflow_logic import (
    ATTESTED,
    COMPARISONS,
    MAX_DEPTH,
    MAX_LENGTH,
    OPERATORS,
    Rule,
    parse_rule,
)

TAGS = {"tags": {"auto": {"sky": 90, "t-shirt v.2": 95, "no person": 98}, "user": None}}
KEYS = ["tags", "auto", "sky", "no person", "a.b", 'say "x"', "", "eq", "été", "\\"]

keys = st.sampled_from(KEYS) | st.text(max_size=4)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 101)
    | st.sampled_from([0.0, 1.0, 0.5, 90.0, 99.25, -0.0])
    | st.sampled_from(["true", "1", "", "sky", "a bird", "bird"])
    | st.text(max_size=4)
)
outputs = st.recursive(
    scalars,
    lambda inner: st.dictionaries(keys, inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=8,
)


def value_for(operator: str) -> st.SearchStrategy[Any]:
    if operator == "kex":
        return keys
    if operator in COMPARISONS:
        return st.integers(-3, 101) | st.sampled_from([0.5, 1.0, 90.0])
    return scalars


rules = st.sampled_from(OPERATORS).flatmap(
    lambda name: st.builds(
        Rule, st.lists(keys, min_size=1, max_size=4).map(tuple), st.just(name), value_for(name)
    )
)


def places(output: Any, at: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every path of an output, and its value."""
    found = {at: output}
    if isinstance(output, dict):
        for key, inner in output.items():
            found |= places(inner, (*at, key))
    return found


def kind(value: Any) -> str:
    """The JSON type of a value."""
    text = json.dumps(value)
    return {"{": "map", "[": "list", '"': "text", "t": "bool", "f": "bool", "n": "null"}.get(
        text[0], "number"
    )


def said(rule: Rule, output: Any) -> bool:
    """The table in PROTOCOL, implemented by inspecting all paths and the JSON text."""
    there = places(output)
    if rule.path not in there:
        return False
    found = there[rule.path]
    if rule.operator == "kex":
        if kind(found) == "text":
            return found.find(rule.value) >= 0
        return (*rule.path, rule.value) in there
    if rule.operator in ("gt", "gte", "lt", "lte"):
        if kind(found) != "number":
            return False
        difference = Fraction(found) - Fraction(rule.value)
        sign = (difference > 0) - (difference < 0)
        return sign in {"gt": (1,), "gte": (0, 1), "lt": (-1,), "lte": (-1, 0)}[rule.operator]
    if kind(found) != kind(rule.value):
        same = False
    elif kind(found) == "number":
        same = Fraction(found) == Fraction(rule.value)
    else:
        same = json.dumps(found) == json.dumps(rule.value)
    return same if rule.operator == "eq" else not same


@pytest.mark.parametrize(
    ("text", "output", "holds"),
    [
        # Rules that the docs and Filestack's plugin show.
        ('tags.auto kex "sky"', TAGS, True),
        ('tags.auto kex "sea"', TAGS, False),
        ("sfw eq false", {"sfw": False}, True),
        ("sfw neq true", {"sfw": False}, True),
        ("sfw neq true", {"sfw": True}, False),
        ("infected eq true", {"infected": True, "infections_list": []}, True),
        ('caption kex "bird"', {"caption": "a close up of a bird"}, True),
        ('caption kex "Bird"', {"caption": "a close up of a bird"}, False),
        # Types matter.
        ("sfw eq true", {"sfw": "true"}, False),
        ("sfw neq true", {"sfw": "true"}, True),
        ("sfw eq true", {"sfw": 1}, False),
        ("a eq 1", {"a": True}, False),
        ("a eq 0", {"a": False}, False),
        ("a eq 1", {"a": 1.0}, True),
        ("tags.user eq null", TAGS, True),
        # Not examined: false, whatever the operator.
        ("sfw neq true", TAGS, False),
        ("sfw eq null", TAGS, False),
        ('tags.user kex "sky"', TAGS, False),
        ("tags.auto.sky.more eq null", TAGS, False),
        ("tags eq null", [TAGS], False),
        # A key must match completely; a list has none.
        ('tags.auto kex "sk"', TAGS, False),
        ('infections_list kex "a"', {"infections_list": ["a"]}, False),
        ("infections_list.0 eq 1", {"infections_list": [1]}, False),
        # Our extensions.
        ("tags.auto.sky gte 90", TAGS, True),
        ("tags.auto.sky gt 90", TAGS, False),
        ("tags.auto.sky lte 90.0", TAGS, True),
        ("tags.auto.sky lt 90.5", TAGS, True),
        ('tags.auto."t-shirt v.2" gte 90', TAGS, True),
        ('tags.auto."no person" gt 97', TAGS, True),
        ("tags gt 1", TAGS, False),
        ("sfw gte 1", {"sfw": True}, False),
        ("a lt 5", {"a": "4"}, False),
    ],
)
def test_a_rule_says_what_the_table_says(text: str, output: Any, holds: bool) -> None:
    assert parse_rule(text).holds(output) is holds
    assert said(parse_rule(text), output) is holds


@given(rules, outputs)
@example(Rule(("a",), "eq", 1), {"a": True})
@example(Rule(("a",), "eq", True), {"a": 1})
@example(Rule(("a",), "neq", 0), {"a": False})
def test_every_rule_says_of_every_output_what_the_oracle_says(rule: Rule, output: Any) -> None:
    assert rule.holds(output) is said(rule, output)


@given(
    outputs.flatmap(
        lambda out: st.tuples(st.just(out), st.sampled_from(sorted(places(out), key=str)))
    ),
    st.data(),
)
def test_and_of_every_path_that_is_there(
    both: tuple[Any, tuple[str, ...]], data: st.DataObject
) -> None:
    output, path = both
    name = data.draw(st.sampled_from(OPERATORS))
    if path:
        rule = Rule(path, name, data.draw(value_for(name)))
        assert rule.holds(output) is said(rule, output)


@given(rules)
def test_the_canonical_text_reads_as_the_same_rule(rule: Rule) -> None:
    text = str(rule)
    if len(text) <= MAX_LENGTH:
        again = parse_rule(text)
        assert (again, type(again.value)) == (rule, type(rule.value))
        assert str(again) == text


@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                "tags",
                ".",
                '"',
                " ",
                "kex",
                "gte",
                '"sky"',
                "90",
                "\\",
                "true",
                "NaN",
                "[",
                "1e999",
                "\ud800",
                "\x00",
            ]
        ),
        max_size=10,
    ).map("".join)
)
@example("a eq " + "[" * 490)
@example("a eq " + "9" * 490)
@example('a."\\ud800" eq "\\ud800"')
def test_any_text_is_read_or_refused_with_the_one_error(text: str) -> None:
    rule = refused = None
    try:
        rule = parse_rule(text)
    except RuleError as error:
        refused = error
    if rule is not None:
        assert rule.holds(TAGS) in (True, False)
    else:
        assert refused is not None
        assert 0 <= refused.position <= len(text)
        assert refused.message == str(refused) != ""


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("", 0, "starts with a path"),
        ("  ", 2, "starts with a path"),
        ("tags..auto eq 1", 5, "no empty parts"),
        ("tags. eq 1", 5, "ends in a dot"),
        ('tags."auto eq 1', 5, "quotes are not closed"),
        ('tags."a"b eq 1', 8, "quoted as a whole"),
        (r'"\x" eq 1', 0, "one JSON string"),
        ("tags", 4, "operator is missing"),
        ("tags has 1", 5, "there are eq, neq, kex, gt, gte, lt, lte"),
        ("tags KEX 1", 5, "Did you mean kex?"),
        ("tags >= 1", 5, "Did you mean gte?"),
        ("tags eq", 7, "value is missing"),
        ("tags kex sky", 9, 'Did you mean "sky"?'),
        ("tags eq 'sky'", 8, "text in quotes"),
        ('tags eq "sky" x', 8, "one JSON string"),
        ("tags eq NaN", 8, "not a JSON value"),
        ("tags eq 1e999", 8, "too large"),
        ("tags eq {}", 8, "no list and no map"),
        ("tags kex 5", 9, "kex looks for a text"),
        ('tags gte "90"', 9, "compares numbers"),
        ("tags gte true", 9, "compares numbers"),
        ("a eq " + "1" * MAX_LENGTH, MAX_LENGTH, f"at most {MAX_LENGTH} characters"),
        (".".join("a" * (MAX_DEPTH + 1)) + " eq 1", 2 * MAX_DEPTH, f"at most {MAX_DEPTH} parts"),
    ],
)  # fmt: skip
def test_an_error_says_where_and_how_to_mend_it(text: str, position: int, says: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule(text)
    assert says in caught.value.message
    assert caught.value.position == position


def test_a_rule_that_filestack_could_not_hold_says_so() -> None:
    assert not parse_rule('tags.auto kex "sky"').is_ours
    assert parse_rule("tags.auto.sky gte 90").is_ours
    assert ATTESTED == ("eq", "neq", "kex")


def test_logic_is_read_without_django() -> None:
    code = (
        "import sys; import filestack_tags.filestack.workflow_logic; "
        "assert not [name for name in sys.modules if name.split('.')[0] == 'django']"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
