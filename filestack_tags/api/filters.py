"""Query parameters of the asset list. Tags are asked for in the search language underneath."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import django_filters  # type: ignore[import-untyped]  # ships no types
from django import forms
from django.forms.utils import ErrorDict, ErrorList
from django.http import QueryDict
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

    Only declares them: :func:`asked` puts them together to one search, which is then planned
    as any other.
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


def asked(parameters: QueryDict) -> Query:
    """Return the one search that the parameters stand for.

    Raises:
        TagQueryError: when ``q`` cannot be read; its position is one in ``q``.
        ParameterError: when together they ask for more than a search may.
        ValidationError: when another parameter cannot be used.
    """
    said = _said(parameters)
    least = said["min_confidence"]

    def term(has: HasTag) -> HasTag:
        if has.confidence is not None or least is None:
            return has
        return HasTag(has.label, confidence=Comparison(">=", least))

    searched = read(said["q"] or "")
    # Beside tags the least confidence is part of their terms: the same row must meet both.
    alone = not (said["tag"] or said["tag_any"] or said["tag_none"])
    wanted = {
        "tag": conjunction(map(term, said["tag"])),
        "tag_any": disjunction(map(term, said["tag_any"])) if said["tag_any"] else None,
        "tag_none": conjunction(negation(term(has)) for has in said["tag_none"]),
        "min_confidence": term(HasTag()) if alone and least is not None else None,
        "state": _one_of("status", said["state"]),
        "kind": _one_of("kind", said["kind"]),
    }
    for name, where in wanted.items():
        if where is not None:
            _require_readable(name, Query(where))
    terms = [where for where in wanted.values() if where is not None]
    if not terms:
        return searched
    whole = Query(conjunction((searched.where, *terms)), searched.include_hidden)
    _require_readable("q", whole)
    return whole


def _said(parameters: QueryDict) -> dict[str, Any]:
    """Return the value of each parameter.

    A filter set and its form are copies of all filters and fields, made anew for each request
    in a time in which the assets are found. The fields remember nothing, so they are shared.
    """
    said: dict[str, Any] = {}
    errors = ErrorDict()
    for name, parameter in AssetFilter.base_filters.items():
        field = parameter.field
        try:
            said[name] = field.clean(field.widget.value_from_datadict(parameters, {}, name))
        except forms.ValidationError as error:
            errors[name] = ErrorList(error.error_list)
    if errors:
        raise translate_validation(errors)
    return said


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
