"""Find the terms that make a search slow, judging by the search alone. No Django.

Nothing here depends on the rows of the database, so an error reveals nothing about them.
"""

from __future__ import annotations

from collections.abc import Sequence

from .language.tree import And, Everything, Fact, HasTag, Leaf, Node, Query, conjunction, leaves

MOST = 3
"""Maximum number of slow terms that an error names."""


def slow_terms(query: Query) -> tuple[Leaf, ...]:
    """Return the terms that read many rows, the most expensive kind only and each once."""
    costs = {term: _cost(term) for term in leaves(query.where)}
    highest = max(costs.values(), default=0)
    return tuple(term for term, cost in costs.items() if highest and cost == highest)[:MOST]


def without(query: Query, terms: Sequence[Leaf]) -> str:
    """Return the search without some of its terms, ``""`` if nothing would be left."""
    required = query.where.terms if isinstance(query.where, And) else (query.where,)
    kept = [term for term in required if not _contains(term, terms)]
    where = conjunction(kept)
    if len(kept) == len(required) or isinstance(where, Everything):
        return ""
    return str(Query(where, query.include_hidden))


def _contains(term: Node, some: Sequence[Leaf]) -> bool:
    return any(leaf in some for leaf in leaves(term))


def _cost(term: Leaf) -> int:
    if isinstance(term, Fact):
        return 3 if term.field in ("name", "type") and "*" in term.value.rstrip("*") else 0
    if not isinstance(term, HasTag):
        return 0
    if not term.label:
        return 2 if term.decision or term.source or term.confidence else 0
    return 1 if term.prefix else 0
