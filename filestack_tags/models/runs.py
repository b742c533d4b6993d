"""Tagging runs: every attempt to get the tags of an asset."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from filestack_tags.db.replicas import ReplicaManager
from filestack_tags.fields import ExactCharField

from .assets import Asset
from .leases import one_of


class TaggingRun(models.Model):
    """One attempt to get an asset's tags. Keeps the raw reply, never a secret."""

    class State(models.TextChoices):
        STARTED = "started", _("started")
        SUCCEEDED = "succeeded", _("succeeded")
        SUPERSEDED = "superseded", _("superseded by a newer result")
        FAILED = "failed", _("failed")

    class Trigger(models.TextChoices):
        UPLOAD = "upload", _("upload")
        OVERWRITE = "overwrite", _("overwrite")
        WORKFLOW = "workflow", _("workflow")
        ADMIN = "admin", _("admin")
        API = "api", _("API")
        COMMAND = "command", _("command")
        CODE = "code", _("code")

    asset = models.ForeignKey(
        Asset, on_delete=models.CASCADE, related_name="runs", verbose_name=_("asset")
    )
    tagger = models.CharField(_("tagger"), max_length=100)
    version = models.PositiveSmallIntegerField(_("version"), null=True, blank=True)
    trigger = models.CharField(_("trigger"), max_length=10, choices=Trigger)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.STARTED)
    content_version = models.PositiveIntegerField(_("content version"))
    workflow_id = models.CharField(_("workflow"), max_length=100, blank=True)
    job_id = ExactCharField(_("job"), max_length=100, null=True, blank=True)
    delivery = models.ForeignKey(
        "WebhookDelivery",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="runs",
        verbose_name=_("delivery"),
    )
    shared_from = models.ForeignKey(
        "self",
        # Neither an index nor a constraint: no query looks up runs that share it, and every call
        # would pay for them.
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("shared from"),
    )
    """The run of another asset with the same bytes that this reply is from: no call was made."""
    sha256 = ExactCharField(_("SHA-256"), max_length=64, null=True, blank=True, editable=False)
    """SHA-256 of the tagged bytes. Set only if the reply certainly describes them: the digest was
    known before the call, and the call bypassed Filestack's cache. Other files with
    this digest may share the reply.
    """
    rule_results = models.JSONField(_("rules"), default=dict, blank=True)
    """The outcome of each of the setting ``RULES`` for the result: ``{name: true or false}``."""
    raw_reply = models.TextField(_("raw reply"), blank=True)
    http_status = models.PositiveSmallIntegerField(_("HTTP status"), null=True, blank=True)
    error_code = ExactCharField(_("error code"), max_length=50, blank=True, default="")
    error = models.TextField(_("error"), blank=True)
    notes = models.TextField(_("notes"), blank=True, default="")
    """What was left out of the reply because it is invalid, and why."""
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    result_at = models.DateTimeField(_("time of the result"), null=True, blank=True)

    objects = ReplicaManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("tagging run")
        verbose_name_plural = _("tagging runs")
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("state", "-id"), name="fst_run_state"),
            models.Index(fields=("workflow_id", "state"), name="fst_run_workflow"),
            models.Index(fields=("tagger",), name="fst_run_tagger"),
            models.Index(fields=("version",), name="fst_run_version"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("job_id", "workflow_id", "asset"), name="fst_run_job_identity"
            ),
            one_of(
                "state",
                ("started", "succeeded", "superseded", "failed"),
                "fst_run_known_state",
            ),
        )

    def __str__(self) -> str:
        return f"{self.tagger} #{self.pk}"
