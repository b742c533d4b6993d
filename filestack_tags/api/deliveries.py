"""Webhook deliveries, for operators: what Filestack sent, the result, and replaying it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from filestack_tags import tasks
from filestack_tags.assets.visibility import sees_everything
from filestack_tags.models import WebhookDelivery

from .base import View, operation, row_id
from .fields import Text
from .serializers import PageParameters, count, one_of, page_of

VIEW = "view_webhookdelivery"


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


class ReplayedSerializer(serializers.Serializer[Any]):
    id = count()
    replayed = serializers.BooleanField()


class DeliveryParameters(PageParameters):
    state = one_of(WebhookDelivery.State.values, "only deliveries in this state")
    action = Text(
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        help_text="only deliveries with this action, such as fp.upload",
    )


class DeliveryViewSet(View):
    """Webhook deliveries, for users who may see all assets: they concern the whole installation."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if not sees_everything(request.user):
            raise PermissionDenied

    @operation(VIEW, parameters=DeliveryParameters, returns=page_of(DeliverySerializer))
    def list(self, request: Request) -> Response:
        rows = WebhookDelivery.objects.defer("raw_body", "headers", "error")
        if (state := self.query["state"]) is not None:
            rows = rows.filter(state=state)
        if (name := self.query["action"]) is not None:
            rows = rows.filter(action=name)
        return self.page(rows)

    @operation(VIEW, returns=DeliveryDetailSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Return a delivery, with its request as received."""
        return self.respond(get_object_or_404(WebhookDelivery, pk=row_id(pk)))

    @operation(
        VIEW, "replay_webhookdelivery", returns=ReplayedSerializer, status=(202,), operates=True
    )
    @action(detail=True, methods=["post"])
    def replay(self, request: Request, pk: str) -> Response:
        """Replay a delivery, unless it is still open. An event has its effect once."""
        delivery = get_object_or_404(WebhookDelivery, pk=row_id(pk))
        replayed = tasks.replay([delivery.pk])
        return self.respond({"id": delivery.pk, "replayed": bool(replayed)})
