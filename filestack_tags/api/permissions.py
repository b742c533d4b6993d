"""Who may do what: Django's model permissions, also for reading, and closed by default."""

from __future__ import annotations

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView


class ActionPermissions(BasePermission):
    """Ask for the permissions that the view lists for its action.

    ``view.required_permissions`` maps an action to permission names. An action that is not in
    it is denied to everybody, superusers included: forgetting a line never opens a door.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        # UNAUTHENTICATED_USER may be None in the host's settings.
        if not request.user or not request.user.is_authenticated:
            return False
        action = getattr(view, "action", None)
        if action in (None, "metadata"):  # no method of ours, or OPTIONS
            raise MethodNotAllowed(str(request.method))
        required = getattr(view, "required_permissions", {}).get(action)
        return required is not None and request.user.has_perms(required)
