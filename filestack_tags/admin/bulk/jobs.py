"""Bulk jobs: start one for all matches, and show their progress."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.timesince import timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from filestack_tags import tasks
from filestack_tags.admin.base import ReadOnlyAdmin, total_text
from filestack_tags.admin.explain import explained
from filestack_tags.admin.login_redirect import post_only
from filestack_tags.admin.lookups import is_number
from filestack_tags.assets.visibility import assets_of, sees_everything
from filestack_tags.curation import bulk
from filestack_tags.exceptions import FilestackTagsError, SearchError
from filestack_tags.models import Asset, BulkJob, BulkJobItem

from .form import BulkForm

SHOWN_ITEMS = 100
"""Maximum failed or skipped assets that the page of a job lists."""


@admin.register(BulkJob)
class BulkJobAdmin(ReadOnlyAdmin):
    """Users who may view assets see their own jobs; with ``view_bulkjob``, all jobs."""

    list_display = (
        *("__str__", "query", "state", "progress", "requested_by"),
        *("created_at", "finished_at"),
    )
    list_select_related = ("requested_by", "undoes")
    list_filter = ("state", "action")
    sortable_by = ()
    heavy = ("error",)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        name = "filestack_tags_bulkjob_%s"

        def page(request: HttpRequest, pk: int) -> str:
            return self._url("change", pk)

        return [
            path("ask/", view(self.ask), name=name % "ask"),
            path("<int:pk>/progress/", view(require_safe(self.poll)), name=name % "progress"),
            path("<int:pk>/cancel/", view(post_only(self.cancel, page)), name=name % "cancel"),
            path("<int:pk>/undo/", view(post_only(self.undo, page)), name=name % "undo"),
            path(
                "<int:pk>/download/", view(require_safe(self.download)), name=name % "download"
            ),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> Any:
        jobs = super().get_queryset(request)
        # A job reveals assets by its search and by their ids.
        may_see_all = request.user.has_perm("filestack_tags.view_bulkjob")
        if may_see_all and sees_everything(request.user):
            return jobs
        return jobs.filter(requested_by=request.user.pk)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(
            request.user.has_perm("filestack_tags.view_asset")
            or request.user.has_perm("filestack_tags.view_bulkjob")
        )

    # Starting

    def ask(self, request: HttpRequest) -> HttpResponse:
        """Choose an action for all matches, preview it, and start it."""
        if not request.user.has_perm("filestack_tags.view_asset"):
            raise PermissionDenied
        data = request.POST if request.method == "POST" else request.GET
        form = BulkForm(
            data if request.method == "POST" else None,
            initial={name: data.get(name, "") for name in ("query", "asset_ids", "action")},
            actions=_permitted_actions(request),
        )
        preview: bulk.Preview | None = None
        digest = ""
        if request.method == "POST" and form.is_valid():
            job_request = form.job_request()
            digest = sha256(repr(job_request).encode()).hexdigest()
            is_changed = request.POST.get("previewed", digest) != digest
            try:
                if "confirmed" in request.POST and is_changed:
                    messages.warning(
                        request,
                        _(
                            "The form was changed after the preview. Check the new "
                            "preview, then start the job."
                        ),
                    )
                elif "confirmed" in request.POST:
                    job, _created = tasks.start_bulk_job(
                        job_request,
                        user=_person(request),
                        trigger="admin",
                        key=form.cleaned_data["key"],
                    )
                    return HttpResponseRedirect(self._url("change", job.pk))
                preview = bulk.preview(job_request, user=_person(request))
            except SearchError as error:
                form.add_error("query", explained(error, job_request.query))
            except FilestackTagsError as error:
                parameter = getattr(error, "parameter", "")
                form.add_error(parameter if parameter in form.fields else None, str(error))
        return TemplateResponse(
            request,
            "filestack_tags/admin/bulk_ask.html",
            {
                **self.page_context(request, _("Start a bulk job")),
                "form": form,
                "preview": preview,
                "previewed": digest,
                "total": total_text(preview.assets) if preview else "",
            },
        )

    # Viewing

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        job = self._job(request, object_id)
        listed = (BulkJobItem.Outcome.FAILED, BulkJobItem.Outcome.SKIPPED)
        items = job.items.filter(outcome__in=listed).order_by("outcome", "-asset_id")
        return TemplateResponse(
            request,
            "filestack_tags/admin/bulk_job.html",
            {
                **self.page_context(request, _("Bulk job %(job)s") % {"job": job}),
                "job": job,
                "what": describe_job(job, request.user),
                "now": job_progress(job),
                "reasons": [
                    (bulk.REASONS.get(why, why), number) for why, number in job.reasons.items()
                ],
                "items": _with_assets(request, items[:SHOWN_ITEMS]),
                "may_download": request.user.has_perm(bulk.permission(job)),
                "is_in_scope": bulk.is_in_scope(job, request.user),
                "may_act": request.user.has_perm(bulk.permission(job))
                and bulk.can_manage(job, request.user),
                "can_be_undone": bulk.can_be_undone(job),
            },
        )

    def poll(self, request: HttpRequest, pk: int) -> JsonResponse:
        """Return the progress of a job, for the page that shows it."""
        return JsonResponse(job_progress(self._job(request, pk)))

    # Acting

    def cancel(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Stop a job after its current batch."""
        job = self._job(request, pk, to_act=True)
        if not bulk.can_manage(job, request.user):
            messages.error(request, bulk.CANNOT_MANAGE)
        elif bulk.cancel(job.pk):
            messages.success(request, _("The job was canceled. Completed changes are kept."))
        else:
            messages.info(request, _("The job has already finished."))
        return HttpResponseRedirect(self._url("change", pk))

    def undo(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Start a job that undoes this one."""
        job = self._job(request, pk, to_act=True)
        if not bulk.can_manage(job, request.user):
            messages.error(request, bulk.CANNOT_MANAGE)
            return HttpResponseRedirect(self._url("change", pk))
        try:
            undoing = tasks.undo_bulk_job(job.pk, user=_person(request), trigger="admin")
        except FilestackTagsError as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(self._url("change", pk))
        return HttpResponseRedirect(self._url("change", undoing.pk))

    def download(
        self, request: HttpRequest, pk: int
    ) -> StreamingHttpResponse | HttpResponseRedirect:
        """Send the file of an export."""
        job = self._job(request, pk, to_act=True)
        if job.action != BulkJob.Action.EXPORT or job.state != BulkJob.State.FINISHED:
            raise Http404
        if not bulk.is_in_scope(job, request.user):
            raise Http404
        if job.pruned_at is not None:
            messages.error(request, _("The file was deleted. Start a new export."))
            return HttpResponseRedirect(self._url("change", pk))
        return bulk.download(job)

    def _job(self, request: HttpRequest, pk: Any, *, to_act: bool = False) -> BulkJob:
        """Return a job that this user may see, and may manage."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        text = str(pk)
        if not is_number(text):
            raise Http404
        jobs = self.get_queryset(request).select_related("requested_by", "undoes")
        job: BulkJob | None = jobs.filter(pk=int(text)).first()
        if job is None:
            raise Http404
        if to_act and not request.user.has_perm(bulk.permission(job)):
            raise PermissionDenied
        return job

    def _url(self, verb: str, pk: int) -> str:
        return reverse(
            f"admin:filestack_tags_bulkjob_{verb}",
            args=(pk,),
            current_app=self.admin_site.name,
        )

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Add a description of each job, as this user may see it."""

        @admin.display(description=gettext_lazy("action"))
        def what(job: BulkJob) -> str:
            return describe_job(job, request.user)

        number, *others = super().get_list_display(request)
        return [number, what, *others]

    @admin.display(description=gettext_lazy("progress"))
    def progress(self, job: BulkJob) -> str:
        return job_progress(job)["text"]  # type: ignore[no-any-return]  # from an untyped dict


def describe_job(job: BulkJob, user: Any) -> str:
    """Return a description of a job, as ``user`` may see it."""
    action = job.undoes if job.action == BulkJob.Action.UNDO and job.undoes else job
    label = str(BulkJob.Action(action.action).label)
    parameters = bulk.parameters_named_to(user, action)
    details = [
        str(parameters[name]) for name in ("tag", "tagger", "format") if parameters.get(name)
    ]
    if parameters.get("confidence"):
        details.append("{}–{}".format(*parameters["confidence"]))
    text = f"{label}: {', '.join(details)}" if details else label
    if action is job:
        return text
    return _("undo %(job)s (%(what)s)") % {"job": action, "what": text}


def job_progress(job: BulkJob) -> dict[str, Any]:
    """Return the progress of a job for polling."""
    share = min(job.done / job.matched, 1.0) if job.matched else float(not job.is_open)
    text = _("%(done)s of %(matched)s") % {
        "done": f"{job.done:,}",
        "matched": f"{job.matched:,}" + ("" if job.matched_is_exact else "+"),
    }
    time_left = ""
    if job.held:
        time_left = _("paused until fewer assets are queued")
    elif job.state == BulkJob.State.RUNNING and job.started_at and 0 < share < 1:
        spent = timezone.now() - job.started_at
        end = timezone.now() + spent * (1 / share - 1)
        time_left = _("%(time)s left") % {"time": timeuntil(end, depth=1)}
    return {
        "state": job.state,
        "state_text": str(BulkJob.State(job.state).label),
        "is_open": job.is_open,
        "share": round(share, 4),
        "text": text,
        "left": time_left,
        "counts": {
            "done": job.done,
            "changed": job.changed,
            "skipped": job.skipped,
            "failed": job.failed,
        },
    }


def _with_assets(
    request: HttpRequest, items: Iterable[BulkJobItem]
) -> list[tuple[BulkJobItem, Asset | None, Any]]:
    """Return each item with its asset, if it exists and this user may see it, and the reason."""
    rows = list(items)
    names: dict[int, Asset] = {}
    if rows and request.user.has_perm("filestack_tags.view_asset"):
        visible = assets_of(request.user).filter(pk__in=[item.asset_id for item in rows])
        names = {asset.pk: asset for asset in visible.only("kind", "reference", "filename")}
    return [
        (
            item,
            names.get(item.asset_id),
            item.error or bulk.REASONS.get(item.reason, item.reason),
        )
        for item in rows
    ]


def _permitted_actions(request: HttpRequest) -> list[str]:
    return [
        action for action, needed in bulk.PERMISSIONS.items() if request.user.has_perm(needed)
    ]


def _person(request: HttpRequest) -> AbstractBaseUser:
    return cast("AbstractBaseUser", request.user)  # admin pages require a login
