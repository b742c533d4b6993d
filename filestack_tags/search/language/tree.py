"""The tree of a search, as frozen values: made by the parser, read by the planner. No Django.

``str(query)`` is the canonical text, and parsing that text returns an equal query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from filestack_tags.db.text import fold, label_key

BARE_LABEL = re.compile(r"""[^\s()"“”„|@<>=≥≤:*\-][^\s()"“”„|@<>=≥≤:*]*""")
"""A tag name that needs no quotes, unless it is a reserved word."""

BARE_VALUE = re.compile(r"""[^\s()"“”„|<>=≥≤][^\s()"“”„|]*""")
"""A field value that needs no quotes."""

OPERATORS = frozenset({"AND", "OR", "NOT"})
PRESENCE = frozenset({"tagged", "untagged"})

MOMENTS = ("uploaded", "created", "tagged")
FIELDS = (
    "source",
    "decision",
    "status",
    "error",
    "type",
    "name",
    "kind",
    "handle",
    "by",
    *MOMENTS,
    "size",
    "width",
    "height",
    "run",
    "tagger",
    "workflow",
    "include",
)
"""The names of fields, which are written before a colon; case-insensitive."""

SIZE_UNITS = (("gb", 1024**3), ("mb", 1024**2), ("kb", 1024))
"""A kilobyte is 1,024 bytes, as in Django's ``filesizeformat``."""

Value = TypeVar("Value", int, str)


@dataclass(frozen=True, slots=True)
class Comparison(Generic[Value]):
    """``>= > <= < =`` with one value, or ``..`` with two inclusive values.

    Values are integers, or periods: ``2026``, ``2026-11``, ``2026-11-30``, ``2026-11-30T14:05Z``.
    """

    operator: str
    value: Value
    upper: Value | None = None


@dataclass(frozen=True, slots=True)
class Everything:
    """The empty search, which every asset matches."""

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class HasTag:
    """The asset has a tag: one asset tag row must meet every condition.

    Args:
        label: the tag's name as typed, white space collapsed; ``""`` matches any tag.
        prefix: whether ``label`` is only the beginning of the name.
        source: ``auto`` or ``user``, None for either.
        decision: ``none``, ``accepted``, ``rejected`` or ``added``; None for all but rejected.
        confidence: replaces the threshold that applies to the tag.
    """

    label: str = ""
    prefix: bool = False
    source: str | None = None
    decision: str | None = None
    confidence: Comparison[int] | None = None

    def __post_init__(self) -> None:
        if self.label:
            label_key(self.label)
        elif self.prefix:
            raise ValueError("A prefix has at least one character.")

    def __str__(self) -> str:
        if not self.label and self.confidence is None:
            if self.source and not self.decision:
                return f"source:{self.source}"
            if self.decision and not self.source:
                return f"decision:{self.decision}"
            if not self.source:
                return "tagged"
        text = label_text(self.label, prefix=self.prefix) if self.label else "*"
        is_range = self.confidence is not None and self.confidence.operator == ".."
        if is_range and text.isascii() and text.lower() in FIELDS:
            text = quoted(text)  # before a colon it would be parsed as the field
        text += "".join(f"@{word}" for word in (self.source, self.decision) if word)
        if self.confidence is None:
            return text
        comparison = self.confidence
        if is_range:
            return f"{text}:{comparison.value}..{comparison.upper}"
        return f"{text}{comparison.operator}{comparison.value}"


@dataclass(frozen=True, slots=True)
class Fact:
    """A field of the asset that is compared as text: ``status:failed``, ``name:IMG_*``."""

    field: str
    value: str

    def __str__(self) -> str:
        bare = BARE_VALUE.fullmatch(self.value)
        return f"{self.field}:{self.value if bare else quoted(self.value)}"


@dataclass(frozen=True, slots=True)
class Measure:
    """A numeric field of the asset: ``size`` in bytes, ``width`` and ``height`` in pixels."""

    field: str
    comparison: Comparison[int]

    def __str__(self) -> str:
        comparison = self.comparison
        write = _size_text if self.field == "size" else str
        if comparison.upper is not None:
            return f"{self.field}:{write(comparison.value)}..{write(comparison.upper)}"
        return f"{self.field}:{_sign(comparison.operator)}{write(comparison.value)}"


@dataclass(frozen=True, slots=True)
class Moment:
    """A time field of the asset: ``uploaded``, ``created`` or ``tagged``.

    Periods without an offset are in the current time zone.
    """

    field: str
    comparison: Comparison[str]

    def __str__(self) -> str:
        comparison = self.comparison
        if comparison.upper is not None:
            return f"{self.field}:{comparison.value}..{comparison.upper}"
        return f"{self.field}:{_sign(comparison.operator)}{comparison.value}"


