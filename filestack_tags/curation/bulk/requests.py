"""Requests for bulk jobs: what can be requested, by whom, and what it would do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from filestack_tags import metrics
from filestack_tags.assets import tags
from filestack_tags.assets.visibility import (
    digest_of,
    hidden_keys,
    scope_of,
    sees_hidden_tags,
    tags_named_to,
    why_stopped,
)
from filestack_tags.conf import get_settings
from filestack_tags.curation import throttle
from filestack_tags.db.text import label_key, label_name
from filestack_tags.db.transactions import alias, atomic, locked, on_commit, retry_on_deadlock
from filestack_tags.exceptions import BulkError
from filestack_tags.models import Asset, BulkJob, BulkJobItem, TaggingRun
from filestack_tags.search import Search
from filestack_tags.search.language.tree import Comparison, HasTag, Query, conjunction
from filestack_tags.search.limits import parse_query
from filestack_tags.search.scope import tags_within
from filestack_tags.search.totals import Total
from filestack_tags.tagging import call_budget, workflows
from filestack_tags.tagging.taggers import check_tagger_name, is_paid

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

Action = BulkJob.Action

MAX_IDS = 10_000
"""Maximum number of assets that a job may list by id."""

INSERTED = 1000
"""Ids inserted in one statement."""

MAX_KEY = 200
"""Longest idempotency key, in characters."""

FORMATS = ("csv", "csv-bom", "jsonl")

TAGGED = (Action.ADD, Action.REMOVE, Action.ACCEPT, Action.REJECT)
"""Actions about one tag."""
NARROWED = (Action.REMOVE, Action.ACCEPT, Action.REJECT)
"""Actions that only apply to assets that have the tag and have not rejected it."""
TAGGING = (Action.RETAG, Action.WORKFLOW)
"""Actions that queue assets."""

TAKES: Mapping[str, frozenset[str]] = {
    Action.ADD: frozenset({"tag"}),
    Action.REMOVE: frozenset({"tag"}),
    Action.ACCEPT: frozenset({"tag", "confidence"}),
    Action.REJECT: frozenset({"tag", "confidence"}),
    Action.RETAG: frozenset({"tagger"}),
    Action.WORKFLOW: frozenset({"tagger"}),
    Action.EXPORT: frozenset({"format"}),
    Action.ARCHIVE: frozenset(),
}
"""The actions that can be requested, and their parameters."""

PERMISSIONS: Mapping[str, str] = {
    **dict.fromkeys(TAGGED, "filestack_tags.change_asset"),
    **dict.fromkeys(TAGGING, "filestack_tags.tag_asset"),
    Action.EXPORT: "filestack_tags.view_asset",
    Action.ARCHIVE: "filestack_tags.delete_asset",
}
"""The permission for each action, in addition to ``view_asset``. Admin and API check it; see
:func:`permission`.
"""

BY_CODE = (TaggingRun.Trigger.CODE, TaggingRun.Trigger.COMMAND)
"""Triggers of work that no client requested."""

VIEW_ASSETS = "filestack_tags.view_asset"

CHANGE_JOBS = "filestack_tags.change_bulkjob"
"""Permission to cancel and undo other users' jobs."""

CANNOT_MANAGE = _(
    "Another user started this job. To cancel or undo it, you need the permission to change bulk "
    "jobs."
)
"""The message for users who may not."""

UNDONE = frozenset({*TAGGED, Action.ARCHIVE})
"""Actions that can be undone. Tagging calls and downloads cannot."""


@dataclass(frozen=True)
class BulkRequest:
    """A request for a bulk job.

    Args:
        action: a :class:`BulkJob.Action` except ``undo``; for that, see :func:`undo`.
        query: a search; all assets when empty.
        asset_ids: only these of the matching assets, at most :data:`MAX_IDS`.
        tag: the tag of the action, by its name or an alias. Removing a tag rejects it, so that no
            reply brings it back.
        confidence: lowest and highest confidence, both inclusive, of the tags that are accepted or
            rejected.
        tagger: the tagger for re-tagging; for ``run_workflow`` the workflow, as ``workflow`` or
            ``workflow:NAME``.
        format: of an export: ``csv``, ``csv-bom`` (for Excel) or ``jsonl``.
    """

    action: str
    query: str = ""
    asset_ids: tuple[int, ...] | None = field(default=None, repr=False)
    tag: str = ""
    confidence: tuple[int, int] | None = None
    tagger: str = ""
    format: str = ""


