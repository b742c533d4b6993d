"""The condition of a queryset that an asset matches a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.core.exceptions import EmptyResultSet
from django.db.models import BooleanField, Expression, F
from django.db.models.sql.where import WhereNode

from filestack_tags.models import Asset

from . import rare_terms
from .plan import requires_tag, split
from .term_sql import FALSE, Compiler, joined

if TYPE_CHECKING:
    from .search import Search


class Matches(Expression):
    """The condition that an asset matches a search, compiled together with the outer query.

    Compiling it looks up terms that may be rare, in one query, unless a rare tag is required.

    Args:
        search: the search.
        archived: whether the tags of archived assets count too, which takes longer.
        renews_names: whether each evaluation looks up the named tags again. A queryset may be
            evaluated long after it was made.
    """

    output_field = BooleanField()

    def __init__(
        self, search: Search, *, archived: bool = False, renews_names: bool = False
    ) -> None:
        super().__init__()
        self.search = search
        self._archived = archived
        self._renews_names = renews_names
        self._pk: Any = F("pk")

    def get_source_expressions(self) -> list[Any]:
        return [self._pk]

    def set_source_expressions(self, exprs: Sequence[Any]) -> None:
        (self._pk,) = exprs

    def as_sql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, Any]:
        using = connection.alias
        search = self.search
        is_shared = using == search.using and not self._renews_names
        # Quoted as this version of Django quotes it.
        row = compiler.compile(self._pk)[0].rpartition(".")[0]
        query = search.query
        names = search.names() if is_shared else search.look_up_names(using)
        condition = Compiler(
            names,
            query.include_hidden,
            using,
            row=row,
            may_join=True,
            archived=self._archived,
        ).condition(query.where, asset=f"{row}.id")
        if condition == FALSE:
            raise EmptyResultSet
        plain = Compiler(names, query.include_hidden, using)
        clauses, others = split(query.where, plain)
        if all(clause.rows > rare_terms.FEW for clause in clauses) and (
            rare := rare_terms.find(others, plain)
        ):
            if not rare.ids:
                raise EmptyResultSet
            among = rare.condition(f"{row}.id", connection.vendor)
            condition = joined((among, condition), "AND")
        return condition.sql, condition.params

    def search_now(self, using: str) -> Search:
        """Return a new search for an evaluation in a database, with names as they are due."""
        search = self.search
        new = type(search)(
            search.query,
            scope=search.scope,
            include_hidden=search.include_hidden,
            using=using,
        )
        if using == search.using and not self._renews_names:
            new.share_names(search)
        return new

    @property
    def is_for_all(self) -> bool:
        """Whether it searches all present assets: in no scope, and without archived assets."""
        return not self._archived and self.search.scope is None


def search_alone(query: Any, using: str) -> Search | None:
    """Return the search if ``query`` selects the present assets that match it and no others.

    Otherwise return None: with further conditions, joins, annotations, slices or a scope. Also if
    no tag is required: then the joins of the database count faster than a plan.
    """
    if (
        query.model is not Asset
        or query.is_sliced
        or query.distinct
        or query.combinator
        or query.annotations
        or query.extra
        or len(query.alias_map) > 1
    ):
        return None
    children = (getattr(child, "lhs", child) for child in query.where.children)
    matches = next((child for child in children if isinstance(child, Matches)), None)
    if (
        matches is None
        or not matches.is_for_all
        or not requires_tag(matches.search.query.where)
    ):
        return None
    plain = Asset.objects.present().filter(matches).query
    return matches.search_now(using) if query.where == plain.where else None


def search_in(where: Any) -> Search | None:
    """Return the first search among the conditions of a Django query, or None."""
    if isinstance(where, Matches):
        return where.search
    children = (
        where.children if isinstance(where, WhereNode) else (getattr(where, "lhs", None),)
    )
    searches = (search_in(child) for child in children if child is not None)
    return next((search for search in searches if search is not None), None)
