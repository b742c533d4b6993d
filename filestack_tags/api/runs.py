"""Tagging runs: calls and their results; and starting a workflow for one asset."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from filestack_tags.assets.visibility import runs_of, sees_hidden_tags
from filestack_tags.models import TaggingRun
from filestack_tags.tagging import workflows

from .assets import QueuedSerializer, queued
from .base import View, operation, row_id
from .fields import Id, Text
from .serializers import Body, PageParameters, one_of, page_of


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
            *("http_status", "error_code", "error"),
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


RunPageSerializer = page_of(RunSerializer)


class RunParameters(PageParameters):
    asset = Id(help_text="only runs of this asset")
    state = one_of(TaggingRun.State.values, "only runs in this state")


class RunViewSet(View):
    """Runs of assets that the user may see. Raw replies also require `search_hidden`."""

    @operation("view_taggingrun", parameters=RunParameters, returns=RunPageSerializer)
    def list(self, request: Request) -> Response:
        filters = {name: self.query[name] for name in ("asset", "state")}
        conditions = {name: value for name, value in filters.items() if value is not None}
        return self.page(self._runs().filter(**conditions).defer("raw_reply"))

    @operation("view_taggingrun", returns=RunDetailSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Return a run, with the reply as it was received."""
        return self.respond(get_object_or_404(self._runs(), pk=row_id(pk)))

    def _runs(self) -> QuerySet[TaggingRun]:
        return runs_of(self.request.user).filter(asset__deleted_at=None)


class WorkflowBody(Body):
    """The workflow to run: a name from ``WORKFLOWS``; that of ``WORKFLOW_ID`` if empty."""

    workflow = Text(
        required=False,
        allow_blank=True,
        max_length=100,
        default="",
        constraints={"format": "workflow-name"},
    )


class AssetWorkflowViewSet(View):
    """The workflow runs of one asset, and starting another."""

    @operation(
        "view_asset", "view_taggingrun", parameters=PageParameters, returns=RunPageSerializer
    )
    def list(self, request: Request, asset: str) -> Response:
        target = self.asset(asset)
        by_workflow = Q(tagger=workflows.TAGGER) | Q(tagger__startswith=f"{workflows.TAGGER}:")
        return self.page(
            TaggingRun.objects.filter(by_workflow, asset=target).defer("raw_reply")
        )

    @operation(
        "view_asset",
        "tag_asset",
        body=WorkflowBody,
        returns=QueuedSerializer,
        status=(202,),
        operates=True,
    )
    def create(self, request: Request, asset: str) -> Response:
        """Queue a workflow for the asset. A running asset is unchanged."""
        target, name = self.asset(asset), self.body["workflow"]
        tagger = f"{workflows.TAGGER}:{name}" if name else workflows.TAGGER
        if tagger not in workflows.taggers():
            raise ValidationError({"workflow": [_("There is no workflow with this name.")]})
        return queued(self, target.pk, tagger=tagger)
