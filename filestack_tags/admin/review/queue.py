"""The review queue: accept or reject undecided tags between two confidences, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q, QuerySet, Sum
from django.http import (
    HttpRequest,
    HttpResponseBase,
    HttpResponseRedirect,
    QueryDict,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from filestack_tags import curation
from filestack_tags.admin.base import COUNT_LIMIT, total_text
from filestack_tags.admin.display import sensitive_mark
from filestack_tags.admin.forms import ReviewForm, unknown_tag
from filestack_tags.admin.library.asset_page import AssetPage
from filestack_tags.admin.login_redirect import post_only
from filestack_tags.admin.lookups import ids_in, is_number
from filestack_tags.assets.sensitive import unapproved_ids
from filestack_tags.assets.visibility import (
    assets_of,
    decisions_of,
    sees_everything,
    sees_hidden_tags,
    tags_of,
)
from filestack_tags.conf import get_settings
from filestack_tags.db.transactions import alias
from filestack_tags.exceptions import (
    CurationError,
    CursorError,
    DecidedMeanwhile,
    SearchError,
)
from filestack_tags.models import Asset, AssetTag, Tag, TagDecision, TagStatistic
from filestack_tags.search import Search
from filestack_tags.search.language.tree import Comparison, HasTag, conjunction
from filestack_tags.search.limits import parse_query
from filestack_tags.search.pages import Page

from .decide import (
    DECIDED,
    ORIGIN,
    DecisionResult,
    confirmation_parameters,
    conflict_message,
    current_user,
    decide,
    number_in,
    question,
    undo,
)

PAGE = 20
"""Asset tags on one page."""

TAGS = 60
"""Tags to choose from: the most used ones."""

MAX_ACCEPTED = 4_500
"""Maximum asset tags that *accept all* decides at once."""

LAST = 5
"""The user's own decisions that can be undone from here."""


@dataclass(frozen=True)
class Queue:
    """The filter of the queue: a tag, a range of confidences, and a search.

    Only assets that ``user`` may see are in it.
    """

    tag: Tag | None
    low: int
    high: int
    query: str
    user: Any

    @cached_property
    def shown_tag(self) -> Tag | None:
        """The tag, unless it is hidden or waits for approval."""
        tag = self.tag
        return None if tag is None or tag.hidden or tag.pk in unapproved_ids(alias()) else tag

    @cached_property
    def search(self) -> Search:
        """The search for the assets whose tag is in the queue, by its confidence.

        Raises:
            SearchError: when it cannot be parsed.
        """
        query = parse_query(self.query)
        if self.tag is not None:
            minimum = self.tag.min_confidence
            if minimum is None:
                minimum = get_settings().MIN_CONFIDENCE
            between = Comparison("..", max(self.low, minimum), self.high)
            unreviewed = HasTag(self.tag.name, decision="none", confidence=between)
            query = replace(query, where=conjunction((query.where, unreviewed)))
        return Search(query, user=self.user, using=alias())

    def time_limit(self) -> AbstractContextManager[None]:
        """Limit how long reading the rows may take.

        Raises:
            SearchError: when the search cannot be parsed; SearchTimeout on leaving the block.
        """
        return self.search.time_limit()

    def page(self, cursor: str) -> tuple[list[AssetTag], str]:
        """Return the rows of a page, and the cursor of the next one, if there is one.

        Raises:
            CursorError: when the tag, the range or the search of the cursor was another one.
        """
        if self.shown_tag is None:
            return [], ""
        found = self._ranked(self.shown_tag, PAGE, cursor)
        tags = AssetTag.objects.filter(tag=self.shown_tag, asset__in=found.ids)
        rows = {row.asset_id: row for row in tags.select_related("asset", "tag")}
        return [rows[pk] for pk in found.ids if pk in rows], found.next or ""

    def first(self, count: int) -> tuple[list[int], str]:
        """Return the first assets, and how many there are in all if there are more."""
        if self.shown_tag is None:
            return [], ""
        found = self._ranked(self.shown_tag, count)
        total = total_text(self.search.total(cap=COUNT_LIMIT)) if found.next else ""
        return found.ids, total

    def among(self, asset_ids: Sequence[int]) -> list[tuple[int, int]]:
        """Return (asset id, tag id) for each of the assets that is in the queue."""
        if self.shown_tag is None:
            return []
        assets = self.search.assets().filter(pk__in=asset_ids).order_by("pk")
        return [(pk, self.shown_tag.pk) for pk in assets.values_list("pk", flat=True)]

    def _ranked(self, tag: Tag, size: int, cursor: str = "") -> Page:
        return self.search.page(
            order="confidence", tag=tag.name, size=size, cursor=cursor or None
        )


