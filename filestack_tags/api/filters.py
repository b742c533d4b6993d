"""Query parameters that filter assets. They are combined into one search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers

from filestack_tags.db.text import label_name
from filestack_tags.exceptions import InvalidLabel, SearchError
from filestack_tags.models import Asset
from filestack_tags.search.language.fields import DECISIONS, PERIOD, SOURCES, read_fact
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
from filestack_tags.search.limits import parse_query
from filestack_tags.search.pages import ORDERS

from .asset_json import FIELDS
from .fields import Choice, CommaSeparated, Number, Repeatable, TagName, Text, search_text
from .problems import ParameterError
from .serializers import PageParameters, Parameters


class TagFilter(Text):
    """A tag, optionally with its minimum confidence: ``sky`` or ``sky:80``.

    A number after the last colon is the minimum confidence; other colons belong to the name.
    """

    def __init__(self) -> None:
        super().__init__(constraints={"format": "tag-filter"})

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            _has_tag(text)
        except InvalidLabel as error:
            raise serializers.ValidationError(str(error)) from error
        return text


def tags(help_text: str) -> Repeatable:
    return Repeatable(child=TagFilter(), required=False, help_text=help_text)


def values(help_text: str) -> Repeatable:
    child = Text(trim_whitespace=False, constraints={"format": "search-value"})
    return Repeatable(child=child, required=False, help_text=help_text)


def choices(names: Any, help_text: str) -> Repeatable:
    return Repeatable(child=Choice(names), required=False, help_text=help_text)


def period(help_text: str) -> Text:
    """Return a field for a day, a month, a year or a time, as in the search language."""
    constraints = {"pattern": f"^{PERIOD}$", "format": "search-period"}
    return Text(
        required=False,
        trim_whitespace=False,
        constraints=constraints,
        help_text=f"{help_text}: a day, month, year or time",
    )


class AssetFilters(Parameters):
    q = search_text(help_text="a search in the search language")
    tag = tags("has all of these tags")
    tag_any = tags("has any of these tags")
    tag_none = tags("has none of these tags")
    min_confidence = Number(
        min_value=0,
        max_value=100,
        required=False,
        help_text="minimum confidence of tags without their own",
    )
    state = choices(Asset.State.values, "state of its tagging")
    kind = choices(Asset.Kind.values, "kind of its file reference")
    source = choices(SOURCES, "has a tag from this source")  # type: ignore[assignment]  # a field, as DRF allows
    decision = choices(DECISIONS, "has a tag with this decision")
    mimetype = values("MIME type, such as image/png or image/*")
    uploader = values("username of the uploader")
    uploaded_after = period("uploaded in this period or later")
    uploaded_before = period("uploaded in this period or earlier")
    created_after = period("registered in this period or later")
    created_before = period("registered in this period or earlier")
    tagged_after = period("tagged in this period or later")
    tagged_before = period("tagged in this period or earlier")


class AssetListParameters(AssetFilters, PageParameters):
    order = Choice(ORDERS, default="newest")
    order_tag = TagName(required=False, help_text="with order=confidence: whose confidence")
    fields = CommaSeparated(FIELDS, help_text="the members of an asset to return")  # type: ignore[assignment]  # a field, as DRF allows
    include = CommaSeparated(
        ("total", "facets", "hints"), help_text="what to return in addition to the page"
    )


class FacetParameters(AssetFilters):
    limit = Number(min_value=1, max_value=100, default=30, help_text="maximum number of tags")


class HistogramParameters(AssetFilters):
    tag = TagName(  # type: ignore[assignment]  # another field than in the base class
        help_text="the tag whose confidences are counted; it is not a filter"
    )


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


def query_of(query: Mapping[str, Any]) -> Query:
    """Return the search for the values of :class:`AssetFilters`.

    Raises:
        SearchError: when ``q`` cannot be parsed; its position is relative to ``q``.
        ParameterError: when together they exceed the limits of a search.
    """
    minimum = query["min_confidence"]

    def term(has: HasTag) -> HasTag:
        if has.confidence is not None or minimum is None:
            return has
        return HasTag(has.label, confidence=Comparison(">=", minimum))

    search = parse_query(query["q"] or "")
    every, some, no = (
        [term(_has_tag(text)) for text in query[name]]
        for name in ("tag", "tag_any", "tag_none")
    )
    nodes = {
        "tag": conjunction(every),
        "tag_any": disjunction(some) if some else None,
        "tag_none": conjunction(map(negation, no)),
    }
    # With tags, the minimum confidence is part of their terms: the same row must meet both.
    if minimum is not None and not (every or some or no):
        nodes["min_confidence"] = term(HasTag())
    nodes |= {name: _fact(name, query[name]) for name in FACTS}
    terms = []
    for name, where in nodes.items():
        if where is not None and where != Everything():
            _check_limits(name, Query(where))
            terms.append(where)
    if not terms:
        return search
    whole = replace(search, where=conjunction((search.where, *terms)))
    _check_limits("q", whole)
    return whole


def _has_tag(text: str) -> HasTag:
    name, colon, number = text.rpartition(":")
    if not (colon and number.isascii() and number.isdigit()):
        return HasTag(label_name(text))
    if len(number) > 3 or int(number) > 100:
        raise InvalidLabel(_("Confidence must be a number from 0 to 100."))
    return HasTag(label_name(name), confidence=Comparison(">=", int(number)))


def _fact(name: str, texts: list[str] | str | None) -> Node | None:
    """Return the term of a parameter in :data:`FACTS`: one of the values, if there are any."""
    field, operator = FACTS[name]
    if isinstance(texts, str):
        texts = [texts]
    try:
        terms = [read_fact(field, operator, text, 0) for text in texts or ()]
    except SearchError as error:
        raise ParameterError(error.message, parameter=name) from error
    return disjunction(terms) if terms else None


def _check_limits(name: str, query: Query) -> None:
    try:
        parse_query(str(query))
    except SearchError as error:
        # Its position is in the generated text, which the client never wrote.
        raise ParameterError(error.message, parameter=name) from error
