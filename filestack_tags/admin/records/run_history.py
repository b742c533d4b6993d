"""The tagging runs of one asset: their replies, and the difference between two of them."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _

from filestack_tags.admin.base import BaseAdmin
from filestack_tags.admin.display import raw_block
from filestack_tags.assets.visibility import hidden_keys, sees_hidden_tags
from filestack_tags.models import TaggingRun

from .run_difference import difference, labels_of

RUNS = 50
"""Runs to choose from: the last ones."""


class RunHistory(BaseAdmin):
    """Adds the page of an asset's runs to its admin."""

    def get_urls(self) -> list[URLPattern]:
        runs = path(
            "<int:pk>/runs/",
            self.admin_site.admin_view(self.runs),
            name="filestack_tags_asset_runs",
        )
        return [runs, *super().get_urls()]

    def runs(self, request: HttpRequest, pk: int) -> TemplateResponse:
        """Show the last runs, and compare the two selected ones, or the last two."""
        sees_runs = request.user.has_perm("filestack_tags.view_taggingrun")
        if not (self.has_view_permission(request) and sees_runs):
            raise PermissionDenied
        asset = get_object_or_404(self.get_queryset(request), pk=pk)
        runs = list(asset.runs.order_by("-pk")[:RUNS])
        finished = [run for run in runs if run.raw_reply]
        later = _selected_run(request, "later", runs) or next(iter(finished), None)
        earlier = _selected_run(request, "earlier", runs) or next(
            (run for run in finished if later and run.pk < later.pk), None
        )
        return TemplateResponse(
            request,
            "filestack_tags/admin/asset_runs.html",
            {
                **self.page_context(request, _("Tagging runs")),
                "asset": asset,
                "runs": runs,
                "earlier": earlier,
                "later": later,
                **_comparison(earlier, later, request.user),
                "replies": [
                    (run, raw_block(run.raw_reply))
                    for run in (earlier, later)
                    if run is not None and sees_hidden_tags(request.user)
                ],
            },
        )


def _selected_run(request: HttpRequest, name: str, runs: list[TaggingRun]) -> TaggingRun | None:
    return next((run for run in runs if str(run.pk) == request.GET.get(name)), None)


def _comparison(
    earlier: TaggingRun | None, later: TaggingRun | None, user: Any
) -> dict[str, Any]:
    """Return the difference, or a note that explains why there cannot be one."""
    if earlier is None or later is None:
        return {"note": _("A comparison needs two runs with a stored reply.")}
    labels = {run: labels_of(run) for run in (earlier, later)}
    unreadable = [str(run) for run, reply in labels.items() if reply is None]
    if unreadable:
        return {
            "note": _(
                "%(runs)s cannot be compared: there is no reply, or it was deleted after "
                "its retention period."
            )
            % {"runs": ", ".join(unreadable)}
        }
    replies = [labels[run] or {} for run in (earlier, later)]
    hidden = hidden_keys(user, {key for run in replies for key in run})
    before, after = (
        {key: value for key, value in run.items() if key not in hidden} for run in replies
    )
    return {"difference": difference(before, after)}
