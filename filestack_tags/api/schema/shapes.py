"""The shapes of the responses. They render nothing: they only define names and types."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from filestack_tags.api.deliveries import DeliverySerializer
from filestack_tags.api.jobs import ItemSerializer, JobSerializer
from filestack_tags.api.representation import DECISIONS, SOURCES
from filestack_tags.api.runs import RunSerializer
from filestack_tags.api.saved_searches import SavedSearchSerializer
from filestack_tags.api.serializers import DecisionSerializer
from filestack_tags.curation.bulk import CONTENT_TYPES
from filestack_tags.models import Asset

Shape = serializers.Serializer


def confidence(**kwargs: Any) -> serializers.IntegerField:
    return serializers.IntegerField(min_value=0, max_value=100, **kwargs)


def number(**kwargs: Any) -> serializers.IntegerField:
    return serializers.IntegerField(min_value=0, **kwargs)


class PageShape(Shape[Any]):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class ShownTagSerializer(Shape[Any]):
    name = serializers.CharField()
    key = serializers.CharField()
    confidence = confidence()
    source = serializers.ChoiceField(sorted(SOURCES.values()))  # type: ignore[assignment]  # a field, as DRF allows
    decision = serializers.ChoiceField(sorted(DECISIONS.values()))


class AssetTagSerializer(ShownTagSerializer):
    tagger_confidence = confidence(allow_null=True)
    decided_at = serializers.DateTimeField(allow_null=True)
    decided_by = serializers.CharField(allow_null=True)
    shown = serializers.BooleanField()


class AssetTagListSerializer(Shape[Any]):
    results = AssetTagSerializer(many=True)


class DecidedSerializer(Shape[Any]):
    changed = serializers.BooleanField()
    decision_id = number(allow_null=True)
    tag = AssetTagSerializer(allow_null=True)


class TaggingSerializer(Shape[Any]):
    state = serializers.ChoiceField(Asset.State.choices)
    attempts = number()
    last_error = serializers.CharField(allow_blank=True)
    tagged_at = serializers.DateTimeField(allow_null=True)
    stale = serializers.BooleanField()


class AssetSerializer(Shape[Any]):
    """Members are absent only if ``fields`` selects others."""

    id = number(required=False)
    kind = serializers.ChoiceField(Asset.Kind.choices, required=False)
    reference = serializers.CharField(required=False)
    filename = serializers.CharField(allow_blank=True, required=False)
    mimetype = serializers.CharField(allow_blank=True, required=False)
    size = number(allow_null=True, required=False)
    width = number(allow_null=True, required=False)
    height = number(allow_null=True, required=False)
    container = serializers.CharField(allow_blank=True, required=False)
    key = serializers.CharField(allow_blank=True, required=False)
    store_status = serializers.CharField(allow_blank=True, required=False)
    upload_tags = serializers.DictField(required=False)
    uploader = serializers.CharField(allow_null=True, required=False)
    uploaded_at = serializers.DateTimeField(required=False)
    content_version = number(required=False)
    created_at = serializers.DateTimeField(required=False)
    changed_at = serializers.DateTimeField(required=False)
    tagging = TaggingSerializer(required=False)
    tags = ShownTagSerializer(many=True, required=False)


class TotalSerializer(Shape[Any]):
    count = number()
    exact = serializers.BooleanField()


class CountedTagSerializer(Shape[Any]):
    key = serializers.CharField()
    name = serializers.CharField()
    count = number()


class FacetsSerializer(Shape[Any]):
    approximate = serializers.BooleanField()
    sample = number()
    matches = number(allow_null=True)
    tags = CountedTagSerializer(many=True)


class BarSerializer(Shape[Any]):
    confidence = confidence()
    count = number()


class HistogramSerializer(Shape[Any]):
    tag = serializers.CharField()
    total = number()
    counts = BarSerializer(many=True)


class HintSerializer(Shape[Any]):
    term = serializers.CharField()
    near = serializers.ListField(child=serializers.CharField())
    suggestion = serializers.CharField(allow_blank=True)
    kind = serializers.ChoiceField(("phrase", "unknown", "whole"))


class AssetPageSerializer(PageShape):
    total = TotalSerializer(required=False)
    facets = FacetsSerializer(required=False)
    hints = HintSerializer(many=True, required=False)
    results = AssetSerializer(many=True)


class QueuedSerializer(Shape[Any]):
    id = number()
    state = serializers.ChoiceField(Asset.State.choices)
    queued = serializers.BooleanField()


class ListedTagSerializer(Shape[Any]):
    """Members are absent only if ``fields`` selects others."""

    key = serializers.CharField(required=False)
    name = serializers.CharField(required=False)
    asset_count = number(required=False)
    min_confidence = confidence(allow_null=True, required=False)
    hidden = serializers.BooleanField(required=False)
    aliases = serializers.ListField(child=serializers.CharField(), required=False)


class TagPageSerializer(PageShape):
    results = ListedTagSerializer(many=True)


class CompletionSerializer(CountedTagSerializer):
    min_confidence = confidence()


class CompletionsSerializer(Shape[Any]):
    results = CompletionSerializer(many=True)


class MergePreviewSerializer(Shape[Any]):
    assets = number()
    both = number()
    conflicts = number()
    aliases = serializers.ListField(child=serializers.CharField())


class DecisionPageSerializer(PageShape):
    results = DecisionSerializer(many=True)


class RunPageSerializer(PageShape):
    results = RunSerializer(many=True)


class SavedSearchPageSerializer(PageShape):
    results = SavedSearchSerializer(many=True)


class JobPageSerializer(PageShape):
    results = JobSerializer(many=True)


class ItemPageSerializer(PageShape):
    results = ItemSerializer(many=True)


class DeliveryPageSerializer(PageShape):
    results = DeliverySerializer(many=True)


class ReplayedSerializer(Shape[Any]):
    id = number()
    replayed = serializers.BooleanField()


class PermitSerializer(Shape[Any]):
    api_key = serializers.CharField()
    policy = serializers.CharField()
    signature = serializers.CharField()
    expires_in = serializers.IntegerField()
    upload_url = serializers.CharField()
    store = serializers.DictField(child=serializers.CharField())
    max_size = number()
    max_files = number()
    mimetypes = serializers.ListField(child=serializers.CharField())


FILE = {"type": "string", "format": "binary"}
EXPORTS = tuple((200, kind.partition(";")[0]) for kind in CONTENT_TYPES.values())
"""Status and media type of each export format."""


class FieldErrorSerializer(Shape[Any]):
    field = serializers.CharField(allow_blank=True)
    detail = serializers.CharField()


class ProblemSerializer(Shape[Any]):
    """RFC 9457; the members after the first four depend on the type."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    parameter = serializers.CharField(required=False, allow_blank=True)
    position = number(required=False)
    found = serializers.CharField(required=False, allow_blank=True)
    expected = serializers.ListField(child=serializers.CharField(), required=False)
    suggestion = serializers.CharField(required=False, allow_blank=True)
    unknown = serializers.ListField(child=serializers.CharField(), required=False)
    known = serializers.ListField(child=serializers.CharField(), required=False)
    errors = FieldErrorSerializer(many=True, required=False)  # type: ignore[assignment]  # as above
