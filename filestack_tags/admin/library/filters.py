"""Filters of the asset list. No filter counts, and no filter lists every tag."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from filestack_tags.assets.visibility import scope_of
from filestack_tags.db.text import label_name
from filestack_tags.exceptions import InvalidLabel, SearchError
from filestack_tags.models import AssetTag
from filestack_tags.search import Search
from filestack_tags.search.completion import complete
from filestack_tags.search.language.fields import UNKNOWN
from filestack_tags.search.language.tree import (
    Comparison,
    Everything,
    Fact,
    HasTag,
    Node,
    Query,
    disjunction,
)

SUGGESTED_TAGS = 20
"""Tags suggested by the tag filter's input: the most used ones."""

BANDS = (("50", _("50 or more")), ("75", _("75 or more")), ("90", _("90 or more")))


@runtime_checkable
class HasTerm(Protocol):
    """A filter that the search language can express, so that the filtered list has keyset pages."""

    def term(self) -> Node | None:
        """Return the current filter as a term, equivalent to :meth:`queryset`; None if that is
        impossible.
        """


class AssetTagFilter(admin.ListFilter):
    """Tag, minimum confidence, source and decision, which one asset tag must all meet.

    One form, because they belong together: ``sky`` at 90 is not "has sky, and has something at 90".
    """

    title = _("asset tag")
    template = "filestack_tags/admin/asset_tag_filter.html"
    parameter_name = "tag"
    """django-unfold reads it from every filter that is not about a field."""
    names = ("tag", "confidence", "source", "decision")

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        self.scope = scope_of(request.user)
        self.used: dict[str, str] = {}
        for name in self.names:
            values = params.pop(name, None)
            if values and values[-1].strip():
                self.used[name] = values[-1].strip()

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.names)

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Yield the one form that the template renders."""
        yield {
            "values": self.used,
            "suggestions": _most_used_tags(self.scope),
            "bands": BANDS,
            "sources": [(item.name.lower(), item.label) for item in AssetTag.Source],
            "decisions": [(item.name.lower(), item.label) for item in AssetTag.Decision],
            "hidden": [
                (name, value)
                for name, values in changelist.filter_params.items()
                if name not in self.names
                for value in values
            ],
            "clear": changelist.get_query_string(dict.fromkeys(self.names)),
        }

    def term(self) -> Node | None:
        """Return the term; None for an invalid tag, which :meth:`queryset` explains."""
        if not self.used:
            return Everything()
        try:
            return self._term()
        except InvalidLabel:
            return None

    def _term(self) -> HasTag:
        used = self.used
        band = used.get("confidence")
        return HasTag(
            label=label_name(used["tag"]) if "tag" in used else "",
            source=_one_of(AssetTag.Source, used.get("source")),
            decision=_one_of(AssetTag.Decision, used.get("decision")),
            confidence=Comparison(">=", int(band)) if band in dict(BANDS) else None,
        )

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if not self.used:
            return queryset
        try:
            search = Search(Query(self._term()), scope=self.scope, using=queryset.db)
            return search.assets(queryset, archived=shows_archived(request))
        except (InvalidLabel, SearchError) as error:
            messages.error(request, str(error))
            return queryset.none()


def shows_archived(request: HttpRequest) -> bool:
    """Whether the list shows archived assets, by :class:`PresenceFilter`."""
    return request.GET.get("presence") == "archived"


class PresenceFilter(admin.SimpleListFilter):
    """Present assets, or archived ones on request."""

    title = _("archive status")
    parameter_name = "presence"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("archived", _("Archived"))]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        shown = list(super().choices(changelist))
        shown[0]["display"] = _("Not archived")
        yield from shown

    def term(self) -> Node | None:
        return None if self.value() == "archived" else Everything()

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == "archived":
            return queryset.exclude(deleted_at=None)
        return queryset.present()


class ChoiceFilter(admin.ChoicesFieldListFilter):
    """A column with choices, which has another name in the search language."""

    fields = {"tagging_state": "status", "kind": "kind"}

    def term(self) -> Node | None:
        if not self.used_parameters:
            return Everything()
        values = [str(value) for value in self.lookup_val or ()]
        known = {value for value, _label in self.field.flatchoices}
        if not values or len(self.used_parameters) > 1 or not known.issuperset(values):
            return None
        field = self.fields[self.field.name]
        return disjunction([Fact(field, value) for value in values])


class TypeFilter(admin.SimpleListFilter):
    """Families of types, since finding the distinct types of a million files is slow."""

    title = _("type")
    parameter_name = "family"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("image", _("Images")),
            ("video", _("Videos")),
            ("audio", _("Audio")),
            ("application", _("Documents and applications")),
            ("unknown", _("Unknown")),
        ]

    def term(self) -> Node | None:
        family = self.value()
        if family == "unknown":
            return Fact("type", UNKNOWN)
        known = family in {value for value, _label in self.lookup_choices}
        return Fact("type", f"{family}/*") if known else Everything()

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        family = self.value()
        if family == "unknown":
            return queryset.filter(mimetype__in=("", UNKNOWN))
        if family in {value for value, _label in self.lookup_choices}:
            return queryset.filter(mimetype__startswith=f"{family}/")
        return queryset


def _most_used_tags(scope: Q | None) -> list[str]:
    completions = complete("", limit=SUGGESTED_TAGS, scope=scope)
    return [tag.name for tag in completions if tag.count]


def _one_of(choices: type[AssetTag.Source | AssetTag.Decision], name: str | None) -> str | None:
    known = {item.name.lower() for item in choices}
    return name if name in known else None
