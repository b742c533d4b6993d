"""Bulk jobs: one action on all assets that match a search, run by workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import Http404, StreamingHttpResponse
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from filestack_tags import tasks
from filestack_tags.assets.visibility import sees_everything
from filestack_tags.curation import bulk
from filestack_tags.exceptions import (
    BulkError,
    ConfigurationError,
    InvalidLabel,
)
from filestack_tags.models import BulkJob, BulkJobItem

from .base import View, operation, row_id
from .fields import Choice, Confidence, Integer, TagName, Text, search_text
from .pagination import NewestFirst
from .problems import (
    CONFLICT,
    INVALID_QUERY,
    KEY_REUSED,
    SEARCH_TIMEOUT,
    ParameterError,
    ProblemError,
)
from .serializers import Body, PageParameters, one_of, page_of

KEY = "Idempotency-Key"


class JobSerializer(serializers.ModelSerializer[BulkJob]):
    q = serializers.CharField(source="query", read_only=True)
    requested_by = serializers.CharField(
        source="requested_by.get_username", default=None, allow_null=True, read_only=True
    )

    parameters = serializers.SerializerMethodField()

    class Meta:
        model = BulkJob
        fields: tuple[str, ...] = (
            *("id", "action", "q", "parameters", "undoes", "state", "held", "error"),
            *("matched", "matched_is_exact", "done", "changed", "skipped", "failed", "reasons"),
            *("requested_by", "created_at", "started_at", "updated_at", "finished_at"),
        )
        read_only_fields = fields

    def get_parameters(self, job: BulkJob) -> dict[str, Any]:
        return bulk.parameters_named_to(self.context["request"].user, job)


class JobDetailSerializer(JobSerializer):
    """A job, with what the user may do with it."""

    can_be_cancelled = serializers.BooleanField(source="is_open", read_only=True)
    can_be_undone = serializers.SerializerMethodField()

    class Meta(JobSerializer.Meta):
        fields = (*JobSerializer.Meta.fields, "can_be_cancelled", "can_be_undone")
        read_only_fields = fields

    def get_can_be_undone(self, job: BulkJob) -> bool:
        return bulk.can_be_undone(job)


class ItemSerializer(serializers.ModelSerializer[BulkJobItem]):
    asset = serializers.IntegerField(source="asset_id", read_only=True)

    class Meta:
        model = BulkJobItem
        fields = ("asset", "outcome", "reason", "error")
        read_only_fields = fields


def _for_actions(*actions: str) -> dict[str, Any]:
    """Return the JSON Schema of a body with one of these actions."""
    return {"properties": {"action": {"enum": [str(action) for action in actions]}}}


class JobBody(Body):
    """The action, its parameters, and the assets."""

    constraints: ClassVar = {
        "if": _for_actions(*bulk.TAGGED),
        "then": {"required": ["tag"]},
        "dependentSchemas": {
            name: _for_actions(
                *(action for action, taken in bulk.TAKES.items() if name in taken)
            )
            for name in ("tag", "confidence", "tagger", "format")
        },
    }

    action = Choice(choices=[*bulk.TAKES])
    q = search_text()
    asset_ids = serializers.ListField(
        child=Integer(min_value=1, max_value=2**63 - 1),
        required=False,
        min_length=1,
        max_length=bulk.MAX_IDS,
    )
    tag = TagName(required=False)
    confidence = serializers.ListField(
        child=Confidence(), required=False, min_length=2, max_length=2
    )
    tagger = Text(required=False, max_length=100, constraints={"format": "tagger-name"})
    format = Choice(required=False, choices=bulk.FORMATS)


class PreviewSerializer(serializers.Serializer[bulk.Preview]):
    """What a job would do."""

    assets = serializers.IntegerField(source="assets.count", read_only=True)
    assets_is_exact = serializers.BooleanField(source="assets.is_exact", read_only=True)
    calls = serializers.IntegerField(read_only=True)
    cost = serializers.FloatField(allow_null=True, read_only=True)
    calls_left = serializers.IntegerField(source="left", allow_null=True, read_only=True)
    can_be_undone = serializers.BooleanField(read_only=True)


class JobParameters(PageParameters):
    state = one_of(BulkJob.State.values, "only jobs in this state")


class ItemParameters(PageParameters):
    outcome = one_of(BulkJobItem.Outcome.values, "only items with this outcome")


class ByAsset(NewestFirst):
    """Pages of the results for single assets, the newest asset first."""

    ordering = "-asset_id"


START_PROBLEMS = (CONFLICT, INVALID_QUERY, SEARCH_TIMEOUT)
IDEMPOTENCY = {
    KEY: (
        {"type": "string", "maxLength": bulk.MAX_KEY},
        "makes it safe to repeat the request: the same key and body return the same job",
    )
}
FILES = {
    content_type.partition(";")[0]: {"type": "string", "format": "binary"}
    for content_type in bulk.CONTENT_TYPES.values()
}


class JobViewSet(View):
    """The user's own jobs; with ``view_bulkjob``, all jobs.

    A job's action also requires its own permission. Cancelling and undoing other users' jobs
    requires ``change_bulkjob``.
    """

    @operation("view_asset", parameters=JobParameters, returns=page_of(JobSerializer))
    def list(self, request: Request) -> Response:
        state = self.query["state"]
        return self.page(self._jobs() if state is None else self._jobs().filter(state=state))

    @operation("view_asset", returns=JobDetailSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Return a job, its progress and the possible actions."""
        return self.respond(self._job(pk))

    @operation(
        "view_asset",
        body=JobBody,
        returns=JobDetailSerializer,
        status=(200, 202),
        problems=(*START_PROBLEMS, KEY_REUSED),
        headers=IDEMPOTENCY,
        operates=True,
    )
    def create(self, request: Request) -> Response:
        """Start a job; 202, or 200 if it was started before with the same key."""
        with _problems():
            job, created = tasks.start_bulk_job(
                self._requested(),
                user=self.owner,
                trigger="api",
                key=request.headers.get(KEY, ""),
            )
        return self._started(job, 202 if created else 200)

    @operation(
        "view_asset",
        body=JobBody,
        returns=PreviewSerializer,
        problems=START_PROBLEMS,
        operates=True,
    )
    @action(detail=False, methods=["post"])
    def preview(self, request: Request) -> Response:
        """Return what a job with the same body would do. Changes nothing."""
        with _problems():
            return self.respond(bulk.preview(self._requested(), user=self.owner))

    @operation("view_asset", parameters=ItemParameters, returns=page_of(ItemSerializer))
    @action(detail=True)
    def items(self, request: Request, pk: str) -> Response:
        """Return a page of the recorded results for single assets."""
        rows, outcome = self._job(pk, to_read=True).items.all(), self.query["outcome"]
        return self.page(rows.filter(outcome=outcome) if outcome else rows, ByAsset)

    @operation("view_asset", returns=JobDetailSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Stop a job after its current batch; one that has ended is unchanged."""
        bulk.cancel(self._job(pk, to_end=True).pk)
        return self.respond(self._job(pk))

    @operation(
        "view_asset",
        returns=JobDetailSerializer,
        status=(202,),
        problems=(CONFLICT,),
        operates=True,
    )
    @action(detail=True, methods=["post"])
    def undo(self, request: Request, pk: str) -> Response:
        """Start a job that undoes this one."""
        job = self._job(pk, to_end=True)
        with _problems():
            return self._started(
                tasks.undo_bulk_job(job.pk, user=self.owner, trigger="api"), 202
            )

    @operation("view_asset", returns=FILES, problems=(CONFLICT,))
    @action(detail=True)
    def download(self, request: Request, pk: str) -> StreamingHttpResponse:
        """Return the file of a finished export."""
        job = self._job(pk, to_act=True, to_read=True)
        if job.action != BulkJob.Action.EXPORT:
            raise Http404
        if job.state != BulkJob.State.FINISHED:
            raise ProblemError(CONFLICT, _("The export has not finished yet."))
        return bulk.download(job)

    def _jobs(self) -> QuerySet[BulkJob]:
        user = self.request.user
        jobs = BulkJob.objects.select_related("requested_by")
        # A job reveals assets by its search and by their ids.
        if user.has_perm("filestack_tags.view_bulkjob") and sees_everything(user):
            return jobs
        # Jobs without a user are automatic ones, and those of deleted users.
        return jobs.none() if user.pk is None else jobs.filter(requested_by=user.pk)

    def _job(
        self, pk: str, *, to_act: bool = False, to_end: bool = False, to_read: bool = False
    ) -> BulkJob:
        jobs = self._jobs().select_related("requested_by", "undoes")
        job: BulkJob = get_object_or_404(jobs, pk=row_id(pk))
        if to_act or to_end:
            self._require(bulk.permission(job))
        if to_end and not bulk.can_manage(job, self.request.user):
            raise PermissionDenied(bulk.CANNOT_MANAGE)
        if to_read and not bulk.is_in_scope(job, self.request.user):
            raise Http404
        return job

    def _requested(self) -> bulk.BulkRequest:
        body = self.body
        self._require(bulk.PERMISSIONS[body["action"]])
        ids, confidence = body.get("asset_ids"), body.get("confidence")
        return bulk.BulkRequest(
            action=body["action"],
            query=body.get("q", ""),
            asset_ids=None if ids is None else tuple(ids),
            tag=body.get("tag", ""),
            confidence=None if confidence is None else (confidence[0], confidence[1]),
            tagger=body.get("tagger", ""),
            format=body.get("format", ""),
        )

    def _require(self, permission: str) -> None:
        if not self.request.user.has_perm(permission):
            raise PermissionDenied

    def _started(self, job: BulkJob, status: int) -> Response:
        return self.respond(job, status, location=("job-detail", {"pk": job.pk}))


@contextmanager
def _problems() -> Iterator[None]:
    """Convert the errors of a job that cannot be started."""
    try:
        yield
    except InvalidLabel as error:
        raise ValidationError({"tag": [str(error)]}) from error
    except ConfigurationError as error:
        raise ValidationError({"tagger": [str(error)]}) from error
    except BulkError as error:
        if error.conflict:
            problem = KEY_REUSED if error.parameter == "key" else CONFLICT
            raise ProblemError(problem, str(error)) from error
        if error.parameter == "key":
            raise ParameterError(str(error), parameter=KEY) from error
        raise ValidationError({error.parameter: [str(error)]}) from error
