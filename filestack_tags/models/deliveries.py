"""Webhook deliveries: the requests that Filestack sent, and the results of processing them."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from filestack_tags import metrics
from filestack_tags.db.transactions import on_commit
from filestack_tags.fields import ExactCharField

from .assets import Asset
from .leases import Leased, LeasedManager, one_of, open_means_due


class WebhookDelivery(Leased):
    """One webhook request with a valid signature, stored before it is parsed."""

    class State(models.TextChoices):
        RECEIVED = "received", _("received")
        PROCESSING = "processing", _("processing")
        PROCESSED = "processed", _("processed")
        IGNORED = "ignored", _("ignored")
        FAILED = "failed", _("failed")

    QUEUED, LEASED = State.RECEIVED, State.PROCESSING
    LEASE_FIELDS = (*Leased.LEASE_FIELDS, "outcome", "asset", "processed_at")

    event_key = ExactCharField(_("event key"), max_length=200)
    action = models.CharField(_("action"), max_length=100, blank=True)
    headers = models.JSONField(_("headers"), default=dict)
    raw_body = models.BinaryField(_("raw body"))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.RECEIVED)
    duplicates = models.PositiveIntegerField(_("duplicates"), default=0)
    outcome = models.TextField(_("outcome"), blank=True)
    asset = models.ForeignKey(
        Asset,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="deliveries",
        verbose_name=_("asset"),
    )
    received_at = models.DateTimeField(_("received"), default=timezone.now, db_index=True)
    processed_at = models.DateTimeField(_("processed"), null=True, blank=True)

    objects = LeasedManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        ordering = ("-id",)
        permissions = (("replay_webhookdelivery", _("Can replay webhook deliveries")),)
        indexes = (
            models.Index(fields=("state", "-id"), name="fst_delivery_state"),
            models.Index(fields=("action", "-id"), name="fst_delivery_action"),
            models.Index(fields=("due_at",), name="fst_delivery_due"),
        )
        constraints = (
            models.UniqueConstraint(fields=("event_key",), name="fst_delivery_event_key"),
            one_of(
                "state",
                ("received", "processing", "processed", "ignored", "failed"),
                "fst_delivery_known_state",
            ),
            open_means_due(("received", "processing"), "fst_delivery_open"),
        )

    def __str__(self) -> str:
        return f"{self.action or '?'} #{self.pk}"

    @cached_property
    def _is_replayed(self) -> bool:
        """Whether it was closed before this lease. Cached: a rolled back close is repeated."""
        return self.processed_at is not None

    def close(self, state: str, error: str = "", error_code: str = "") -> None:
        """Set the final state and its time, without saving; count it after the commit."""
        super().close(state, error, error_code)
        is_replayed = self._is_replayed
        self.outcome, self.asset_id, self.processed_at = "", None, timezone.now()
        waited = (self.processed_at - self.received_at).total_seconds()

        def count() -> None:
            action = self.action if self.action in metrics.ACTIONS else "unknown"
            if state == self.State.FAILED:
                metrics.count("webhook.failed")
            else:
                metrics.count("webhook.processed", action=action)
            if not is_replayed:
                metrics.observe("webhook.seconds", waited, action=action)

        on_commit(count)
