"""The base class of all endpoints: operations, permissions, problems, and throttling.

Each action declares with :func:`operation` what it requires, reads and returns. The view checks
it, and :mod:`.schema` describes it in OpenAPI.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cached_property, partial
from typing import Any, TypeVar

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from rest_framework import status
from rest_framework.exceptions import MethodNotAllowed, PermissionDenied
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from filestack_tags.assets.visibility import assets_of, sees_everything, sees_hidden_tags
from filestack_tags.curation import throttle
from filestack_tags.db.replicas import reading_primary
from filestack_tags.db.transactions import alias, atomic, locked
from filestack_tags.models import Asset

from . import conditional
from .asset_json import JSON
from .pagination import KeysetPagination, NewestFirst
from .problems import Problem, ProblemError, exception_handler
from .requests import AlwaysJSON, JSONBody
from .serializers import Body, Parameters

READ, WRITE, OPERATE = (f"filestack_tags_{kind}" for kind in ("read", "write", "operate"))
"""Throttle scopes: reading, writing, and starting work or spending money."""

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Operation:
    """A decorator that declares what an action of a view requires, reads and returns.

    Args:
        permissions: code names of the required permissions of this app.
        parameters: the query parameters.
        body: the request body.
        returns: the response of each status in *status*, None for an empty one. A mapping of media
            types describes files.
        problems: problems in addition to those of every such request.
        headers: request headers that are read: schema and description by name.
        operates: whether it starts work or spends money, and is throttled as :data:`OPERATE`.
    """

    def __init__(
        self,
        *permissions: str,
        parameters: type[Parameters] = Parameters,
        body: type[Body] | None = None,
        returns: type[BaseSerializer[Any]] | Mapping[str, Any] | None = None,
        status: Iterable[int] = (status.HTTP_200_OK,),
        problems: tuple[Problem, ...] = (),
        headers: Mapping[str, tuple[dict[str, Any], str]] | None = None,
        operates: bool = False,
    ) -> None:
        self.permissions = tuple(f"filestack_tags.{name}" for name in permissions)
        self.parameters = parameters()
        self.body = body
        self.returns = dict.fromkeys(status, returns)
        self.problems = problems
        self.headers = headers or {}
        self.operates = operates

    def __call__(self, handler: Handler) -> Handler:
        handler.operation = self  # type: ignore[attr-defined]  # functions take attributes
        return handler


operation = Operation

CREATED = (status.HTTP_200_OK, status.HTTP_201_CREATED)
"""The statuses of an operation that creates an object, or finds an existing one."""


class OperationPermission(BasePermission):
    """Require the permissions that the action declares.

    An action without a declaration is denied to all users, including superusers, so a missing
    line never grants access.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        # UNAUTHENTICATED_USER may be None in the host's settings.
        if not request.user or not request.user.is_authenticated:
            return False
        action = getattr(view, "action", None)
        if action in (None, "metadata"):  # a method that we do not offer, or OPTIONS
            raise MethodNotAllowed(str(request.method))
        declared = operation_of(view)
        return declared is not None and request.user.has_perms(declared.permissions)


def operation_of(view: APIView) -> Operation | None:
    """Return the declaration of the view's current action; None if it has none."""
    return getattr(getattr(view, view.action or "", None), "operation", None)  # type: ignore[attr-defined]  # of a view set


