"""The search language: valid searches, their meaning, and the errors for others."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filestack_tags.conf import DEFAULTS
from filestack_tags.exceptions import SearchError
from filestack_tags.search.language.parser import DEFAULT_LIMITS, Limits, parse
from filestack_tags.search.language.tree import (
    FIELDS,
    And,
    Comparison,
    Everything,
    Fact,
    HasTag,
    Measure,
    Moment,
    Not,
    Or,
    Query,
    conjunction,
    negation,
)

from .strategies import queries, texts

ROOT = Path(__file__).parents[2]
AMPLE = Limits(length=20_000, terms=200, depth=30)


def where(text: str):
    return parse(text).where


def failure(text: str, limits: Limits = DEFAULT_LIMITS) -> SearchError:
    with pytest.raises(SearchError) as caught:
        parse(text, limits)
    return caught.value


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", Everything()),
        (" \n", Everything()),
        ("sky", HasTag("sky")),
        ("Blue", HasTag("Blue")),
        ("t-shirt", HasTag("t-shirt")),
        ("and", HasTag("and")),
        ("ANDROID", HasTag("ANDROID")),
        ("sky>=80", HasTag("sky", confidence=Comparison(">=", 80))),
        ("sky>80", HasTag("sky", confidence=Comparison(">", 80))),
        ("sky<=80", HasTag("sky", confidence=Comparison("<=", 80))),
        ("sky<50", HasTag("sky", confidence=Comparison("<", 50))),
        ("sky=95", HasTag("sky", confidence=Comparison("=", 95))),
        ("sky≥80", HasTag("sky", confidence=Comparison(">=", 80))),
        ("sky≤80", HasTag("sky", confidence=Comparison("<=", 80))),
        ("sky >= 80", HasTag("sky", confidence=Comparison(">=", 80))),
        ("sky:70..90", HasTag("sky", confidence=Comparison("..", 70, 90))),
        ('"no  person"', HasTag("no person")),
        ('"say \\"hi\\""', HasTag('say "hi"')),
        (r'"a\b\\"', HasTag("a\\b\\")),
        (
            '"trip (journey)">=80',
            HasTag("trip (journey)", confidence=Comparison(">=", 80)),
        ),
        ("bea*", HasTag("bea", prefix=True)),
        ('"new y"*', HasTag("new y", prefix=True)),
        ("bea*@user>80", HasTag("bea", True, "user", None, Comparison(">", 80))),
        ("*", HasTag()),
        ("tagged", HasTag()),
        ("untagged", Not(HasTag())),
        ("-untagged", HasTag()),
        ('"tagged"', HasTag("tagged")),
        ('"untagged"', HasTag("untagged")),
        ("*>=80", HasTag(confidence=Comparison(">=", 80))),
        ("sky@user", HasTag("sky", source="user")),
        ("sky@USER", HasTag("sky", source="user")),
        ("sky@rejected", HasTag("sky", decision="rejected")),
        ("sky@auto@none", HasTag("sky", source="auto", decision="none")),
        ("sky>=80@user", HasTag("sky", source="user", confidence=Comparison(">=", 80))),
        ("sky@user>=80", HasTag("sky", source="user", confidence=Comparison(">=", 80))),
        ("source:auto", HasTag(source="auto")),
        ("decision:none", HasTag(decision="none")),
        ("sky source:user", And((HasTag("sky"), HasTag(source="user")))),
        ("status:failed", Fact("status", "failed")),
        ("Status:FAILED", Fact("status", "failed")),
        ("type:Image/*", Fact("type", "image/*")),
        ('name:"IMG_* (1).jpg"', Fact("name", "IMG_* (1).jpg")),
        ("handle:bfTNCigRLq0QMrxFGzLD", Fact("handle", "bfTNCigRLq0QMrxFGzLD")),
        ("handle:https://a.example/x?y=1", Fact("handle", "https://a.example/x?y=1")),
        ("by:me@example.com", Fact("by", "me@example.com")),
        ("run:v1", Fact("run", "v1")),
        ("run:2", Fact("run", "v2")),
        ("tagger:local", Fact("tagger", "local")),
        ("workflow:a-b", Fact("workflow", "a-b")),
        ("uploaded:2026-11", Moment("uploaded", Comparison("=", "2026-11"))),
        ("uploaded:>=2026-01-01", Moment("uploaded", Comparison(">=", "2026-01-01"))),
        (
            "uploaded:2026-01-01..2026-02-01",
            Moment("uploaded", Comparison("..", "2026-01-01", "2026-02-01")),
        ),
        ("created:<2026", Moment("created", Comparison("<", "2026"))),
        ("tagged:2026-11", Moment("tagged", Comparison("=", "2026-11"))),
        (
            "created:>=2026-11-30T14:05:07.25+02:00",
            Moment("created", Comparison(">=", "2026-11-30T14:05:07.25+02:00")),
        ),
        (
            "created:2026-11-30T14:05Z..2026-11-30T14:05:30Z",
            Moment("created", Comparison("..", "2026-11-30T14:05Z", "2026-11-30T14:05:30Z")),
        ),
        ("uploaded:2026-11..2026", Moment("uploaded", Comparison("..", "2026-11", "2026"))),
        ("size:>2mb", Measure("size", Comparison(">", 2 * 1024 * 1024))),
        ("size:1.5KB", Measure("size", Comparison("=", 1536))),
        ("size:>=500b", Measure("size", Comparison(">=", 500))),
        ("size:1gb..2gb", Measure("size", Comparison("..", 1024**3, 2 * 1024**3))),
        ("width: >= 1200", Measure("width", Comparison(">=", 1200))),
        ("height:=600", Measure("height", Comparison("=", 600))),
        ("a b", And((HasTag("a"), HasTag("b")))),
        ("a AND b", And((HasTag("a"), HasTag("b")))),
        ("a | b", Or((HasTag("a"), HasTag("b")))),
        ("a OR b c", Or((HasTag("a"), And((HasTag("b"), HasTag("c")))))),
        ("(a OR b) c", And((Or((HasTag("a"), HasTag("b"))), HasTag("c")))),
        ("a -b", And((HasTag("a"), Not(HasTag("b"))))),
        ("NOT a b", And((Not(HasTag("a")), HasTag("b")))),
        ("-(a b)", Not(And((HasTag("a"), HasTag("b"))))),
        ("- - NOT a", Not(HasTag("a"))),
        ("((a))", HasTag("a")),
    ],
)
def test_each_form_means_what_the_table_says(text, meaning):
    assert where(text) == meaning


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("include:hidden", Query(include_hidden=True)),
        ("sky include:hidden", Query(HasTag("sky"), include_hidden=True)),
        ("(include:hidden sky)", Query(HasTag("sky"), include_hidden=True)),
        (
            "(a OR b) include:hidden include:hidden",
            Query(Or((HasTag("a"), HasTag("b"))), include_hidden=True),
        ),
    ],
)
def test_include_hidden_belongs_to_the_query(text, meaning):
    assert parse(text) == meaning


@pytest.mark.parametrize(
    "text", ["a OR include:hidden", "-include:hidden", "-(a include:hidden)"]
)
def test_include_hidden_within_or_and_not_is_refused(text):
    error = failure(text)
    assert "whole search" in error.message
    assert error.position == text.index("include")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("a AND NOT b | c", "a -b OR c"),
        ("*", "tagged"),
        ("-tagged", "untagged"),
        ("*@user", "source:user"),
        ("*@added", "decision:added"),
        ("*@user@added", "*@user@added"),
        ("sky>=80@user", "sky@user>=80"),
        ('"sky"', "sky"),
        ('"Tagged"', '"Tagged"'),
        ("size:2048", "size:2kb"),
        ("size:0", "size:0"),
        ("size:1kb..1025", "size:1kb..1025"),
        ("(include:hidden)", "include:hidden"),
        ("(a | b) include:hidden", "(a OR b) include:hidden"),
        ("(a | b) c", "(a OR b) c"),
    ],
)
def test_there_is_one_canonical_text(text, canonical):
    assert str(parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "position", "found", "says", "suggestion"),
    [
        ("sky=>80", 4, ">", "no comparison =>", "sky>=80"),
        ("a sky=<80 b", 6, "<", "no comparison =<", "a sky<=80 b"),
        ("sky==80", 4, "=", "no comparison ==", "sky=80"),
        ("sky>=80%", 5, "80%", "whole number from 0 to 100", "sky>=80"),
        ("sky>=0.8", 5, "0.8", "whole number from 0 to 100", "sky>=80"),
        ("sky>=101", 5, "101", "whole number from 0 to 100", ""),
        ("sky>=٣", 5, "٣", "whole number from 0 to 100", ""),
        ("sky:90..x", 4, "90..x", "whole number from 0 to 100", ""),
        ("b sky:90..70", 6, "90..70", "ends before it starts", "b sky:70..90"),
        ("sky>80<90", 6, "<", "one too many", ""),
        ('sky>="80"', 5, '"80"', "cannot follow >=", ""),
        ("sky>=", 5, "", "no value after >=", ""),
        ("(sky>=)", 6, ")", "no value after >=", ""),
        (">=80", 0, ">=", "no tag before", "*>=80"),
        ("@user", 0, "@user", "no tag before", "*@user"),
        (":70..80", 0, ":70..80", "no tag before", "*:70..80"),
        ("sky@bot", 3, "@bot", "auto, user, none", ""),
        ("sky@user@auto", 8, "@auto", "one too many", ""),
        ("sky@none>5@added", 10, "@added", "one too many", ""),
        ('a "no person', 2, '"', "not closed", 'a "no person"'),
        ('name:"IMG', 5, '"', "not closed", 'name:"IMG"'),
        ("“no person”", 0, "“", "straight quotes", '"no person"'),
        ('""', 0, '""', "nothing between the quotes", ""),
        ('" "*', 0, '" "*', "nothing between the quotes", ""),
        ("(a (b", 5, "", "parenthesis is not closed", "(a (b))"),
        ("a)", 1, ")", "no matching (", "a"),
        ("a) b", 1, ")", "no matching (", "a b"),
        (")", 0, ")", "no matching (", ""),
        ("a ()", 3, ")", "nothing between the parentheses", "a"),
        ("(", 1, "", "nothing after (", ""),
        ("a OR", 4, "", "nothing after OR", "a"),
        ("a |", 3, "", "nothing after |", "a"),
        ("(a OR )", 6, ")", "nothing after OR", "(a)"),
        ("a NOT", 5, "", "nothing after NOT", "a"),
        ("OR a", 0, "OR", "no term before OR", "a"),
        ("a AND AND b", 6, "AND", "no term before AND", "a AND b"),
        ("a || b", 3, "|", "no term before |", "a | b"),
        ("bea*ch", 4, "ch", "Use * after the beginning of a tag", ""),
        ("*ch", 1, "ch", "Use * after the beginning of a tag", ""),
        ("**", 1, "*", "Use * after the beginning of a tag", ""),
        ('a"b"', 1, '"b"', "no space between", 'a "b"'),
        ("tagged>=80 b", 0, "tagged", "in quotes it is a tag", '"tagged">=80 b'),
        ("a statsu:failed", 2, "statsu:", "Did you mean status:?", "a status:failed"),
        ("sky:80", 0, "sky:", "not a field", "sky>=80"),
        ("sky:<80", 0, "sky:", "not a field", "sky<80"),
        ('colour:"red"', 0, "colour:", "not a field", ""),
        ("colour:", 0, "colour:", "not a field", ""),
        ("colour:http://x", 0, "colour:", "not a field", ""),
        ("colour:(red)", 0, "colour:", "not a field", ""),
        ("sky:70..90:", 10, ":", "one too many", ""),
        ("status:broken", 7, "broken", "new, queued, running, tagged", ""),
        ("source:me", 7, "me", "auto, user", ""),
        ("include:all", 8, "all", "hidden", ""),
        ("status:>=failed", 9, ">=", "not a quantity", "status:failed"),
        ("status:", 7, "", "no value after status:", ""),
        ("name:(a)", 5, "(", "cannot follow name:", ""),
        ('name:" "', 5, " ", "needs a value", ""),
        ('name:"a\x00"', 5, "a\x00", "control characters", ""),
        ("run:latest", 4, "latest", "v1 or v2", ""),
        ("run:99999", 4, "99999", "v1 or v2", ""),
        ("uploaded:2026-13", 9, "2026-13", "2026-11-30", ""),
        ("uploaded:1900", 9, "1900", "from 1970 to 2999", ""),
        ("created:2026-11T14:05", 8, "2026-11T14:05", "2026-11-30T14:05Z", ""),
        ("created:2026-11-30T25:00", 8, "2026-11-30T25:00", "2026-11-30T14:05Z", ""),
        ("created:2026-11-30T14:05+99:99", 8, "2026-11-30T14:05+99:99", "a time such as", ""),
        (
            "tagged:2026-11-30T14:05Z..2026-11-30T14:04:59Z",
            7,
            "2026-11-30T14:05Z..2026-11-30T14:04:59Z",
            "ends before",
            "tagged:2026-11-30T14:04:59Z..2026-11-30T14:05Z",
        ),
        ("uploaded:today", 9, "today", "2026-11-30", ""),
        (
            "uploaded:2026-02..2026-01-09",
            9,
            "2026-02..2026-01-09",
            "ends before",
            "uploaded:2026-01-09..2026-02",
        ),
        ("size:big", 5, "big", "300kb", ""),
        ("size:99999999999gb", 5, "99999999999gb", "300kb", ""),
        ("size:2mb..1mb", 5, "2mb..1mb", "ends before", "size:1mb..2mb"),
        ("size:>1mb..2mb", 6, "1mb..2mb", "range with .. takes no >", "size:1mb..2mb"),
        ("width:1.5", 6, "1.5", "whole number of pixels", ""),
        ("width:2147483648", 6, "2147483648", "whole number of pixels", ""),
        ("a\x00", 0, "a\x00", "control characters", ""),
        ("a\ud800", 0, "a\ud800", "control characters", ""),
        ("x" * 201, 0, "x" * 201, "at most 200 characters", ""),
    ],
)
def test_an_error_says_where_what_and_how_to_mend_it(text, position, found, says, suggestion):
    error = failure(text)
    assert (error.position, error.found, error.suggestion) == (position, found, suggestion)
    assert says in error.message


def test_expected_is_said_in_words():
    assert failure("a OR").expected == ("a tag", "a field such as status:", "(", "NOT")
    assert failure("sky>=").expected == ("a confidence from 0 to 100",)
    assert failure("status:").expected == ("a value",)
    assert failure("status:x").expected == (
        "new",
        "queued",
        "running",
        "tagged",
        "stale",
        "failed",
    )
    assert failure('"a').expected == ('another "',)
    assert "status:" in failure("statsu:x").expected


def test_too_long_a_search_is_refused():
    assert str(parse("x " * 10, Limits(length=20))) == " ".join("x" * 10)
    error = failure("x " * 11, Limits(length=20))
    assert "at most 20 characters" in error.message
    assert error.position == 20


def test_a_search_that_is_too_long_in_canonical_form_is_refused():
    text = "|".join("x" * 7)
    assert len(text) == 13
    assert "written out in full" in failure(text, Limits(length=20)).message


def test_too_many_terms_are_refused():
    text = 'a "b" c* * status:failed name:"x" include:hidden'
    assert parse(text, Limits(terms=7))
    error = failure(text, Limits(terms=6))
    assert "at most 6 terms" in error.message
    assert error.position == text.index("include")


def test_too_deep_parentheses_are_refused():
    assert parse("((a) (b))", Limits(depth=2)) == parse("a b")
    error = failure("((a) ((b)))", Limits(depth=2))
    assert "at most 2 deep" in error.message
    assert error.position == 6


@pytest.mark.parametrize("numbers", [{"length": 0}, {"terms": 0}, {"depth": -1}, {"depth": 31}])
def test_limits_out_of_range_are_refused(numbers):
    with pytest.raises(ValueError, match="Limits"):
        Limits(**numbers)


def test_the_default_limits_are_those_of_the_settings():
    assert (
        Limits(DEFAULTS.SEARCH_MAX_LENGTH, DEFAULTS.SEARCH_MAX_TERMS, DEFAULTS.SEARCH_MAX_DEPTH)
        == DEFAULT_LIMITS
    )


@given(texts)
@example("(" * 1000)
@example("-" * 999 + "a")
@example("NOT " * 249 + "a")
@example("a " * 500)
@example("(" * 10 + "a" + ")" * 10)
@example('"' * 999)
@example("\\" * 1000)
@example('"' + "\\" * 998)
def test_any_text_is_read_or_refused_with_the_one_error(text):
    try:
        query = parse(text)
    except SearchError as caught:
        error = caught
    else:
        assert parse(str(query)) == query
        return
    assert 0 <= error.position <= len(text)
    assert error.message
    if error.suggestion:
        assert parse(error.suggestion)


@given(st.binary(max_size=200))
def test_binary_noise_is_read_or_refused_with_the_one_error(noise):
    text = noise.decode("latin-1")
    try:
        query = parse(text)
    except SearchError:
        return
    assert str(parse(str(query))) == str(query)


@given(queries)
def test_canonical_text_gives_the_query_back(query):
    assert parse(str(query), AMPLE) == query


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("source", [None, "user"])
def test_a_tag_that_is_called_as_a_field_stays_a_tag(field, source):
    for label in (field, field.upper(), f"{field}s"):
        query = Query(HasTag(label, source=source, confidence=Comparison("..", 1, 2)))
        assert parse(str(query)) == query


def test_double_negation_and_nested_groups_have_no_second_form():
    a, b, c = HasTag("a"), HasTag("b"), HasTag("c")
    assert negation(negation(a)) == a
    assert conjunction([conjunction([a, b]), c]) == And((a, b, c))
    assert conjunction([]) == Everything()
    for build in (
        lambda: Not(Not(a)),
        lambda: And((a,)),
        lambda: Or((Or((a, b)), c)),
        lambda: HasTag("", prefix=True),
    ):
        with pytest.raises(ValueError, match=r"Use |prefix"):
            build()


def test_the_language_is_read_without_django():
    code = (
        "import sys;"
        "from filestack_tags.search.language import parser;"
        "print(parser.parse('sky>=80'), 'django' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ran.stdout.split() == ["sky>=80", "False"]


def test_every_example_of_the_documentation_can_be_read():
    text = (ROOT / "docs" / "searching.md").read_text(encoding="utf-8")
    searches = [
        line.split("  #")[0].strip()
        for block in re.findall(r"```text\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line.strip()
    ]
    searches += re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(searches) > 40
    for search in searches:
        assert parse(search.replace("\\|", "|")), search


def test_every_error_of_the_documentation_is_given():
    text = (ROOT / "docs" / "searching.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ✗ `([^`]+)` \| (.+?) \| (?:`([^`]+)`)? *\|$", text, re.MULTILINE)
    assert len(rows) > 5
    for search, message, suggestion in rows:
        error = failure(search.replace("\\|", "|"))
        assert (error.message, error.suggestion) == (message, suggestion), search
