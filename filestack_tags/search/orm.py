"""Compile each term of a search to an ORM condition on an asset.

A term about tags is one ``EXISTS`` over asset tags, with tag, confidence, source and decision in
the same row. Two filters across the relation could be met by two different rows.

A user's decision is final: the thresholds do not hide a tag that was accepted or added. Rejected
rows match only ``rejected``, whatever their confidence.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, Exists, F, Func, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Lower
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

from filestack_tags.assets.sensitive import exists
from filestack_tags.db.datetimes import kept
from filestack_tags.filestack.sources import digests_of
from filestack_tags.models import AssetTag, TaggingRun

from .language.fields import UNKNOWN, mime_type
from .language.tree import (
    And,
    Comparison,
    Everything,
    Fact,
    HasTag,
    Measure,
    Moment,
    Node,
    Not,
    Or,
)
from .tag_lookup import Names, rows_of

MAX_SCORE = 100
_CLOCK = re.compile(r"T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(?:\.([0-9]+))?")
_NEVER = Q(pk__in=())
MOMENT_COLUMNS = {"uploaded": "uploaded_at", "created": "created_at", "tagged": "tags_at"}
_LOOKUPS = {">=": "gte", ">": "gt", "<=": "lte", "<": "lt", "=": "exact"}


@dataclass(frozen=True, slots=True)
class Conditions:
    """Compile the terms of one search.

    Args:
        names: the tags that its labels resolve to.
        min_confidence: threshold of the tags that have no own one, 0–100.
        include_hidden: whether hidden tags count for terms that name no tag.
        using: alias of the database that will be queried.
        forgotten: whether archived assets are searched, whose tags have no score; present assets
            are then found more slowly.
    """

    names: Names
    min_confidence: int
    include_hidden: bool
    using: str
    forgotten: bool = False

    def of(self, node: Node) -> Q:
        """Return the condition on an asset for ``node``."""
        match node:
            case Not(term):
                return ~self.of(term)
            case And(terms):
                return Q(*(self.of(term) for term in terms))
            case Or(terms):
                return Q(*(self.of(term) for term in terms), _connector=Q.OR)
            case HasTag():
                return self._has_tag(node)
            case Measure(field, comparison):
                return _compared(field, comparison)
            case Moment(field, comparison):
                return _happened(MOMENT_COLUMNS[field], comparison)
            case Fact(field, value):
                return self._fact(field, value)
            case Everything():
                return Q()

    def _has_tag(self, term: HasTag) -> Q:
        if term.label:
            which = self._named(term)
            if not which:
                return _NEVER
        else:
            which = of_any_tag(term, self.min_confidence, self.include_hidden, self._sure)
            which &= exists(self.names.withheld)
        # The score shows that a row is not rejected, so the index alone is enough.
        bare = not self.forgotten and term.decision is None and not term.source
        rows = rows_of(AssetTag, self.using).filter(which, Q() if bare else decided(term))
        return _exists(rows, asset_id=OuterRef("pk"))

    def _named(self, term: HasTag) -> Q:
        """Return the condition on rows of the named tags, each with its own threshold."""
        tags_of: dict[int, list[int]] = {}
        for tag in self.names.of(term):
            own = 0 if tag.id in self.names.withheld else tag.min_confidence
            tags_of.setdefault(self.min_confidence if own is None else own, []).append(tag.id)
        if _ignores_threshold(term):
            tags_of = {0: [tag for tags in tags_of.values() for tag in tags]} if tags_of else {}
        which = Q()
        for threshold, tags in sorted(tags_of.items()):
            which |= Q(tag_id__in=tags) & self._sure(term, threshold)
        withheld = self.names.withheld & {tag for tags in tags_of.values() for tag in tags}
        return which & exists(withheld)

    @property
    def _sure(self) -> Callable[[HasTag, int | F], Q]:
        return confident if self.forgotten else scored

    def _fact(self, field: str, value: str) -> Q:
        match field:
            case "status":
                return Q(tagging_state=value)
            case "error":
                return Q(error_code=value)
            case "type":
                if value == UNKNOWN:
                    return Q(mimetype__in=("", UNKNOWN))
                return (
                    _like("mimetype", value) if "*" in value else Q(mimetype=mime_type(value))
                )
            case "kind":
                return Q(kind=value)
            case "name":
                return _like("filename", value)
            case "handle":
                return Q(digest__in=digests_of(value))
            case "by":
                users = get_user_model()._base_manager.using(self.using)
                name = get_user_model().USERNAME_FIELD
                return _exists(users.filter(**{name: value}), pk=OuterRef("uploader_id"))
        column, wanted = {
            "run": ("version", value[1:]),
            "tagger": ("tagger", value),
            "workflow": ("workflow_id", value),
        }[field]
        runs = rows_of(TaggingRun, self.using).filter(**{column: wanted})
        return _exists(runs, pk=OuterRef("current_run_id"))


def of_any_tag(
    term: HasTag,
    min_confidence: int,
    include_hidden: bool,
    sure: Callable[[HasTag, int | F], Q],
) -> Q:
    """Return the condition on asset tags of any tag, each with its own threshold.

    Args:
        sure: :func:`scored` or :func:`confident`.
    """
    visible = Q() if include_hidden else Q(tag__hidden=False)
    if _ignores_threshold(term):
        return visible & sure(term, 0)
    own = Q(tag__min_confidence__isnull=False)
    return visible & (
        (own & sure(term, F("tag__min_confidence"))) | (~own & sure(term, min_confidence))
    )


def _exists(rows: QuerySet[Any], **relation: OuterRef) -> Q:
    return Q(Exists(rows.filter(**relation)))


def _ignores_threshold(term: HasTag) -> bool:
    return term.confidence is not None or term.decision not in (None, "none")


def scored(term: HasTag, threshold: int | F) -> Q:
    """Return the condition that a row's score is high enough, which implies a present asset.

    For ``rejected`` rows it does not check the asset.
    """
    if term.decision == "rejected":
        return confident(term, threshold)
    low: int | F = threshold
    high = MAX_SCORE
    if term.confidence is not None:
        low, high = scores_of(term.confidence)
    found = Q(score__gte=low) if high == MAX_SCORE else Q(score__gte=low, score__lte=high)
    if low == 0 or term.confidence is not None or term.decision is not None:
        return found
    decisions = AssetTag.Decision
    return found | Q(score__gte=0, decision__in=[decisions.ACCEPTED, decisions.ADDED])


def scores_of(comparison: Comparison[int]) -> tuple[int, int]:
    """Return the lowest and the highest score that meet ``comparison``."""
    match comparison.operator:
        case ">=":
            return comparison.value, MAX_SCORE
        case ">":
            return comparison.value + 1, MAX_SCORE
        case "<=":
            return 0, comparison.value
        case "<":
            return 0, comparison.value - 1
    upper = comparison.upper
    return comparison.value, comparison.value if upper is None else upper


def confident(term: HasTag, threshold: int | F) -> Q:
    """Return the condition that a row's confidence is high enough, also for archived assets."""
    if term.confidence is not None:
        return _compared("confidence", term.confidence)
    if threshold == 0:
        return Q()
    enough = Q(confidence__gte=threshold)
    if term.decision == "none":
        return enough
    decisions = AssetTag.Decision
    return enough | Q(decision__in=[decisions.ACCEPTED, decisions.ADDED])


