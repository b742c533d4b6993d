"""Usage, circuit breakers and heartbeats of scheduled tasks, all read-only."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import path
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from filestack_tags.admin.base import UnscopedAdmin
from filestack_tags.admin.display import raw_block, text_block
from filestack_tags.assets.visibility import sees_everything
from filestack_tags.models import Backfill, Circuit, DailyUsage, Heartbeat
from filestack_tags.tagging import circuit_breaker

from .report import operations_view


@admin.register(Circuit)
class CircuitAdmin(UnscopedAdmin):
    list_display = ("__str__", "is_open", "opened_at", "retry_at", "error_code", "reason")
    sortable_by = ()
    actions = ("try_again",)
    fieldsets = (
        (None, {"fields": ("tagger", "is_open", "why")}),
        (
            _("Timeline"),
            {"fields": ("opened_at", "retry_at", "opened_times", "failures", "error_code")},
        ),
    )

    def has_try_permission(self, request: HttpRequest) -> bool:
        allowed = request.user.has_perm("filestack_tags.change_circuit")
        return allowed and sees_everything(request.user)

    @admin.action(description=_("Resume calls now"), permissions=["try"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[Circuit]) -> None:
        taggers = list(queryset.values_list("tagger", flat=True))
        closed = sum(circuit_breaker.close(tagger) for tagger in taggers)
        text = ngettext(
            "Calls to %(count)d tagger were resumed.",
            "Calls to %(count)d taggers were resumed.",
            closed,
        )
        level = messages.SUCCESS if closed else messages.WARNING
        self.message_user(request, text % {"count": closed}, level)

    @admin.display(description=_("active"), boolean=True)
    def is_open(self, row: Circuit) -> bool:
        return row.opened_at is None

    @admin.display(description=_("reason"))
    def why(self, row: Circuit) -> str | SafeString:
        return text_block(row.reason)


@admin.register(DailyUsage)
class DailyUsageAdmin(UnscopedAdmin):
    list_display = ("day", "calls")
    sortable_by = ()
    date_hierarchy = "day"


@admin.register(Heartbeat)
class HeartbeatAdmin(UnscopedAdmin):
    list_display = ("__str__", "finished_at", "result")
    sortable_by = ()
    fields = ("name", "finished_at", "result")

    def get_urls(self) -> list[Any]:
        page = self.admin_site.admin_view(partial(operations_view, self))
        return [
            path("operations/", page, name="filestack_tags_operations"),
            *super().get_urls(),
        ]

    @admin.display(description=_("result"))
    def result(self, row: Heartbeat) -> str:
        return (
            ", ".join(f"{what} {number}" for what, number in sorted(row.found.items())) or "–"
        )


@admin.register(Backfill)
class BackfillAdmin(UnscopedAdmin):
    list_display = ("__str__", "query", "state", "started_at", "updated_at", "finished_at")
    list_filter = ("state",)
    sortable_by = ()
    fieldsets = (
        (None, {"fields": ("query", "state", "options_block", "counts_block")}),
        (_("Timeline"), {"fields": ("started_at", "updated_at", "finished_at", "position")}),
    )

    @admin.display(description=_("options"))
    def options_block(self, row: Backfill) -> str | SafeString:
        return raw_block(json.dumps(row.options) if row.options else "")

    @admin.display(description=_("counts"))
    def counts_block(self, row: Backfill) -> str | SafeString:
        return raw_block(json.dumps(row.counts) if row.counts else "")
