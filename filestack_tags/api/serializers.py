"""Base classes of what the API reads and sends: bodies, query parameters, and pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import QueryDict
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.fields import empty

from .fields import Choice, CommaSeparated, Number, Repeatable, Text
from .problems import ParameterError, unknown_parameters


class Body(serializers.Serializer[Any]):
    """A body in which unknown fields are rejected, so that a misspelled one is not ignored."""

    constraints: ClassVar[Mapping[str, Any]] = {}
    """Keywords of JSON Schema for rules in :meth:`validate`."""

    def __init__(self, instance: Any = None, data: Any = empty, **options: Any) -> None:
        # REST framework turns an empty body with a form's content type into an empty form, and
        # interprets a missing checkbox as False.
        if isinstance(data, QueryDict):
            data = {}
        super().__init__(instance, data, **options)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(str(name) for name in self.initial_data.keys() - self.fields.keys())
        if unknown:
            raise serializers.ValidationError({name: _("Unknown field.") for name in unknown})
        return attrs


class Parameters(serializers.Serializer[Any]):
    """The query parameters of an operation. One instance reads all requests.

    Unknown, repeated and empty parameters are rejected: a misspelled filter that is ignored would
    show everything.
    """

    def read(self, query: QueryDict) -> dict[str, Any]:
        """Return the values of all parameters; None for an absent one without a default.

        Raises:
            ProblemError: for an unknown parameter.
            ParameterError: for an invalid one.
        """
        if unknown := query.keys() - self.fields.keys():
            raise unknown_parameters(unknown, self.fields)
        values = {}
        for name, field in self.fields.items():
            try:
                values[name] = _value(field, query.getlist(name))
            except serializers.ValidationError as error:
                raise ParameterError(_first(error.detail), parameter=name) from error
        return values


def _value(field: serializers.Field[Any, Any, Any, Any], texts: list[str]) -> Any:
    is_repeatable = isinstance(field, Repeatable)
    if not texts:
        if field.required:
            field.fail("required")
        if is_repeatable:
            return []
        return None if field.default is empty else field.default
    if not getattr(field, "allow_blank", False) and not all(text.strip() for text in texts):
        raise serializers.ValidationError(
            _("The value is empty. Enter a value, or omit the parameter.")
        )
    if is_repeatable:
        return field.run_validation(texts)
    if len(texts) > 1:
        raise serializers.ValidationError(_("The parameter cannot be repeated."))
    return field.run_validation(texts[0])


def _first(detail: Any) -> str:
    """Return the first message in the details of an error."""
    while isinstance(detail, list | dict):
        detail = next(iter(detail.values() if isinstance(detail, dict) else detail))
    return str(detail)


class PageParameters(Parameters):
    cursor = Text(
        required=False,
        allow_blank=True,
        constraints={"format": "page-cursor"},
        help_text="from next and previous; follow those links unchanged",
    )
    page_size = Number(min_value=1, max_value=200, default=50, help_text="rows on a page")


class HiddenParameters(Parameters):
    include = CommaSeparated(
        ("hidden",), help_text="hidden: hidden tags too; requires the permission search_hidden"
    )


def one_of(choices: Any, help_text: str) -> Choice:
    """Return an optional query parameter with one of the *choices*."""
    return Choice(choices, required=False, help_text=help_text)


class PageSerializer(serializers.Serializer[Any]):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


def page_of(row: type[serializers.BaseSerializer[Any]]) -> type[PageSerializer]:
    """Return the serializer of a page of such rows."""
    name = row.__name__.replace("Serializer", "PageSerializer")
    return type(name, (PageSerializer,), {"results": row(many=True)})


def confidence(**kwargs: Any) -> serializers.IntegerField:
    return serializers.IntegerField(min_value=0, max_value=100, **kwargs)


def count(**kwargs: Any) -> serializers.IntegerField:
    return serializers.IntegerField(min_value=0, **kwargs)
