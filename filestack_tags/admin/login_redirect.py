"""Requests with an expired session: redirect to the login, and back to the page."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.urls import URLPattern, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST


def is_script(request: HttpRequest) -> bool:
    """Whether a script of this package sent the request."""
    return request.headers.get("X-Requested-With") == "XMLHttpRequest"


def post_only(
    view: Callable[..., HttpResponseBase], page: Callable[..., str]
) -> Callable[..., HttpResponseBase]:
    """Return a view that only accepts POST requests.

    Args:
        view: takes the request and the parts of the URL.
        page: takes the same, and returns the URL of the page with the form, to which the login
            redirects.
    """
    post_view: Any = require_POST(view)
    post_view.page = page
    return post_view  # type: ignore[no-any-return]  # an added attribute


def with_login_redirect(pattern: Any, site: admin.AdminSite) -> Any:
    """Wrap an admin view so that clients without a login get a useful response.

    A script gets a 401 with a message and the URL of the login page. A submitted form is redirected
    to the login page, and from there back to the page with the form, because the URL of the form
    itself often accepts only POST.
    """
    if not isinstance(pattern, URLPattern):
        return pattern
    view: Callable[..., HttpResponseBase] = pattern.callback

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if site.has_permission(request):
            return view(request, *args, **kwargs)
        login = reverse("admin:login", current_app=site.name)
        if is_script(request):
            text = _("Your session has expired, so nothing was changed. Log in and try again.")
            reply = {"error": text, "login": login, "text": _("Log in")}
            return JsonResponse(reply, status=401)
        page = _referring_page(request) if request.method == "POST" else ""
        if not page and (form_page := getattr(view, "page", None)):
            page = form_page(request, *args, **kwargs)
        return redirect_to_login(page, login) if page else view(request, *args, **kwargs)

    pattern.callback = wrapper
    return pattern


def _referring_page(request: HttpRequest) -> str:
    """Return the path of this site's page that the request came from, or an empty string."""
    referrer = request.headers.get("Referer", "")
    hosts = {request.get_host()}
    if not url_has_allowed_host_and_scheme(referrer, hosts, require_https=request.is_secure()):
        return ""
    return urlunsplit(("", "", *urlsplit(referrer)[2:4], ""))
