"""Labels that must not be shown: the never-show list, and the sensitive labels."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.widgets import AdminTextareaWidget
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from filestack_tags import curation
from filestack_tags.admin.lookups import is_number
from filestack_tags.assets import sensitive_labels
from filestack_tags.assets.sensitive import report
from filestack_tags.assets.visibility import sees_everything
from filestack_tags.conf import get_settings
from filestack_tags.db.transactions import alias
from filestack_tags.exceptions import CurationError, InvalidLabel
from filestack_tags.models import Tag

MAX_LABELS = 1000


class NeverShowForm(forms.Form):
    """Labels, one on each line."""

    labels = forms.CharField(
        label=gettext_lazy("Tag names to hide"),
        widget=AdminTextareaWidget(attrs={"rows": 10, "dir": "auto"}),
        help_text=gettext_lazy(
            "One per line. You can also enter names that no asset has yet. Nothing is "
            "deleted; to show a tag again, edit it."
        ),
    )

    def clean_labels(self) -> list[str]:
        lines = [line for line in self.cleaned_data["labels"].splitlines() if line.strip()]
        if len(lines) > MAX_LABELS:
            raise forms.ValidationError(
                _("Enter at most %(limit)d tag names at a time.") % {"limit": MAX_LABELS}
            )
        return lines


def never_show_view(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Hide labels before any reply contains them."""
    if not model_admin.has_change_permission(request):
        raise PermissionDenied
    form = NeverShowForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            hidden = curation.never_show(form.cleaned_data["labels"])
        except (CurationError, InvalidLabel) as error:
            form.add_error("labels", str(error))
        else:
            text = ngettext(
                "%(count)d tag name is hidden.", "%(count)d tag names are hidden.", len(hidden)
            )
            messages.success(request, text % {"count": len(hidden)})
            return HttpResponseRedirect("../?hidden__exact=1")
    context = model_admin.page_context(request, _("Hide tag names")) | {"form": form}
    return render(request, "filestack_tags/admin/never_show.html", context)


def sensitive_view(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Show the sensitive labels and what is withheld; POST approves one, or withdraws that."""
    # It counts the assets of all users.
    if not (model_admin.has_view_permission(request) and sees_everything(request.user)):
        raise PermissionDenied
    may_change = model_admin.has_change_permission(request)
    if request.method == "POST":
        if not may_change:
            raise PermissionDenied
        for verb in ("approve", "withhold"):
            pk = request.POST.get(verb, "")
            if is_number(pk, digits=9):
                try:
                    curation.approve(int(pk), user=request.user, approved=verb == "approve")  # type: ignore[arg-type]  # a staff user
                except Tag.DoesNotExist:
                    messages.error(request, _("There is no such tag."))
                except CurationError as error:
                    messages.error(request, str(error))
        return HttpResponseRedirect(request.get_full_path())
    rows = report(alias())
    context = model_admin.page_context(request, _("Sensitive tags")) | {
        "rows": rows,
        "may_change": may_change,
        "is_on": get_settings().HIDE_SENSITIVE,
        "version": sensitive_labels.version(),
        "listed": len(sensitive_labels.labels()),
        "kept": sum(row.withheld for row in rows),
    }
    return render(request, "filestack_tags/admin/sensitive.html", context)
