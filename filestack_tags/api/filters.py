"""Query parameters of the asset list. They are combined into one search."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import django_filters  # type: ignore[import-untyped]  # ships no types
from django import forms
from django.forms.utils import ErrorDict, ErrorList
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django_filters.utils import translate_validation  # type: ignore[import-untyped]  # as above

from filestack_tags.db.text import label_name
from filestack_tags.exceptions import InvalidLabel, SearchError
from filestack_tags.models import Asset
from filestack_tags.search.language.fields import DECISIONS, SOURCES, read_fact
from filestack_tags.search.language.tree import (
    Comparison,
    Everything,
    HasTag,
    Node,
    Query,
    conjunction,
    disjunction,
    negation,
)
from filestack_tags.search.planner import read

from .errors import ParameterError


class TagsField(forms.Field):
    """One ``HasTag`` for each occurrence of the parameter: ``sky`` or ``sky:80``.

    A number after the last colon is the minimum confidence; other colons belong to the name.
    """

    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> list[HasTag]:
        return [_has_tag(text) for text in value or ()]


class TagsFilter(django_filters.Filter):  # type: ignore[misc]  # untyped library
    field_class = TagsField


class TextsField(forms.Field):
    """The values of a parameter that may be repeated."""

    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> list[str]:
        return [str(text) for text in value or ()]


class TextsFilter(django_filters.Filter):  # type: ignore[misc]  # untyped library
    field_class = TextsField


class PeriodFilter(django_filters.CharFilter):  # type: ignore[misc]  # untyped library
    """A day, a month, a year or a time, as in the search language."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strip=False, **kwargs)


class WholeNumberFilter(django_filters.Filter):  # type: ignore[misc]  # untyped library
    field_class = forms.IntegerField


