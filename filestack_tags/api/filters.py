"""Query parameters of the asset list. Tags are asked for in the search language underneath."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import django_filters  # type: ignore[import-untyped]  # ships no types
from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django_filters.utils import translate_validation  # type: ignore[import-untyped]  # as above

from filestack_tags.exceptions import InvalidLabel, TagQueryError
from filestack_tags.models import Asset
from filestack_tags.search.ast import (
    Comparison,
    Fact,
    HasTag,
    Node,
    Query,
    conjunction,
    disjunction,
    negation,
)
from filestack_tags.search.planner import read
from filestack_tags.text import label_name

from .errors import ParameterError


class TagsField(forms.Field):
    """One ``HasTag`` for each time that the parameter is given: ``sky`` or ``sky:80``.

    A number after the last colon is the least confidence; other colons belong to the name.
    """

    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> list[HasTag]:
        return [_has_tag(text) for text in value or ()]


class TagsFilter(django_filters.Filter):  # type: ignore[misc]  # untyped library
    field_class = TagsField


class WholeNumberFilter(django_filters.Filter):  # type: ignore[misc]  # untyped library
    field_class = forms.IntegerField


class AssetFilter(django_filters.FilterSet):  # type: ignore[misc]  # untyped library
    """``q``, ``tag``, ``tag_any``, ``tag_none``, ``min_confidence``, ``state`` and ``kind``.

    Only reads them: :meth:`query` puts them together to one search, which is then planned as
    any other.
    """

    q = django_filters.CharFilter(
        strip=False, label=gettext_lazy("a search in the search language")
    )
    tag = TagsFilter(label=gettext_lazy("has all of these tags"))
    tag_any = TagsFilter(label=gettext_lazy("has any of these tags"))
    tag_none = TagsFilter(label=gettext_lazy("has none of these tags"))
    min_confidence = WholeNumberFilter(
        min_value=0,
        max_value=100,
        label=gettext_lazy("least confidence of tags that name none"),
    )
    state = django_filters.MultipleChoiceFilter(choices=Asset.State.choices)
    kind = django_filters.MultipleChoiceFilter(choices=Asset.Kind.choices)

    class Meta:
        model = Asset
        fields: Sequence[str] = ()

    def query(self) -> Query:
        """Return the one search that the parameters stand for.

        Raises:
            TagQueryError: when ``q`` cannot be read; its position is one in ``q``.
            ParameterError: when together they ask for more than a search may.
            ValidationError: when another parameter cannot be used.
        """
        if not self.form.is_valid():
            raise translate_validation(self.errors)
        said = self.form.cleaned_data
        asked = read(said["q"] or "")
        parameters = {
            "tag": conjunction(map(self._term, said["tag"])),
            "tag_any": disjunction(map(self._term, said["tag_any"]))
            if said["tag_any"]
            else None,
            "tag_none": conjunction(negation(self._term(term)) for term in said["tag_none"]),
            "min_confidence": self._any_tag(),
            "state": _one_of("status", said["state"]),
            "kind": _one_of("kind", said["kind"]),
        }
        for name, where in parameters.items():
            if where is not None:
                _require_readable(name, Query(where))
        terms = [where for where in parameters.values() if where is not None]
        if not terms:
            return asked
        whole = Query(conjunction((asked.where, *terms)), asked.include_hidden)
        _require_readable("q", whole)
        return whole

    def _any_tag(self) -> Node | None:
        said = self.form.cleaned_data
        least = said["min_confidence"]
        # Beside tags it is part of their terms: the same row must meet both.
        if least is None or said["tag"] or said["tag_any"] or said["tag_none"]:
            return None
        return HasTag(confidence=Comparison(">=", least))

    def _term(self, term: HasTag) -> HasTag:
        least = self.form.cleaned_data["min_confidence"]
        if term.confidence is not None or least is None:
            return term
        return HasTag(term.label, confidence=Comparison(">=", least))


def _has_tag(text: str) -> HasTag:
    name, colon, number = text.rpartition(":")
    if not (colon and number.isascii() and number.isdigit()):
        name, number = text, ""
    try:
        label = label_name(name)
        if not number:
            return HasTag(label)
        if len(number) > 3 or int(number) > 100:
            raise forms.ValidationError(_("A confidence is a number from 0 to 100."))
        return HasTag(label, confidence=Comparison(">=", int(number)))
    except InvalidLabel as error:
        raise forms.ValidationError(str(error)) from error


def _one_of(field: str, values: Sequence[str]) -> Node | None:
    return disjunction(Fact(field, value) for value in values) if values else None


def _require_readable(name: str, query: Query) -> None:
    """Hold what parameters ask for to the limits of a search."""
    try:
        read(str(query))
    except TagQueryError as error:
        # Its position is one in the text that was made here, which the client never wrote.
        raise ParameterError(error.message, parameter=name) from error
