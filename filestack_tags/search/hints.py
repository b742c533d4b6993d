"""Hints for a search: names similar to unknown ones, words that are one tag, file names.

Suggestions only use tags of assets within the user's scope.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from filestack_tags.db.text import label_key
from filestack_tags.exceptions import InvalidLabel

from .completion import complete
from .language.fields import FAMILIES, MIME_TYPES
from .language.tree import (
    OPERATORS,
    And,
    Fact,
    HasTag,
    Node,
    Not,
    Or,
    Query,
    conjunction,
    leaves,
    replaced,
)
from .scope import tags_within
from .tag_lookup import TagNames

if TYPE_CHECKING:
    from .search import Search

MAX_CANDIDATES = 1000
"""How many of the most used tags are compared with an unknown name, and how many of those with the
same initial.
"""

MAX_NEAR = 3
"""Maximum number of similar names in a hint."""

MAX_HINTS = 5
"""Maximum number of unknown tags in a search that get hints."""

MAX_WORDS = 6
"""Maximum number of consecutive words that are looked up as one tag name."""

_FILE_NAME = re.compile(r"\S+\.(\w{2,5})|[A-Za-z]{2,4}[_-]?[0-9]{3,}")
"""A word with an extension, or a camera's file name: IMG_4602, DSC0001."""


@dataclass(frozen=True, slots=True)
class Hint:
    """What a term of a search may have meant.

    Args:
        term: the term as typed: the label of a tag, with its ``*`` if it is a prefix, the words of
            a tag with several, or a fact such as ``name:IMG``.
        near: similar tag names, and ``AND``, ``OR`` or ``NOT`` for the same word in lowercase.
        suggestion: a whole corrected search, ``""`` when nothing is obvious.
        kind: ``phrase`` for words that together are the name of a tag, ``unknown`` for a label
            without a tag, ``whole`` for a fact that only finds whole values.
    """

    term: str
    near: tuple[str, ...] = ()
    suggestion: str = ""
    kind: str = "unknown"


def hints(search: Search, typed: Query) -> tuple[Hint, ...]:
    """See :meth:`.search.Search.hints`."""
    with search.time_limit():
        return tuple(_hints(search, typed))


def _hints(search: Search, typed: Query) -> Iterator[Hint]:
    runs = [run for run in _runs(typed.where) if len(run) > 1]
    phrases = [phrase for run in runs for phrase in _phrases(run)]
    names = search.names(typed.where, *phrases)
    labelled = [
        leaf
        for leaf in leaves(conjunction((typed.where, *phrases)))
        if isinstance(leaf, HasTag) and leaf.label
    ]
    ids = tags_within(
        (tag.id for leaf in labelled for tag in names.of(leaf)), search.scope, search.using
    )
    covered: set[HasTag] = set()
    for run in runs:
        for words, phrase in _known_phrases(run, names, ids):
            covered.update(words)
            suggested = _with_phrase(typed.where, words, phrase)
            yield Hint(phrase.label, (), _text(typed, suggested), "phrase")
    unknown: dict[str, HasTag] = {}
    for leaf in leaves(typed.where):
        if isinstance(leaf, Fact) and (whole := _partial(leaf)):
            yield Hint(str(leaf), (), _text(typed, replaced(typed.where, leaf, whole)), "whole")
        if not isinstance(leaf, HasTag) or not leaf.label or leaf in covered:
            continue
        if not any(tag.id in ids for tag in names.of(leaf)):
            unknown.setdefault(f"{leaf.label}*" if leaf.prefix else leaf.label, leaf)
    if not unknown:
        return
    first = dict(list(unknown.items())[:MAX_HINTS])
    initials = {label_key(leaf.label)[0] for leaf in first.values()}
    candidates = _candidates(search, initials)
    for name, leaf in first.items():
        near = _near(leaf, candidates)
        yield Hint(name, near, _suggestion(typed, leaf, near))