class AssetFilter(django_filters.FilterSet):  # type: ignore[misc]  # untyped library
    """The parameters that filter a list of assets.

    Only declares them: :func:`asked` combines them into one search, which is planned like any
    other.
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
        label=gettext_lazy("minimum confidence of tags without their own"),
    )
    state = django_filters.MultipleChoiceFilter(
        choices=Asset.State.choices, label=gettext_lazy("state of its tagging")
    )
    kind = django_filters.MultipleChoiceFilter(
        choices=Asset.Kind.choices, label=gettext_lazy("kind of its file reference")
    )
    source = django_filters.MultipleChoiceFilter(
        choices=[(name, name) for name in SOURCES],
        label=gettext_lazy("has a tag from this source"),
    )
    decision = django_filters.MultipleChoiceFilter(
        choices=[(name, name) for name in DECISIONS],
        label=gettext_lazy("has a tag with this decision"),
    )
    mimetype = TextsFilter(label=gettext_lazy("MIME type, such as image/png or image/*"))
    uploader = TextsFilter(label=gettext_lazy("username of the uploader"))
    uploaded_after = PeriodFilter(
        label=gettext_lazy("uploaded in this period (day, month or year) or later")
    )
    uploaded_before = PeriodFilter(
        label=gettext_lazy("uploaded in this period (day, month or year) or earlier")
    )
    created_after = PeriodFilter(
        label=gettext_lazy("registered in this period (day, month or year) or later")
    )
    created_before = PeriodFilter(
        label=gettext_lazy("registered in this period (day, month or year) or earlier")
    )
    tagged_after = PeriodFilter(
        label=gettext_lazy("tagged in this period (day, month or year) or later")
    )
    tagged_before = PeriodFilter(
        label=gettext_lazy("tagged in this period (day, month or year) or earlier")
    )

    class Meta:
        model = Asset
        fields: Sequence[str] = ()


FACTS = {
    "state": ("status", ""),
    "kind": ("kind", ""),
    "source": ("source", ""),
    "decision": ("decision", ""),
    "mimetype": ("type", ""),
    "uploader": ("by", ""),
    "uploaded_after": ("uploaded", ">="),
    "uploaded_before": ("uploaded", "<="),
    "created_after": ("created", ">="),
    "created_before": ("created", "<="),
    "tagged_after": ("tagged", ">="),
    "tagged_before": ("tagged", "<="),
}
"""Parameters that are a field of the search language, with their comparison."""

REPEATABLE = frozenset(
    name
    for name, parameter in AssetFilter.base_filters.items()
    if isinstance(parameter, TagsFilter | TextsFilter | django_filters.MultipleChoiceFilter)
)


def asked(parameters: QueryDict, *, without: Collection[str] = ()) -> Query:
    """Return the search for the parameters, ``without`` some of them.

    Raises:
        SearchError: when ``q`` cannot be parsed; its position is relative to ``q``.
        ParameterError: when together they exceed the limits of a search.
        ValidationError: when another parameter is invalid.
    """
    said = _said(parameters, without)
    least = said["min_confidence"]

    def term(has: HasTag) -> HasTag:
        if has.confidence is not None or least is None:
            return has
        return HasTag(has.label, confidence=Comparison(">=", least))

    searched = read(said["q"] or "")
    # With tags, the minimum confidence is part of their terms: the same row must meet both.
    alone = not (said["tag"] or said["tag_any"] or said["tag_none"])
    wanted = {
        "tag": conjunction(map(term, said["tag"])),
        "tag_any": disjunction(map(term, said["tag_any"])) if said["tag_any"] else None,
        "tag_none": conjunction(negation(term(has)) for has in said["tag_none"]),
        "min_confidence": term(HasTag()) if alone and least is not None else None,
    } | {name: _fact(name, said[name]) for name in FACTS}
    terms = []
    for name, where in wanted.items():
        if where is not None and where != Everything():
            _require_readable(name, Query(where))
            terms.append(where)
    if not terms:
        return searched
    whole = replace(searched, where=conjunction((searched.where, *terms)))
    _require_readable("q", whole)
    return whole


def _said(parameters: QueryDict, without: Collection[str]) -> dict[str, Any]:
    """Return the value of each parameter, except those in ``without``.

    A filter set and its form copy all filters and fields for each request, which takes as long as
    finding the assets. The fields are stateless, so they are shared.
    """
    said: dict[str, Any] = {}
    errors = ErrorDict()
    for name, parameter in AssetFilter.base_filters.items():
        field = parameter.field
        value = field.widget.value_from_datadict(parameters, {}, name)
        try:
            if name not in without:
                _require_values(name, parameters)
            said[name] = field.clean(None if name in without else value)
        except forms.ValidationError as error:
            errors[name] = ErrorList(error.error_list)
    if errors:
        raise translate_validation(errors)
    return said


def _require_values(name: str, parameters: QueryDict) -> None:
    """Reject an empty value, which would show everything; an empty search is a valid value."""
    if name != "q" and not all(text.strip() for text in parameters.getlist(name)):
        detail = _("The value is empty. Enter a value, or omit the parameter.")
        raise ParameterError(detail, parameter=name)


def _has_tag(text: str) -> HasTag:
    name, colon, number = text.rpartition(":")
    if not (colon and number.isascii() and number.isdigit()):
        name, number = text, ""
    try:
        label = label_name(name)
        if not number:
            return HasTag(label)
        if len(number) > 3 or int(number) > 100:
            raise forms.ValidationError(_("Confidence must be a number from 0 to 100."))
        return HasTag(label, confidence=Comparison(">=", int(number)))
    except InvalidLabel as error:
        raise forms.ValidationError(str(error)) from error


def _fact(name: str, values: Sequence[str] | str) -> Node | None:
    """Return the term of a parameter in :data:`FACTS`: one of the values, if there are any."""
    field, operator = FACTS[name]
    texts = [values] if isinstance(values, str) else values
    try:
        terms = [
            read_fact(field, operator, text, 0) for text in texts if text or name in REPEATABLE
        ]
    except SearchError as error:
        raise ParameterError(error.message, parameter=name) from error
    return disjunction(terms) if terms else None


def _require_readable(name: str, query: Query) -> None:
    """Check the search against the limits."""
    try:
        read(str(query))
    except SearchError as error:
        # Its position is in the generated text, which the client never wrote.
        raise ParameterError(error.message, parameter=name) from error
