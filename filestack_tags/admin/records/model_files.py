"""The files of host models: which asset each became, or why not."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from filestack_tags import tasks
from filestack_tags.admin.base import UnscopedAdmin
from filestack_tags.admin.display import link_to, text_block
from filestack_tags.assets.visibility import sees_everything
from filestack_tags.models import ModelFile


@admin.register(ModelFile)
class ModelFileAdmin(UnscopedAdmin):
    list_display = ("__str__", "name", "asset_link", "state", "attempts", "updated_at")
    list_select_related = ("asset",)
    list_filter = ("state",)
    sortable_by = ()
    search_fields = ("row__exact",)
    search_help_text = _("Searches for a complete primary key.")
    actions = ("try_again",)
    fieldsets = (
        (None, {"fields": ("field", "row", "name", "asset_link", "state", "why")}),
        (_("Timeline"), {"fields": ("due_at", "attempts", "updated_at", "version", "sha256")}),
    )

    def has_try_permission(self, request: HttpRequest) -> bool:
        allowed = request.user.has_perm("filestack_tags.change_modelfile")
        return allowed and sees_everything(request.user)

    @admin.action(description=_("Retry selected files"), permissions=["try"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[ModelFile]) -> None:
        count = tasks.retry_model_files(list(queryset.values_list("pk", flat=True)))
        text = ngettext(
            "%(count)d file is being retried.", "%(count)d files are being retried.", count
        )
        level = messages.SUCCESS if count else messages.WARNING
        self.message_user(request, text % {"count": count}, level)

    @admin.display(description=_("asset"))
    def asset_link(self, entry: ModelFile) -> str | SafeString:
        return link_to(entry.asset, self.admin_site.name)

    @admin.display(description=_("error"))
    def why(self, entry: ModelFile) -> str | SafeString:
        return text_block(entry.error)
