"""Reject list parameters that a database cannot process, and lookups that URLs may not use."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.core.exceptions import BadRequest, EmptyResultSet, FieldDoesNotExist
from django.db.models import BinaryField, JSONField, Model, QuerySet
from django.http import HttpRequest

LOOKUPS = frozenset(
    (
        "exact",
        "in",
        "isnull",
        "isempty",
        "gt",
        "gte",
        "lt",
        "lte",
        "year",
        "month",
        "day",
        "date",
    )
)
"""Lookups that a URL may use. Others, such as regular expressions, can be slow or an error."""

MAX_INTEGER = 2**63 - 1
"""The largest integer of a column."""

MAX_DIGITS = 19
"""Number of digits from which a number may be too large for a column."""


class InvalidListParameters(BadRequest):
    """The parameters of a list are invalid: a field, a value or a page does not exist."""


class ValidatedChangeList(ChangeList):
    """A list that raises IncorrectLookupParameters before a database would raise an error."""

    def get_filters(self, request: HttpRequest) -> Any:
        try:
            return super().get_filters(request)
        except (ValueError, OverflowError) as error:  # a date that does not exist
            raise IncorrectLookupParameters(error) from error

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: Any = None
    ) -> QuerySet[Any]:
        if "\x00" in request.GET.get(SEARCH_VAR, ""):
            raise IncorrectLookupParameters(SEARCH_VAR)
        rows: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        if self.get_filters_params():
            require_valid_values(rows)
        return rows


def require_valid_values(rows: QuerySet[Any]) -> None:
    """Check that the values of a query fit into columns.

    Raises:
        IncorrectLookupParameters: when one does not.
    """
    try:
        _sql, values = rows.query.get_compiler(rows.db).as_sql()
    except EmptyResultSet:
        return
    except (ValueError, OverflowError, TypeError) as error:
        raise IncorrectLookupParameters(error) from error
    for value in values:
        is_too_large = isinstance(value, int) and abs(value) > MAX_INTEGER
        # PostgreSQL rejects such a text; other databases never contain it.
        if is_too_large or (isinstance(value, str) and "\x00" in value):
            raise IncorrectLookupParameters(value)


def is_allowed_lookup(model: type[Model] | None, lookup: str) -> bool:
    """Whether a parameter is a field, possibly through relations, with at most one of
    :data:`LOOKUPS`.

    A name that is not a field is left to the filters of the list.
    """
    names = lookup.split("__")
    field: Any = None
    while names and model is not None:
        try:
            field = model._meta.pk if names[0] == "pk" else model._meta.get_field(names[0])
        except FieldDoesNotExist:
            break
        names.pop(0)
        model = field.related_model if field.is_relation else None
    if isinstance(field, BinaryField | JSONField):
        return False
    return field is None or not names or (len(names) == 1 and names[0] in LOOKUPS)


def is_number(text: str, *, digits: int = MAX_DIGITS - 1) -> bool:
    """Whether a text is a number of at most *digits* ASCII digits, which fits into a column."""
    return text.isascii() and text.isdigit() and len(text) <= digits


def ids_in(text: str) -> list[str]:
    """Return the numbers in a comma-separated list; other words are left out."""
    return [word for word in text.split(",") if is_number(word)]


def is_id(model: type[Model], text: str) -> bool:
    """Whether a text can be a primary key."""
    try:
        value = model._meta.pk.to_python(text)
    except Exception:  # noqa: BLE001  # a host's field may raise anything
        return False
    if isinstance(value, int):
        return abs(value) <= MAX_INTEGER
    return value is not None and "\x00" not in str(value)
