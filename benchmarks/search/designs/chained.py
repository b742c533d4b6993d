"""One ``filter()`` per term across a many-to-many relation, as Django's documentation shows."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Count, Model, Q, QuerySet

from benchmarks.search.workload import PAGE, Search, Term


class Chained:
    """Searches pictures over ``relation``, whose rows have a tag and a confidence."""

    def __init__(
        self,
        pictures: type[Model],
        items: type[Model],
        owner: str,
        relation: str,
        names: list[str],
    ) -> None:
        self._pictures = pictures
        self._items = items
        self._owner = owner
        self._relation = relation
        self._names = names

    def page(self, kind: str, search: Search) -> list[int]:
        """Return the ids of a page whose rows were fetched."""
        found = self._matching(search)
        if kind.startswith("CONF"):
            found = found.order_by(f"-{self._relation}__confidence", "-id")
        else:
            found = found.order_by("-id")
        if search.after is not None:
            found = found.filter(pk__lt=search.after)
        return [picture.pk for picture in found[:PAGE]]

    def total(self, search: Search) -> int:
        return self._matching(search).count()

    def facets(self, search: Search) -> dict[str, int]:
        """Return the 30 most frequent tags among the matches."""
        items = self._items._default_manager.filter(
            **{f"{self._owner}__in": self._matching(search).values("pk")}
        )
        counted = items.values_list("tag__name").annotate(number=Count("id"))
        return dict(counted.order_by("-number")[:30])

    def _matching(self, search: Search) -> QuerySet[Any]:
        found = self._pictures._default_manager.all()
        for term in reversed(search.every):  # the order follows the last join
            found = found.filter(self._row(term))
        if search.prefix:
            found = found.filter(
                **{
                    f"{self._relation}__tag__name__startswith": search.prefix,
                    f"{self._relation}__confidence__gte": search.either[0][1],
                }
            )
        elif search.either:
            found = found.filter(reduce(or_, map(self._row, search.either)))
        for tag, least in search.never:
            rows = self._items._default_manager.filter(
                tag__name=self._names[tag - 1], confidence__gte=least
            )
            found = found.exclude(pk__in=rows.values(self._owner))
        return found.distinct()

    def _row(self, term: Term) -> Q:
        return Q(
            **{
                f"{self._relation}__tag__name": self._names[term[0] - 1],
                f"{self._relation}__confidence__gte": term[1],
            }
        )