@dataclass(frozen=True)
class Preview:
    """What a job would do.

    Args:
        assets: the number of assets.
        calls: the approximate number of tagging calls.
        cost: their cost in the currency of ``PRICE_PER_CALL``; None if that is not set.
        left: how many calls the budget still allows; None without a budget.
        can_be_undone: whether :func:`undo` can restore the previous state.
    """

    assets: Total
    calls: int
    cost: float | None
    left: int | None
    can_be_undone: bool


def permission(job: BulkJob) -> str:
    """Return the permission needed for this job; for cancelling and undoing it, see
    :func:`can_manage` too.
    """
    undone = job.undoes if job.action == Action.UNDO else None
    return PERMISSIONS[undone.action if undone else job.action]


def why_job_stopped(job: BulkJob) -> str:
    """Return why a job must not continue, ``""`` if it may.

    A job that a user started requires that user to be active and to have every permission that
    starting it requires. Jobs of code and commands have no user.
    """
    if _is_by_code(job):
        return ""
    user = job.requested_by
    permissions = [VIEW_ASSETS, permission(job)]
    if job.undoes is not None and user is not None and not can_manage(job.undoes, user):
        permissions.append(CHANGE_JOBS)
    return why_stopped(user, permissions)


def _is_by_code(job: BulkJob) -> bool:
    return job.requested_by_id is None and job.trigger in BY_CODE


def parameters_named_to(user: Any, job: BulkJob) -> dict[str, Any]:
    """Return the job's parameters as ``user`` may see them: ``tag`` is empty if it is hidden."""
    parameters: dict[str, Any] = dict(job.parameters)
    if "tag" in parameters and not _is_own(job, user):
        key = label_key(parameters["tag"])
        if hidden_keys(user, [key]):
            parameters["tag"] = ""
    return parameters


def _is_own(job: BulkJob, user: Any) -> bool:
    return (
        user is not None and job.requested_by_id is not None and job.requested_by_id == user.pk
    )


def can_manage(job: BulkJob, user: Any) -> bool:
    """Whether ``user`` started this job, or may manage other users' jobs.

    Cancelling or undoing it requires that and :func:`permission`. Seeing it is not enough: users
    who may view assets may also export them, and must not end the exports of others.
    """
    return bool(_is_own(job, user) or user.has_perm(CHANGE_JOBS))


def preview(request: BulkRequest, *, user: AbstractBaseUser | None) -> Preview:
    """Return what :func:`create` would do. Changes nothing.

    Raises the same errors as :func:`create`.
    """
    parameters = _checked(request, user)
    settings = get_settings()
    assets = _counted(_search(request, parameters, user), request.asset_ids)
    tagger = parameters.get("tagger") or settings.TAGGER
    calls = assets.count if request.action in TAGGING and is_paid(tagger) else 0
    price = settings.PRICE_PER_CALL
    return Preview(
        assets=assets,
        calls=calls,
        cost=None if price is None or not calls else calls * price,
        left=call_budget.usage().left(),
        can_be_undone=request.action in UNDONE,
    )


