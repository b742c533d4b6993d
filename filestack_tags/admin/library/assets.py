"""The asset list: show and search assets, and tag them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from filestack_tags import tasks
from filestack_tags.admin.explain import explained, hinted
from filestack_tags.admin.review.queue import ReviewPages
from filestack_tags.assets import registry
from filestack_tags.conf import get_settings
from filestack_tags.curation import bulk
from filestack_tags.exceptions import SearchError
from filestack_tags.models import Asset, AssetQuerySet
from filestack_tags.search import Search
from filestack_tags.tagging import workflows

from .changelist import AssetChangeList, KeysetChangeList, QueryOnlyChangeList
from .filters import (
    AssetTagFilter,
    ChoiceFilter,
    PresenceFilter,
    TypeFilter,
    shows_archived,
)
from .search_pages import AssetSearchPages, is_query_only
from .uploads import UploadScreen


@admin.register(Asset)
class AssetAdmin(UploadScreen, ReviewPages, AssetSearchPages):
    list_display = ("picture", "name", "tag_badges", "state", "mimetype", "uploaded_at")
    list_display_links = None
    sortable_by = ("uploaded_at",)
    list_filter = (
        AssetTagFilter,
        ("tagging_state", ChoiceFilter),
        TypeFilter,
        ("kind", ChoiceFilter),
        PresenceFilter,
    )
    search_fields = ("filename",)
    search_help_text = gettext_lazy(
        "sky · sky>=80 · “no person” · beach OR sea · -person>=50 · bea* · sky@accepted · "
        "untagged · status:failed · type:image/* · name:IMG_* · uploaded:>=2026-01"
    )
    actions = ("in_bulk", "tag_now", "retag", "archive", "restore")
    confirmed_actions = ("archive",)
    own_page_actions = ("delete_selected", "in_bulk")

    @property
    def shows_only_our_columns(self) -> bool:
        return self.list_display is AssetAdmin.list_display

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Use keyset pages, unless a host has its own search."""
        if type(self).get_search_results is not AssetAdmin.get_search_results:
            return AssetChangeList
        return QueryOnlyChangeList if is_query_only(request) else KeysetChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search in the search language; if the search is invalid, say why and show nothing."""
        try:
            search = Search(search_term, user=request.user, using=queryset.db)
            matches = search.assets(queryset, archived=shows_archived(request))
            hints = search.hints()
        except SearchError as error:
            if _is_list(request):
                messages.error(request, explained(error, search_term))
            return queryset.none(), False
        if _is_list(request):
            for hint in hints:
                messages.warning(request, hinted(hint))
        return matches, False

    def has_bulk_permission(self, request: HttpRequest) -> bool:
        """Whether the user may start any bulk job; an export only requires ``view_asset``."""
        return request.user.has_perm(bulk.PERMISSIONS["export"])

    @admin.action(
        description=gettext_lazy("Change or export selected assets in a bulk job"),
        permissions=["bulk"],
    )
    def in_bulk(self, request: HttpRequest, queryset: AssetQuerySet) -> HttpResponse | None:
        """Open the form for a bulk job about all matches, or about the selected assets."""
        if request.POST.get("select_across") == "1":
            list_request = getattr(self.get_changelist_instance(request), "list_request", None)
            if list_request is None:
                self.message_user(
                    request,
                    _(
                        "A bulk job needs a search, but this list has a filter or an order "
                        "that a search cannot express. Remove the filter or the order, or "
                        "select the assets page by page."
                    ),
                    messages.ERROR,
                )
                return None
            parameters = {"query": str(list_request.search)}
        else:
            ids = request.POST.getlist(ACTION_CHECKBOX_NAME)
            parameters = {"asset_ids": ",".join(ids)}
        page = reverse("admin:filestack_tags_bulkjob_ask", current_app=self.admin_site.name)
        return HttpResponseRedirect(f"{page}?{urlencode(parameters)}")

    @admin.action(description=gettext_lazy("Tag selected assets now"), permissions=["tag"])
    def tag_now(self, request: HttpRequest, queryset: AssetQuerySet) -> None:
        self._request_tagging(request, queryset, force=False)

    @admin.action(description=gettext_lazy("Re-tag selected assets"), permissions=["tag"])
    def retag(self, request: HttpRequest, queryset: AssetQuerySet) -> None:
        self._request_tagging(request, queryset, force=True)

    @admin.action(description=gettext_lazy("Archive selected assets"), permissions=["archive"])
    def archive(self, request: HttpRequest, queryset: AssetQuerySet) -> None:
        count = _count_done(registry.archive, queryset)
        text = ngettext("%(count)d asset archived.", "%(count)d assets archived.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)

    @admin.action(description=gettext_lazy("Restore selected assets"), permissions=["archive"])
    def restore(self, request: HttpRequest, queryset: AssetQuerySet) -> None:
        count = _count_done(registry.restore, queryset)
        text = ngettext("%(count)d asset restored.", "%(count)d assets restored.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        # Django 6.1 passes each place that shows actions; before, there was only the list.
        place = {} if action_location is None else {"action_location": action_location}
        actions: dict[str, Any] = super().get_actions(request, **place)
        is_archive = shows_archived(request)
        for name in ("in_bulk", "tag_now", "retag", "archive") if is_archive else ("restore",):
            actions.pop(name, None)
        # Users who may re-tag here may use any workflow, except the one that is the default tagger.
        if "retag" in actions:
            taggers = workflows.taggers().keys() - {get_settings().TAGGER}
            for tagger in sorted(taggers):
                actions[tagger] = self.get_action(_by_workflow(tagger))
        return actions

    # Columns, which the page renders itself

    @admin.display(description=mark_safe('<input type="checkbox" id="action-toggle">'))
    def action_checkbox(self, asset: Any) -> SafeString:
        return asset.cells.checkbox(asset)  # type: ignore[no-any-return]  # an annotation

    @admin.display(description=gettext_lazy("preview"))
    def picture(self, asset: Any) -> SafeString:
        return asset.cells.picture(asset)  # type: ignore[no-any-return]  # likewise

    @admin.display(description=gettext_lazy("file name"))
    def name(self, asset: Any) -> SafeString:
        return asset.cells.name(asset)  # type: ignore[no-any-return]  # likewise

    @admin.display(description=gettext_lazy("tags"))
    def tag_badges(self, asset: Any) -> SafeString:
        return asset.cells.badges(asset)  # type: ignore[no-any-return]  # likewise

    @admin.display(description=gettext_lazy("tagging"))
    def state(self, asset: Any) -> SafeString:
        return asset.cells.state(asset)  # type: ignore[no-any-return]  # likewise

    def _request_tagging(
        self,
        request: HttpRequest,
        queryset: AssetQuerySet,
        *,
        force: bool,
        tagger: str = "",
    ) -> None:
        ids = list(queryset.order_by("pk").values_list("pk", flat=True))
        queued = len(tasks.request_tagging(ids, trigger="admin", force=force, tagger=tagger))
        text = ngettext("%(count)d asset queued.", "%(count)d assets queued.", queued)
        self.message_user(
            request,
            text % {"count": queued},
            messages.SUCCESS if queued else messages.WARNING,
        )
        if remaining := len(ids) - queued:
            text = (
                ngettext(
                    "%(count)d asset is already being tagged.",
                    "%(count)d assets are already being tagged.",
                    remaining,
                )
                if force
                else ngettext(
                    "%(count)d asset already has tags or is being tagged.",
                    "%(count)d assets already have tags or are being tagged.",
                    remaining,
                )
            )
            self.message_user(request, text % {"count": remaining}, messages.INFO)


def _by_workflow(tagger: str) -> Callable[..., None]:
    """Return the action that tags assets with a workflow."""

    def run(page: AssetAdmin, request: HttpRequest, queryset: AssetQuerySet) -> None:
        page._request_tagging(request, queryset, force=True, tagger=tagger)

    _kind, _colon, name = tagger.partition(":")
    label = (
        _("Run the workflow %(name)s on selected assets") % {"name": name}
        if name
        else _("Run the workflow on selected assets")
    )
    run.__name__ = tagger
    return admin.action(description=label)(run)


def _count_done(change: Callable[[int], bool], queryset: AssetQuerySet) -> int:
    ids = list(queryset.order_by("pk").values_list("pk", flat=True))
    return sum(change(pk) for pk in ids)


def _is_list(request: HttpRequest) -> bool:
    match = request.resolver_match
    return match is not None and str(match.url_name).endswith("_changelist")