def decided(term: HasTag) -> Q:
    """Return the condition on the source and the decision of a row."""
    if term.decision is None:
        decided = ~Q(decision=AssetTag.Decision.REJECTED)
    else:
        decided = Q(decision=AssetTag.Decision[term.decision.upper()])
    return decided & Q(source=AssetTag.Source[term.source.upper()]) if term.source else decided


def _compared(column: str, comparison: Comparison[int]) -> Q:
    if comparison.operator == "..":
        return Q(**{f"{column}__gte": comparison.value, f"{column}__lte": comparison.upper})
    return Q(**{f"{column}__{_LOOKUPS[comparison.operator]}": comparison.value})


def _happened(column: str, comparison: Comparison[str]) -> Q:
    start, end = bounds_of(comparison)
    given = {f"{column}__gte": start, f"{column}__lt": end}
    return Q(**{lookup: at for lookup, at in given.items() if at is not None})


def bounds_of(comparison: Comparison[str]) -> tuple[datetime | None, datetime | None]:
    """Return the first moment of the periods, and the first moment after them."""
    start, end = _bounds(comparison.value)
    match comparison.operator:
        case ">=":
            return start, None
        case ">":
            return end, None
        case "<":
            return None, start
        case "<=":
            return None, end
    return start, end if comparison.upper is None else _bounds(comparison.upper)[1]


def _bounds(period: str) -> tuple[datetime, datetime]:
    """Return the first moment of a year, a month, a day or a time, and the first one after it."""
    if "T" in period:
        return _bounds_of_time(period)
    year, month, day = (*(int(part) for part in period.split("-")), 0, 0)[:3]
    if day:
        start = datetime(year, month, day)  # noqa: DTZ001  # made aware below with USE_TZ
        end = start + timedelta(days=1)
    elif month:
        start = datetime(year, month, 1)  # noqa: DTZ001  # made aware below with USE_TZ
        end = datetime(year + month // 12, month % 12 + 1, 1)  # noqa: DTZ001  # see above
    else:
        start = datetime(year, 1, 1)  # noqa: DTZ001  # made aware below with USE_TZ
        end = datetime(year + 1, 1, 1)  # noqa: DTZ001  # made aware below with USE_TZ
    if settings.USE_TZ:
        return timezone.make_aware(start), timezone.make_aware(end)
    return start, end


def _bounds_of_time(text: str) -> tuple[datetime, datetime]:
    """Return the first moment of a minute, second or fraction, and the first one after it."""
    start = kept(datetime.fromisoformat(text))
    if timezone.is_aware(start):
        start = start.astimezone(UTC)  # where no hour is skipped or repeated
    seconds, fraction = _CLOCK.findall(text)[0]
    step = timedelta(microseconds=10 ** (6 - len(fraction)))
    return start, start + (step if seconds else timedelta(minutes=1))


class _Like(Func):
    """Case-insensitive ``LIKE`` with ``!`` as the escape character, which no database treats
    specially.
    """

    template = "(%(expressions)s ESCAPE '!')"
    arg_joiner = " LIKE "
    output_field = BooleanField()

    def as_mysql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        """Compare bytes: the default collations treat é as e, and any emoji as any other."""
        joiner = " COLLATE utf8mb4_bin LIKE "
        return self.as_sql(compiler, connection, arg_joiner=joiner, **context)


def _like(column: str, pattern: str) -> Q:
    """Return the condition that a whole column matches ``pattern``, with ``*`` for any text."""
    escaped = pattern.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return Q(_Like(Lower(column), Lower(Value(escaped.replace("*", "%")))))
