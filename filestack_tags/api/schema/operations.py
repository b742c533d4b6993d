"""Requests and responses of each operation, by view and action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from filestack_tags.api import (
    deliveries,
    jobs,
    runs,
    saved_searches,
    serializers,
    uploads,
)
from filestack_tags.api.problems import (
    CONFLICT,
    INVALID_QUERY,
    KEY_REUSED,
    NOT_CONFIGURED,
    SEARCH_TIMEOUT,
    UNAVAILABLE,
    Problem,
)
from filestack_tags.curation import bulk

from . import shapes


@dataclass(frozen=True)
class Operation:
    """An operation: its responses by status, None for an empty one, and its request body.

    Args:
        answers: shapes by status, or by status and media type.
        body: the shape of the request body.
        problems: problems in addition to those of every such request.
        required: required query parameters.
        headers: request headers that are read, with their schema and purpose.
    """

    answers: dict[Any, Any]
    body: Any = None
    problems: tuple[Problem, ...] = ()
    required: frozenset[str] = frozenset()
    headers: tuple[tuple[str, dict[str, Any], str], ...] = ()


def created(shape: Any) -> dict[int, Any]:
    """Return the responses of an operation that creates an object, or finds an existing one."""
    return {200: shape, 201: shape}


OPERATIONS: dict[str, dict[str, Operation]] = {
    "AssetViewSet": {
        "list": Operation({200: shapes.AssetPageSerializer}),
        "retrieve": Operation({200: shapes.AssetSerializer}),
        "create": Operation(created(shapes.AssetSerializer), serializers.RegisterSerializer),
        "partial_update": Operation({200: shapes.AssetSerializer}, serializers.FactsSerializer),
        "destroy": Operation({204: None}),
        "retag": Operation({202: shapes.QueuedSerializer}),
        "count": Operation({200: shapes.TotalSerializer}),
        "facets": Operation({200: shapes.FacetsSerializer}),
        "histogram": Operation({200: shapes.HistogramSerializer}, required=frozenset({"tag"})),
    },
    "AssetTagViewSet": {
        "list": Operation({200: shapes.AssetTagListSerializer}),
        "retrieve": Operation({200: shapes.AssetTagSerializer}),
        "create": Operation(
            created(shapes.DecidedSerializer),
            serializers.AddTagSerializer,
            problems=(CONFLICT,),
        ),
        "update": Operation(
            {200: shapes.DecidedSerializer}, serializers.DecideSerializer, problems=(CONFLICT,)
        ),
        "partial_update": Operation(
            {200: shapes.DecidedSerializer}, serializers.DecideSerializer, problems=(CONFLICT,)
        ),
    },
    "DecisionViewSet": {
        "list": Operation({200: shapes.DecisionPageSerializer}),
        "retrieve": Operation({200: serializers.DecisionSerializer}),
        "undo": Operation({200: serializers.DecisionSerializer}, problems=(CONFLICT,)),
    },
    "TagViewSet": {
        "list": Operation({200: shapes.TagPageSerializer}),
        "retrieve": Operation({200: shapes.ListedTagSerializer}),
        "complete": Operation({200: shapes.CompletionsSerializer}),
        "partial_update": Operation(
            {200: serializers.TagSerializer},
            serializers.ChangeTagSerializer,
            problems=(CONFLICT,),
        ),
        "aliases": Operation(
            created(serializers.TagSerializer),
            serializers.AliasSerializer,
            problems=(CONFLICT,),
        ),
        "alias": Operation({204: None}, problems=(CONFLICT,)),
        "merge": Operation(
            {202: serializers.TagMergeSerializer},
            serializers.MergeSerializer,
            problems=(CONFLICT,),
        ),
        "merge_preview": Operation(
            {200: shapes.MergePreviewSerializer},
            problems=(CONFLICT,),
            required=frozenset({"into"}),
        ),
    },
    "AssetWorkflowViewSet": {
        "list": Operation({200: shapes.RunPageSerializer}),
        "create": Operation({202: shapes.QueuedSerializer}, runs.WorkflowBody),
    },
    "RunViewSet": {
        "list": Operation({200: shapes.RunPageSerializer}),
        "retrieve": Operation({200: runs.RunDetailSerializer}),
    },
    "SavedSearchViewSet": {
        "list": Operation({200: shapes.SavedSearchPageSerializer}),
        "retrieve": Operation({200: saved_searches.SavedSearchSerializer}),
        "create": Operation(
            {201: saved_searches.SavedSearchSerializer},
            saved_searches.SavedSearchBody,
            problems=(CONFLICT, INVALID_QUERY, SEARCH_TIMEOUT),
        ),
        "partial_update": Operation(
            {200: saved_searches.SavedSearchSerializer},
            saved_searches.SavedSearchChange,
            problems=(CONFLICT, INVALID_QUERY, SEARCH_TIMEOUT),
        ),
        "destroy": Operation({204: None}),
        "assets": Operation(
            {200: shapes.AssetPageSerializer}, problems=(INVALID_QUERY, SEARCH_TIMEOUT)
        ),
    },
    "JobViewSet": {
        "list": Operation({200: shapes.JobPageSerializer}),
        "retrieve": Operation({200: jobs.JobDetailSerializer}),
        "create": Operation(
            {200: jobs.JobDetailSerializer, 202: jobs.JobDetailSerializer},
            jobs.JobBody,
            problems=(CONFLICT, KEY_REUSED, INVALID_QUERY, SEARCH_TIMEOUT),
            headers=(
                (
                    jobs.KEY,
                    {"type": "string", "maxLength": bulk.MAX_KEY},
                    "asks for the same job again, and not for another",
                ),
            ),
        ),
        "preview": Operation(
            {200: jobs.PreviewSerializer},
            jobs.JobBody,
            problems=(CONFLICT, INVALID_QUERY, SEARCH_TIMEOUT),
        ),
        "items": Operation({200: shapes.ItemPageSerializer}),
        "cancel": Operation({200: jobs.JobDetailSerializer}),
        "undo": Operation({202: jobs.JobDetailSerializer}, problems=(CONFLICT,)),
        "download": Operation(dict.fromkeys(shapes.EXPORTS, shapes.FILE), problems=(CONFLICT,)),
    },
    "DeliveryViewSet": {
        "list": Operation({200: shapes.DeliveryPageSerializer}),
        "retrieve": Operation({200: deliveries.DeliveryDetailSerializer}),
        "replay": Operation({202: shapes.ReplayedSerializer}),
    },
    "UploadViewSet": {
        "permit": Operation({200: shapes.PermitSerializer}, problems=(NOT_CONFIGURED,)),
        "complete": Operation(
            created(shapes.AssetSerializer),
            uploads.CompleteBody,
            problems=(UNAVAILABLE, NOT_CONFIGURED),
        ),
    },
    "TagMergeViewSet": {
        "retrieve": Operation({200: serializers.TagMergeSerializer}),
        "undo": Operation({202: serializers.TagMergeSerializer}, problems=(CONFLICT,)),
    },
}
