"""The search language: parse text into a :class:`~.tree.Query`. No Django.

::

    sky>=80 (beach OR sea:60..90) -"no person" bea*@user status:tagged uploaded:>=2026-11

Precedence: NOT, then AND (explicit or implied), then OR. Reserved words are uppercase only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput

from filestack_tags.exceptions import SearchError
from filestack_tags.translation import gettext_noop as _

from .errors import SyntaxFailure, explain
from .grammar import Reader, start_of
from .tree import BARE_LABEL, BARE_VALUE, FIELDS, Query

_LABEL = r"""(?!(?:AND|OR|NOT)(?![^\s()"“”„|@<>=≥≤:*]))""" + BARE_LABEL.pattern

GRAMMAR = rf"""
    start: either?
    either: both ((OR | "|") both)*
    both: term (AND? term)*
    term: (NOT | MINUS)* (tag | fact | group)
    group: LPAR either RPAR

    tag: (WORD | QUOTED | PREFIX | STAR) AT* (confidence AT*)?
    confidence: CMP NUMBER | COLON CMP? (NUMBER | QUOTED)
    fact: FIELD CMP? (BARE | QUOTED)

    AND.5: /AND(?![^\s()"“”„|@<>=≥≤:*])/
    OR.5: /OR(?![^\s()"“”„|@<>=≥≤:*])/
    NOT.5: /NOT(?![^\s()"“”„|@<>=≥≤:*])/
    FIELD.4: /(?ai:{"|".join(FIELDS)})\s*:/
    PREFIX.3: /(?:"(?:\\.|[^"\\])*"|{_LABEL})\*/s
    QUOTED.2: /"(?:\\.|[^"\\])*"/s
    WORD.1: /{_LABEL}/
    STAR: "*"
    AT: /@[^\s()"“”„|@<>=≥≤:*]*/
    CMP: />=|<=|[<>=≥≤]/
    COLON: ":"
    NUMBER: /[^\s()"“”„|@<>=≥≤:]+/
    BARE: /{BARE_VALUE.pattern}/
    MINUS: "-"
    LPAR: "("
    RPAR: ")"
    %ignore /\s+/
"""

MAX_DEPTH = 30
"""Deepest nesting that any limit may allow."""

_NAMES = frozenset({"WORD", "QUOTED", "PREFIX", "STAR"})
_BEFORE_VALUE = frozenset({"FIELD", "CMP", "COLON"})


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one search.

    Args:
        length: characters, of the text and of its canonical form.
        terms: tags and fields.
        depth: nested parentheses; more than :data:`MAX_DEPTH` is rejected, because parsing and
            compiling a search is recursive.

    Raises:
        ValueError: when a limit is out of its range.
    """

    length: int = 1000
    terms: int = 32
    depth: int = 10

    def __post_init__(self) -> None:
        if min(self.length, self.terms) < 1 or not 0 <= self.depth <= MAX_DEPTH:
            raise ValueError(f"Limits: length and terms from 1, depth from 0 to {MAX_DEPTH}.")


DEFAULT_LIMITS = Limits()


def parse(text: str, limits: Limits = DEFAULT_LIMITS) -> Query:
    """Parse ``text``; an empty text matches everything.

    ``parse(str(parse(text))) == parse(text)`` for every valid text.

    Raises:
        SearchError: for every invalid text; no other exception. It carries the position, what was
            found, what was expected and, if one is obvious, a corrected text that is valid.
    """
    try:
        return _read(text, limits)
    except SyntaxFailure as failure:
        error = explain(text, failure)
    except SearchError as refused:
        error = refused
    if error.suggestion and not _is_readable(error.suggestion, limits):
        error.suggestion = ""
    raise error from None


def _is_readable(text: str, limits: Limits) -> bool:
    try:
        _read(text, limits)
    except (SearchError, SyntaxFailure):
        return False
    return True


def _read(text: str, limits: Limits) -> Query:
    if len(text) > limits.length:
        raise SearchError(
            _("A search has at most %(limit)s characters; this one has %(length)s."),
            position=limits.length,
            found=text[limits.length : limits.length + 20],
            values={"limit": limits.length, "length": len(text)},
        )
    query = Reader(text).query(_tree(text, limits))
    if len(str(query)) > limits.length:
        raise SearchError(
            _(
                "A search has at most %(limit)s characters; written out in full, this one has "
                "%(length)s."
            ),
            position=len(text),
            values={"limit": limits.length, "length": len(str(query))},
        )
    return query


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer="contextual", maybe_placeholders=False)


def _tree(text: str, limits: Limits) -> Tree[Token]:
    steps = _parser().parse_interactive(text)
    tokens: list[Token] = []
    depth = terms = 0
    try:
        for token in steps.iter_parse():
            last = tokens[-1] if tokens else None
            tokens.append(token)
            if token.type in ("LPAR", "RPAR"):
                depth += 1 if token.type == "LPAR" else -1
                if depth > limits.depth:
                    message = _("Parentheses nest at most %(limit)s deep in a search.")
                    raise _refused(token, message, limit=limits.depth)
            elif token.type == "FIELD" or (
                token.type in _NAMES and not (last and last.type in _BEFORE_VALUE)
            ):
                terms += 1
                if terms > limits.terms:
                    message = _("A search has at most %(limit)s terms.")
                    raise _refused(token, message, limit=limits.terms)
                if last and last.type in _NAMES and last.end_pos == token.start_pos:
                    raise _runs_into(text, last, token)
        tree: Tree[Token] = steps.feed_eof()  # type: ignore[no-untyped-call]  # untyped in lark
    except UnexpectedInput as error:
        accepts = frozenset(steps.accepts())  # type: ignore[no-untyped-call]  # as above
        raise SyntaxFailure(error, tuple(tokens), accepts) from error
    return tree


def _refused(token: Token, message: str, **values: object) -> SearchError:
    return SearchError(message, position=start_of(token), found=str(token), values=values)


def _runs_into(text: str, last: Token, token: Token) -> SearchError:
    start = start_of(token)
    if "STAR" in (last.type, token.type) or last.type == "PREFIX":
        return _refused(token, _("Use * after the beginning of a tag, as in bea*, or alone."))
    return SearchError(
        _("There is no space between %(left)s and %(right)s."),
        position=start,
        found=str(token),
        expected=(_("a space"), "AND", "OR"),
        suggestion=f"{text[:start]} {text[start:]}",
        values={"left": str(last), "right": str(token)},
    )
