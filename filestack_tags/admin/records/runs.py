"""The tagging runs: what was tried, why, and the reply."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from filestack_tags.admin.base import ReadOnlyAdmin
from filestack_tags.admin.display import link_to, raw_block, text_block
from filestack_tags.assets.visibility import assets_of, sees_everything, sees_hidden_tags
from filestack_tags.error_codes import ErrorCode
from filestack_tags.models import TaggingRun
from filestack_tags.tagging import workflows
from filestack_tags.tagging.taggers import tagger_names


def _yes_or_no(value: object) -> str:
    return gettext("yes") if value else gettext("no")


class TaggerFilter(admin.SimpleListFilter):
    """The named taggers; those known only by a dotted path are under "other"."""

    title = _("tagger")
    parameter_name = "by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*((name, name) for name in tagger_names()), ("other", _("other"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() in tagger_names():
            return queryset.filter(tagger=self.value())
        return (
            queryset.exclude(tagger__in=tagger_names()) if self.value() == "other" else queryset
        )


@admin.register(TaggingRun)
class TaggingRunAdmin(ReadOnlyAdmin):
    heavy = ("raw_reply", "rule_results")
    list_display = (
        "__str__",
        "asset_link",
        "state",
        "trigger",
        "version",
        "started_at",
        "seconds",
        "error_code",
    )
    list_select_related = ("asset",)
    list_filter = ("state", "trigger", TaggerFilter)
    sortable_by = ()
    search_fields = ("job_id__exact", "workflow_id__exact", "error_code__exact")
    search_help_text = _("Searches for a complete job ID, workflow ID or error code.")
    fieldsets = (
        (None, {"fields": ("asset_link", "state", "trigger", "tagger", "version")}),
        (
            _("Timeline"),
            {
                "fields": (
                    "started_at",
                    "finished_at",
                    "seconds",
                    "result_at",
                    "content_version",
                    "workflow",
                    "job_id",
                    "delivery_link",
                )
            },
        ),
        (
            _("Reply"),
            {
                "fields": (
                    "http_status",
                    "error_code",
                    "error",
                    "fix",
                    "notes_block",
                    "rules",
                    "reply",
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        if sees_everything(request.user):
            return rows
        return rows.filter(asset__in=assets_of(request.user))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out the raw reply for users who may not see hidden tags, which it contains."""
        if sees_hidden_tags(request.user):
            return self.fieldsets
        *others, (title, options) = self.fieldsets
        fields = tuple(name for name in options["fields"] if name != "reply")
        return (*others, (title, {**options, "fields": fields}))

    @admin.display(description=_("asset"))
    def asset_link(self, run: TaggingRun) -> str | SafeString:
        return link_to(run.asset, self.admin_site.name)

    @admin.display(description=_("delivery"))
    def delivery_link(self, run: TaggingRun) -> str | SafeString:
        return link_to(run.delivery, self.admin_site.name)

    @admin.display(description=_("seconds"))
    def seconds(self, run: TaggingRun) -> str:
        if run.finished_at is None:
            return "–"
        return f"{(run.finished_at - run.started_at).total_seconds():.1f}"

    @admin.display(description=_("workflow"))
    def workflow(self, run: TaggingRun) -> str:
        return workflows.described(run.workflow_id) or "–"

    @admin.display(description=_("rules"))
    def rules(self, run: TaggingRun) -> str | SafeString:
        """The outcome of each rule when the result was applied."""
        results = sorted(run.rule_results.items())
        lines = format_html_join(
            "", "<li>{}: {}</li>", ((name, _yes_or_no(result)) for name, result in results)
        )
        return format_html('<ul dir="auto">{}</ul>', lines) if results else "–"

    @admin.display(description=_("error"))
    def error(self, run: TaggingRun) -> str | SafeString:
        return text_block(run.error)

    @admin.display(description=_("what to do"))
    def fix(self, run: TaggingRun) -> str:
        return ErrorCode.of_run(run.error_code).fix if run.error_code else "–"

    @admin.display(description=_("skipped"))
    def notes_block(self, run: TaggingRun) -> str | SafeString:
        """What was left out of the reply because it is invalid, and why."""
        return text_block(run.notes)

    @admin.display(description=_("raw reply"))
    def reply(self, run: TaggingRun) -> str | SafeString:
        return raw_block(run.raw_reply)
