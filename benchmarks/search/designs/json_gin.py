"""Peer: one JSON object per picture. With ``has_key`` PostgreSQL uses the GIN index."""

from __future__ import annotations

from functools import reduce
from operator import or_

from django.db import connection
from django.db.models import F, Q, QuerySet

from benchmarks.search.workload import PAGE, Search, Term

from .models import JsonPicture


class JsonGin:
    def __init__(self, names: list[str]) -> None:
        self._names = names

    def page(self, kind: str, search: Search) -> list[int]:
        """Return the ids of a page whose rows were fetched."""
        found = self._matching(search).order_by("-id")
        if kind.startswith("CONF"):
            name = self._names[search.every[0][0] - 1]
            found = found.order_by(F(f"tags__{name}").desc(), "-id")
        if search.after is not None:
            found = found.filter(pk__lt=search.after)
        return [picture.pk for picture in found[:PAGE]]

    def total(self, search: Search) -> int:
        return self._matching(search).count()

    def facets(self, search: Search) -> dict[str, int]:
        """Return the 30 most frequent tags among the matches."""
        sql, parameters = self._matching(search).values("tags").query.sql_with_params()
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT k, count(*) FROM ({sql}) m, jsonb_object_keys(m.tags) k "
                "GROUP BY k ORDER BY 2 DESC LIMIT 30",
                parameters,
            )
            return dict(cursor.fetchall())

    def _matching(self, search: Search) -> QuerySet[JsonPicture]:
        found = JsonPicture.objects.all()
        for term in search.every:
            found = found.filter(self._has(term))
        if search.either:
            found = found.filter(reduce(or_, map(self._has, search.either)))
        for term in search.never:
            found = found.exclude(self._has(term))
        return found

    def _has(self, term: Term) -> Q:
        name = self._names[term[0] - 1]
        return Q(tags__has_key=name) & Q(**{f"tags__{name}__gte": term[1]})
