"""Bulk jobs: one action on every asset that matches a search, and its results."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from filestack_tags import metrics
from filestack_tags.db.replicas import ReplicaManager
from filestack_tags.db.transactions import on_commit
from filestack_tags.fields import ExactCharField

from .assets import Asset
from .leases import Leased, LeasedManager, one_of, open_means_due
from .runs import TaggingRun


class BulkJob(Leased):
    """One action on all assets that match a search; a worker does it in batches."""

    class Action(models.TextChoices):
        ADD = "add_tag", _("add a tag")
        REMOVE = "remove_tag", _("remove a tag")
        ACCEPT = "accept_tag", _("accept a tag")
        REJECT = "reject_tag", _("reject a tag")
        RETAG = "retag", _("re-tag")
        WORKFLOW = "run_workflow", _("run a workflow")
        EXPORT = "export", _("export")
        ARCHIVE = "archive", _("archive")
        UNDO = "undo", _("undo")

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("running")
        FINISHED = "finished", _("finished")
        CANCELLED = "cancelled", _("canceled")
        FAILED = "failed", _("failed")

    QUEUED = State.WAITING
    LEASE_FIELDS = (*Leased.LEASE_FIELDS, "held", "finished_at")

    action = models.CharField(_("action"), max_length=20, choices=Action)
    parameters = models.JSONField(_("parameters"), default=dict, blank=True)
    """``tag``, ``confidence`` (``[low, high]``), ``tagger`` or ``format``, as the action needs."""
    query = models.TextField(_("search"), blank=True)
    include_hidden = models.BooleanField(default=False, editable=False)
    """Whether the user may write ``include:hidden`` in the search."""
    ids_digest = ExactCharField(max_length=64, blank=True, default="", editable=False)
    """Digest of the ids that were requested; empty for all matching assets. The ids are the job's
    items.
    """
    ceiling = models.BigIntegerField(_("newest asset"), default=0)
    """The highest asset id at the creation of the job: later assets are not included."""

    state = models.CharField(_("state"), max_length=10, choices=State, default=State.WAITING)
    position = models.BigIntegerField(_("position"), null=True, blank=True)
    """Assets with this id and above are done; the order is from the newest to the oldest."""
    matched = models.PositiveIntegerField(_("matching"), default=0)
    matched_is_exact = models.BooleanField(default=False, editable=False)
    done = models.PositiveIntegerField(_("done"), default=0)
    changed = models.PositiveIntegerField(_("changed"), default=0)
    skipped = models.PositiveIntegerField(_("skipped"), default=0)
    failed = models.PositiveIntegerField(_("failed"), default=0)
    reasons = models.JSONField(_("reasons"), default=dict, blank=True)
    """Why assets were skipped: ``{reason: how many}``."""
    held = models.CharField(_("paused"), max_length=20, blank=True)
    """What it waits for while it runs: ``queue`` when enough assets are queued already."""

    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("requested by"),
    )
    scope_digest = ExactCharField(max_length=64, blank=True, default="", editable=False)
    """Digest of the user's scope at the time of the request: its results are readable only in the
    same scope.
    """
    trigger = models.CharField(
        _("trigger"),
        max_length=10,
        choices=TaggingRun.Trigger,
        default=TaggingRun.Trigger.CODE,
    )
    key = ExactCharField(
        _("idempotency key"), max_length=64, null=True, blank=True, editable=False
    )
    """Digest of an idempotency key and of its user, or no user."""
    undoes = models.ForeignKey(
        "self",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="undo_jobs",
        verbose_name=_("undoes"),
    )
    created_at = models.DateTimeField(_("requested"), default=timezone.now)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    updated_at = models.DateTimeField(_("last batch"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    pruned_at = models.DateTimeField(_("pruned"), null=True, blank=True)
    """When the records about single assets were deleted, after which it cannot be undone."""

    objects = LeasedManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("bulk job")
        verbose_name_plural = _("bulk jobs")
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("due_at",), name="fst_job_due"),
            models.Index(fields=("requested_by", "-id"), name="fst_job_person"),
        )
        constraints = (
            models.UniqueConstraint(fields=("key",), name="fst_job_key"),
            one_of(
                "state",
                ("waiting", "running", "finished", "cancelled", "failed"),
                "fst_job_known_state",
            ),
            open_means_due(("waiting", "running"), "fst_job_open"),
        )

    def __str__(self) -> str:
        return f"#{self.pk}"

    @property
    def is_open(self) -> bool:
        """Whether it waits or runs."""
        return self.due_at is not None

    def close(self, state: str, error: str = "", error_code: str = "") -> None:
        """Set the final state and its time, without saving; count it after the commit."""
        super().close(state, error, error_code)
        self.held = ""
        self.finished_at = timezone.now()
        waited = (self.finished_at - self.created_at).total_seconds()

        def count() -> None:
            if state == self.State.FAILED:
                metrics.count("bulk.failed", job=self.action)
            elif state == self.State.FINISHED:
                metrics.count("bulk.finished", job=self.action)
            else:
                metrics.count("bulk.cancelled", job=self.action)
            metrics.observe("bulk.seconds", waited, job=self.action)

        on_commit(count)


class BulkJobItem(models.Model):
    """One asset of a job: recorded for failed and skipped ones, up to a limit, and from the start
    for all of a list of ids.
    """

    class Outcome(models.TextChoices):
        PENDING = "pending", _("pending")
        CHANGED = "changed", _("changed")
        SKIPPED = "skipped", _("skipped")
        FAILED = "failed", _("failed")

    job = models.ForeignKey(
        BulkJob, on_delete=models.CASCADE, related_name="items", db_index=False
    )
    # The asset may be deleted, or may never have existed: this id may dangle.
    asset = models.ForeignKey(
        Asset,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_index=False,
        db_constraint=False,
        verbose_name=_("asset"),
    )
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome)
    reason = models.CharField(_("reason"), max_length=20, blank=True)
    """Why it was skipped: a word of :data:`filestack_tags.curation.bulk.REASONS`."""
    error = models.TextField(_("error"), blank=True)

    objects = ReplicaManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("item of a bulk job")
        verbose_name_plural = _("items of bulk jobs")
        ordering = ("-asset_id",)
        constraints = (
            models.UniqueConstraint(fields=("job", "asset"), name="fst_jobitem_asset"),
        )
        indexes = (
            models.Index(fields=("job", "outcome", "-asset"), name="fst_jobitem_outcome"),
        )

    def __str__(self) -> str:
        return f"{self.asset_id}: {self.outcome}"


class BulkJobPart(models.Model):
    """A piece of an export, compressed: written in the transaction that advances the job."""

    job = models.ForeignKey(
        BulkJob, on_delete=models.CASCADE, related_name="parts", db_index=False
    )
    number = models.PositiveIntegerField(_("number"))
    data = models.BinaryField(_("data"))

    objects = ReplicaManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("part of an export")
        verbose_name_plural = _("parts of exports")
        ordering = ("number",)
        constraints = (
            models.UniqueConstraint(fields=("job", "number"), name="fst_jobpart_number"),
        )

    def __str__(self) -> str:
        return f"{self.job_id}/{self.number}"
