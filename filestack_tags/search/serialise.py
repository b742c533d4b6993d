"""Convert a query to JSON and back, for saved searches. No Django.

::

    {"version": 1, "include_hidden": false,
     "where": {"and": [{"tag": "sky", "confidence": [">=", 80]},
                       {"not": {"field": "status", "value": "failed"}}]}}
"""

from __future__ import annotations

from typing import Any

from filestack_tags.exceptions import TagQueryError

from .language.parser import DEFAULT_LIMITS, Limits, parse
from .language.tree import (
    MOMENTS,
    And,
    Comparison,
    Everything,
    Fact,
    HasTag,
    Measure,
    Moment,
    Node,
    Not,
    Or,
    Query,
)

VERSION = 1


def to_json(query: Query) -> dict[str, Any]:
    """Return ``query`` as data that :mod:`json` can serialize."""
    return {
        "version": VERSION,
        "include_hidden": query.include_hidden,
        "where": _node_to_json(query.where),
    }


def from_json(data: Any, limits: Limits = DEFAULT_LIMITS) -> Query:
    """Return the query that :func:`to_json` converted to ``data``.

    Raises:
        TagQueryError: when ``data`` is invalid, or exceeds ``limits``.
    """
    try:
        if data["version"] != VERSION:
            raise ValueError(data["version"])  # noqa: TRY301  # reported like other invalid data
        built = Query(_node_from_json(data["where"]), data["include_hidden"])
        text = str(built)
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise TagQueryError("This is not a saved search.") from error
    query = parse(text, limits)
    if query != built:
        raise TagQueryError("This is not a saved search.")
    return query


def _node_to_json(node: Node) -> dict[str, Any]:
    match node:
        case Everything():
            return {}
        case Not(term):
            return {"not": _node_to_json(term)}
        case And(terms):
            return {"and": [_node_to_json(term) for term in terms]}
        case Or(terms):
            return {"or": [_node_to_json(term) for term in terms]}
        case Fact(field, value):
            return {"field": field, "value": value}
        case Measure(field, comparison) | Moment(field, comparison):
            return {"field": field, "comparison": _comparison_to_json(comparison)}
        case HasTag(label, prefix, source, decision, confidence):
            given = {
                "tag": label,
                "prefix": prefix,
                "source": source,
                "decision": decision,
                "confidence": confidence and _comparison_to_json(confidence),
            }
            return {key: value for key, value in given.items() if value or key == "tag"}


def _node_from_json(data: dict[str, Any]) -> Node:
    match data:
        case {"not": term}:
            return Not(_node_from_json(term))
        case {"and": terms}:
            return And(tuple(_node_from_json(term) for term in terms))
        case {"or": terms}:
            return Or(tuple(_node_from_json(term) for term in terms))
        case {"field": field, "comparison": given}:
            kind = Moment if field in MOMENTS else Measure
            return kind(field, Comparison(*given))
        case {"field": field, "value": value}:
            return Fact(field, value)
        case {"tag": label}:
            confidence = data.get("confidence")
            return HasTag(
                label,
                data.get("prefix", False),
                data.get("source"),
                data.get("decision"),
                confidence and Comparison(*confidence),
            )
    if data == {}:
        return Everything()
    raise ValueError(data)


def _comparison_to_json(comparison: Comparison[Any]) -> list[Any]:
    given = [comparison.operator, comparison.value, comparison.upper]
    return given if comparison.upper is not None else given[:2]