class ReviewPages(AssetPage):
    """Adds the review queue to the admin of assets."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("review/", view(self.review), name="filestack_tags_asset_review"),
            path(
                "review/decide/",
                view(post_only(self.review_decide, self._reviewed_at)),
                name="filestack_tags_asset_review_decide",
            ),
            *super().get_urls(),
        ]

    def review(self, request: HttpRequest) -> TemplateResponse:
        """Show one page of the queue, or the tags to choose from."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        queue, form = _queue(request, request.GET)
        may_decide = self._may_review(request)
        rows: list[AssetTag] = []
        chosen: list[int] | None = None
        following = total = problem = ""
        try:
            with queue.time_limit():
                try:
                    rows, following = queue.page(request.GET.get("after", ""))
                except CursorError:
                    problem = _(
                        "The link does not point to a page of this list in this order. The first "
                        "page is shown instead."
                    )
                    rows, following = queue.page("")
                if may_decide and queue.tag and "at_least" in request.GET:
                    chosen, total = _at_least(queue, request.GET).first(MAX_ACCEPTED)
        except SearchError as error:
            problem = str(error)
        by_asset = request.GET.get("by") == "asset" and queue.tag is not None
        if by_asset:
            rows = _all_of(queue, rows)
        state = _state(request.GET)
        picture = self.pictures(64)
        seen = curation.newest_decisions({row.asset_id for row in rows})
        for row in rows:
            row.seen = seen.get(row.asset_id, 0)  # type: ignore[attr-defined]  # for the template
            row.picture = picture(row.asset)  # type: ignore[attr-defined]  # likewise
            row.mark = sensitive_mark(row.tag.key)  # type: ignore[attr-defined]  # likewise
        return TemplateResponse(
            request,
            "filestack_tags/admin/review.html",
            {
                **self.page_context(request, _("Review tags")),
                "form": form,
                "queue": queue,
                "groups": _grouped(rows, by_asset=by_asset),
                "by_asset": by_asset,
                "by_other": _with(request.GET, by="" if by_asset else "asset"),
                "problem": problem,
                "next": _with(request.GET, after=following) if following else "",
                "first": _with(request.GET, after="") if request.GET.get("after") else "",
                "tags": [] if queue.tag else _tags(queue, request.user),
                "chosen": chosen,
                "total": total,
                "decided": request.GET.get(DECIDED, ""),
                "question": question(request.GET, current_user(request))
                if may_decide
                else None,
                "without_question": f"{self._review_url()}?{state}",
                "at_least": _confidence(request.GET.get("at_least", ""), 90),
                "may_decide": may_decide,
                "decisions": _own_decisions(request) if may_decide else [],
                "decide_url": f"{self._review_url('_decide')}?{state}",
                "state": state,
                "kept": [item for item in QueryDict(state).items() if item[0] != "after"],
                "can_change": False,
            },
        )

    def review_decide(self, request: HttpRequest) -> HttpResponseBase:
        """Accept, reject, undo, or accept all, depending on the button."""
        if not self._may_review(request):
            raise PermissionDenied
        state = QueryDict(request.POST.get("state", ""))
        parameters: dict[str, Any] = {}
        try:
            done = self._do(request, state)
        except DecidedMeanwhile as error:
            messages.error(request, conflict_message(error))
            parameters = confirmation_parameters(request.POST, error)
        except (CurationError, SearchError) as error:
            messages.error(request, str(error))
        except Asset.DoesNotExist:
            messages.error(request, _("The asset no longer exists."))
        else:
            messages.success(request, done.text)
            parameters = done.parameters(request)
        more = f"&{urlencode(parameters)}" if parameters else ""
        return HttpResponseRedirect(f"{self._review_url()}?{_state(state)}{more}")

    def _do(self, request: HttpRequest, state: QueryDict) -> DecisionResult:
        if "all" in request.POST:
            queue, _form = _queue(request, state)
            return DecisionResult(_accept_all(queue, request), None)
        if "undo" in request.POST:
            return undo(request.POST, current_user(request))
        asset = assets_of(request.user).get(pk=number_in(request.POST.get("asset", "")))
        return decide(asset.pk, request.POST, current_user(request))

    def _may_review(self, request: HttpRequest) -> bool:
        may_change = request.user.has_perm("filestack_tags.change_asset")
        return self.has_view_permission(request) and may_change

    def _reviewed_at(self, request: HttpRequest) -> str:
        return f"{self._review_url()}?{_state(request.GET)}"

    def _review_url(self, more: str = "") -> str:
        name = f"admin:filestack_tags_asset_review{more}"
        return reverse(name, current_app=self.admin_site.name)