@dataclass(frozen=True, slots=True)
class Not:
    term: Node

    def __post_init__(self) -> None:
        if isinstance(self.term, Not | Everything):
            raise ValueError("Use negation(), which removes double negations.")  # noqa: TRY004  # one of the types of Node

    def __str__(self) -> str:
        if self.term == HasTag():
            return "untagged"
        return f"-({self.term})" if isinstance(self.term, And | Or) else f"-{self.term}"


@dataclass(frozen=True, slots=True)
class And:
    terms: tuple[Node, ...]

    def __post_init__(self) -> None:
        _check_operands(self.terms, And)

    def __str__(self) -> str:
        return " ".join(
            f"({term})" if isinstance(term, Or) else str(term) for term in self.terms
        )


@dataclass(frozen=True, slots=True)
class Or:
    terms: tuple[Node, ...]

    def __post_init__(self) -> None:
        _check_operands(self.terms, Or)

    def __str__(self) -> str:
        return " OR ".join(str(term) for term in self.terms)


Leaf: TypeAlias = HasTag | Fact | Measure | Moment
Node: TypeAlias = Everything | Leaf | Not | And | Or


@dataclass(frozen=True, slots=True)
class Query:
    """A whole search.

    Args:
        where: the condition on an asset.
        include_hidden: whether hidden tags count, which requires a permission.
        text: the text it was parsed from, for error positions; ignored in comparisons.
        include_at: the position of ``include:hidden`` in the text.
    """

    where: Node = Everything()
    include_hidden: bool = False
    text: str = field(default="", compare=False, repr=False)
    include_at: int = field(default=0, compare=False, repr=False)

    def __str__(self) -> str:
        if not self.include_hidden:
            return str(self.where)
        where = f"({self.where})" if isinstance(self.where, Or) else str(self.where)
        return f"{where} include:hidden".lstrip()


def conjunction(terms: Iterable[Node]) -> Node:
    """Return the terms joined by AND, flattened; without terms, everything matches."""
    flat = tuple(term for term in _flatten(terms, And) if term != Everything())
    if not flat:
        return Everything()
    return flat[0] if len(flat) == 1 else And(flat)


def disjunction(terms: Iterable[Node]) -> Node:
    """Return the terms joined by OR, flattened; at least one."""
    flat = _flatten(terms, Or)
    return flat[0] if len(flat) == 1 else Or(flat)


def negation(term: Node) -> Node:
    """Return NOT ``term``, without double negation."""
    return term.term if isinstance(term, Not) else Not(term)


def leaves(node: Node) -> Iterator[Leaf]:
    """Yield the terms of ``node`` from left to right."""
    if isinstance(node, And | Or):
        for term in node.terms:
            yield from leaves(term)
    elif isinstance(node, Not):
        yield from leaves(node.term)
    elif not isinstance(node, Everything):
        yield node


def replaced(node: Node, old: Node, new: Node) -> Node:
    """Return ``node`` with each term that equals ``old`` replaced by ``new``."""
    if node == old:
        return new
    if isinstance(node, Not):
        return negation(replaced(node.term, old, new))
    if isinstance(node, And):
        return conjunction(replaced(term, old, new) for term in node.terms)
    if isinstance(node, Or):
        return disjunction(replaced(term, old, new) for term in node.terms)
    return node


def label_text(label: str, *, prefix: bool = False) -> str:
    """Return ``label`` in search syntax, in quotes if it needs them."""
    bare = BARE_LABEL.fullmatch(label) and label not in OPERATORS
    if bare and (prefix or fold(label) not in PRESENCE):
        return f"{label}*" if prefix else label
    return f"{quoted(label)}*" if prefix else quoted(label)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquoted(text: str) -> str:
    return re.sub(r'\\([\\"])', r"\1", text[1:-1])


def _flatten(terms: Iterable[Node], kind: type[And | Or]) -> tuple[Node, ...]:
    flat: list[Node] = []
    for term in terms:
        flat.extend(
            term.terms if isinstance(term, And | Or) and type(term) is kind else (term,)
        )
    return tuple(flat)


def _check_operands(terms: tuple[Node, ...], kind: type[And | Or]) -> None:
    if len(terms) < 2 or any(isinstance(term, kind | Everything) for term in terms):
        raise ValueError("Use conjunction() or disjunction(), which flatten their terms.")


def _sign(operator: str) -> str:
    return "" if operator == "=" else operator


def _size_text(size: int) -> str:
    for unit, factor in SIZE_UNITS:
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
