"""Assets: the files, their facts, and the state of their tagging."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from filestack_tags.db.replicas import ReplicaManager
from filestack_tags.db.text import MAX_REFERENCE_LENGTH
from filestack_tags.fields import ExactCharField

from . import searching
from .leases import one_of, open_means_due

if TYPE_CHECKING:
    from filestack_tags.search.language.tree import Query

    from .tags import AssetTag


class AssetQuerySet(models.QuerySet["Asset"]):
    """Assets. If a search is among the conditions, the query has a time limit.

    See :func:`filestack_tags.search.deadline.time_limit`; ``iterator()``, ``update()``,
    ``delete()`` and a use as a subquery are not limited.
    """

    _scope: models.Q | None = None

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]  # missing in the stubs
        clone._scope = self._scope
        return clone

    def _fetch_all(self) -> None:
        with nullcontext() if self._result_cache is not None else self._time_limit():
            super()._fetch_all()

    def count(self) -> int:
        if self._result_cache is None:
            with self._time_limit():
                count = searching.count_matches(self.query, self.db)
                return super().count() if count is None else count
        return super().count()

    def exists(self) -> bool:
        with self._time_limit():
            return super().exists()

    def aggregate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        with self._time_limit():
            return super().aggregate(*args, **kwargs)

    def _time_limit(self) -> AbstractContextManager[None]:
        return searching.time_limit(self.query.where, self.db)

    def present(self) -> Self:
        """Leave out assets whose file was deleted or that were archived."""
        return self.filter(deleted_at=None)

    def within(self, scope: models.Q | None) -> Self:
        """Return the assets in a scope, each once; all of them if it is None.

        See :mod:`filestack_tags.assets.visibility` for the definition of a scope. A search that
        follows counts only the tags of these assets for the limit of a prefix.
        """
        if scope is None:
            return self
        found = self.filter(scope)
        if len(found.query.alias_map) != 1:
            # Relations of the host may match an asset several times.
            found = self.filter(pk__in=self.model._base_manager.filter(scope).values("pk"))
        found._scope = scope if self._scope is None else self._scope & scope
        return found

    def search(self, query: str | Query, *, include_hidden: bool = False) -> Self:
        """Return the present assets that match ``query``.

        Parses the text and runs no query before the result is evaluated, so it can be called in
        async code: ``async for asset in Asset.objects.search("sky")``. Evaluating it takes up to
        two more queries than other querysets: for the tags that the search names, and for terms
        such as ``by:`` if no rare tag is required. ``count()`` of a search for several tags takes
        up to one more, for statistics.

        Args:
            query: a text in the search language, or the result of :func:`.language.parser.parse`.
            include_hidden: whether ``include:hidden`` is permitted, which finds hidden tags.

        Raises:
            SearchError: when the query cannot be parsed; it carries the position. Evaluating the
                result raises it when a prefix matches too many tags.
            SearchTimeout: on evaluation, when it takes longer than ``SEARCH_TIMEOUT``.
        """
        return searching.search_assets(
            self.present(), query, include_hidden=include_hidden, scope=self._scope
        )

    def with_visible_tags(self) -> Self:
        """Prefetch :attr:`Asset.visible_tags` of all assets with one more query.

        Also works as the queryset of a ``Prefetch`` on your own models. With ``HIDE_SENSITIVE``,
        calling this method reads the sensitive tags first.
        """
        return self.prefetch_related(
            models.Prefetch(
                "asset_tags", searching.visible_tags(self.db), to_attr="_visible_tags"
            )
        )


class Asset(models.Model):
    """A file Filestack can read: by handle, by external URL, or by storage alias path."""

    class Kind(models.TextChoices):
        HANDLE = "handle", _("handle")
        URL = "url", _("external URL")
        ALIAS = "alias", _("storage alias")

    class State(models.TextChoices):
        NEW = "new", _("never tagged")
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        TAGGED = "tagged", _("tagged")
        STALE = "stale", _("stale: the file changed")
        FAILED = "failed", _("failed")

    kind = models.CharField(_("kind"), max_length=8, choices=Kind)
    reference = ExactCharField(_("reference"), max_length=MAX_REFERENCE_LENGTH)
    digest = ExactCharField(max_length=64, editable=False)

    filename = models.CharField(_("file name"), max_length=1024, blank=True)
    mimetype = models.CharField(_("type"), max_length=255, blank=True)
    size = models.BigIntegerField(_("size in bytes"), null=True, blank=True)
    width = models.PositiveIntegerField(_("width"), null=True, blank=True)
    height = models.PositiveIntegerField(_("height"), null=True, blank=True)
    sha256 = ExactCharField(_("SHA-256"), max_length=64, null=True, blank=True)
    """SHA-256 of the bytes, in lowercase hex, once Filestack or the host has provided it."""
    container = models.CharField(_("container"), max_length=255, blank=True)
    key = models.CharField(_("storage key"), max_length=1024, blank=True)
    store_status = models.CharField(_("store status"), max_length=32, blank=True)
    upload_tags = models.JSONField(_("upload tags"), default=dict, blank=True)
    uploader = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("uploaded by"),
    )
    uploaded_at = models.DateTimeField(_("uploaded"), default=timezone.now, db_index=True)
    facts_at = models.DateTimeField(null=True, editable=False)
    """The time of the facts recorded above; older events do not replace them."""

    content_version = models.PositiveIntegerField(_("content version"), default=1)
    content_changed_at = models.DateTimeField(_("content changed"), null=True, blank=True)

    tagging_state = models.CharField(
        _("tagging"), max_length=8, choices=State, default=State.NEW
    )
    due_at = models.DateTimeField(_("due"), null=True, blank=True)
    """When the sweep checks it again: next attempt if queued, end of the lease if running."""
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    queued_by = models.CharField(_("queued by"), max_length=10, blank=True)
    """The :class:`.runs.TaggingRun.Trigger` of the request that queued it."""
    queued_for = models.CharField(_("queued for"), max_length=100, blank=True)
    """The tagger of the request; the setting ``TAGGER`` when empty."""
    fresh_since = models.DateTimeField(null=True, blank=True, editable=False)
    """Set by a forced request: replies from before this time are not used."""
    error = models.TextField(_("last error"), blank=True)
    error_code = ExactCharField(_("error code"), max_length=50, blank=True, default="")
    """The code of the last error, as on its run; empty once the asset has its tags."""
    current_run = models.ForeignKey(
        "TaggingRun",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("current run"),
    )
    """The run whose result the tags show."""
    tags_version = models.PositiveIntegerField(_("content version of the tags"), default=0)
    """The content version that the tags describe, 0 before the first result."""
    tags_at = models.DateTimeField(_("tagged"), null=True, blank=True, db_index=True)
    """Time of the result that the tags show; an older result is not applied."""

    created_at = models.DateTimeField(_("registered"), auto_now_add=True, db_index=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)
    deleted_at = models.DateTimeField(_("archived"), null=True, blank=True)

    objects = ReplicaManager.from_queryset(AssetQuerySet)()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("asset")
        verbose_name_plural = _("assets")
        ordering = ("-id",)
        permissions = (
            ("tag_asset", _("Can tag assets")),
            ("search_hidden", _("Can search hidden tags")),
        )
        indexes = (
            models.Index(fields=("tagging_state", "-id"), name="fst_asset_state"),
            models.Index(fields=("due_at",), name="fst_asset_due"),
            models.Index(
                fields=("mimetype", "-id"),
                # PostgreSQL finds a prefix with these only, unless its collation is C.
                opclasses=("varchar_pattern_ops", "int8_ops"),
                name="fst_asset_mimetype",
            ),
            models.Index(fields=("sha256",), name="fst_asset_sha256"),
            # The rare assets only, so that the others pay nothing. MariaDB skips both.
            models.Index(
                fields=("error_code",),
                condition=models.Q(error_code__gt=""),
                name="fst_asset_error",
            ),
            models.Index(
                fields=("-id",),
                condition=models.Q(deleted_at__isnull=False),
                name="fst_asset_archived",
            ),
        )
        constraints = (
            models.UniqueConstraint(fields=("digest",), name="fst_asset_digest"),
            one_of("kind", ("handle", "url", "alias"), "fst_asset_kind"),
            one_of(
                "tagging_state",
                ("new", "queued", "running", "tagged", "stale", "failed"),
                "fst_asset_known_state",
            ),
            open_means_due(("queued", "running"), "fst_asset_open", field="tagging_state"),
            models.CheckConstraint(
                condition=models.Q(tags_version__lte=models.F("content_version")),
                name="fst_asset_versions",
            ),
        )

    def __str__(self) -> str:
        return self.filename or self.reference

    @property
    def visible_tags(self) -> list[AssetTag]:
        """The asset tags to show, the most confident first, each with its ``tag``.

        Left out are rejected tags, hidden ones, sensitive ones that are not approved (with
        ``HIDE_SENSITIVE``), and those below their minimum confidence that were not accepted or
        added. Runs a query each time, unless the assets come from
        :meth:`AssetQuerySet.with_visible_tags`; then the tags are those of that query.
        """
        prefetched: list[AssetTag] | None = self.__dict__.get("_visible_tags")
        if prefetched is not None:
            return prefetched
        return list(
            searching.visible_tags(self._state.db or DEFAULT_DB_ALIAS).filter(asset=self)
        )

    @property
    def tags_are_stale(self) -> bool:
        """Whether the tags describe an earlier content of the file."""
        return 0 < self.tags_version < self.content_version
