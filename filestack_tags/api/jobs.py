"""Bulk jobs: one action on all assets that match a search, run by workers."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import Http404, StreamingHttpResponse
from django.utils.translation import gettext as _
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from filestack_tags import tasks
from filestack_tags.assets.visibility import sees_everything
from filestack_tags.curation import bulk
from filestack_tags.exceptions import (
    BulkError,
    ConfigurationError,
    InvalidLabel,
    SearchError,
)
from filestack_tags.models import BulkJob, BulkJobItem

from . import problems
from .base import PAGING, View, number
from .bodies import one_of, owner, said
from .errors import ParameterError, Refused, refused_search
from .fields import Choice, Confidence, Integer, TagName, Text
from .pagination import NewestFirst
from .serializers import Body

VIEW = ("filestack_tags.view_asset",)
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
            *("requested_by", "created_at", "started_at", "changed_at", "finished_at"),
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
    q = Text(
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        constraints={"format": "tag-query"},
    )
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
    left = serializers.IntegerField(allow_null=True, read_only=True)
    can_be_undone = serializers.BooleanField(read_only=True)


class ByAsset(NewestFirst):
    """Pages of the results for single assets, the newest asset first."""

    ordering = "-asset_id"


class JobViewSet(mixins.ListModelMixin, View):
    """The user's own jobs; with ``view_bulkjob``, all jobs.

    A job's action also requires its own permission. Cancelling and undoing other users' jobs
    requires ``change_bulkjob``.
    """

    serializer_class = JobSerializer
    pagination_class = NewestFirst
    lookup_value_regex = "[^/]+"
    required_permissions: ClassVar = dict.fromkeys(
        (
            *("list", "retrieve", "items", "create", "preview"),
            *("cancel", "undo", "download"),
        ),
        VIEW,
    )
    parameters: ClassVar = {"list": PAGING | {"state"}, "items": PAGING | {"outcome"}}
    operations: ClassVar = frozenset({"create", "preview", "undo"})

    def get_queryset(self) -> QuerySet[BulkJob]:
        user = self.request.user
        jobs = BulkJob.objects.select_related("requested_by").defer("asset_ids")
        # A job reveals assets by its search and by their ids.
        if user.has_perm("filestack_tags.view_bulkjob") and sees_everything(user):
            return jobs
        # Jobs without a user are automatic ones, and those of deleted users.
        return jobs.none() if user.pk is None else jobs.filter(requested_by=user.pk)

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        state = one_of(self.request, "state", BulkJob.State.values)
        return queryset if state is None else queryset.filter(state=state)

    def retrieve(self, request: Request, pk: str) -> Response:
        """Return a job, its progress and the possible actions."""
        return _detail(self._job(pk), request)

    def create(self, request: Request) -> Response:
        """Start a job; 202, or 200 if it was started before with the same key."""
        wanted = _wanted(request)
        try:
            job, created = tasks.start_bulk_job(
                wanted, user=owner(request), trigger="api", key=request.headers.get(KEY, "")
            )
        except _REFUSALS as error:
            raise _problem(error) from error
        code = status.HTTP_202_ACCEPTED if created else status.HTTP_200_OK
        return _accepted(job, request, code)

    @action(detail=False, methods=["post"])
    def preview(self, request: Request) -> Response:
        """Return what a job with the same body would do. Changes nothing."""
        wanted = _wanted(request)
        try:
            shown = bulk.preview(wanted, user=owner(request))
        except _REFUSALS as error:
            raise _problem(error) from error
        return Response(PreviewSerializer(shown).data)

    @action(detail=True)
    def items(self, request: Request, pk: str) -> Response:
        """Return a page of the recorded results for single assets."""
        rows = self._job(pk, to_read=True).items.all()
        if outcome := one_of(request, "outcome", BulkJobItem.Outcome.values):
            rows = rows.filter(outcome=outcome)
        pages = ByAsset()
        page = pages.paginate_queryset(rows, request, view=self)
        return pages.get_paginated_response(ItemSerializer(page, many=True).data)

    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Stop a job after its current batch; one that has ended is unchanged."""
        job = self._job(pk, to_end=True)
        bulk.cancel(job.pk)
        return _detail(self._job(pk), request)

    @action(detail=True, methods=["post"])
    def undo(self, request: Request, pk: str) -> Response:
        """Start a job that undoes this one."""
        job = self._job(pk, to_end=True)
        try:
            undoing = tasks.undo_bulk_job(job.pk, user=owner(request), trigger="api")
        except BulkError as error:
            raise _problem(error) from error
        return _accepted(undoing, request, status.HTTP_202_ACCEPTED)

    @action(detail=True)
    def download(self, request: Request, pk: str) -> StreamingHttpResponse:
        """Return the file of a finished export."""
        job = self._job(pk, to_act=True, to_read=True)
        if job.action != BulkJob.Action.EXPORT:
            raise Http404
        if job.state != BulkJob.State.FINISHED:
            raise Refused(problems.CONFLICT, _("The export has not finished yet."))
        return bulk.download(job)

    def _job(
        self, pk: str, *, to_act: bool = False, to_end: bool = False, to_read: bool = False
    ) -> BulkJob:
        jobs = self.get_queryset().select_related("requested_by", "undoes")
        job: BulkJob = get_object_or_404(jobs, pk=number(pk))
        if to_act or to_end:
            _require(self.request, bulk.permission(job))
        if to_end and not bulk.is_in_charge(job, self.request.user):
            raise PermissionDenied(bulk.NOT_IN_CHARGE)
        if to_read and not bulk.is_in_scope(job, self.request.user):
            raise Http404
        return job


_REFUSALS = (BulkError, SearchError, InvalidLabel, ConfigurationError)


def _wanted(request: Request) -> bulk.Request:
    body = said(JobBody, request)
    _require(request, bulk.PERMISSIONS[body["action"]])
    ids, confidence = body.get("asset_ids"), body.get("confidence")
    return bulk.Request(
        action=body["action"],
        query=body.get("q", ""),
        asset_ids=None if ids is None else tuple(ids),
        tag=body.get("tag", ""),
        confidence=None if confidence is None else (confidence[0], confidence[1]),
        tagger=body.get("tagger", ""),
        format=body.get("format", ""),
    )


def _require(request: Request, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied


def _accepted(job: BulkJob, request: Request, code: int) -> Response:
    place = reverse("filestack_tags_api:job-detail", kwargs={"pk": job.pk}, request=request)
    response = _detail(job, request)
    response.status_code, response["Location"] = code, place
    return response


def _detail(job: BulkJob, request: Request) -> Response:
    return Response(JobDetailSerializer(job, context={"request": request}).data)


def _problem(error: Exception) -> Exception:
    """Return the problem for a job that cannot be started."""
    if isinstance(error, SearchError):
        return refused_search(error, "q")
    if isinstance(error, InvalidLabel):
        return ValidationError({"tag": [str(error)]})
    if not isinstance(error, BulkError):
        return ValidationError({"tagger": [str(error)]})
    if error.parameter == "key":
        if error.conflict:
            return Refused(problems.KEY_REUSED, str(error))
        return ParameterError(str(error), parameter=KEY)
    if error.conflict:
        return Refused(problems.CONFLICT, str(error))
    return ValidationError({error.parameter: [str(error)]})
