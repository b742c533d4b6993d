"""Outbound webhooks: the endpoints, and the messages to send."""

from __future__ import annotations

import uuid
from secrets import token_hex

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from filestack_tags import metrics
from filestack_tags.db.replicas import ReplicaManager
from filestack_tags.db.transactions import on_commit
from filestack_tags.fields import ExactCharField

from .leases import Leased, LeasedManager, one_of, open_means_due


def new_nonce() -> str:
    """Return a random nonce, which makes the secret of an endpoint unique."""
    return token_hex(16)


def new_webhook_id() -> str:
    """Return the id by which a receiver recognizes a repeated message."""
    return f"msg_{uuid.uuid4().hex}"


class OutboundEndpoint(models.Model):
    """Another system. Its secret is not stored: see :mod:`filestack_tags.outbound.delivery`."""

    url = models.CharField(_("URL"), max_length=2000)
    description = models.CharField(_("description"), max_length=200, blank=True)
    events = models.JSONField(_("events"), default=list)
    """Of :class:`OutboundMessage.Event`."""
    is_active = models.BooleanField(_("active"), default=True)
    nonce = ExactCharField(max_length=64, default=new_nonce, editable=False)
    """The secret is derived from it and ``SECRET_KEY``; alone it is worthless."""
    former_nonce = ExactCharField(max_length=64, blank=True, editable=False)
    rotated_at = models.DateTimeField(
        _("secret changed"), null=True, blank=True, editable=False
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    objects = ReplicaManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("webhook endpoint")
        verbose_name_plural = _("webhook endpoints")
        ordering = ("id",)

    def __str__(self) -> str:
        return self.description or f"#{self.pk}"


class OutboundMessage(Leased):
    """One message to one endpoint: written in the transaction that it reports, sent afterwards."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        SENT = "sent", _("sent")
        FAILED = "failed", _("failed")

    class Event(models.TextChoices):
        TAGGED = "asset.tagged", _("an asset was tagged")
        FAILED = "asset.failed", _("an asset could not be tagged")
        DECIDED = "tag.decided", _("a tag was reviewed")

    QUEUED = State.WAITING
    LEASE_FIELDS = (*Leased.LEASE_FIELDS, "http_status", "sent_at")

    webhook_id = ExactCharField(_("webhook-id"), max_length=64, default=new_webhook_id)
    endpoint = models.ForeignKey(
        OutboundEndpoint,
        on_delete=models.CASCADE,
        # An endpoint may be deleted concurrently, which must not make tagging fail.
        db_constraint=False,
        related_name="messages",
        verbose_name=_("endpoint"),
    )
    event = models.CharField(_("event"), max_length=30, choices=Event)
    body = models.TextField(_("body"))
    """The JSON that is signed and sent, the same for each attempt."""
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.WAITING)
    http_status = models.PositiveSmallIntegerField(_("HTTP status"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now, db_index=True)
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)

    objects = LeasedManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("outbound message")
        verbose_name_plural = _("outbound messages")
        ordering = ("-id",)
        permissions = (("resend_outboundmessage", _("Can resend outbound messages")),)
        indexes = (
            models.Index(fields=("due_at",), name="fst_outbound_due"),
            models.Index(fields=("state", "-id"), name="fst_outbound_state"),
        )
        constraints = (
            models.UniqueConstraint(fields=("webhook_id",), name="fst_outbound_webhook_id"),
            one_of("state", ("waiting", "sent", "failed"), "fst_outbound_known_state"),
            open_means_due(("waiting",), "fst_outbound_open"),
        )

    def __str__(self) -> str:
        return f"{self.event} #{self.pk}"

    def close(self, state: str, error: str = "", error_code: str = "") -> None:
        """Set the final state, without saving; count it after the commit."""
        super().close(state, error, error_code)
        is_sent = state == self.State.SENT
        on_commit(lambda: metrics.count("outbound.sent" if is_sent else "outbound.failed"))
