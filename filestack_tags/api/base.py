"""The base class of all endpoints: JSON, problems, permissions, parameters, and throttling."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from rest_framework import status
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from filestack_tags.assets.visibility import assets_of, sees_everything
from filestack_tags.curation import throttle
from filestack_tags.db.replicas import reading_primary
from filestack_tags.db.transactions import alias, atomic, locked
from filestack_tags.models import Asset

from . import preconditions
from .errors import ParameterError, exception_handler, unknown_parameters
from .permissions import ActionPermissions
from .rendering import JSON, etag_of, unless_known
from .requests import AlwaysJSON, JSONBody, chosen

PAGING = frozenset({"cursor", "page_size"})

READ, WRITE, OPERATE = (f"filestack_tags_{kind}" for kind in ("read", "write", "operate"))
"""Throttle scopes: reading, writing, and starting work or spending money."""


class View(GenericViewSet[Any]):
    """An endpoint. It ignores the host's ``REST_FRAMEWORK`` settings, except for authentication and
    throttling.
    """

    renderer_classes = (JSON,)
    parser_classes = (JSONBody,)
    content_negotiation_class = AlwaysJSON
    permission_classes = (ActionPermissions,)
    filter_backends: Sequence[Any] = ()
    pagination_class: Any = None
    versioning_class = None
    metadata_class = None

    required_permissions: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Permissions needed, by action; see :class:`ActionPermissions`."""
    parameters: ClassVar[dict[str, frozenset[str]]] = {}
    """Allowed query parameters, by action. Others are rejected: a misspelled filter that is ignored
    would show everything.
    """
    repeatable: ClassVar[frozenset[str]] = frozenset()
    """Parameters that may be given more than once."""
    operations: ClassVar[frozenset[str]] = frozenset()
    """Actions throttled as :data:`OPERATE`; the others follow their method."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        known = self.parameters.get(self.action, frozenset())
        unknown = request.query_params.keys() - known
        if unknown:
            raise unknown_parameters(unknown, known)
        for name, values in request.query_params.lists():
            if len(values) > 1 and name not in self.repeatable:
                raise ParameterError(
                    _('The parameter "%(name)s" cannot be repeated.') % {"name": name},
                    parameter=name,
                )

        if request.method not in SAFE_METHODS and preconditions.are_given(request):
            self.lock(**kwargs)
            etag = self._etag(request, *args, **kwargs)
            preconditions.check(request, etag, self.modified_at(**kwargs))

    def check_throttles(self, request: Request) -> None:
        """Apply the host's throttles, and ``WRITES_PER_MINUTE`` to writes."""
        super().check_throttles(request)
        user = person(request)
        if user is None or request.method in SAFE_METHODS:
            return
        if wait := throttle.seconds_until_write(user):
            self.throttled(request, wait)

    def lock(self, **kwargs: str) -> None:
        """Lock the row that the URL names, if writes with preconditions apply to it."""

    def modified_at(self, **kwargs: str) -> datetime | None:
        """Return when the resource was changed; None if that is not recorded."""
        return None

    def _etag(self, request: Request, *args: Any, **kwargs: Any) -> str | None:
        """Return the ETag of a GET of the same URL, None if there is no such operation."""
        writes, reads = self.action, (self.action_map or {}).get("get")
        if reads is None:
            return None
        self.action = reads
        try:
            response = getattr(self, reads)(request, *args, **kwargs)
        except ParameterError:  # the GET takes parameters that the write does not
            return None
        finally:
            self.action = writes
        return etag_of(JSON().render(response.data))

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Response:
        final: Any = super().finalize_response(request, response, *args, **kwargs)
        is_read = request.method in ("GET", "HEAD") and final.status_code == status.HTTP_200_OK
        final["X-Frame-Options"] = "DENY"
        if is_read and isinstance(final, Response):
            final.add_post_render_callback(partial(unless_known, request))
        return final  # type: ignore[no-any-return]  # a view may stream, too

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Handle the request; a write reads its own changes, even if a replica lags.

        A write with preconditions is one transaction, in which its row is locked.
        """
        if request.method in SAFE_METHODS:
            return super().dispatch(request, *args, **kwargs)
        with reading_primary():
            if not preconditions.are_given(request):
                return super().dispatch(request, *args, **kwargs)
            with atomic():
                response = super().dispatch(request, *args, **kwargs)
                if response.status_code >= status.HTTP_400_BAD_REQUEST:
                    transaction.set_rollback(True, using=alias())
                return response

    def get_exception_handler(self) -> Any:
        return exception_handler

    @property
    def throttle_scope(self) -> str | None:
        """The scope for ``ScopedRateThrottle``; None if the host configures no rate for it."""
        if self.action in self.operations:
            scope = OPERATE
        else:
            scope = READ if self.request.method in SAFE_METHODS else WRITE
        rates = (getattr(kind, "THROTTLE_RATES", ()) for kind in self.throttle_classes)
        return scope if any(scope in known for known in rates) else None


def person(request: Request) -> AbstractBaseUser | None:
    """Return the user of the request; None for other kinds of clients."""
    return request.user if isinstance(request.user, get_user_model()) else None


def includes_hidden(request: Request) -> bool:
    """Whether hidden and withheld tags are requested, with ``include=hidden``.

    Raises:
        PermissionDenied: when they are, and the user may not search them.
        ParameterError: when the parameter has another value.
    """
    if not chosen(request, "include", ("hidden",)):
        return False
    if not request.user.has_perm("filestack_tags.search_hidden"):
        raise PermissionDenied(_("You do not have permission to see hidden tags."))
    return True


def require_everything(request: Request) -> None:
    """Reject users who see only some of the assets: tags are shared by all users.

    Raises:
        PermissionDenied: whether or not the resource exists.
    """
    if not sees_everything(request.user):
        raise PermissionDenied(
            _("All users share the tags, so only users who can see all assets can change them.")
        )


def number(text: str | int) -> int:
    """Return the id in the path.

    Raises:
        Http404: when it is not an id that a database could hold.
    """
    text = str(text)
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < 2**63):
        raise Http404
    return int(text)


def lock_asset(pk: str | int) -> None:
    """Lock the row of an asset until the transaction ends."""
    locked(Asset.objects.filter(pk=number(pk))).only("pk").first()


def asset_of(request: Request, pk: str | int) -> Asset:
    """Return the asset in the path.

    Raises:
        Http404: when it does not exist or the user may not see it.
    """
    asset: Asset = get_object_or_404(assets_of(request.user).present(), pk=number(pk))
    return asset
