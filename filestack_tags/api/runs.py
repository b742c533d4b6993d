"""Tagging runs: calls and their results; and starting a workflow for one asset."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from rest_framework import mixins, serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from filestack_tags import tasks
from filestack_tags.assets.visibility import runs_of, sees_hidden_tags
from filestack_tags.models import TaggingRun
from filestack_tags.tagging import workflows

from .base import PAGING, View, asset_of, number
from .bodies import id_in, one_of, said
from .fields import Text
from .pagination import NewestFirst
from .serializers import Body


class RunSerializer(serializers.ModelSerializer[TaggingRun]):
    shared_from = serializers.IntegerField(
        source="shared_from_id", allow_null=True, read_only=True
    )
    delivery = serializers.IntegerField(source="delivery_id", allow_null=True, read_only=True)
    asset = serializers.IntegerField(source="asset_id", read_only=True)

    class Meta:
        model = TaggingRun
        fields: tuple[str, ...] = (
            *("id", "asset", "tagger", "version", "trigger", "state", "content_version"),
            *("workflow_id", "job_id", "delivery", "shared_from", "rule_results"),
            *("http_status", "error_code", "error_text"),
            *("started_at", "finished_at", "result_at"),
        )
        read_only_fields = fields


class RunDetailSerializer(RunSerializer):
    """A run with the reply as it was received, until that is pruned.

    A reply may contain hidden tags, so it is empty for users without ``search_hidden``.
    """

    raw_reply = serializers.SerializerMethodField()

    class Meta(RunSerializer.Meta):
        fields = (*RunSerializer.Meta.fields, "notes", "raw_reply")
        read_only_fields = fields

    def get_raw_reply(self, run: TaggingRun) -> str:
        return run.raw_reply if sees_hidden_tags(self.context["request"].user) else ""


class RunViewSet(mixins.ListModelMixin, View):
    """Runs of assets that the user may see. Raw replies also require `search_hidden`."""

    serializer_class = RunSerializer
    pagination_class = NewestFirst
    lookup_value_regex = "[^/]+"
    required_permissions: ClassVar = {
        "list": ("filestack_tags.view_taggingrun",),
        "retrieve": ("filestack_tags.view_taggingrun",),
    }
    parameters: ClassVar = {"list": PAGING | {"asset", "state"}}

    def get_queryset(self) -> QuerySet[TaggingRun]:
        return runs_of(self.request.user).filter(asset__deleted_at=None)

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        asset = id_in(self.request, "asset")
        state = one_of(self.request, "state", TaggingRun.State.values)
        given = {"asset": asset, "state": state}
        wanted = {name: value for name, value in given.items() if value is not None}
        return queryset.filter(**wanted).defer("raw_reply")

    def retrieve(self, request: Request, pk: str) -> Response:
        """Return a run, with the reply as it was received."""
        run: TaggingRun = get_object_or_404(self.get_queryset(), pk=number(pk))
        return Response(RunDetailSerializer(run, context={"request": request}).data)


class WorkflowBody(Body):
    """The workflow to run: a name from ``WORKFLOWS``; that of ``WORKFLOW_ID`` if empty."""

    workflow = Text(
        required=False,
        allow_blank=True,
        max_length=100,
        default="",
        constraints={"format": "workflow-name"},
    )


class AssetWorkflowViewSet(mixins.ListModelMixin, View):
    """The workflow runs of one asset, and starting another."""

    serializer_class = RunSerializer
    pagination_class = NewestFirst
    required_permissions: ClassVar = {
        "list": ("filestack_tags.view_asset", "filestack_tags.view_taggingrun"),
        "create": ("filestack_tags.view_asset", "filestack_tags.tag_asset"),
    }
    parameters: ClassVar = {"list": PAGING}
    operations: ClassVar = frozenset({"create"})

    def get_queryset(self) -> QuerySet[TaggingRun]:
        asset = asset_of(self.request, self.kwargs["asset"])
        by_workflow = Q(tagger=workflows.TAGGER) | Q(tagger__startswith=f"{workflows.TAGGER}:")
        return TaggingRun.objects.filter(by_workflow, asset=asset).defer("raw_reply")

    def create(self, request: Request, asset: str) -> Response:
        """Queue a workflow for the asset; it is left alone if it is running already."""
        found = asset_of(request, asset)
        name = said(WorkflowBody, request)["workflow"]
        tagger = f"{workflows.TAGGER}:{name}" if name else workflows.TAGGER
        if tagger not in workflows.taggers():
            raise ValidationError({"workflow": [_("There is no workflow with this name.")]})
        queued = tasks.request_tagging([found.pk], trigger="api", force=True, tagger=tagger)
        state = asset_of(request, asset).tagging_state
        return Response(
            {"id": found.pk, "state": state, "queued": bool(queued)},
            status=status.HTTP_202_ACCEPTED,
        )