def _queue(request: HttpRequest, data: QueryDict) -> tuple[Queue, ReviewForm]:
    form = ReviewForm(data)
    form.is_valid()
    cleaned = form.cleaned_data
    tag = cleaned.get("tag")
    if tag and not _may_name(request.user, tag):
        form.add_error("tag", unknown_tag(data.get("tag", "")))
        tag = None
    return Queue(
        tag=tag,
        low=cleaned.get("low", ReviewForm.LOW),
        high=cleaned.get("high", ReviewForm.HIGH),
        query=cleaned.get("q", ""),
        user=request.user,
    ), form


def _may_name(user: Any, tag: Tag) -> bool:
    """Whether a user may see the tag's name, and that assets in the user's scope have it."""
    is_withheld = tag.hidden or tag.pk in unapproved_ids(alias())
    if is_withheld and not sees_hidden_tags(user):
        return False
    return sees_everything(user) or tags_of(user).filter(pk=tag.pk).exists()


def _accept_all(queue: Queue, request: HttpRequest) -> str:
    """Accept the tag on the assets that the page counted, if it is still undecided.

    Raises:
        CurationError: when there is no such tag, or the user may not see it.
    """
    if queue.tag is None:
        raise CurationError(_("The decision or the tag does not exist."))
    ids = [int(word) for word in ids_in(request.POST.get("assets", ""))]
    with queue.time_limit():
        pairs = queue.among(ids[:MAX_ACCEPTED])
    outcomes = curation.decide_many(
        TagDecision.Act.ACCEPT,
        pairs,
        user=current_user(request),
        origin=ORIGIN,
        undecided=True,
    )
    count = sum(outcome.decision_id is not None for outcome in outcomes)
    text = ngettext(
        "Accepted %(tag)s on %(count)d asset.", "Accepted %(tag)s on %(count)d assets.", count
    )
    return text % {"count": count, "tag": queue.tag}


def _at_least(queue: Queue, data: QueryDict) -> Queue:
    """Return the part of the queue with at least the submitted confidence."""
    at_least = _confidence(data.get("at_least", ""), 101)
    return replace(queue, low=max(queue.low, at_least))


def _tags(queue: Queue, user: Any) -> list[Tag]:
    """Return the most used visible tags, with the approximate number of assets in the range.

    The numbers are for all assets, so they are left out for users who may see only some.
    """
    found: QuerySet[Any] = tags_of(user)
    found = found.filter(hidden=False, visible_assets__gt=0)
    if kept := unapproved_ids(found.db):
        found = found.exclude(pk__in=kept)
    tags = list(found.order_by("-visible_assets", "key")[:TAGS])
    if not sees_everything(user):
        return tags
    counts = dict(
        TagStatistic.objects.filter(
            tag__in=[tag.pk for tag in tags], score__gte=queue.low, score__lte=queue.high
        )
        .values_list("tag_id")
        .annotate(Sum("assets"))
    )
    for tag in tags:
        tag.about = counts.get(tag.pk)
    return tags


def _all_of(queue: Queue, rows: list[AssetTag]) -> list[AssetTag]:
    """Return every undecided visible tag in the range on the assets of ``rows``, in their order."""
    order = {row.asset_id: number for number, row in enumerate(rows)}
    minimum = get_settings().MIN_CONFIDENCE
    undecided = (
        AssetTag.objects.filter(
            Q(tag__min_confidence=None, score__gte=minimum)
            | Q(score__gte=F("tag__min_confidence")),
            asset__in=order,
            score__gte=queue.low,
            score__lte=queue.high,
            decision=AssetTag.Decision.NONE,
            tag__hidden=False,
        )
        .exclude(tag__in=unapproved_ids(alias()))
        .select_related("asset", "tag")
        .order_by("-score", "tag__key")
    )
    return sorted(undecided, key=lambda row: order[row.asset_id])


def _grouped(rows: list[AssetTag], *, by_asset: bool) -> list[tuple[Any, list[AssetTag]]]:
    if not by_asset:
        return [(None, rows)] if rows else []
    return [(asset, list(group)) for asset, group in groupby(rows, lambda row: row.asset)]


def _own_decisions(request: HttpRequest) -> list[TagDecision]:
    decisions_of_user = decisions_of(request.user).filter(user=current_user(request).pk)
    decisions = list(
        decisions_of_user.select_related("asset", "tag", "user", "undone_by")[:LAST]
    )
    for decision in decisions:
        decision.named = True  # type: ignore[attr-defined]  # for the template
    return decisions


def _confidence(text: str, default: int) -> int:
    return min(int(text), 101) if is_number(text, digits=3) else default


def _state(data: QueryDict) -> str:
    """Return the query string of a queue, without other parameters."""
    return _with(data)


def _with(data: QueryDict, **changes: str) -> str:
    state = QueryDict(mutable=True)
    for name in ("tag", "low", "high", "q", "by", "after"):
        if value := changes.get(name, data.get(name, "")):
            state[name] = value
    return state.urlencode()
