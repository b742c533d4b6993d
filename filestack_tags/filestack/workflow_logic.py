"""Workflow logic: rules such as ``tags.auto kex "sky"``, evaluated on a task's output.

::

    path operator value

    tags.auto kex "sky"                     a key of a map, or part of a text
    sfw eq false                            equal, and of the same type
    tags.auto."t-shirt v.2" gte 90          our extension: Filestack's logic has no thresholds

``eq``, ``neq`` and ``kex`` are Filestack's (docs: Workflows). ``gt``, ``gte``, ``lt``, ``lte`` and
quotes around a part of a path are our extensions. No Django.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from filestack_tags.exceptions import RuleError

MAX_LENGTH = 500
"""Longest rule, in characters."""

MAX_DEPTH = 16
"""Maximum number of parts in a path."""

ATTESTED = ("eq", "neq", "kex")
"""Operators of Filestack's own logic."""

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
"""Our own operators: numbers on both sides."""

OPERATORS = (*ATTESTED, *COMPARISONS)

Value = str | int | float | bool | None
"""A JSON scalar."""

_SYMBOLS = {
    "==": "eq", "=": "eq", "===": "eq", "!=": "neq", "<>": "neq",
    ">": "gt", ">=": "gte", "<": "lt", "<=": "lte", "in": "kex", "contains": "kex",
}  # fmt: skip
_SPACE = re.compile(r"\s*")
_BARE = re.compile(r'[^\s."]+')
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL)
_WORD = re.compile(r"\S+")
_MISSING = object()


@dataclass(frozen=True)
class Rule:
    """One rule; ``str()`` returns its canonical text, which parses to the same rule.

    ``path`` are the keys of the compared value, ``value`` is what it is compared with.
    """

    path: tuple[str, ...]
    operator: str
    value: Value

    @property
    def is_ours(self) -> bool:
        """Whether the operator is our extension, so Filestack's workflows cannot use it."""
        return self.operator not in ATTESTED

    def holds(self, output: Any) -> bool:
        """Return whether the rule is true for ``output``, decoded JSON such as a task's ``data``.

        Never raises. If the path does not exist the rule is false, whatever its operator: what was
        not examined is neither safe nor unsafe.

        * ``eq``, ``neq``: types matter, so ``true`` is neither ``"true"`` nor ``1``; ``1`` and
          ``1.0`` are one number. A map or a list equals nothing.
        * ``kex``: the map has the key, or the text contains the value; case-sensitive. False for
          anything else.
        * ``gt``, ``gte``, ``lt``, ``lte``: false unless the value is a number.
        """
        found = _follow(self.path, output)
        if found is _MISSING:
            return False
        if self.operator == "kex":
            return isinstance(found, (Mapping, str)) and self.value in found
        if self.operator in COMPARISONS:
            return _is_number(found) and COMPARISONS[self.operator](found, self.value)
        return _is_equal(found, self.value) == (self.operator == "eq")

    def __str__(self) -> str:
        path = ".".join(
            part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            for part in self.path
        )
        return f"{path} {self.operator} {json.dumps(self.value, ensure_ascii=False)}"


def parse_rule(text: str) -> Rule:
    """Parse one rule.

    A part of the path that contains dots, white space or quotes is written in quotes, as a JSON
    string. The value is a JSON scalar; text is in quotes, as Filestack writes it.

    Raises:
        RuleError: for every invalid rule, and no other exception; it carries the position.
    """
    if len(text) > MAX_LENGTH:
        raise RuleError(
            f"A rule has at most {MAX_LENGTH} characters; this one has {len(text)}.",
            position=MAX_LENGTH,
        )
    path, position = _path(text, _after_space(text, 0))
    name, position = _operator(text, position)
    value, start = _value(text, position)
    _check(name, value, start)
    return Rule(path, name, value)


def _path(text: str, position: int) -> tuple[tuple[str, ...], int]:
    parts: list[str] = []
    while True:
        bare, quoted = _BARE.match(text, position), _QUOTED.match(text, position)
        if bare is None and quoted is None:
            raise RuleError(_no_part(text, position), position=position)
        if len(parts) == MAX_DEPTH:
            raise RuleError(f"A path has at most {MAX_DEPTH} parts.", position=position)
        found = quoted or bare
        parts.append(str(_json(found[0], position)) if quoted else found[0])  # type: ignore[index]  # one of them matched
        position = found.end()  # type: ignore[union-attr]  # as above
        if text[position : position + 1] != ".":
            break
        position += 1
    following = _after_space(text, position)
    if following == position and position < len(text):
        raise RuleError(
            "A part of a path must be quoted as a whole; a dot or a space must follow it.",
            position=position,
        )
    return tuple(parts), following


def _no_part(text: str, position: int) -> str:
    here = text[position : position + 1]
    if here == '"':
        return "The quotes are not closed."
    if here == ".":
        return "A path has no empty parts: write it as in tags.auto."
    if position == 0 or not text[:position].strip():
        return 'A rule starts with a path, as in tags.auto kex "sky".'
    return "The path ends in a dot."


def _operator(text: str, position: int) -> tuple[str, int]:
    word = _WORD.match(text, position)
    known = f"there are {', '.join(OPERATORS)}"
    if word is None:
        raise RuleError(f"The operator is missing; {known}.", position=position)
    name = word[0]
    if name not in OPERATORS:
        near = _SYMBOLS.get(name.casefold()) or next(
            iter(get_close_matches(name.casefold(), OPERATORS, n=1)), ""
        )
        meant = f" Did you mean {near}?" if near else ""
        raise RuleError(f"{name[:20]!r} is not an operator; {known}.{meant}", position=position)
    return name, _after_space(text, word.end())


def _value(text: str, position: int) -> tuple[Value, int]:
    written = text[position:].rstrip()
    if not written:
        raise RuleError("The value is missing.", position=position)
    value = _json(written, position)
    if isinstance(value, (dict, list)):
        raise RuleError(
            "A value is a text in quotes, a number, true, false or null; no list and no map.",
            position=position,
        )
    return value, position


def _json(written: str, position: int) -> Any:
    """Parse one JSON value; NaN and numbers beyond a float's range are rejected."""
    try:
        value = json.loads(written, parse_constant=_refuse)
    except (ValueError, RecursionError):
        if written.startswith('"'):
            fix = r"Text is one JSON string: \" is a quote in it, \\ a backslash."
        else:
            fix = "It is a text in quotes, a number, true, false or null."
            if '"' not in written:
                fix += f" Did you mean {json.dumps(written[:40], ensure_ascii=False)}?"
        raise RuleError(f"This is not a JSON value. {fix}", position=position) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise RuleError("The number is too large.", position=position)
    return value


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _check(name: str, value: Value, position: int) -> None:
    if name == "kex" and not isinstance(value, str):
        raise RuleError(
            'kex looks for a text: write it in quotes, as in "sky".', position=position
        )
    if name in COMPARISONS and not _is_number(value):
        raise RuleError(
            f"{name} compares numbers: write one, without quotes.", position=position
        )


def _after_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _follow(path: Sequence[str], output: Any) -> Any:
    for key in path:
        if not isinstance(output, Mapping) or key not in output:
            return _MISSING
        output = output[key]
    return output


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_equal(found: Any, value: Value) -> bool:
    if _is_number(found) and _is_number(value):
        return bool(found == value)
    return type(found) is type(value) and bool(found == value)
