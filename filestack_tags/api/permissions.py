"""Permissions: Django's model permissions, also for reading, and denied by default."""

from __future__ import annotations

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView


class ActionPermissions(BasePermission):
    """Require the permissions that the view lists for its action.

    ``view.required_permissions`` maps an action to permission names. An action that is not listed
    is denied to all users, including superusers, so a missing line never grants access.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        # UNAUTHENTICATED_USER may be None in the host's settings.
        if not request.user or not request.user.is_authenticated:
            return False
        action = getattr(view, "action", None)
        if action in (None, "metadata"):  # a method that we do not offer, or OPTIONS
            raise MethodNotAllowed(str(request.method))
        required = getattr(view, "required_permissions", {}).get(action)
        return required is not None and request.user.has_perms(required)
