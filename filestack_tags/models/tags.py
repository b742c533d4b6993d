"""Tags, and which asset has which of them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.expressions import Combinable
from django.utils.translation import gettext_lazy as _

from filestack_tags.db.replicas import ReplicaManager
from filestack_tags.db.text import MAX_LABEL_LENGTH
from filestack_tags.fields import ExactCharField

from .assets import Asset


class Tag(models.Model):
    """A normalized label; one row per label."""

    id = models.AutoField(primary_key=True)
    key = ExactCharField(_("key"), max_length=MAX_LABEL_LENGTH, unique=True)
    """NFKC, casefolded, white space collapsed: the form that searches compare."""
    name = models.CharField(_("name"), max_length=MAX_LABEL_LENGTH)
    min_confidence = models.PositiveSmallIntegerField(
        _("minimum confidence"),
        null=True,
        blank=True,
        help_text=_(
            "Overrides the global minimum for this tag. Tags below the minimum are "
            "hidden, not deleted."
        ),
    )
    hidden = models.BooleanField(
        _("hidden"),
        default=False,
        help_text=_(
            "Hidden tags are stored, but they are not shown and searches do not find them."
        ),
    )
    approved_at = models.DateTimeField(_("approved"), null=True, blank=True, editable=False)
    """When a user approved showing this sensitive label wherever a tagger assigned it."""
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("approved by"),
    )
    asset_count = models.PositiveIntegerField(_("assets"), default=0)
    """Assets that have this tag and have not rejected it. Not indexed: every reply changes some
    counts, and an index would triple the cost of counting.
    """

    objects = ReplicaManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("tag")
        verbose_name_plural = _("tags")
        ordering = ("key",)
        constraints = (
            models.CheckConstraint(
                condition=Q(min_confidence=None)
                | Q(min_confidence__gte=0, min_confidence__lte=100),
                name="fst_tag_min_confidence",
            ),
        )

    def __str__(self) -> str:
        return self.name


class TagAlias(models.Model):
    """Another label for a tag: found by searches, and replaced in replies."""

    key = ExactCharField(_("key"), max_length=MAX_LABEL_LENGTH, unique=True)
    tag = models.ForeignKey(
        Tag, on_delete=models.CASCADE, related_name="aliases", verbose_name=_("tag")
    )

    objects = ReplicaManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("tag alias")
        verbose_name_plural = _("tag aliases")
        ordering = ("key",)

    def __str__(self) -> str:
        return str(self.key)


NOT_FOUND = -1
"""The score of a row that no search finds."""


class AssetTag(models.Model):
    """An asset has a tag: one row per (asset, tag).

    The primary key is (asset, tag) and two indexes serve every search for a tag; a surrogate id
    would cost a fifth of the table. ``score`` is a key column of both because ``INCLUDE`` exists on
    PostgreSQL only.
    """

    class Source(models.IntegerChoices):
        AUTO = 0, _("auto")
        USER = 1, _("user")

    class Decision(models.IntegerChoices):
        NONE = 0, _("none")
        ACCEPTED = 1, _("accepted")
        REJECTED = 2, _("rejected")
        ADDED = 3, _("added")

    pk = models.CompositePrimaryKey("asset_id", "tag_id")
    asset = models.ForeignKey(
        Asset, on_delete=models.CASCADE, related_name="asset_tags", db_index=False
    )
    tag = models.ForeignKey(
        Tag, on_delete=models.PROTECT, related_name="asset_tags", db_index=False
    )
    confidence = models.PositiveSmallIntegerField(_("confidence"))
    tagger_confidence = models.SmallIntegerField(
        _("confidence of the tagger"), null=True, blank=True
    )
    """The tagger's confidence, while ``confidence`` is a user's own value."""
    score = models.SmallIntegerField(_("score"), editable=False)
    """The value that searches compare: see :func:`score_of`. It has no default, so it must be
    given.
    """
    source = models.PositiveSmallIntegerField(_("source"), choices=Source, default=Source.AUTO)
    decision = models.PositiveSmallIntegerField(
        _("decision"), choices=Decision, default=Decision.NONE
    )
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        verbose_name=_("reviewed by"),
    )
    decided_at = models.DateTimeField(_("reviewed"), null=True, blank=True)
    run = models.ForeignKey(
        "TaggingRun",
        on_delete=models.DO_NOTHING,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
        verbose_name=_("run"),
    )
    """The run that last changed the row. Runs may be pruned: the id may dangle."""

    objects = ReplicaManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("asset tag")
        verbose_name_plural = _("asset tags")
        indexes = (
            models.Index(fields=("tag", "asset", "score"), name="fst_tag_asset_score"),
            models.Index(fields=("tag", "score", "asset"), name="fst_tag_score_asset"),
            # Only the rows that users decided on, so that tagging pays nothing for them. MariaDB
            # skips both: an index of all rows would cost more than its searches save.
            models.Index(
                fields=("decision", "confidence", "asset"),
                condition=Q(decision__gt=0),
                name="fst_tag_decision",
            ),
            models.Index(
                fields=("source", "confidence", "asset"),
                condition=Q(source__gt=0),
                name="fst_tag_source",
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(confidence__gte=0, confidence__lte=100),
                name="fst_assettag_confidence",
            ),
            # The part of score_of() that one row can check; whether its asset is archived, it
            # cannot.
            models.CheckConstraint(
                condition=Q(score=NOT_FOUND) | (Q(score=F("confidence")) & ~Q(decision=2)),
                name="fst_assettag_score",
            ),
        )

    def __str__(self) -> str:
        return f"{self.tag} {self.confidence}"


CONFIRMED = (AssetTag.Decision.ACCEPTED, AssetTag.Decision.ADDED)
"""The decisions of a user that show a tag whatever its confidence."""


def score_of(confidence: int, decision: int, *, archived: bool) -> int:
    """Return the :attr:`AssetTag.score` of a row: the rule that every writer follows.

    It is the row's confidence, or :data:`NOT_FOUND` while the tag is rejected or the asset is
    archived (``archived``). So one index answers "has the tag, with at least this confidence".
    """
    if archived or decision == AssetTag.Decision.REJECTED:
        return NOT_FOUND
    return confidence


def score_in_sql(*, archived: bool) -> Combinable:
    """Return :func:`score_of` as an expression over the columns of :class:`AssetTag`."""
    if archived:
        return Value(NOT_FOUND)
    return Case(
        When(decision=AssetTag.Decision.REJECTED, then=Value(NOT_FOUND)),
        default=F("confidence"),
        output_field=models.SmallIntegerField(),
    )


class TagStatistic(models.Model):
    """How many assets had a tag with a score when :mod:`filestack_tags.search.statistics` last
    counted.

    A hint for planning a search: outdated or missing rows cost time, never a wrong result.
    """

    pk = models.CompositePrimaryKey("tag_id", "score")
    # No constraint: counting must not lock tags whose counts replies are updating.
    tag = models.ForeignKey(
        Tag, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    score = models.PositiveSmallIntegerField(_("score"))
    assets = models.PositiveIntegerField(_("assets"))

    objects = ReplicaManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("tag statistic")
        verbose_name_plural = _("tag statistics")

    def __str__(self) -> str:
        return f"{self.tag_id} {self.score}: {self.assets}"
