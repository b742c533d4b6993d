"""Merges: which tag is merged into which, the progress, and the data needed to undo it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from filestack_tags.db.replicas import ReplicaManager
from filestack_tags.db.text import MAX_LABEL_LENGTH
from filestack_tags.db.transactions import alias
from filestack_tags.error_codes import ErrorCode

from .assets import Asset
from .leases import Leased, LeasedManager, one_of
from .tags import AssetTag, Tag


class TagMerge(Leased):
    """One tag, the source, being merged into another, the target; see its state."""

    class State(models.TextChoices):
        MERGING = "merging", _("merging")
        MERGED = "merged", _("merged")
        UNDOING = "undoing", _("being undone")
        UNDONE = "undone", _("undone")

    COMPLETE = (State.MERGED, State.UNDONE)
    """The states at the end. In another state it continues, or it stopped with an error."""

    # The source is deleted, the target may be deleted by a later merge, and undoing restores both
    # with their ids: these ids may dangle.
    source = models.ForeignKey(
        Tag,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_index=False,
        db_constraint=False,
        verbose_name=_("source"),
    )
    target = models.ForeignKey(
        Tag,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_index=False,
        db_constraint=False,
        verbose_name=_("target"),
    )
    source_name = models.CharField(_("merged tag"), max_length=MAX_LABEL_LENGTH)
    target_name = models.CharField(_("into"), max_length=MAX_LABEL_LENGTH)
    source_fields = models.JSONField(default=dict, encoder=DjangoJSONEncoder, editable=False)
    """The source's row, ``{column: value}``."""
    alias_keys = models.JSONField(default=list, editable=False)
    """The aliases of the source."""
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.MERGING)
    position = models.BigIntegerField(null=True, editable=False)
    """Assets with this id and below are merged; later additions among them are processed last."""
    assets = models.PositiveIntegerField(_("assets"), default=0)
    """How many assets had the source when the merge began."""
    done = models.PositiveIntegerField(_("done"), default=0)
    """How many are merged; it decreases while the merge is being undone."""
    both = models.PositiveIntegerField(_("with both tags"), default=0)
    conflicts = models.PositiveIntegerField(_("conflicts"), default=0)
    """Assets on which one tag was rejected and the other accepted or added."""
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("merged by"),
    )
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("undone by"),
    )
    needs_user = models.BooleanField(default=False, editable=False)
    """Whether a user started it, or its undoing, and must still be permitted."""
    updated_at = models.DateTimeField(_("changed"), auto_now=True)
    """When the last batch was done, or the state changed."""
    pruned_at = models.DateTimeField(_("pruned"), null=True, blank=True)
    """When the saved rows were deleted, after which it cannot be undone."""

    objects = LeasedManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("tag merge")
        verbose_name_plural = _("tag merges")
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("state", "updated_at"), name="fst_merge_state"),
            models.Index(fields=("due_at",), name="fst_merge_due"),
        )
        constraints = (
            one_of(
                "state", ("merging", "merged", "undoing", "undone"), "fst_merge_known_state"
            ),
            # A merge that stopped with an error is not due.
            models.CheckConstraint(
                condition=models.Q(due_at=None) | models.Q(state__in=("merging", "undoing")),
                name="fst_merge_open",
            ),
        )

    def __str__(self) -> str:
        return f"{self.source_name} → {self.target_name}"

    @property
    def is_at_work(self) -> bool:
        """Whether a worker continues it."""
        return self.due_at is not None

    @property
    def can_be_undone(self) -> bool:
        """Whether it can be undone, judging by the merge alone."""
        is_undoing = self.state == TagMerge.State.UNDOING and self.is_at_work
        return self.pruned_at is None and self.state != TagMerge.State.UNDONE and not is_undoing

    def restart(self, state: str, *, user_id: Any) -> None:
        """Merge or undo from now on, in the name of a user; does not save."""
        self.state, self.due_at, self.attempts = state, timezone.now(), 0
        self.error = self.error_code = ""
        self.needs_user = user_id is not None
        if state == TagMerge.State.UNDOING:
            self.undone_by_id = user_id
        else:
            self.started_by_id = user_id

    def abandon(self) -> None:
        """Stop it with its last recorded error, or as crashed on each attempt; save it."""
        self.close(
            self.state,
            self.error or ErrorCode.ABANDONED.english_meaning,
            self.error_code or ErrorCode.ABANDONED,
        )
        self.save(using=alias())


class TagMergeRow(models.Model):
    """An asset tag as it was before a merge: the source's row, or the target's beside it."""

    class Side(models.IntegerChoices):
        SOURCE = 0, _("source")
        TARGET = 1, _("target")

    pk = models.CompositePrimaryKey("merge_id", "asset_id", "side")
    merge = models.ForeignKey(
        TagMerge, on_delete=models.CASCADE, related_name="rows", db_index=False
    )
    # Assets, users and runs may be deleted before it is undone: these ids may dangle.
    asset = models.ForeignKey(
        Asset,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    side = models.PositiveSmallIntegerField(choices=Side)
    confidence = models.PositiveSmallIntegerField(_("confidence"))
    tagger_confidence = models.PositiveSmallIntegerField(null=True)
    source = models.PositiveSmallIntegerField(_("source"), choices=AssetTag.Source)
    decision = models.PositiveSmallIntegerField(_("decision"), choices=AssetTag.Decision)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    decided_at = models.DateTimeField(_("reviewed"), null=True)
    run = models.ForeignKey(
        "TaggingRun",
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )

    objects = ReplicaManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("row of a tag merge")
        verbose_name_plural = _("rows of tag merges")

    def __str__(self) -> str:
        return f"{self.merge_id} {self.asset_id} {self.get_side_display()}"
