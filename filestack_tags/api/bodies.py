"""Validate bodies and single parameters, and raise the problems for invalid ones."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.utils.translation import gettext as _
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from .base import person
from .errors import ParameterError
from .serializers import Body


def said(body: type[Body], request: Request) -> dict[str, Any]:
    """Return the validated body of a request.

    Raises:
        ValidationError: with the path of each invalid field.
    """
    form = body(data=request.data)
    form.is_valid(raise_exception=True)
    values: dict[str, Any] = form.validated_data
    return values


def owner(request: Request) -> AbstractBaseUser:
    """Return the user of the request as the owner of a new object.

    Raises:
        PermissionDenied: for other kinds of clients, which own nothing and have no scope.
    """
    user = person(request)
    if user is None:
        raise PermissionDenied(_("This operation requires a user account."))
    return user


def one_of(request: Request, name: str, known: Collection[str]) -> str | None:
    """Return a query parameter with fixed values, None if it was not given.

    Raises:
        ParameterError: for another value.
    """
    word = request.query_params.get(name)
    if word is not None and word not in known:
        raise ParameterError(
            _('Invalid value for "%(name)s". Allowed values: %(allowed)s.')
            % {"name": name, "allowed": ", ".join(known)},
            parameter=name,
        )
    return word


def id_in(request: Request, name: str) -> int | None:
    """Return a query parameter that is an id, None if it was not given.

    Raises:
        ParameterError: when no database could hold it.
    """
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) < 2**63):
        raise ParameterError(_('"%(name)s" must be an ID.') % {"name": name}, parameter=name)
    return int(text)