@retry_on_deadlock
def create(
    request: BulkRequest,
    *,
    user: AbstractBaseUser | None,
    trigger: str = TaggingRun.Trigger.CODE,
    key: str = "",
) -> tuple[BulkJob, bool]:
    """Create a job; return ``(job, created)``.

    Nothing is enqueued: see :func:`filestack_tags.tasks.start_bulk_job` for that. A repeated call
    with the same ``key`` by the same user returns the same job. The caller checks permissions
    first, see :data:`PERMISSIONS`. Before each batch the user must still be active and have them,
    or the job fails; without a user, no permissions are checked.

    Raises:
        BulkError: for an unknown action, missing or unexpected parameters, a tag that does not
            exist, too many ids, or a key that was used for something else.
        InvalidLabel: when ``tag`` cannot be a tag.
        LimitExceeded: if a client's user created too many tag names.
        SearchError: when the search cannot be parsed.
        ConfigurationError: if there is no such tagger.
    """
    parameters = _checked(request, user)
    if request.action == Action.ADD and trigger not in BY_CODE:
        throttle.count_new_tag(parameters["tag"], user=user)
    if len(key) > MAX_KEY:
        raise BulkError(
            f"An idempotency key has at most {MAX_KEY} characters.", parameter="key"
        )
    search = _search(request, parameters, user)
    counted = _counted(search, request.asset_ids)
    newest = Asset.objects.using(alias()).order_by("-pk").values_list("pk", flat=True).first()
    ids = None if request.asset_ids is None else sorted(set(request.asset_ids))
    job = BulkJob(
        action=request.action,
        parameters=parameters,
        query=request.query.strip(),
        include_hidden=search.include_hidden,
        ids_digest="" if ids is None else _digest_of_ids(ids),
        ceiling=newest or 0,
        matched=counted.count if ids is None else len(ids),
        matched_is_exact=counted.is_exact or ids is not None,
        requested_by_id=None if user is None else user.pk,
        scope_digest="" if user is None else digest_of(user),
        trigger=TaggingRun.Trigger(trigger),
        key=_key_digest(user, key) if key else None,
    )
    return _insert(job, ids or ())


def _insert(job: BulkJob, ids: Sequence[int]) -> tuple[BulkJob, bool]:
    """Insert the job with its ids, unless its key was used; return ``(job, created)``."""
    existing = _with_key(job)
    if existing is None:
        try:
            with atomic():
                job.save(using=alias(), force_insert=True)
                BulkJobItem.objects.using(alias()).bulk_create(
                    [
                        BulkJobItem(job=job, asset_id=pk, outcome=BulkJobItem.Outcome.PENDING)
                        for pk in ids
                    ],
                    batch_size=INSERTED,
                )
        except IntegrityError:
            existing = _with_key(job)
            if existing is None:
                raise
        else:
            on_commit(lambda: metrics.count("bulk.requested", job=job.action))
            return job, True
    same = ("action", "parameters", "query", "ids_digest", "undoes_id")
    if any(getattr(existing, name) != getattr(job, name) for name in same):
        raise BulkError(
            f"The idempotency key was used for another job, {existing}.",
            parameter="key",
            conflict=True,
        )
    return existing, False


def _with_key(job: BulkJob) -> BulkJob | None:
    if job.key is None:
        return None
    return BulkJob.objects.using(alias()).filter(key=job.key).first()


def _digest_of_ids(ids: Iterable[int]) -> str:
    return sha256(",".join(map(str, ids)).encode()).hexdigest()


def _key_digest(user: AbstractBaseUser | None, key: str) -> str:
    """Return the unique value for a key: one column, since a NULL user is never a duplicate."""
    return sha256(repr((None if user is None else str(user.pk), key)).encode()).hexdigest()


@retry_on_deadlock
def cancel(job_id: int) -> bool:
    """Stop a job after its current batch; return whether it was still open. Idempotent.

    Changes that were made are kept; see :func:`undo`.
    """
    with atomic():
        job = locked(BulkJob.objects.filter(pk=job_id)).get()
        if not job.is_open:
            return False
        job.close(BulkJob.State.CANCELLED)
        job.save(using=alias())
    return True


def search_of_job(job: BulkJob) -> Search:
    """Return the search for the assets of a job: hidden tags need the permission then and now."""
    return Search(
        _query(job.action, job.query, job.parameters),
        scope=scope_of_job(job),
        include_hidden=job.include_hidden and sees_hidden_tags(job.requested_by),
        using=alias(),
    )


def _search(request: BulkRequest, parameters: Mapping[str, Any], user: Any) -> Search:
    query = _query(request.action, request.query, parameters)
    if user is None:  # code may search everything
        return Search(query, include_hidden=True, using=alias())
    return Search(query, user=user, using=alias())


