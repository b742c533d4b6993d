"""Saved searches: a search that a user saved under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from filestack_tags.db.replicas import ReplicaManager
from filestack_tags.db.text import MAX_LABEL_LENGTH
from filestack_tags.fields import ExactCharField

from . import searching

if TYPE_CHECKING:
    from filestack_tags.search import Search
    from filestack_tags.search.pages import Order, Page

    from .assets import AssetQuerySet


class SavedSearch(models.Model):
    """A search and its order. It stores no assets: matches are looked up each time."""

    class Order(models.TextChoices):
        NEWEST = "newest", _("newest first")
        OLDEST = "oldest", _("oldest first")
        BEST = "best", _("best match first")
        CONFIDENCE = "confidence", _("by the confidence of a tag")

    name = ExactCharField(_("name"), max_length=100)
    query = models.TextField(_("search"), blank=True)
    order = models.CharField(_("order"), max_length=10, choices=Order, default=Order.NEWEST)
    order_tag = models.CharField(
        _("tag for the order"), max_length=MAX_LABEL_LENGTH, blank=True
    )
    """The tag whose confidence defines the order; the search's first required tag when empty."""
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        verbose_name=_("owner"),
    )
    shared = models.BooleanField(_("shared"), default=False)
    scope_digest = ExactCharField(max_length=64, blank=True, editable=False)
    """Digest of the owner's scope on saving: a shared search is shown only in the same scope."""
    created_at = models.DateTimeField(_("saved"), default=timezone.now)
    updated_at = models.DateTimeField(_("changed"), default=timezone.now)

    objects = ReplicaManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("saved search")
        verbose_name_plural = _("saved searches")
        ordering = ("name", "id")
        constraints = (
            models.UniqueConstraint(fields=("owner", "name"), name="fst_saved_name"),
        )
        indexes = (
            models.Index(fields=("shared", "scope_digest", "name"), name="fst_saved_shared"),
        )

    def __str__(self) -> str:
        return str(self.name)

    def search(self, user: Any = None) -> Search:
        """Return the search, with the scope and permissions of ``user``, not of the owner.

        Without a user all assets are searched.

        Raises:
            SearchError: when the search is not valid any more: a limit was lowered, or it
                requests hidden tags without permission.
        """
        return searching.new_search(self.query, user=user)

    def assets(self, user: Any = None) -> AssetQuerySet:
        """Return the assets of :meth:`search`, as a queryset; newest first, or oldest.

        Each evaluation looks up the named tags again. Only :meth:`page` supports the order by
        confidence.
        """
        matches = self.search(user).assets(renews_names=True)
        return matches.order_by("id" if self.order == self.Order.OLDEST else "-id")

    def page(self, user: Any = None, *, size: int = 50, cursor: str | None = None) -> Page:
        """Return one page of :meth:`search`, in the saved order.

        Raises the same errors as :meth:`filestack_tags.search.Search.page`.
        """
        return self.search(user).page(
            order=cast("Order", self.order),
            tag=self.order_tag or None,
            size=size,
            cursor=cursor,
        )
