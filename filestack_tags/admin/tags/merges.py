"""Merges of tags: start one with a preview, show its progress, and undo it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from filestack_tags import tasks
from filestack_tags.admin.base import UnscopedAdmin
from filestack_tags.admin.forms import require_tag
from filestack_tags.admin.login_redirect import post_only
from filestack_tags.assets.visibility import sees_everything
from filestack_tags.curation import merging
from filestack_tags.db.text import MAX_LABEL_LENGTH
from filestack_tags.exceptions import CurationError
from filestack_tags.models import Tag, TagMerge
from filestack_tags.search.completion import complete

SUGGESTED = 200
"""Names that the browser suggests for the target."""


class TargetForm(forms.Form):
    """The tag that another one is merged into, by its name or an alias."""

    target = forms.CharField(
        label=gettext_lazy("Merge into"),
        max_length=MAX_LABEL_LENGTH,
        widget=forms.TextInput(
            attrs={"list": "fst-targets", "dir": "auto", "autocomplete": "off"}
        ),
    )

    def clean_target(self) -> Tag:
        return require_tag(self.cleaned_data["target"])


def may_undo_merges(user: Any) -> bool:
    """Whether a user may undo merges, which affect all assets."""
    return bool(user.has_perm("filestack_tags.change_tag") and sees_everything(user))


def merge_view(model_admin: Any, request: HttpRequest, pk: int) -> HttpResponse:
    """Show what merging the tag into ``?target=`` would do; POST starts the merge."""
    tag = Tag.objects.filter(pk=pk).first()
    if tag is None:
        raise Http404
    if not model_admin.has_change_permission(request, tag):
        raise PermissionDenied
    data = request.POST if request.method == "POST" else request.GET
    form = TargetForm(data if "target" in data else None)
    preview = target = None
    if form.is_bound and form.is_valid():
        target = form.cleaned_data["target"]
        try:
            if request.method == "POST":
                merge = tasks.merge(pk, target.pk, user=request.user)  # type: ignore[arg-type]  # a staff user
                url = "admin:filestack_tags_tagmerge_change"
                return HttpResponseRedirect(
                    reverse(url, args=(merge.pk,), current_app=model_admin.admin_site.name)
                )
            preview = merging.preview(pk, target.pk)
        except CurationError as error:
            form.add_error("target", str(error))
    context = {
        **model_admin.page_context(
            request, _("Merge “%(tag)s” into another tag") % {"tag": tag.name}
        ),
        "tag": tag,
        "target": target,
        "form": form,
        "preview": preview,
        "suggestions": [
            tag_choice.name
            for tag_choice in complete("", limit=SUGGESTED, include_hidden=True)
            if tag_choice.tag_id != pk
        ],
    }
    return render(request, "filestack_tags/admin/merge.html", context)


@admin.register(TagMerge)
class TagMergeAdmin(UnscopedAdmin):
    change_form_template = "filestack_tags/admin/tag_merge.html"
    list_display = ("__str__", "state", "progress", "both", "conflicts", "started_by")
    list_filter = ("state",)
    list_select_related = ("started_by",)
    sortable_by = ()
    fields = (
        "source_name",
        "target_name",
        "state",
        "error",
        "progress",
        "both",
        "conflicts",
        "started_by",
        "started_at",
        "undone_by",
        "updated_at",
    )

    def get_urls(self) -> list[Any]:
        undo = self.admin_site.admin_view(post_only(self.undo_view, self._page))
        return [
            path("<int:pk>/undo/", undo, name="filestack_tags_tagmerge_undo"),
            *super().get_urls(),
        ]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("filestack_tags.view_tag") and sees_everything(
            request.user
        )

    def has_undo_permission(self, request: HttpRequest) -> bool:
        return may_undo_merges(request.user)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        merge = self.get_object(request, object_id)
        may_undo = self.has_undo_permission(request)
        context = {
            "is_at_work": merge is not None and merge.is_at_work,
            "may_undo": may_undo and merge is not None and merge.can_be_undone,
        }
        return super().change_view(
            request, object_id, form_url, {**context, **(extra_context or {})}
        )

    def undo_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_undo_permission(request):
            raise PermissionDenied
        try:
            tasks.undo_merge(pk, user=request.user)  # type: ignore[arg-type]  # a staff user
        except TagMerge.DoesNotExist as error:
            raise Http404 from error
        except CurationError as error:
            messages.error(request, str(error))
        return HttpResponseRedirect(self._page(request, pk))

    def _page(self, request: HttpRequest, pk: int) -> str:
        url = "admin:filestack_tags_tagmerge_change"
        return reverse(url, args=(pk,), current_app=self.admin_site.name)

    @admin.display(description=gettext_lazy("progress"))
    def progress(self, merge: TagMerge) -> SafeString:
        return format_html(
            '<progress max="{}" value="{}"></progress> {} / {}',
            max(merge.assets, 1),
            merge.done if merge.assets else int(merge.state in TagMerge.COMPLETE),
            merge.done,
            merge.assets,
        )