def _query(action: str, query: str, parameters: Mapping[str, Any]) -> Query:
    """Return the search text of a job, narrowed to the tags that its action applies to.

    Raises:
        SearchError: when the search cannot be parsed.
    """
    query_tree = parse_query(query)
    if action not in NARROWED:
        return query_tree
    low, high = parameters.get("confidence") or (0, 100)
    has_tag = HasTag(parameters["tag"], confidence=Comparison("..", low, high))
    return replace(query_tree, where=conjunction((query_tree.where, has_tag)))


def scope_of_job(job: BulkJob) -> Q | None:
    """Return the assets that a job may touch: those that its user may see now.

    A job whose user was deleted may touch nothing.
    """
    if not get_settings().ASSET_SCOPE:
        return None
    if job.requested_by is not None:
        return scope_of(job.requested_by)
    return None if _is_by_code(job) else Q(pk__in=())


def _scope(user: Any) -> Q | None:
    return None if user is None else scope_of(user)


def _counted(search: Search, asset_ids: tuple[int, ...] | None) -> Total:
    if asset_ids is None:
        return search.total()
    return Total(search.assets().filter(pk__in=asset_ids).count(), is_exact=True)


def _checked(request: BulkRequest, user: AbstractBaseUser | None) -> dict[str, Any]:
    """Return the parameters in the form in which a job stores them."""
    takes = TAKES.get(request.action)
    if takes is None:
        raise BulkError(
            f"There is no action {request.action!r}; there are {', '.join(TAKES)}.",
            parameter="action",
        )
    names = {
        name for name in ("tag", "confidence", "tagger", "format") if _value(request, name)
    }
    if surplus := sorted(names - takes):
        raise BulkError(
            f"{request.action} takes no {' and no '.join(surplus)}.", parameter=surplus[0]
        )
    if request.asset_ids is not None and not 0 < len(request.asset_ids) <= MAX_IDS:
        raise BulkError(
            f"A job takes 1 to {MAX_IDS:,} ids, not {len(request.asset_ids):,}; a search "
            "reaches any number of assets.",
            parameter="asset_ids",
        )
    if request.asset_ids and min(request.asset_ids) < 1:
        raise BulkError("The ids of assets start at 1.", parameter="asset_ids")
    parameters: dict[str, Any] = {}
    if "tag" in takes:
        parameters["tag"] = _tag(request, parse_query(request.query), user)
    if request.confidence is not None:
        low, high = request.confidence
        if not 0 <= low <= high <= 100:
            raise BulkError(
                f"Confidences go from 0 to 100 and from low to high, not {low} to {high}.",
                parameter="confidence",
            )
        parameters["confidence"] = [low, high]
    if request.action == Action.WORKFLOW:
        parameters["tagger"] = _workflow(request.tagger)
    elif request.tagger:
        check_tagger_name(request.tagger)
        parameters["tagger"] = request.tagger
    if request.action == Action.EXPORT:
        parameters["format"] = request.format or FORMATS[0]
        if parameters["format"] not in FORMATS:
            raise BulkError(
                f"An export is {' or '.join(FORMATS)}, not {request.format!r}.",
                parameter="format",
            )
    return parameters


def _value(request: BulkRequest, name: str) -> Any:
    value = getattr(request, name)
    return value not in ("", None)


def _tag(request: BulkRequest, query: Query, user: Any) -> str:
    if not request.tag.strip():
        raise BulkError(f"{request.action} takes the name of a tag.", parameter="tag")
    key = label_key(request.tag)
    if request.action == Action.ADD:
        return label_name(request.tag)
    visible = tags_named_to(user).using(alias())
    tag = visible.filter(pk=tags.existing_ids([key]).get(key, 0)).first()
    if tag is None or not tags_within([tag.pk], _scope(user), alias()):
        raise BulkError(f"There is no tag {request.tag!r}.", parameter="tag")
    if tag.hidden and not query.include_hidden:
        raise BulkError(
            f"The tag {tag.name!r} is hidden; add include:hidden to the search.",
            parameter="tag",
        )
    return tag.name


def _workflow(name: str) -> str:
    taggers = workflows.taggers()
    for tagger in (name or workflows.TAGGER, f"{workflows.TAGGER}:{name}"):
        if tagger in taggers:
            return tagger
    raise BulkError(
        f"There is no workflow {name!r}; WORKFLOW_ID and WORKFLOWS name those there are.",
        parameter="tagger",
    )
