"""Operations: usage, circuit breakers, and the heartbeats of scheduled tasks."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from filestack_tags.db.replicas import ReplicaManager
from filestack_tags.fields import ExactCharField


class DailyUsage(models.Model):
    """How many tagging calls were made on one day. Counted before they are made."""

    day = models.DateField(_("day (UTC)"), unique=True)
    calls = models.PositiveIntegerField(_("calls"), default=0)

    objects = ReplicaManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("daily usage")
        verbose_name_plural = _("daily usage")
        ordering = ("-day",)

    def __str__(self) -> str:
        return f"{self.day}: {self.calls}"


class Circuit(models.Model):
    """The circuit breaker of a tagger. While it is open, calls are paused."""

    tagger = ExactCharField(_("tagger"), max_length=100, unique=True)
    failures = models.PositiveIntegerField(_("consecutive failures"), default=0)
    refused_assets = models.JSONField(default=list, blank=True, editable=False)
    """The assets whose access was denied in a row: each counts once in ``failures``."""
    opened_at = models.DateTimeField(_("paused since"), null=True, blank=True)
    opened_times = models.PositiveIntegerField(_("failed retries"), default=0)
    """How many trial calls failed since it opened; each doubles the delay."""
    retry_at = models.DateTimeField(_("next retry"), null=True, blank=True)
    closed_at = models.DateTimeField(_("resumed"), null=True, blank=True, editable=False)
    """When it last closed; concurrency grows gradually after that."""
    error_code = models.CharField(_("error code"), max_length=50, blank=True)
    reason = models.TextField(_("reason"), blank=True)

    objects = ReplicaManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("circuit breaker")
        verbose_name_plural = _("circuit breakers")
        ordering = ("tagger",)

    def __str__(self) -> str:
        return str(self.tagger)


class Heartbeat(models.Model):
    """When a scheduled task, such as the sweep, last finished."""

    name = ExactCharField(_("name"), max_length=50, unique=True)
    finished_at = models.DateTimeField(_("last run"), default=timezone.now)
    found = models.JSONField(_("result"), default=dict, blank=True)
    """What it did, as ``{what: how many}``."""

    objects = ReplicaManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("scheduled task")
        verbose_name_plural = _("scheduled tasks")
        ordering = ("name",)

    def __str__(self) -> str:
        return str(self.name)


class Backfill(models.Model):
    """One run of ``filestack_tags_backfill``, so that it can be resumed."""

    class State(models.TextChoices):
        RUNNING = "running", _("running")
        STOPPED = "stopped", _("stopped")
        FINISHED = "finished", _("finished")

    query = models.TextField(_("search"), blank=True)
    options = models.JSONField(_("options"), default=dict, blank=True)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.RUNNING)
    position = models.BigIntegerField(_("position"), null=True, blank=True)
    """Assets with this id and above are done; the order is from the newest to the oldest."""
    counts = models.JSONField(_("counts"), default=dict, blank=True)
    """``{outcome: how many}``."""
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    objects = ReplicaManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("backfill")
        verbose_name_plural = _("backfills")
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"#{self.pk}"
