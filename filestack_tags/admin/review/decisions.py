"""The log of decisions: show it, and undo decisions."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import SEARCH_VAR
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from filestack_tags import curation
from filestack_tags.admin.base import ReadOnlyAdmin
from filestack_tags.admin.display import link_to
from filestack_tags.admin.tags.merges import may_undo_merges
from filestack_tags.admin.tags.tags import tags_named
from filestack_tags.assets.visibility import decisions_of, sees_everything, sees_hidden_tags
from filestack_tags.models import TagDecision, TagMerge

from .decide import ORIGIN, current_user

LAST_MERGES = 5
"""Merges of tags that are shown above the log; all of them have their own list."""

MAX_ERRORS = 5
"""Maximum decisions for which the page explains why they could not be undone."""


@admin.register(TagDecision)
class TagDecisionAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at",
        "who",
        "act",
        "tag_link",
        "asset_link",
        "confidences",
        "origin",
        "undone",
    )
    list_select_related = ("asset", "tag", "user", "undone_by")
    change_list_template = "filestack_tags/admin/decision_log.html"
    list_filter = ("act", "origin")
    sortable_by = ()
    search_fields = ("tag__key",)
    search_help_text = _(
        "Searches for part of a tag name or alias, or for a complete username."
    )
    actions = ("undo",)
    fieldsets = (
        (None, {"fields": ("created_at", "who", "act", "tag_link", "asset_link")}),
        (
            _("Timeline"),
            {"fields": ("confidences", "origin", "job", "undoes", "undone")},
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[TagDecision]:
        visible = decisions_of(request.user)
        decisions: QuerySet[TagDecision] = super().get_queryset(request)
        return decisions & visible

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term.strip():
            return queryset, False
        matches = Q(tag__in=tags_named(search_term).values("pk"))
        return queryset.filter(matches | Q(user__in=_users_named(search_term))), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the log, with the last merges of tags above it: each decided about many assets."""
        merges = _last_merges(request)
        context = {
            "merges": [(merge, merge.can_be_undone) for merge in merges],
            "may_undo_merges": bool(merges) and may_undo_merges(request.user),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def has_undo_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("filestack_tags.change_asset")

    @admin.action(description=_("Undo selected decisions"), permissions=["undo"])
    def undo(self, request: HttpRequest, queryset: QuerySet[TagDecision]) -> None:
        """Undo the selected decisions, the last ones first; explain which could not be undone."""
        ids = list(queryset.values_list("pk", flat=True))
        outcomes = curation.undo_many(ids, user=current_user(request), origin=ORIGIN)
        count = sum(outcome.decision_id is not None for outcome in outcomes)
        text = ngettext("%(count)d decision undone.", "%(count)d decisions undone.", count)
        level = messages.SUCCESS if count else messages.WARNING
        self.message_user(request, text % {"count": count}, level)
        errors = [str(outcome.error) for outcome in outcomes if outcome.error]
        for error in errors[:MAX_ERRORS]:
            self.message_user(request, error, messages.ERROR)
        if (more := len(errors) - MAX_ERRORS) > 0:
            text = gettext("%(count)d more could not be undone.")
            self.message_user(request, text % {"count": more}, messages.ERROR)

    @admin.display(description=_("user"))
    def who(self, decision: TagDecision) -> str:
        return str(decision.user or "–")

    @admin.display(description=_("tag"))
    def tag_link(self, decision: TagDecision) -> str | SafeString:
        return link_to(decision.tag, self.admin_site.name)

    @admin.display(description=_("asset"))
    def asset_link(self, decision: TagDecision) -> str | SafeString:
        return link_to(decision.asset, self.admin_site.name)

    @admin.display(description=_("confidence"))
    def confidences(self, decision: TagDecision) -> str:
        """Confidence before and after; a dash if the asset did not have the tag."""
        before, after = decision.before_confidence, decision.after_confidence
        if before == after:
            return str(after)
        return f"{_format_confidence(before)} → {_format_confidence(after)}"

    @admin.display(description=_("undone"), boolean=True)
    def undone(self, decision: TagDecision) -> bool:
        return getattr(decision, "undone_by", None) is not None


def _last_merges(request: HttpRequest) -> list[TagMerge]:
    """Return the last merges, of the tag or the user in the log's search."""
    user = request.user
    if not (
        user.has_perm("filestack_tags.view_tag")
        and sees_everything(user)
        and (sees_hidden_tags(user) or may_undo_merges(user))
    ):
        return []
    merges = TagMerge.objects.select_related("started_by", "undone_by")
    text = request.GET.get(SEARCH_VAR, "").strip()
    if text and "\x00" not in text:
        users = _users_named(text)
        merges = merges.filter(
            Q(source_name__icontains=text)
            | Q(target_name__icontains=text)
            | Q(target_id__in=tags_named(text).values("pk"))
            | Q(started_by__in=users)
            | Q(undone_by__in=users)
        )
    return list(merges.order_by("-pk")[:LAST_MERGES])


def _users_named(name: str) -> QuerySet[Any]:
    users = get_user_model()
    matches = users._base_manager.filter(**{users.USERNAME_FIELD: name.strip()})
    return matches.values("pk")


def _format_confidence(confidence: int | None) -> str:
    return "–" if confidence is None else str(confidence)
