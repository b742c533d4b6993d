"""The upload page: the browser sends files to Filestack, which become assets with tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET
from throttled import MemoryStore, Throttled, per_min

from filestack_tags import tasks
from filestack_tags.admin.badges import badges_of, render_badges
from filestack_tags.admin.forms import StoredForm
from filestack_tags.admin.login_redirect import post_only
from filestack_tags.admin.lookups import is_number
from filestack_tags.assets import upload_policy
from filestack_tags.assets.registry import Facts
from filestack_tags.assets.visibility import scope_of
from filestack_tags.exceptions import (
    ConfigurationError,
    FilestackError,
    OutOfScope,
    UploadRefused,
)
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset

from .asset_page import AssetPage

PERMITS_PER_MINUTE = 30
"""How often one user gets a policy from one process; a batch of files needs one."""

WATCHED = 100
"""Maximum assets whose tags are polled at once."""

BADGES = 12
"""Maximum tags shown for an uploaded file; its own page shows all."""

UNSETTLED = (Asset.State.QUEUED, Asset.State.RUNNING)


class UploadScreen(AssetPage):
    """Adds the upload page to the asset pages. All of it requires ``add_asset``."""

    def get_urls(self) -> list[URLPattern]:
        def page(request: HttpRequest) -> str:
            name = "admin:filestack_tags_asset_upload"
            return reverse(name, current_app=self.admin_site.name)

        views: dict[str, tuple[str, Callable[..., HttpResponseBase]]] = {
            "upload": ("upload/", require_GET(self.upload)),
            "upload_permit": ("upload/permit/", post_only(self.upload_permit, page)),
            "upload_stored": ("upload/stored/", post_only(self.upload_stored, page)),
            "upload_tags": ("upload/tags/", require_GET(self.upload_tags)),
        }
        patterns = [
            path(
                route,
                self.admin_site.admin_view(never_cache(view)),
                name=f"filestack_tags_asset_{name}",
            )
            for name, (route, view) in views.items()
        ]
        return [*patterns, *super().get_urls()]

    def upload(self, request: HttpRequest) -> HttpResponse:
        """Show the page. Without API key or secret, explain that and offer to register files."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        limits, problem = None, ""
        try:
            limits = upload_policy.rules_for(request.user, request)
            upload_policy.permit(limits)
        except (ConfigurationError, UploadRefused) as error:
            problem = str(error)
        return TemplateResponse(
            request,
            "filestack_tags/admin/upload.html",
            {
                **self.page_context(request, _("Upload files")),
                "limits": limits,
                "types": ",".join(limits.mimetypes) if limits else "",
                "problem": problem,
            },
        )

    def upload_permit(self, request: HttpRequest) -> JsonResponse:
        """Return a policy and signature for a batch: the only response that contains them."""
        if not self.has_add_permission(request):
            return _refused(_("You do not have permission to add assets."), 403)
        result = _limiter().limit(str(request.user.pk))
        if result.limited:
            wait = int(result.state.retry_after) + 1
            response = _refused(
                _("Too many requests. Try again in %(seconds)d seconds.") % {"seconds": wait},
                429,
            )
            response.headers["Retry-After"] = str(wait)
            return response
        try:
            rules = upload_policy.rules_for(request.user, request)
            permit = upload_policy.permit(rules)
        except UploadRefused:
            return _refused(_("You do not have permission to upload files."), 403)
        except ConfigurationError as error:
            return _refused(str(error), 503)
        return JsonResponse(
            {
                "api_key": permit.api_key,
                "policy": permit.policy,
                "signature": permit.signature,
                # Not as a time: the browser's clock may differ.
                "expires_in": (permit.expires_at - timezone.now()).total_seconds(),
                "upload_url": permit.upload_url,
                "store": rules.storage.options,
            }
        )

    def upload_stored(self, request: HttpRequest) -> JsonResponse:
        """Register a file that Filestack has stored; its webhook then changes nothing.

        If necessary, Filestack confirms where the file is stored: see
        :func:`filestack_tags.assets.upload_policy.confirmed`.
        """
        if not self.has_add_permission(request):
            return _refused(_("You do not have permission to add assets."), 403)
        form = StoredForm(request.POST)
        if not form.is_valid():
            text = " ".join(str(text) for texts in form.errors.values() for text in texts)
            return _refused(text, 400)
        cleaned = form.cleaned_data
        facts = Facts(
            filename=cleaned["filename"] or None,
            mimetype=cleaned["mimetype"] or None,
            size=cleaned["size"],
            container=cleaned["container"] or None,
            key=cleaned["key"] or None,
            store_status=cleaned["status"] or None,
        )
        try:
            asset, created = tasks.register(
                Source.handle(cleaned["handle"]),
                facts=upload_policy.confirmed(
                    cleaned["handle"], facts, user=request.user, request=request
                ),
                user=cast("AbstractBaseUser", request.user),  # admin pages require a login
                trigger="admin",
                within=scope_of(request.user),
            )
        except (OutOfScope, UploadRefused) as error:
            return _refused(str(error), 400)
        except FilestackError:
            text = _("Filestack could not confirm the upload. Try again later.")
            return _refused(text, 503)
        except ConfigurationError as error:
            return _refused(str(error), 503)
        asset.is_new_here = created  # type: ignore[attr-defined]  # set only in that case
        self.log_addition(request, asset, [{"added": {}}])
        return JsonResponse({"assets": self._rows(request, [asset])})

    def upload_tags(self, request: HttpRequest) -> JsonResponse:
        """Return the tagging progress of files that this user uploaded."""
        if not self.has_add_permission(request):
            return _refused(_("You do not have permission to add assets."), 403)
        ids = request.GET.getlist("id")
        if not all(map(is_number, ids)) or len(ids) > WATCHED:
            text = _("Invalid asset IDs. Send at most %(most)d numbers.") % {"most": WATCHED}
            return _refused(text, 400)
        assets = self.get_queryset(request).filter(pk__in=ids, uploader=request.user)
        return JsonResponse({"assets": self._rows(request, list(assets))})

    def _rows(self, request: HttpRequest, assets: Sequence[Asset]) -> list[dict[str, Any]]:
        badges = badges_of(assets)
        may_look = self.has_view_permission(request)
        picture = self.pictures(64)
        return [
            {
                "id": asset.pk,
                "state": asset.tagging_state,
                "settled": asset.tagging_state not in UNSETTLED,
                "html": render_to_string(
                    "filestack_tags/admin/upload_asset.html",
                    {
                        "asset": asset,
                        "tags": render_badges(badges[asset.pk], most=BADGES)
                        if asset.pk in badges
                        else "",
                        "picture": picture(asset),
                        "url": reverse(
                            "admin:filestack_tags_asset_change",
                            args=(asset.pk,),
                            current_app=self.admin_site.name,
                        )
                        if may_look
                        else "",
                    },
                ),
            }
            for asset in assets
        ]


def _refused(text: str, status: int) -> JsonResponse:
    return JsonResponse({"error": text}, status=status)


@cache
def _limiter() -> Throttled:
    return Throttled(
        using="fixed_window", quota=per_min(PERMITS_PER_MINUTE), store=MemoryStore()
    )