def _candidates(search: Search, initials: set[str]) -> dict[str, str]:
    """Return keys and names of tags that may be similar to an unknown label."""
    return {
        label_key(tag.name): tag.name
        for text in ("", *sorted(initials))
        for tag in complete(
            text,
            limit=MAX_CANDIDATES,
            include_hidden=search.query.include_hidden,
            scope=search.scope,
            using=search.using,
        )
    }


def _near(term: HasTag, candidates: dict[str, str]) -> tuple[str, ...]:
    word = term.label.upper()
    reserved = (word,) if word in OPERATORS else ()
    keys = get_close_matches(label_key(term.label), candidates, n=MAX_NEAR, cutoff=0.7)
    return reserved + tuple(candidates[key] for key in keys)


def _suggestion(query: Query, leaf: HasTag, near: Sequence[str]) -> str:
    is_file = _FILE_NAME.fullmatch(leaf.label)
    if is_file and (is_file[1] is None or is_file[1].lower() in MIME_TYPES):
        return _text(query, replaced(query.where, leaf, Fact("name", f"*{leaf.label}*")))
    names = [name for name in near if name not in OPERATORS]
    if not names:
        return ""
    tag = HasTag(names[0], False, leaf.source, leaf.decision, leaf.confidence)
    return _text(query, replaced(query.where, leaf, tag))


def _partial(fact: Fact) -> Fact | None:
    """Return a fact that also finds parts of values, None if a whole value is probably meant."""
    if fact.field == "name" and "*" not in fact.value and "." not in fact.value:
        return Fact("name", f"*{fact.value}*")
    if fact.field == "type" and fact.value in FAMILIES:
        return Fact("type", f"{fact.value}/*")
    return None


def _runs(node: Node) -> Iterator[list[HasTag]]:
    """Yield runs of consecutive required words, as typed."""
    if isinstance(node, Not):
        yield from _runs(node.term)
    elif isinstance(node, Or):
        for term in node.terms:
            yield from _runs(term)
    elif isinstance(node, And):
        run: list[HasTag] = []
        for term in node.terms:
            if isinstance(term, HasTag) and term.label and term == HasTag(term.label):
                run.append(term)
                continue
            yield run
            run = []
            yield from _runs(term)
        yield run


def _phrases(run: Sequence[HasTag]) -> Iterator[HasTag]:
    for start in range(len(run)):
        for end in range(start + 2, min(start + MAX_WORDS, len(run)) + 1):
            if (phrase := _joined(run[start:end])) is not None:
                yield phrase


def _joined(words: Sequence[HasTag]) -> HasTag | None:
    try:
        return HasTag(" ".join(word.label for word in words))
    except InvalidLabel:  # too long
        return None


def _known_phrases(
    run: Sequence[HasTag], names: TagNames, ids: set[int]
) -> Iterator[tuple[Sequence[HasTag], HasTag]]:
    """Yield words and the tag that they form, the longest match at each position."""
    start = 0
    while start < len(run):
        for end in range(min(start + MAX_WORDS, len(run)), start + 1, -1):
            phrase = _joined(run[start:end])
            if phrase and any(tag.id in ids for tag in names.of(phrase)):
                yield run[start:end], phrase
                start = end
                break
        else:
            start += 1


def _with_phrase(node: Node, words: Sequence[HasTag], phrase: HasTag) -> Node:
    """Return ``node`` with consecutive words replaced by a tag."""
    if isinstance(node, Not):
        return Not(_with_phrase(node.term, words, phrase))
    if isinstance(node, Or):
        return Or(tuple(_with_phrase(term, words, phrase) for term in node.terms))
    if not isinstance(node, And):
        return node
    terms = [_with_phrase(term, words, phrase) for term in node.terms]
    for start in range(len(terms) - len(words) + 1):
        if terms[start : start + len(words)] == list(words):
            terms[start : start + len(words)] = [phrase]
            break
    return conjunction(terms)


def _text(query: Query, where: Node) -> str:
    return str(Query(where, query.include_hidden))
