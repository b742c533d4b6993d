"""Explain to a user why a search cannot be parsed. No Django."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from lark import Token
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from filestack_tags.exceptions import SearchError
from filestack_tags.translation import gettext_noop as _

from .tree import FIELDS

_WORDS = {
    "WORD": _("a tag"),
    "QUOTED": _("a tag"),
    "PREFIX": _("a tag"),
    "STAR": _("a tag"),
    "FIELD": _("a field such as status:"),
    "LPAR": "(",
    "RPAR": ")",
    "NOT": "NOT",
    "MINUS": "NOT",
    "AND": "AND",
    "OR": "OR",
    "VBAR": "OR",
    "CMP": _("a comparison such as >=80"),
    "COLON": _("a range such as :70..90"),
    "NUMBER": _("a confidence from 0 to 100"),
    "BARE": _("a value"),
    "AT": _("@ with a source or decision"),
    "$END": _("the end of the search"),
}
_STRAIGHT = str.maketrans("“”„", '"""')
_JOINING = {"AND": "AND", "OR": "OR", "VBAR": "|"}
_CONTINUES_TAG = frozenset({"CMP", "AT", "COLON"})


class SyntaxFailure(Exception):
    """The parser stopped at ``error``, after ``tokens``; ``accepts`` was expected."""

    def __init__(
        self, error: UnexpectedInput, tokens: tuple[Token, ...], accepts: frozenset[str]
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.tokens = tokens
        self.accepts = accepts


def explain(text: str, failure: SyntaxFailure) -> SearchError:
    """Return the error for ``text``; its suggestion is not validated yet."""
    position, found, kind = _stop(text, failure.error)
    field = _field_in_the_making(failure.tokens)
    if field:
        return unknown_field(*field)
    message, values, suggestion = _message(text, failure, position, found, kind)
    expected = dict.fromkeys(
        word for terminal, word in _WORDS.items() if terminal in failure.accepts
    )
    if "BARE" in failure.accepts:
        expected = {_("a value"): None}
    elif found == '"':
        expected = {_('another "'): None}
    return SearchError(
        message,
        values=values,
        position=position,
        found=found,
        expected=tuple(expected),
        suggestion=suggestion,
    )


def unknown_field(name: Token, tokens: Sequence[Token]) -> SearchError:
    """Return the error for ``name:…``, where ``tokens`` are the colon and what follows."""
    value = "".join(tokens[1:])
    near = get_close_matches(name.lower(), FIELDS, n=1, cutoff=0.6)
    suggestion = ""
    if value.lstrip("<>=").isdecimal():
        suggestion = f"{name}{value if value[0] in '<>=' else f'>={value}'}"
    elif near and value:
        suggestion = f"{near[0]}:{value}"
    if near:
        message = _("%(name)s: is not a field. Did you mean %(near)s:?")
    else:
        message = _("%(name)s: is not a field; a tag takes a confidence, as in %(name)s>=80.")
    return SearchError(
        message,
        values={"name": str(name), "near": "".join(near)},
        position=name.start_pos or 0,
        found=f"{name}:",
        expected=tuple(f"{field}:" for field in near),
        suggestion=suggestion,
    )


def _field_in_the_making(tokens: tuple[Token, ...]) -> tuple[Token, Sequence[Token]] | None:
    """Return the tag and what follows it, if the text ends in an unfinished ``tag:value``."""
    for start in range(len(tokens) - 1, max(len(tokens) - 4, 0), -1):
        if tokens[start].type == "COLON":
            broken = tokens[start:]
            if len(broken) > 1 and ".." in broken[-1]:
                return None
            return tokens[start - 1], broken
    return None


def _stop(text: str, error: UnexpectedInput) -> tuple[int, str, str]:
    """Return position, text and kind of the token that could not be parsed."""
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        # In the wrong place, @user or :70 is tokenized as the value of a field.
        kind = {"@": "AT", ":": "COLON"}.get(error.token[0], error.token.type)
        return error.token.start_pos or 0, str(error.token), kind
    if isinstance(error, UnexpectedCharacters):
        position = error.pos_in_stream or 0
        return position, text[position], ""
    return len(text), "", "$END"


def _message(
    text: str, failure: SyntaxFailure, position: int, found: str, kind: str
) -> tuple[str, dict[str, str], str]:
    """Return the message, the values of its placeholders, and a suggested text."""
    last = failure.tokens[-1] if failure.tokens else None
    before, after = text[:position], text[position + len(found) :]
    if not kind and found == '"':
        return _("The quote that opens here is not closed."), {}, f'{text}"'
    if not kind and found in "“”„":
        return _('Write straight quotes, as in "no person".'), {}, text.translate(_STRAIGHT)
    if last is not None and last.type == "CMP" and kind == "CMP":
        swapped = found if last == "=" and found == "=" else f"{found}{last}"
        start = last.start_pos or 0
        values = {"operator": f"{last}{found}"}
        return (
            _("There is no comparison %(operator)s."),
            values,
            f"{text[:start]}{swapped}{after}",
        )
    if kind == "RPAR" and last is not None and last.type == "LPAR":
        start = last.start_pos or 0
        corrected = f"{text[:start]}{after}".strip()
        return _("There is nothing between the parentheses."), {}, corrected
    if last is not None and last.type in ("CMP", "FIELD"):
        if kind in ("RPAR", "$END"):
            return _("There is no value after %(last)s"), {"last": str(last)}, ""
        values = {"found": found, "last": str(last)}
        return _("%(found)s cannot follow %(last)s"), values, ""
    if last is not None and kind in ("RPAR", "$END") and "RPAR" not in failure.accepts:
        if last.type in (*_JOINING, "NOT", "MINUS", "LPAR"):
            start = last.start_pos or 0
            return (
                _("There is nothing after %(last)s."),
                {"last": str(last)},
                f"{text[:start].rstrip()}{text[position:]}",
            )
        return _("This ) has no matching (."), {}, f"{before}{after}".strip()
    if kind == "$END":
        depth = sum({"LPAR": 1, "RPAR": -1}.get(token.type, 0) for token in failure.tokens)
        return _("A parenthesis is not closed."), {}, f"{text}{')' * depth}"
    if kind == "RPAR":
        return _("This ) has no matching (."), {}, f"{before}{after}".strip()
    if kind in _JOINING:
        return (
            _("There is no term before %(found)s."),
            {"found": found},
            f"{before.rstrip()} {after.lstrip()}".strip(),
        )
    if kind in _CONTINUES_TAG:
        if "AND" in failure.accepts:
            message = _("%(found)s is one too many: a range is written as in sky:70..90.")
            return message, {"found": found}, ""
        corrected = f"{before}*{text[position:]}"
        return _("There is no tag before %(found)s."), {"found": found}, corrected
    return _("“%(found)s” cannot be here."), {"found": found}, ""
