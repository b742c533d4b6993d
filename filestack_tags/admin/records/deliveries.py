"""The webhook deliveries: what Filestack sent, and how it was processed."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from filestack_tags import tasks
from filestack_tags.admin.base import UnscopedAdmin
from filestack_tags.admin.display import link_to, raw_block, text_block
from filestack_tags.assets.visibility import sees_everything
from filestack_tags.error_codes import ErrorCode
from filestack_tags.models import WebhookDelivery
from filestack_tags.webhooks.handlers import HANDLERS


class ActionFilter(admin.SimpleListFilter):
    """The documented events; all others are under "other"."""

    title = _("action")
    parameter_name = "event"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*((name, name) for name in sorted(HANDLERS)), ("other", _("other"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() in HANDLERS:
            return queryset.filter(action=self.value())
        return queryset.exclude(action__in=HANDLERS) if self.value() == "other" else queryset


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(UnscopedAdmin):
    heavy = ("raw_body", "headers", "error")
    list_display = (
        "__str__",
        "asset_link",
        "state",
        "received_at",
        "processed_at",
        "attempts",
        "duplicates",
        "outcome",
    )
    list_select_related = ("asset",)
    list_filter = ("state", ActionFilter)
    sortable_by = ()
    search_fields = ("event_key__exact",)
    search_help_text = _("Searches for a complete event key.")
    actions = ("replay",)
    fieldsets = (
        (None, {"fields": ("action", "state", "outcome", "asset_link", "run_links")}),
        (
            _("Timeline"),
            {
                "fields": (
                    "received_at",
                    "processed_at",
                    "due_at",
                    "attempts",
                    "duplicates",
                    "event_key",
                    "error_code",
                    "last_error",
                    "fix",
                )
            },
        ),
        (_("Request"), {"fields": ("headers_block", "body")}),
    )

    def has_replay_permission(self, request: HttpRequest) -> bool:
        allowed = request.user.has_perm("filestack_tags.replay_webhookdelivery")
        return allowed and sees_everything(request.user)

    @admin.action(description=_("Replay selected deliveries"), permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        ids = list(queryset.order_by("pk").values_list("pk", flat=True))
        replayed = len(tasks.replay(ids))
        text = ngettext(
            "%(count)d delivery is being replayed.",
            "%(count)d deliveries are being replayed.",
            replayed,
        )
        level = messages.SUCCESS if replayed else messages.WARNING
        self.message_user(request, text % {"count": replayed}, level)
        if skipped := len(ids) - replayed:
            text = ngettext(
                "%(count)d delivery has not been processed yet and was skipped.",
                "%(count)d deliveries have not been processed yet and were skipped.",
                skipped,
            )
            self.message_user(request, text % {"count": skipped}, messages.WARNING)

    @admin.display(description=_("asset"))
    def asset_link(self, delivery: WebhookDelivery) -> str | SafeString:
        return link_to(delivery.asset, self.admin_site.name)

    @admin.display(description=_("runs"))
    def run_links(self, delivery: WebhookDelivery) -> str | SafeString:
        """The runs that it delivered a result for; their pages show the outcome of the rules."""
        runs = delivery.runs.defer("raw_reply").order_by("pk")
        links = ((link_to(run, self.admin_site.name), run.get_state_display()) for run in runs)
        return format_html_join(", ", "{} ({})", links) or "–"

    @admin.display(description=_("error"))
    def last_error(self, delivery: WebhookDelivery) -> str | SafeString:
        return text_block(delivery.error)

    @admin.display(description=_("what to do"))
    def fix(self, delivery: WebhookDelivery) -> str:
        return ErrorCode.of_delivery(delivery.error_code).fix if delivery.error_code else "–"

    @admin.display(description=_("headers"))
    def headers_block(self, delivery: WebhookDelivery) -> str | SafeString:
        return raw_block(json.dumps(delivery.headers) if delivery.headers else "")

    @admin.display(description=_("raw body"))
    def body(self, delivery: WebhookDelivery) -> str | SafeString:
        return raw_block(bytes(delivery.raw_body))
