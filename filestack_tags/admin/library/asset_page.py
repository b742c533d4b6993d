"""The page of one asset: its picture, facts, tags with all users' decisions, and history."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
)
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from filestack_tags import curation, tasks
from filestack_tags.admin.display import raw_block, sensitive_mark, text_block
from filestack_tags.admin.forms import AddTagForm, RegisterForm
from filestack_tags.admin.login_redirect import post_only
from filestack_tags.admin.records.run_history import RunHistory
from filestack_tags.admin.review.decide import (
    DECIDED,
    confirmation_parameters,
    conflict_message,
    current_user,
    decide,
    question,
)
from filestack_tags.assets.registry import Facts
from filestack_tags.assets.sensitive import unapproved_ids
from filestack_tags.assets.thumbnails import thumbnail_response
from filestack_tags.assets.visibility import (
    asset_tags_named_to,
    decisions_of,
    scope_of,
    sees_everything,
)
from filestack_tags.conf import get_settings
from filestack_tags.exceptions import CurationError, DecidedMeanwhile, OutOfScope
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, AssetTag
from filestack_tags.operations.status import not_configured
from filestack_tags.search.visible_tags import visible_asset_tags
from filestack_tags.tagging import workflows

from .cells import picture
from .changelist import CAME_FROM

RECENT = 5
"""Runs and deliveries shown on the page."""

PICTURE = 320
"""Height of the picture on the page, in pixels."""

PICTURES = (64, 160, PICTURE)
"""Heights of the pictures on all pages."""

LAST = 5
"""Decisions that the page offers to undo."""


class AssetPage(RunHistory):
    """The pages of one asset: register it, view it, decide about its tags.

    Facts come from Filestack and are not edited here, so no user "changes" an asset in Django's
    sense; the permission ``change_asset`` allows decisions about its tags.
    """

    form = RegisterForm
    service_errors = (OutOfScope,)
    add_form_template = "admin/change_form.html"
    change_form_template = "filestack_tags/admin/asset_page.html"
    fieldsets = (
        (
            gettext_lazy("File details"),
            {
                "fields": (
                    "kind",
                    "reference",
                    "mimetype",
                    "file_size",
                    "dimensions",
                    "container",
                    "key",
                    "store_status",
                    "upload_tags_shown",
                    "uploader",
                    "uploaded_at",
                    "created_at",
                    "updated_at",
                    "deleted_at",
                )
            },
        ),
        (
            gettext_lazy("Tagging"),
            {
                "fields": (
                    "tagging_state",
                    "tags_at",
                    "content_version",
                    "tags_version",
                    "attempts",
                    "due_at",
                    "error",
                    "current_run",
                )
            },
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        decide = path(
            "<int:pk>/decide/",
            self.admin_site.admin_view(post_only(self.decide, self._decided_at)),
            name="filestack_tags_asset_decide",
        )
        thumbnail = path(
            "<int:pk>/thumbnail/",
            # cacheable: otherwise Django's admin disables caching in browsers
            self.admin_site.admin_view(require_safe(self.thumbnail), cacheable=True),
            name="filestack_tags_asset_thumbnail",
        )
        return [decide, thumbnail, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: Any = super().get_queryset(request)
        narrowed: QuerySet[Any] = rows.within(scope_of(request.user))
        return narrowed

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # assets are archived, and can be restored

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("filestack_tags.change_asset")

    def has_tag_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("filestack_tags.tag_asset")

    def has_archive_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("filestack_tags.delete_asset")

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is not None:
            kwargs["form"] = ModelForm  # facts are shown without help texts for editing
        return super().get_form(request, obj, change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None:
            return self.fieldsets
        tag = ("tag",) if self.has_tag_permission(request) else ()
        return ((None, {"fields": ("reference", "filename", "mimetype", *tag)}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        computed = ("file_size", "dimensions", "upload_tags_shown", "error")
        return (*computed, "created_at", "updated_at") if obj else ()

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"tag": get_settings().AUTO_TAG}

    # Registering

    def service_error_message(self, error: Exception) -> str:
        return _("You do not have permission to register this file.")

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Asset:
        """Register the file of the form. A known file is not registered twice."""
        cleaned = form.cleaned_data
        asset, created = tasks.register(
            Source.parse(cleaned["reference"]),
            facts=Facts(
                filename=cleaned["filename"] or None, mimetype=cleaned["mimetype"] or None
            ),
            user=current_user(request),
            trigger="admin",
            # Without the permission the field is not shown, and AUTO_TAG decides.
            tag=cleaned["tag"] if self.has_tag_permission(request) else None,
            within=scope_of(request.user),
        )
        asset.is_new_here = created  # type: ignore[attr-defined]  # for the two methods below
        return asset

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Do nothing: :meth:`save_form` has called the service."""

    def save_related(
        self, request: HttpRequest, form: Any, formsets: Any, change: bool
    ) -> None:
        """Do nothing: an asset has no other forms."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return super().log_addition(request, obj, message) if obj.is_new_here else None

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        if problem := not_configured():
            messages.warning(request, problem)
        if obj.is_new_here or "_popup" in request.POST:
            return super().response_add(request, obj, post_url_continue)
        messages.info(request, _("This file is already registered. This is its asset."))
        return HttpResponseRedirect(self._url(obj.pk))

    # Viewing

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        asset = self.get_object(request, object_id)
        if asset is None or request.method != "GET":
            return super().change_view(request, object_id, form_url, extra_context)
        seen = curation.newest_decisions([asset.pk]).get(asset.pk, 0)
        return super().change_view(
            request,
            object_id,
            form_url,
            {
                **(extra_context or {}),
                "seen": seen,
                "decided": request.GET.get(DECIDED, ""),
                "question": question(request.GET, current_user(request)),
                "without_question": self._url(asset.pk) + _came_from(request),
                "asset": asset,
                "picture": self.pictures(PICTURE)(asset),
                "rows": _rows(asset, request.user),
                "may_decide": self.has_decide_permission(request),
                "may_tag": self.has_tag_permission(request),
                "workflows": sorted(workflows.taggers().keys() - {get_settings().TAGGER}),
                "decisions": decisions_of(request.user)
                .filter(asset=asset)
                .select_related("tag", "user", "undone_by")[:LAST],
                "decide_url": self._url(asset.pk, "decide") + _came_from(request),
                "can_change": True,
                "may_archive": self.has_archive_permission(request),
                "add_form": AddTagForm(prefix="add"),
                "runs": asset.runs.defer("raw_reply")[:RECENT],
                "deliveries": asset.deliveries.defer("raw_body", "headers")[:RECENT],
                "may_see_runs": request.user.has_perm("filestack_tags.view_taggingrun"),
                "may_see_deliveries": request.user.has_perm(
                    "filestack_tags.view_webhookdelivery"
                )
                and sees_everything(request.user),
            },
        )

    def thumbnail(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return the picture of an asset that the user may see, or has uploaded."""
        height = request.GET.get("height", "")
        if height not in {str(2 * each) for each in PICTURES}:
            raise Http404
        assets = self.get_queryset(request)
        if not self.has_view_permission(request):
            if not self.has_add_permission(request):
                raise PermissionDenied
            assets = assets.filter(uploader=request.user)
        return thumbnail_response(request, get_object_or_404(assets, pk=pk), height=int(height))

    def pictures(self, height: int) -> Callable[[Asset], SafeString]:
        """Return a function that renders the picture of an asset, ``height`` pixels high.

        The file has twice as many pixels, for high-density screens. Its URL contains the content
        version, so that a browser with a cached picture fetches an overwritten one again.
        """
        before, _pk, after = self._url(0, "thumbnail").rpartition("0")
        return lambda asset: picture(
            asset,
            height=height,
            url=f"{before}{asset.pk}{after}?height={2 * height}&v={asset.content_version}",
        )

    @admin.display(description=gettext_lazy("size"))
    def file_size(self, asset: Asset) -> str:
        return "–" if asset.size is None else filesizeformat(asset.size)

    @admin.display(description=gettext_lazy("dimensions"))
    def dimensions(self, asset: Asset) -> str:
        if asset.width is None and asset.height is None:
            return "–"
        return f"{asset.width or '?'} × {asset.height or '?'}"

    @admin.display(description=gettext_lazy("upload tags"))
    def upload_tags_shown(self, asset: Asset) -> str | SafeString:
        return raw_block(json.dumps(asset.upload_tags) if asset.upload_tags else "")

    @admin.display(description=gettext_lazy("last error"))
    def error(self, asset: Asset) -> str | SafeString:
        return text_block(asset.error)

    # Deciding

    def decide(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Accept, reject, withdraw or add, depending on the button."""
        if not (self.has_view_permission(request) and self.has_decide_permission(request)):
            raise PermissionDenied
        asset = get_object_or_404(self.get_queryset(request), pk=pk)
        parameters: dict[str, Any] = {}
        try:
            done = decide(asset.pk, request.POST, current_user(request))
        except DecidedMeanwhile as error:
            messages.error(request, conflict_message(error))
            parameters = confirmation_parameters(request.POST, error)
        except CurationError as error:
            messages.error(request, str(error))
        else:
            self.log_change(request, asset, done.text)
            messages.success(request, done.text)
            parameters = done.parameters(request)
        return HttpResponseRedirect(
            f"{self._url(asset.pk)}{_came_from(request, **parameters)}#tags"
        )

    def _decided_at(self, request: HttpRequest, pk: int) -> str:
        return self._url(pk) + _came_from(request)

    def asset_url(self) -> Callable[[int], str]:
        """Return a function that returns the URL of an asset's page, for a list of them."""
        before, _pk, after = self._url(0).rpartition("0")
        return lambda pk: f"{before}{pk}{after}"

    def _url(self, pk: int, page: str = "change") -> str:
        name = f"admin:filestack_tags_asset_{page}"
        return reverse(name, args=(pk,), current_app=self.admin_site.name)


def _came_from(request: HttpRequest, **more: Any) -> str:
    """Return the parameter for the list that led to the page, and others, as a query string."""
    came_from = request.GET.get(CAME_FROM, "")
    parameters = {CAME_FROM: came_from, **more} if came_from else more
    return f"?{urlencode(parameters)}" if parameters else ""


def _rows(asset: Asset, user: Any) -> list[AssetTag]:
    """Return the asset's tags that the user may see by name: visible first, rejected last."""
    rows = asset_tags_named_to(user, asset.asset_tags.select_related("tag", "decided_by"))
    visible = set(visible_asset_tags(asset.asset_tags.all()).values_list("tag_id", flat=True))
    unapproved = unapproved_ids(rows.db)
    ordered = list(rows.order_by("-confidence", "tag__key"))
    for row in ordered:
        row.is_visible = row.tag_id in visible  # type: ignore[attr-defined]  # for the template
        row.is_withheld = row.tag_id in unapproved  # type: ignore[attr-defined]  # likewise
        row.mark = sensitive_mark(row.tag.key)  # type: ignore[attr-defined]  # likewise
    rejected = AssetTag.Decision.REJECTED
    return sorted(
        ordered, key=lambda row: (row.decision == rejected, row.tag_id not in visible)
    )
