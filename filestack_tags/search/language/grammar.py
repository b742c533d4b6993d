"""Convert the parse tree of a search to a query. No Django."""

from __future__ import annotations

import re

from lark import Token, Tree

from filestack_tags.db.text import fold
from filestack_tags.exceptions import InvalidLabel, SearchError
from filestack_tags.translation import gettext_noop as _

from .errors import unknown_field
from .fields import DECISIONS, SOURCES, read_fact
from .tree import (
    PRESENCE,
    Comparison,
    Everything,
    Fact,
    HasTag,
    Node,
    Query,
    conjunction,
    disjunction,
    negation,
    unquoted,
)

_SYMBOLS = {"≥": ">=", "≤": "<="}
_CONFIDENCE = re.compile(r"[0-9]{1,3}")
_PERCENT = re.compile(r"([0-9]{1,3})(?:\.[0-9]+)?%")
_FRACTION = re.compile(r"0?\.[0-9]{1,2}|1\.0")


class Reader:
    """Convert the parse tree of ``text`` into a query."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._include_at: int | None = None

    def query(self, tree: Tree[Token]) -> Query:
        if not tree.children:
            return Query(text=self._text)
        (inner,) = _subtrees(tree)
        where = self._either(inner, whole=True)
        at = self._include_at
        return Query(where, at is not None, self._text, at or 0)

    # ``whole`` is true outside OR and NOT, where include:hidden is allowed.

    def _either(self, tree: Tree[Token], whole: bool) -> Node:
        parts = _subtrees(tree)
        whole = whole and len(parts) == 1
        return disjunction([self._both(part, whole) for part in parts])

    def _both(self, tree: Tree[Token], whole: bool) -> Node:
        return conjunction([self._term(part, whole) for part in _subtrees(tree)])

    def _term(self, tree: Tree[Token], whole: bool) -> Node:
        (inner,) = _subtrees(tree)
        negations = len(tree.children) - 1
        node = self._operand(inner, whole and not negations)
        return negation(node) if negations % 2 else node

    def _operand(self, tree: Tree[Token], whole: bool) -> Node:
        if tree.data == "group":
            (inner,) = _subtrees(tree)
            return self._either(inner, whole)
        first, last = _ends(tree)
        try:
            return self._tag(tree) if tree.data == "tag" else self._fact(tree, whole)
        except SearchError as error:
            if error.suggestion:
                before, after = self._text[:first], self._text[last:]
                error.suggestion = f"{before}{error.suggestion}{after}"
            raise

    def _fact(self, tree: Tree[Token], whole: bool) -> Node:
        tokens = _tokens(tree)
        field = tokens[0].rstrip(": \t\n").rstrip().lower()
        value = tokens[-1]
        operator = str(tokens[1]) if len(tokens) == 3 else ""
        text = unquoted(value) if value.type == "QUOTED" else str(value)
        leaf = read_fact(field, _SYMBOLS.get(operator, operator), text, start_of(value))
        if leaf != Fact("include", "hidden"):
            return leaf
        if not whole:
            raise SearchError(
                _("include:hidden concerns the whole search: it cannot be inside OR or NOT."),
                position=start_of(tokens[0]),
                found="include:hidden",
            )
        self._include_at = start_of(tokens[0])
        return Everything()

    def _tag(self, tree: Tree[Token]) -> Node:
        name, *qualifiers = (child for child in tree.children if isinstance(child, Token))
        confidence = None
        for part in _subtrees(tree):
            confidence = _confidence(name, _tokens(part))
        label = str(name).removesuffix("*") if name.type in ("PREFIX", "STAR") else str(name)
        if label.startswith('"'):
            label = unquoted(label)
        elif name.type == "WORD" and fold(label) in PRESENCE:
            if tree.children != [name]:
                raise SearchError(
                    _("%(name)s says whether an asset has any tag; in quotes it is a tag."),
                    values={"name": str(name)},
                    position=start_of(name),
                    found=str(name),
                    suggestion=f'"{name}"{self._text[name.end_pos : _ends(tree)[1]]}',
                )
            return HasTag() if fold(label) == "tagged" else negation(HasTag())
        source = decision = None
        for qualifier in qualifiers:
            word = qualifier[1:].lower()
            if word in SOURCES and source is None:
                source = word
            elif word in DECISIONS and decision is None:
                decision = word
            else:
                raise _wrong_qualifier(qualifier, word)
        label = " ".join(label.split())
        if not label and name.type != "STAR":
            raise SearchError(
                _("There is nothing between the quotes."),
                position=start_of(name),
                found=str(name),
                expected=(_("a tag"),),
            )
        try:
            return HasTag(label, name.type == "PREFIX", source, decision, confidence)
        except InvalidLabel as error:
            raise SearchError(
                error.args[0],
                position=start_of(name),
                found=str(name),
                expected=(_("a tag"),),
                values=error.values,
            ) from None


def _confidence(name: Token, tokens: list[Token]) -> Comparison[int]:
    sign, value = tokens[0], tokens[-1]
    if sign.type == "COLON":
        low, dots, high = str(value).partition("..")
        if not dots or value.type == "QUOTED" or len(tokens) > 2:
            raise unknown_field(name, tokens)
        bounds = [_percent(part, value, f"{name}>=") for part in (low, high)]
        if bounds[0] > bounds[1]:
            raise SearchError(
                _("The range %(range)s ends before it starts."),
                values={"range": str(value)},
                position=start_of(value),
                found=str(value),
                suggestion=f"{name}:{bounds[1]}..{bounds[0]}",
            )
        return Comparison("..", bounds[0], bounds[1])
    operator = _SYMBOLS.get(str(sign), str(sign))
    return Comparison(operator, _percent(str(value), value, f"{name}{operator}"))


def _percent(text: str, value: Token, before: str) -> int:
    """Return ``text`` as a confidence; ``value`` and ``before`` are for the error."""
    if _CONFIDENCE.fullmatch(text) and int(text) <= 100:
        return int(text)
    suggestion = ""
    if text == value:
        if match := _PERCENT.fullmatch(text):
            suggestion = f"{before}{match[1]}"
        elif _FRACTION.fullmatch(text):
            suggestion = f"{before}{round(float(text) * 100)}"
    raise SearchError(
        _("“%(value)s” is not a confidence: write a whole number from 0 to 100."),
        values={"value": text},
        position=start_of(value),
        found=str(value),
        expected=(_("a whole number from 0 to 100"),),
        suggestion=suggestion,
    )


def _wrong_qualifier(qualifier: Token, word: str) -> SearchError:
    known = (*SOURCES, *DECISIONS)
    if word in known:
        message = _("%(found)s is one too many: a tag has one source and one decision.")
    else:
        message = _("After a tag, @ takes %(choices)s; “%(word)s” is none of them.")
    return SearchError(
        message,
        values={"found": str(qualifier), "choices": ", ".join(known), "word": word},
        position=start_of(qualifier),
        found=str(qualifier),
        expected=tuple(f"@{each}" for each in known),
    )


def _subtrees(tree: Tree[Token]) -> list[Tree[Token]]:
    return [child for child in tree.children if isinstance(child, Tree)]


def _tokens(tree: Tree[Token]) -> list[Token]:
    return list(tree.scan_values(lambda value: isinstance(value, Token)))


def _ends(tree: Tree[Token]) -> tuple[int, int]:
    """Return where the text of ``tree`` starts and ends."""
    tokens = _tokens(tree)
    return start_of(tokens[0]), tokens[-1].end_pos or 0


def start_of(token: Token) -> int:
    return token.start_pos or 0
