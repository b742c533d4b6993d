"""The log of users' decisions about the tags of assets. Rows are only added."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from filestack_tags.db.replicas import ReplicaManager

from .assets import Asset
from .bulk_jobs import BulkJob
from .tags import AssetTag, Tag


class TagDecision(models.Model):
    """One user's decision about one asset tag: the row before and after.

    It contains everything needed to restore the previous row. No confidence means that the asset
    does not have the tag. Kept as long as the asset.
    """

    class Act(models.TextChoices):
        ACCEPT = "accept", _("accepted")
        REJECT = "reject", _("rejected")
        ADD = "add", _("added")
        CHANGE = "change", _("changed the confidence")
        WITHDRAW = "withdraw", _("withdrew the decision")
        UNDO = "undo", _("undid a decision")

    class Origin(models.TextChoices):
        ADMIN = "admin", _("admin")
        API = "api", _("API")
        COMMAND = "command", _("command")
        CODE = "code", _("code")
        JOB = "job", _("job")

    asset = models.ForeignKey(
        Asset,
        on_delete=models.CASCADE,
        related_name="decisions",
        db_index=False,
        verbose_name=_("asset"),
    )
    tag = models.ForeignKey(
        Tag,
        # A merged tag is deleted until the merge is undone; then it has its id again.
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        related_name="decisions",
        db_index=False,
        verbose_name=_("tag"),
    )
    act = models.CharField(_("decision"), max_length=8, choices=Act)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        verbose_name=_("user"),
    )
    created_at = models.DateTimeField(_("time"), default=timezone.now)
    origin = models.CharField(_("origin"), max_length=7, choices=Origin, default=Origin.CODE)
    job = models.ForeignKey(
        BulkJob,
        on_delete=models.DO_NOTHING,
        null=True,
        blank=True,
        related_name="decisions",
        db_index=False,
        db_constraint=False,
        verbose_name=_("job"),
    )
    """The job that decided, if one did. Jobs may be deleted: the id may dangle."""
    undoes = models.OneToOneField(
        "self",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="undone_by",
        verbose_name=_("undoes"),
    )

    before_confidence = models.PositiveSmallIntegerField(_("confidence before"), null=True)
    before_decision = models.PositiveSmallIntegerField(
        _("decision before"), choices=AssetTag.Decision, default=AssetTag.Decision.NONE
    )
    before_source = models.PositiveSmallIntegerField(
        _("source before"), choices=AssetTag.Source, null=True
    )
    before_tagger_confidence = models.PositiveSmallIntegerField(null=True)
    before_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        # No query uses it, and the database does not search here for a deleted user.
        db_index=False,
        db_constraint=False,
        verbose_name=_("previously reviewed by"),
    )
    before_at = models.DateTimeField(_("previously reviewed"), null=True)
    before_run = models.BigIntegerField(null=True)

    after_confidence = models.PositiveSmallIntegerField(_("confidence after"), null=True)
    after_decision = models.PositiveSmallIntegerField(
        _("decision after"), choices=AssetTag.Decision, default=AssetTag.Decision.NONE
    )
    after_source = models.PositiveSmallIntegerField(
        _("source after"), choices=AssetTag.Source, null=True
    )

    objects = ReplicaManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("tag decision")
        verbose_name_plural = _("tag decisions")
        ordering = ("-id",)
        default_permissions = ("view",)
        indexes = (
            models.Index(fields=("asset", "tag"), name="fst_decision_asset_tag"),
            models.Index(fields=("tag", "-id"), name="fst_decision_tag"),
            models.Index(fields=("user", "-id"), name="fst_decision_user"),
            models.Index(fields=("job", "asset"), name="fst_decision_job"),
        )

    def __str__(self) -> str:
        return f"{self.get_act_display()} #{self.pk}"
