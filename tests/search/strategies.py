"""Hypothesis strategies: labels difficult for databases, searches as values and as text."""

from __future__ import annotations

from datetime import date

from hypothesis import strategies as st

from filestack_tags.db.text import label_key
from filestack_tags.exceptions import InvalidLabel
from filestack_tags.search.language.fields import MOMENTS
from filestack_tags.search.language.tree import (
    Comparison,
    Everything,
    Fact,
    HasTag,
    Measure,
    Moment,
    Node,
    Query,
    conjunction,
    disjunction,
    negation,
)

HARD_LABELS = (
    "sky",
    "Sky",
    "skyline",
    "sk%",
    "sk_",
    "sk",
    "s\\k",
    'say "sky"',
    "ends in \\",
    'a\\"b \\\\ c',
    "it's",
    "no person",
    "trip (journey)",
    "trip",
    "a|b",
    "-sky",
    "AND",
    "and",
    "NOT",
    "tagged",
    "untagged",
    "status:failed",
    "error:server_error",
    "100%",
    "sky>=80",
    "@user",
    "sky@user",
    "*",
    "sk*",
    "straße",
    "STRASSE",
    "İstanbul",
    "istanbul",
    "ﬁsh",
    "fish",
    "ＳＫＹ",
    "①",
    "1",
    "é",
    "e\u0301",
    "e",
    "🏖",
    "🏖️ beach",
    "🌋",
    "שלום",
    "مرحبا",
    "\u200fשלום",
    "ي",
    "“sky”",
    "≥",
    "\U0010ffff",
    "\ud7ff",
    "\ue000",
)


def is_label(text: str) -> bool:
    try:
        label_key(text)
    except InvalidLabel:
        return False
    return True


def tidy(text: str) -> str:
    return " ".join(text.split())


labels = st.sampled_from(HARD_LABELS) | st.text(min_size=1, max_size=8).filter(is_label).map(
    tidy
).filter(is_label)


def comparisons(values: st.SearchStrategy[int]) -> st.SearchStrategy[Comparison[int]]:
    single = st.builds(Comparison, st.sampled_from([">=", ">", "<=", "<", "="]), values)
    ranges = st.tuples(values, values).map(sorted).map(lambda two: Comparison("..", *two))
    return single | ranges


def tag_terms(names: st.SearchStrategy[str]) -> st.SearchStrategy[HasTag]:
    qualities = {
        "source": st.none() | st.sampled_from(["auto", "user"]),
        "decision": st.none() | st.sampled_from(["none", "accepted", "rejected", "added"]),
        "confidence": st.none() | comparisons(st.integers(0, 100)),
    }
    return (
        st.builds(HasTag, label=names)
        | st.builds(HasTag, label=names, prefix=st.booleans(), **qualities)
        | st.builds(HasTag, **qualities)
    )


def combined(terms: st.SearchStrategy[Node], max_leaves: int = 10) -> st.SearchStrategy[Node]:
    def groups(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        several = st.lists(inner, min_size=2, max_size=4)
        return inner.map(negation) | several.map(conjunction) | several.map(disjunction)

    return st.recursive(terms, groups, max_leaves=max_leaves)


values = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=8).filter(
    lambda text: bool(text.strip())
)
days = st.dates(date(1970, 1, 1), date(2999, 12, 31))
periods = (
    days.map(str) | days.map(lambda day: str(day)[:7]) | days.map(lambda day: str(day)[:4])
)
times = st.builds(
    "{}T{:%H:%M}{}{}".format,
    days,
    st.times(),
    st.sampled_from(["", ":00", ":59", ":07.5", ":07.123456"]),
    st.sampled_from(["", "Z", "+02:00", "-11:30"]),
)


def in_order(two: tuple[str, str]) -> bool:
    shared = min(map(len, two))
    return two[0][:shared] <= two[1][:shared]


date_comparisons = st.builds(
    Comparison, st.sampled_from([">=", ">", "<=", "<", "="]), periods | times
) | st.tuples(periods, periods).filter(in_order).map(lambda two: Comparison("..", *two))

facts = (
    st.builds(
        Fact, st.sampled_from(["name", "handle", "by", "error", "tagger", "workflow"]), values
    )
    | values.map(str.lower).map(lambda value: Fact("type", value))
    | st.builds(
        Fact,
        st.just("status"),
        st.sampled_from(["new", "queued", "running", "tagged", "stale", "failed"]),
    )
    | st.builds(Fact, st.just("kind"), st.sampled_from(["handle", "url", "alias"]))
    | st.integers(0, 32767).map(lambda version: Fact("run", f"v{version}"))
    | st.builds(Measure, st.just("size"), comparisons(st.integers(0, 2**63 - 1)))
    | st.builds(
        Measure, st.sampled_from(["width", "height"]), comparisons(st.integers(0, 2**31 - 1))
    )
    | st.builds(Moment, st.sampled_from(MOMENTS), date_comparisons)
)

queries = st.builds(
    Query,
    st.just(Everything()) | combined(tag_terms(labels) | facts),
    st.booleans(),
)

PIECES = (
    *HARD_LABELS,
    " ",
    "  ",
    "(",
    ")",
    "((",
    "-",
    "NOT ",
    " AND ",
    " OR ",
    " | ",
    '"',
    '\\"',
    "*",
    ">=",
    ">",
    "<=",
    "<",
    "=",
    "=>",
    ":",
    "..",
    "80",
    "101",
    "@user",
    "@rejected",
    "@x",
    "tagged",
    "untagged",
    "source:",
    "status:failed",
    "error:server_error",
    "kind:url",
    "decision:added",
    "type:image/*",
    "name:",
    "uploaded:>=2026-11",
    "uploaded:2026..2025",
    "created:2026-11-30T14:05Z",
    "tagged:>2026-11-30T14:05:07.25+02:00",
    "size:1.5mb",
    "width:",
    "run:v1",
    "include:hidden",
    "\x00",
    "\ud800",
    "\u2028",
    "٣",
)
texts = st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
