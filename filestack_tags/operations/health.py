"""Health endpoints for probes. Mount them with ``include("filestack_tags.operations.health")``.

``live/`` shows that the process answers and checks nothing else; restart a process that does not.
``""`` shows whether the database answers, with 200 or 503, and whether anything needs attention.
Only fixed words are shown, except to staff users who may view heartbeats.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import Error
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from filestack_tags.db.transactions import outside_transactions
from filestack_tags.exceptions import ConfigurationError
from filestack_tags.search.totals import Total

from .status import Problem, Snapshot, problems, snapshot

logger = logging.getLogger(__name__)

PERMISSION = "filestack_tags.view_heartbeat"


# Outside ATOMIC_REQUESTS, which would query the database before the view can report on it.
@outside_transactions
@login_not_required
@never_cache
@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """Answer 200: this process takes requests."""
    return JsonResponse({"status": "ok"})


@outside_transactions
@login_not_required
@never_cache
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """Answer 200 while the database can be queried, otherwise 503.

    ``status`` is ``ok``, ``degraded`` with codes of the problems that need attention, or
    ``unavailable``. A backlog is no reason to take a process out of service, so ``degraded`` is a
    200 too.
    """
    try:
        if _may_see_figures(request):
            taken = snapshot()
            return JsonResponse(_status(taken.problems) | {"figures": _figures(taken)})
        return JsonResponse(_status(problems()))
    except Error as error:
        # Log no error text, which may contain the address of the database.
        logger.warning("The database cannot be queried: %s", type(error).__name__)
        return _unavailable("database")
    except ConfigurationError:
        return _unavailable("configuration")  # the system checks have details


def _unavailable(reason: str) -> JsonResponse:
    return JsonResponse({"status": "unavailable", "reasons": [reason]}, status=503)


def _may_see_figures(request: HttpRequest) -> bool:
    user: Any = getattr(request, "user", None)  # a host may have no users
    try:
        return bool(user and user.is_active and user.is_staff and user.has_perm(PERMISSION))
    except Error:
        raise
    except Exception as error:  # noqa: BLE001  # external session stores may be unreachable
        logger.warning("The user of a health request cannot be read: %s", type(error).__name__)
        return False


def _status(current: tuple[Problem, ...]) -> dict[str, Any]:
    if not current:
        return {"status": "ok"}
    return {"status": "degraded", "reasons": sorted({problem.code for problem in current})}


def _figures(taken: Snapshot) -> Mapping[str, Any]:
    return {
        "queued": _total(taken.queued),
        "running": _total(taken.running),
        "queue_age": round(taken.queue_age, 1),
        "failed_assets": _total(taken.failed_assets),
        "open_deliveries": _total(taken.open_deliveries),
        "inbox_lag": round(taken.inbox_lag, 1),
        "failed_deliveries": _total(taken.failed_deliveries),
        "failures": dict(taken.failures),
        "circuits": [
            {
                "tagger": row.tagger,
                "open_since": row.opened_at,
                "next_try": row.retry_at,
                "error_code": row.error_code,
                "reason": row.reason,
            }
            for row in taken.circuits
            if row.opened_at is not None
        ],
        "budgets": {
            budget.period: {"used": budget.used, "left": budget.left}
            for budget in taken.budgets
        },
        "heartbeats": {
            beat.name: {"at": beat.at, "age": round(beat.age, 1), "found": beat.found}
            for beat in taken.beats
        },
        "problems": [problem.text for problem in taken.problems],
    }


def _total(total: Total) -> int | str:
    return total.count if total.is_exact else str(total)


app_name = "filestack_tags_health"
urlpatterns = [
    path("", ready, name="ready"),
    path("live/", live, name="live"),
]
