"""The operations page: status, problems, and actions to fix them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.formats import number_format
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from filestack_tags import tasks
from filestack_tags.admin.base import SHOWN
from filestack_tags.admin.bulk.jobs import describe_job, job_progress
from filestack_tags.admin.lookups import ids_in
from filestack_tags.db.text import sanitize_text
from filestack_tags.error_codes import ErrorCode
from filestack_tags.operations import report
from filestack_tags.operations.report import FailureGroup, Report
from filestack_tags.operations.status import COUNT_LIMIT
from filestack_tags.search.language.tree import Fact, Query, conjunction
from filestack_tags.tagging import circuit_breaker

REPLAYED = 10_000
"""Maximum deliveries that are replayed at once."""

NAMED = 20
"""Deliveries that are listed before all of one reason are replayed."""

PLACES = {
    "not_configured": "budget",
    "circuit_open": "circuits",
    "budget_exhausted": "budget",
    "sweep_overdue": "clocks",
    "task_overdue": "clocks",
    "inbox_late": "standing",
    "queue_late": "standing",
    "failed_deliveries": "deliveries",
    "failed_assets": "assets",
    "backfill_stalled": "work",
}
"""The section of the page for each problem."""


def operations_view(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Show the on-call report; POST retries a circuit, or replays deliveries."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    if request.method == "POST":
        if "try" in request.POST:
            return _try_again(request)
        if "replay" in request.POST:
            return _replay(model_admin, request)
    may = {
        "try": _may(request, "change_circuit"),
        "replay": _may(request, "replay_webhookdelivery"),
        "retag": _may(request, "tag_asset") and _may(request, "view_asset"),
        "assets": _may(request, "view_asset"),
        "deliveries": _may(request, "view_webhookdelivery"),
        "runs": _may(request, "view_taggingrun"),
        "jobs": _may(request, "view_bulkjob"),
        "merges": _may(request, "view_tag"),
        "backfills": _may(request, "view_backfill"),
        "spending": _may(request, "view_dailyusage"),
    }
    found = report.report()
    return TemplateResponse(
        request,
        "filestack_tags/admin/operations.html",
        model_admin.page_context(request, _("Operations"))
        | {
            "may": may,
            "report": found,
            "at": found.snapshot.at,
            **_report_context(found, request.user),
        },
    )


def _report_context(current: Report, user: Any) -> dict[str, Any]:
    status = current.snapshot
    return {
        "problems": [(problem, PLACES[problem.code]) for problem in current.problems],
        "queue_age": _age(status.queue_age),
        "inbox_lag": _age(status.inbox_lag),
        "failures": [
            (code, runs, ErrorCode.of_run(code)) for code, runs in status.failures.items()
        ],
        "assets": [
            (group, ErrorCode.of_run(group.code), *_links(group))
            for group in current.failed_assets
        ],
        "deliveries": [
            (
                group,
                ErrorCode.of_delivery(group.code),
                urlencode({"error_code__exact": group.code}),
            )
            for group in current.failed_deliveries
        ],
        "limit": number_format(COUNT_LIMIT, force_grouping=True),
        "is_capped": {
            "assets": not status.failed_assets.is_exact,
            "deliveries": not status.failed_deliveries.is_exact,
        },
        "jobs": [(job, describe_job(job, user), job_progress(job)) for job in current.jobs],
        "backfills": [
            (
                row,
                report.is_stalled(row, status.at),
                _counts(row.counts),
                timesince(row.updated_at, status.at),
            )
            for row in current.backfills
        ],
        "scheduled_tasks": [
            (task, _age(task.beat.age), _counts(task.beat.found))
            if task.beat
            else (task, "", "")
            for task in current.scheduled_tasks
        ],
    }


def _links(group: FailureGroup) -> tuple[str, str]:
    """Return the query strings for the assets of a failure group: to show and to re-tag them."""
    terms = [Fact("status", "failed"), *([Fact("error", group.code)] if group.code else [])]
    query = str(Query(conjunction(terms)))
    return urlencode({"q": query}), urlencode({"query": query, "action": "retag"})


def _try_again(request: HttpRequest) -> HttpResponse:
    if not _may(request, "change_circuit"):
        raise PermissionDenied
    tagger = sanitize_text(request.POST["try"])
    if circuit_breaker.close(tagger):
        messages.success(request, _("Calls to %(tagger)s were resumed.") % {"tagger": tagger})
    else:
        messages.info(request, _("Calls to %(tagger)s are not paused.") % {"tagger": tagger})
    return HttpResponseRedirect(request.path)


def _replay(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Replay all deliveries that failed for one reason, after a confirmation."""
    if not _may(request, "replay_webhookdelivery"):
        raise PermissionDenied
    code = sanitize_text(request.POST["replay"])
    dead = report.failed_deliveries().filter(error_code=code)
    dead_ids = list(dead.order_by("pk").values_list("pk", flat=True)[: REPLAYED + 1])
    if "confirmed" not in request.POST:
        return TemplateResponse(
            request,
            "filestack_tags/admin/replay.html",
            model_admin.page_context(request, _("Replay deliveries?"))
            | {
                "code": code,
                "reason": ErrorCode.of_delivery(code),
                "ids": dead_ids[:REPLAYED],
                "is_capped": len(dead_ids) > REPLAYED,
                "limit": number_format(REPLAYED, force_grouping=True),
                "named": dead.defer("raw_body", "headers", "error").order_by("pk")[:NAMED],
                "may_look": _may(request, "view_webhookdelivery"),
            },
        )
    ids = ids_in(request.POST.get(SHOWN, ""))[:REPLAYED]
    replayed = len(tasks.replay(list(dead.filter(pk__in=ids).values_list("pk", flat=True))))
    text = ngettext(
        "%(count)d delivery is being replayed.",
        "%(count)d deliveries are being replayed.",
        replayed,
    )
    messages.add_message(
        request, messages.SUCCESS if replayed else messages.WARNING, text % {"count": replayed}
    )
    return HttpResponseRedirect(request.path)


def _may(request: HttpRequest, permission: str) -> bool:
    return request.user.has_perm(f"filestack_tags.{permission}")


def _age(seconds: float) -> str:
    """Return an age or duration in words; in seconds if that is more precise."""
    if seconds < 120:
        count = round(seconds)
        return ngettext("%(count)d second", "%(count)d seconds", count) % {"count": count}
    return report.humanize(seconds)


def _counts(counts: Any) -> str:
    items: Iterable[tuple[str, Any]] = (
        sorted(counts.items()) if isinstance(counts, dict) else ()
    )
    return ", ".join(
        f"{number:,} {what}" if isinstance(number, int) else what for what, number in items
    )
