"""Webhook deliveries, for operators: what Filestack sent, the result, and replaying it."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from filestack_tags import tasks
from filestack_tags.assets.visibility import sees_everything
from filestack_tags.db.text import storable
from filestack_tags.models import WebhookDelivery

from .base import PAGING, View, number
from .bodies import one_of
from .pagination import NewestFirst

HEAVY = ("raw_body", "headers", "error")
VIEW = "filestack_tags.view_webhookdelivery"


class DeliverySerializer(serializers.ModelSerializer[WebhookDelivery]):
    asset = serializers.IntegerField(source="asset_id", allow_null=True, read_only=True)

    class Meta:
        model = WebhookDelivery
        fields: tuple[str, ...] = (
            *("id", "event_key", "action", "state", "attempts", "duplicates", "outcome"),
            *("asset", "received_at", "due_at", "processed_at"),
        )
        read_only_fields = fields


class DeliveryDetailSerializer(DeliverySerializer):
    """A delivery with its request: without the signature, which is never stored."""

    body = serializers.SerializerMethodField()

    class Meta(DeliverySerializer.Meta):
        fields = (*DeliverySerializer.Meta.fields, "error", "headers", "body")
        read_only_fields = fields

    def get_body(self, delivery: WebhookDelivery) -> str:
        return bytes(delivery.raw_body).decode("utf-8", "replace")


class DeliveryViewSet(mixins.ListModelMixin, View):
    """Webhook deliveries, for users who may see all assets: they concern the whole installation."""

    serializer_class = DeliverySerializer
    pagination_class = NewestFirst
    lookup_value_regex = "[^/]+"
    required_permissions: ClassVar = {
        "list": (VIEW,),
        "retrieve": (VIEW,),
        "replay": (VIEW, "filestack_tags.replay_webhookdelivery"),
    }
    parameters: ClassVar = {"list": PAGING | {"state", "action"}}
    operations: ClassVar = frozenset({"replay"})

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if not sees_everything(request.user):
            raise PermissionDenied

    def get_queryset(self) -> QuerySet[WebhookDelivery]:
        return WebhookDelivery.objects.all()

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if (state := one_of(self.request, "state", WebhookDelivery.State.values)) is not None:
            queryset = queryset.filter(state=state)
        if (wanted := self.request.query_params.get("action")) is not None:
            queryset = queryset.filter(action=storable(wanted))
        return queryset.defer(*HEAVY)

    def retrieve(self, request: Request, pk: str) -> Response:
        """Return a delivery, with its request as received."""
        return Response(DeliveryDetailSerializer(self._delivery(pk)).data)

    @action(detail=True, methods=["post"])
    def replay(self, request: Request, pk: str) -> Response:
        """Replay a delivery, unless it is still open. An event has its effect once."""
        delivery = self._delivery(pk)
        again = tasks.replay([delivery.pk])
        return Response(
            {"id": delivery.pk, "replayed": bool(again)}, status=status.HTTP_202_ACCEPTED
        )

    def _delivery(self, pk: str) -> WebhookDelivery:
        delivery: WebhookDelivery = get_object_or_404(self.get_queryset(), pk=number(pk))
        return delivery