class View(ViewSet):
    """An endpoint. It ignores the host's ``REST_FRAMEWORK`` settings, except for authentication and
    throttling.
    """

    renderer_classes = (JSON,)
    parser_classes = (JSONBody,)
    content_negotiation_class = AlwaysJSON
    permission_classes = (OperationPermission,)
    versioning_class = None
    metadata_class = None
    lookup_value_regex = "[^/]+"

    query: dict[str, Any]
    """The values of the query parameters."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.query = self.operation.parameters.read(request.query_params)
        if request.method not in SAFE_METHODS and conditional.are_given(request):
            self.lock(**kwargs)
            etag = self._etag(request, *args, **kwargs)
            conditional.check(request, etag, self.modified_at(**kwargs))

    @property
    def operation(self) -> Operation:
        declared = operation_of(self)
        assert declared is not None, "OperationPermission denies undeclared actions"  # noqa: S101  # for the type checker
        return declared

    @cached_property
    def body(self) -> dict[str, Any]:
        """The validated body.

        Raises:
            ValidationError: with the path of each invalid field.
        """
        body = self.operation.body
        assert body is not None, "the action declares no body"  # noqa: S101  # for the type checker
        form = body(data=self.request.data)
        form.is_valid(raise_exception=True)
        values: dict[str, Any] = form.validated_data
        return values

    @property
    def user(self) -> AbstractBaseUser | None:
        """The user of the request; None for other kinds of clients."""
        user = self.request.user
        return user if isinstance(user, get_user_model()) else None

    @property
    def owner(self) -> AbstractBaseUser:
        """The user of the request, as the owner of a new object.

        Raises:
            PermissionDenied: for other kinds of clients, which own nothing and have no scope.
        """
        if self.user is None:
            raise PermissionDenied(_("This operation requires a user account."))
        return self.user

    def respond(
        self,
        instance: Any,
        status: int | None = None,
        *,
        location: tuple[str, Any] | None = None,
    ) -> Response:
        """Return the object in the form that the action declares.

        Args:
            instance: what the declared serializer renders.
            status: the first declared one, if None.
            location: the name of a URL and its arguments, for the header ``Location``.
        """
        returns = self.operation.returns
        status = status or next(iter(returns))
        serializer: Any = returns[status]
        data = serializer(instance, context={"request": self.request, "view": self}).data
        return Response(data, status=status, headers=self.location(location))

    def location(self, location: tuple[str, Any] | None) -> dict[str, str]:
        """Return the header ``Location`` for the name of a URL and its arguments."""
        if location is None:
            return {}
        name, kwargs = location
        url = reverse(f"filestack_tags_api:{name}", kwargs=kwargs, request=self.request)
        return {"Location": url}

    def page(
        self, rows: QuerySet[Any], pagination: type[KeysetPagination] = NewestFirst
    ) -> Response:
        """Return the requested page of *rows* in the form that the action declares."""
        pages = pagination(self.query["page_size"])
        results = pages.paginate_queryset(rows, self.request, view=self)
        return self.respond(pages.links() | {"results": results})

    def check_throttles(self, request: Request) -> None:
        """Apply the host's throttles, and ``WRITES_PER_MINUTE`` to writes."""
        super().check_throttles(request)
        if self.user is None or request.method in SAFE_METHODS:
            return
        if wait := throttle.seconds_until_write(self.user):
            self.throttled(request, wait)

    def lock(self, **kwargs: str) -> None:
        """Lock the row that the URL names, if writes with preconditions apply to it."""

    def modified_at(self, **kwargs: str) -> datetime | None:
        """Return when the resource was changed; None if that is not recorded."""
        return None

    def _etag(self, request: Request, *args: Any, **kwargs: Any) -> str | None:
        """Return the ETag of a GET of the same URL, None if there is no such operation."""
        action, query = self.action, self.query
        reads = (self.action_map or {}).get("get")
        if reads is None:
            return None
        self.action = reads
        try:
            self.query = self.operation.parameters.read(request.query_params)
            response = getattr(self, reads)(request, *args, **kwargs)
        except ProblemError:  # the GET takes parameters that the write does not
            return None
        finally:
            self.action, self.query = action, query
        return conditional.etag_of(JSON().render(response.data))

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Response:
        final: Any = super().finalize_response(request, response, *args, **kwargs)
        is_read = request.method in ("GET", "HEAD") and final.status_code == status.HTTP_200_OK
        final["X-Frame-Options"] = "DENY"
        if is_read and isinstance(final, Response):
            final.add_post_render_callback(partial(conditional.set_etag, request))
        return final  # type: ignore[no-any-return]  # a view may stream, too

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Handle the request; a write reads its own changes, even if a replica lags.

        A write with preconditions is one transaction, in which its row is locked.
        """
        if request.method in SAFE_METHODS:
            return super().dispatch(request, *args, **kwargs)
        with reading_primary():
            if not conditional.are_given(request):
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
        declared = operation_of(self)
        scope = scope_of_request(declared, str(self.request.method))
        rates = (getattr(kind, "THROTTLE_RATES", ()) for kind in self.throttle_classes)
        return scope if any(scope in names for names in rates) else None

    def includes_hidden(self) -> bool:
        """Return whether hidden and withheld tags are requested, with ``include=hidden``.

        Raises:
            PermissionDenied: when they are, and the user may not search them.
        """
        if not self.query.get("include"):
            return False
        if not sees_hidden_tags(self.request.user):
            raise PermissionDenied(_("You do not have permission to see hidden tags."))
        return True

    def require_everything(self) -> None:
        """Reject users who see only some of the assets: tags are shared by all users.

        Raises:
            PermissionDenied: whether or not the resource exists.
        """
        if not sees_everything(self.request.user):
            raise PermissionDenied(
                _(
                    "All users share the tags, "
                    "so only users who can see all assets can change them."
                )
            )

    def asset(self, pk: str | int) -> Asset:
        """Return the asset in the path.

        Raises:
            Http404: when it does not exist or the user may not see it.
        """
        assets = assets_of(self.request.user).present()
        asset: Asset = get_object_or_404(assets, pk=row_id(pk))
        return asset


def scope_of_request(declared: Operation | None, method: str) -> str:
    """Return the throttle scope of an operation."""
    if declared is not None and declared.operates:
        return OPERATE
    return READ if method in SAFE_METHODS else WRITE


def row_id(text: str | int) -> int:
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
    locked(Asset.objects.filter(pk=row_id(pk))).only("pk").first()
