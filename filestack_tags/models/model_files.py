"""Files of host models: which asset each became, or why not."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from filestack_tags import metrics
from filestack_tags.db.transactions import on_commit
from filestack_tags.fields import ExactCharField

from .assets import Asset
from .leases import Leased, LeasedManager, one_of, open_means_due


class ModelFile(Leased):
    """The file of one host row. Written in the transaction that saves the row."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        REGISTERED = "registered", _("registered")
        SKIPPED = "skipped", _("skipped")
        FAILED = "failed", _("failed")

    QUEUED = State.WAITING

    field = ExactCharField(_("field"), max_length=255)
    """The :class:`~filestack_tags.fields.AssetOf` field, as ``app.model.field``."""
    row = ExactCharField(_("row"), max_length=255)
    """The primary key of the host's row, as text."""
    name = models.TextField(_("file"))
    """As in the host's field."""
    version = models.PositiveIntegerField(_("version"), default=1)
    """Increases with each change of the file, so that work on an earlier one is detected."""
    sha256 = ExactCharField(_("SHA-256"), max_length=64, blank=True)
    """Of the asset's bytes; empty if they are not read here."""
    asset = models.ForeignKey(
        Asset,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="model_files",
        verbose_name=_("asset"),
    )
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.WAITING)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    objects = LeasedManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("model file")
        verbose_name_plural = _("model files")
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(fields=("field", "row"), name="fst_model_file_unique"),
            one_of(
                "state", ("waiting", "registered", "skipped", "failed"), "fst_model_file_state"
            ),
            open_means_due(("waiting",), "fst_model_file_open"),
        )
        indexes = (models.Index(fields=("due_at",), name="fst_model_file_due"),)

    def __str__(self) -> str:
        return f"{self.field} {self.row}"

    def close(self, state: str, error: str = "", error_code: str = "") -> None:
        """Set the final state, without saving; count it after the commit."""
        super().close(state, error, error_code)
        on_commit(lambda: metrics.count("model_files.closed", result=state))
