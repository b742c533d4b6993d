"""The terms of a search as links: remove one, add one, set the confidence. Pure text functions.

Every returned text is formatted by the search language itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from filestack_tags.db.text import label_key
from filestack_tags.search.language.tree import (
    OPERATORS,
    And,
    Comparison,
    Everything,
    HasTag,
    Node,
    Not,
    Or,
    Query,
    conjunction,
    disjunction,
    negation,
    unquoted,
)

TOKEN = re.compile(r'"(?:\\.|[^"\\])*"?\*?|[^\s()"“”„|@<>=≥≤:*]+\*?|\s+|.', re.DOTALL)
"""A name in quotes, closed or not yet; a word; or one of the characters between them."""

VALUE_FOLLOWS = frozenset("@<>=≥≤:")


@dataclass(frozen=True, slots=True)
class Term:
    """One required term: its text, and the search without it."""

    text: str
    rest: str


@dataclass(frozen=True, slots=True)
class Word:
    """The name being typed so far, and the text before and after it."""

    typed: str
    before: str
    after: str


def terms(query: Query) -> list[Term]:
    """Return the terms that are all required; nested terms are not split."""
    required = _required(query)
    result = [
        Term(str(term), str(_of(required[:index] + required[index + 1 :], query)))
        for index, term in enumerate(required)
    ]
    if query.include_hidden:
        result.append(Term("include:hidden", str(Query(query.where))))
    return result


def with_tag(query: Query, name: str, *, exclude: bool = False) -> str:
    """Return the search with a tag required, at the common minimum, or excluded.

    A term about this tag alone is replaced.
    """
    others = [term for term in _required(query) if not _is_about(term, name)]
    lowest = minimum(query)
    confidence = Comparison(">=", lowest) if lowest and not exclude else None
    term: Node = HasTag(label=name, confidence=confidence)
    return str(_of([*others, negation(term) if exclude else term], query))


def without_tag(query: Query, name: str) -> str:
    """Return the search without the terms that are about this tag alone."""
    return str(_of([term for term in _required(query) if not _is_about(term, name)], query))


def stance(query: Query, name: str) -> str:
    """Return whether the tag is ``included``, ``excluded``, or neither: ``""``."""
    for term in _required(query):
        if _is_about(term, name):
            return "excluded" if isinstance(term, Not) else "included"
    return ""


def minimum(query: Query) -> int | None:
    """Return the minimum confidence that all tags of the search have in common.

    Return 0 when none has one or they differ, and None when there is no tag.
    """
    minimums = [
        tag.confidence.value if tag.confidence else 0 for tag in _adjustable(query.where)
    ]
    if not minimums:
        return None
    return minimums[0] if len(set(minimums)) == 1 else 0


def with_minimum(query: Query, least: int) -> str:
    """Return the search with the minimum confidence ``least`` for each tag; 0 removes it.

    Excluded tags, and those with another comparison than ``>=``, are unchanged.
    """
    return str(Query(_adjusted(query.where, least), query.include_hidden))


def word_at(text: str, caret: int) -> Word | None:
    """Return the tag name that ends at the caret, None if no name is possible there.

    A name that starts with a quotation mark extends to the caret, including spaces.
    """
    start, previous = 0, ""
    for match in TOKEN.finditer(text):
        token, end = match[0], match.end()
        if end < caret or (end == caret and not _is_name(token)):
            start, previous = end, token
            continue
        start = match.start()
        break
    else:
        token, end = "", len(text)
    if previous in VALUE_FOLLOWS:
        return None
    if not _is_name(token):  # nothing typed yet
        return Word("", text[:caret], text[caret:])
    if token.startswith('"'):
        closed = len(token.rstrip("*")) > 1 and token.rstrip("*").endswith('"')
        typed = text[start + 1 : caret].rstrip("*").removesuffix('"' if closed else "")
        return Word(unquoted(f'"{typed}"'), text[:start], text[end if closed else caret :])
    signs = len(token) - len(token.lstrip("-"))
    typed = text[start + signs : caret].rstrip("*")
    if typed in OPERATORS:
        return None
    return Word(typed, text[: start + signs], text[end:])


def _is_name(token: str) -> bool:
    return bool(re.match(r"[^\s()“”„|@<>=≥≤:*]", token))


def _required(query: Query) -> list[Node]:
    where = query.where
    if isinstance(where, Everything):
        return []
    return list(where.terms) if isinstance(where, And) else [where]


def _of(required: list[Node], query: Query) -> Query:
    return Query(conjunction(required), query.include_hidden)


def _is_about(term: Node, name: str) -> bool:
    tag = term.term if isinstance(term, Not) else term
    return (
        isinstance(tag, HasTag)
        and not tag.prefix
        and bool(tag.label)
        and label_key(tag.label) == label_key(name)
    )


def _adjustable(node: Node) -> list[HasTag]:
    if isinstance(node, And | Or):
        return [tag for term in node.terms for tag in _adjustable(term)]
    return [node] if _is_adjustable(node) and isinstance(node, HasTag) else []


def _is_adjustable(node: Node) -> bool:
    return (
        isinstance(node, HasTag)
        and bool(node.label)
        and (node.confidence is None or node.confidence.operator == ">=")
    )


def _adjusted(node: Node, least: int) -> Node:
    if isinstance(node, And):
        return conjunction(_adjusted(term, least) for term in node.terms)
    if isinstance(node, Or):
        return disjunction(_adjusted(term, least) for term in node.terms)
    if isinstance(node, HasTag) and _is_adjustable(node):
        return replace(node, confidence=Comparison(">=", least) if least else None)
    return node
