"""Preview thresholds: how many assets remain at each, for one tag before saving, or globally."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from filestack_tags import curation
from filestack_tags.admin.changes import ChangesForm
from filestack_tags.assets.visibility import scope_of, sees_everything
from filestack_tags.conf import get_settings
from filestack_tags.db.transactions import alias, atomic, locked
from filestack_tags.exceptions import SearchTimeout
from filestack_tags.models import Tag
from filestack_tags.search import Search
from filestack_tags.search.threshold_preview import ALWAYS, preview


class ThresholdForm(forms.Form):
    """The minimum confidence of a tag; empty for the global minimum."""

    minimum = forms.IntegerField(
        label=gettext_lazy("Minimum confidence"),
        min_value=0,
        max_value=100,
        required=False,
        widget=forms.NumberInput(attrs={"min": 0, "max": 100}),
    )


class TagThresholdForm(ChangesForm, ThresholdForm):
    """The minimum of one tag, which another user may change concurrently."""


def minimum_view(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Show the effect of the global minimum, which is a setting, and of ``?minimum=``."""
    # It counts the assets of all users.
    if not (model_admin.has_view_permission(request) and sees_everything(request.user)):
        raise PermissionDenied
    least = get_settings().MIN_CONFIDENCE
    form = ThresholdForm(request.GET if "minimum" in request.GET else {"minimum": least})
    requested = form.cleaned_data.get("minimum") if form.is_valid() else None
    minimum = least if requested is None else requested
    found = preview(alias())
    total, all_assets = found.counts(0)
    stay, stay_assets = found.counts(minimum)
    highest = max(found.tags.values(), default=1)
    context = {
        **model_admin.page_context(request, _("Global minimum")),
        "form": form,
        "least": least,
        "minimum": minimum,
        "found": found,
        "always": ALWAYS,
        "total": total,
        "all_assets": all_assets,
        "stay": stay,
        "stay_assets": stay_assets,
        "bars": [
            {
                "score": until,
                "count": found.tags[until],
                "assets": found.assets.get(until, 0),
                "most": highest,
            }
            for until in sorted(found.tags)
        ],
    }
    return render(request, "filestack_tags/admin/minimum.html", context)


def threshold_view(model_admin: Any, request: HttpRequest, pk: int) -> HttpResponse:
    """Show the confidences of a tag, and the effect of ``?minimum=``; POST saves it."""
    tag = model_admin.get_queryset(request).filter(pk=pk).first()
    if tag is None:
        raise Http404
    if not model_admin.has_view_permission(request, tag):
        raise PermissionDenied
    may_change = model_admin.has_change_permission(request, tag)
    least = get_settings().MIN_CONFIDENCE
    if request.method == "POST":
        if not may_change:
            raise PermissionDenied
        with atomic():
            locked(Tag.objects.filter(pk=pk)).values_list("pk").first()
            tag.refresh_from_db(using=alias(), fields=("min_confidence",))
            form = TagThresholdForm(request.POST, initial={"minimum": tag.min_confidence})
            if form.is_valid():
                if form.has_changed():
                    curation.set_minimum(pk, form.cleaned_data["minimum"])
                messages.success(
                    request, _("The minimum was saved. Tags below it are hidden, not deleted.")
                )
                return HttpResponseRedirect(request.path)
    else:
        form = TagThresholdForm(
            request.GET if "minimum" in request.GET else None,
            initial={"minimum": tag.min_confidence},
        )
    counts: dict[int, int] = {}
    try:
        scope = scope_of(request.user)
        counts = Search("include:hidden", scope=scope, include_hidden=True).histogram(pk)
    except SearchTimeout as error:
        messages.error(request, error.message)
    requested = form.cleaned_data.get("minimum") if form.is_valid() else tag.min_confidence
    minimum = least if requested is None else requested
    highest = max(counts.values(), default=1)
    context = {
        **model_admin.page_context(request, _("Threshold of “%(tag)s”") % {"tag": tag.name}),
        "tag": tag,
        "form": form,
        "may_change": may_change,
        "least": least,
        "minimum": minimum,
        "total": sum(counts.values()),
        "stay": sum(count for score, count in counts.items() if score >= minimum),
        "bars": [
            {"score": score, "count": counts.get(score, 0), "most": highest}
            for score in range(101)
        ]
        if counts
        else [],
    }
    return render(request, "filestack_tags/admin/threshold.html", context)
