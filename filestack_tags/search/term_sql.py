"""Compile the terms of a search to SQL for PostgreSQL, SQLite and MariaDB, with parameters.

A term about one tag is a scalar subquery that reads one index entry: unlike ``EXISTS``, no database
turns it into a join, whose order it might then guess wrong. ``score`` is the row's confidence, or
-1 while the row is rejected or its asset is archived. So a score of 0 or more means that the asset
visibly has the tag, without reading the asset.

A term about tags reads one asset tag, with tag, confidence, source and decision in the same row. A
user's decision is final: the thresholds do not hide a tag that was accepted or added. Rejected rows
match only ``rejected``, whatever their confidence.
"""

# ruff: noqa: S608  # names of tables and columns are put in, values never are

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connections

from filestack_tags.assets.sensitive import confirmed, is_approved_in_sql
from filestack_tags.conf import get_settings
from filestack_tags.filestack.sources import digests_of
from filestack_tags.models.tags import NOT_FOUND, AssetTag

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
from .periods import bounds_of
from .tables import Tables
from .tag_lookup import KnownTag, TagNames, end_of_range

MAX_SCORE = 100
MOMENT_COLUMNS = {"uploaded": "uploaded_at", "created": "created_at", "tagged": "tags_at"}
_UNINDEXED = {"mysql": "{} + 0", "sqlite": "+{}"}
"""How to compare a column so that its index is not used."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of SQL with ``%s`` placeholders, and their values.

    Args:
        sql: the text.
        params: the values.
        varies: whether the best plan of this statement depends on the values, so that it must be
            planned each time. This is true of joins, but not of probes, whose order is always the
            same.
    """

    sql: str
    params: tuple[Any, ...] = ()
    varies: bool = False

    def __bool__(self) -> bool:
        return bool(self.sql)


NOTHING = Fragment("")
TRUE = Fragment("1 = 1")
FALSE = Fragment("1 = 0")


@dataclass(frozen=True, slots=True)
class Stream:
    """The rows of one tag that meet one term.

    Args:
        tag_id: the tag.
        low: the lowest score.
        high: the highest score.
        rescues: whether a row below ``low`` also counts if a user accepted or added it.
        extra: a further condition on the row, which is written ``{row}`` in it.
        weight: how many assets have the tag, if there is no better estimate.
    """

    tag_id: int
    low: int
    high: int
    rescues: bool = False
    extra: Fragment = NOTHING
    weight: int = 0

    @property
    def is_rejected(self) -> bool:
        return self.high == NOT_FOUND

    @property
    def is_plain(self) -> bool:
        """Whether the score alone decides which rows count."""
        return not (self.rescues or self.extra)


def joined(parts: Iterable[Fragment], connector: str) -> Fragment:
    """Join the parts with AND or OR; without parts, return the neutral condition."""
    parts = tuple(parts)
    if not parts:
        return TRUE if connector == "AND" else FALSE
    if len(parts) == 1:
        return parts[0]
    return Fragment(
        "(" + f" {connector} ".join(part.sql for part in parts) + ")",
        tuple(value for part in parts for value in part.params),
    )


class Compiler:
    """Compile the terms of one search.

    Args:
        names: the tags that its labels resolve to.
        include_hidden: whether hidden tags count for terms that name no tag.
        using: alias of the database that will be queried.
        scope: another condition on the asset ``a``; see :mod:`.scope`.
        row: the alias of the asset's row, which facts are read from.
        may_join: whether the database may turn a term about tags into a join. That is right for a
            condition of a queryset, which is not planned here.
        archived: whether archived assets are searched too. Their tags have no score, so that
            confidences and decisions are compared, which is slower.
    """

    def __init__(
        self,
        names: TagNames,
        include_hidden: bool,
        using: str,
        scope: Fragment = NOTHING,
        *,
        row: str = "a",
        may_join: bool = False,
        archived: bool = False,
    ) -> None:
        self._names = names
        self._min_confidence = get_settings().MIN_CONFIDENCE
        self._include_hidden = include_hidden
        self._row = row
        self._may_join = may_join
        self._archived = archived
        self.scope = scope
        self.using = using
        self.vendor = connections[using].vendor
        self._is_postgresql = self.vendor == "postgresql"
        self.tables = Tables(using)

    def condition(
        self, node: Node, *, asset: str = "d.asset_id", negated: bool = False
    ) -> Fragment:
        """Return the condition of ``node`` on the asset whose id is the expression ``asset``.

        Facts are read from the asset's row; see :func:`needs_asset`. The condition does not check
        whether the asset is archived. It is never NULL if ``negated``; otherwise NULL means that it
        is not met.
        """
        match node:
            case Not(term):
                return self.condition(term, asset=asset, negated=not negated)
            case And(terms) | Or(terms):
                connector = "AND" if isinstance(node, And) is not negated else "OR"
                if self.vendor == "sqlite":
                    # Its parser overflows when thirty groups each stand behind another term.
                    terms = tuple(sorted(terms, key=lambda term: not _is_group(term)))
                return joined(
                    (self.condition(term, asset=asset, negated=negated) for term in terms),
                    connector,
                )
            case HasTag():
                return self._has_tag(node, asset, negated)
            case Everything():
                return FALSE if negated else TRUE
            case Measure(field, comparison):
                fact = compared(f"{self._row}.{field}", comparison)
            case Moment(field, comparison):
                fact = self._happened(f"{self._row}.{MOMENT_COLUMNS[field]}", comparison)
            case Fact(field, value):
                fact = self._fact(field, value)
        return Fragment(f"NOT COALESCE({fact.sql}, FALSE)", fact.params) if negated else fact

    def streams(self, term: HasTag) -> tuple[Stream, ...]:
        """Return the streams of ``term``, which names a tag."""
        extra = _decided(term, "{row}")

        def extra_of(tag: KnownTag) -> Fragment:
            if tag.id not in self._names.unapproved:
                return extra
            approved = Fragment(is_approved_in_sql((tag.id,), "{row}"))
            return joined((extra, approved), "AND") if extra else approved

        if term.decision == "rejected":
            if term.confidence is not None:
                extra = joined((extra, compared("{row}.confidence", term.confidence)), "AND")
            return tuple(
                Stream(tag.id, NOT_FOUND, NOT_FOUND, False, extra_of(tag), tag.asset_count)
                for tag in self._names.of(term)
            )
        streams = []
        for tag in self._names.of(term):
            minimum = 0 if tag.id in self._names.unapproved else tag.min_confidence
            low, high = _range(term, self._min_confidence if minimum is None else minimum)
            rescues = low > 0 and term.confidence is None and term.decision is None
            if low <= high:
                streams.append(
                    Stream(tag.id, low, high, rescues, extra_of(tag), tag.asset_count)
                )
        return tuple(streams)

    def row(self, stream: Stream, alias: str = "d", *, ordered_by_id: bool = False) -> Fragment:
        """Return the condition on the score, and the stream's other conditions on a row.

        Args:
            ordered_by_id: whether the rows are needed by id. Otherwise MariaDB and SQLite could use
                the index ordered by score, and sort the result.
        """
        hidden = _UNINDEXED.get(self.vendor, "{}") if ordered_by_id else "{}"
        parts = [_scored(hidden.format(self._score(alias)), stream)]
        if stream.rescues:
            sql, params = parts[0].sql, parts[0].params
            rescued = f"({sql} OR ({self._score(alias)} >= 0 AND {confirmed(alias)}))"
            parts[0] = Fragment(rescued, params)
        if stream.extra:
            parts.append(Fragment(stream.extra.sql.format(row=alias), stream.extra.params))
        return joined(parts, "AND")

    def of_streams(
        self, streams: Iterable[Stream], alias: str, *, ordered_by_id: bool = False
    ) -> Fragment:
        """Return the condition that a row, under ``alias``, belongs to one of the streams."""
        alike: dict[Stream, list[int]] = {}
        for each in streams:
            kind = Stream(0, each.low, each.high, each.rescues, each.extra)
            alike.setdefault(kind, []).append(each.tag_id)
        return joined(
            (
                joined(
                    (
                        among(f"{alias}.tag_id", tags),
                        self.row(kind, alias, ordered_by_id=ordered_by_id),
                    ),
                    "AND",
                )
                for kind, tags in alike.items()
            ),
            "OR",
        )

    def score_of(self, stream: Stream, asset: str) -> Fragment:
        """Return the scalar subquery of the score that an asset has for a tag, or NULL."""
        return Fragment(
            f"(SELECT p.score FROM {self.tables.asset_tag} p"
            f" WHERE p.tag_id = %s AND p.asset_id = {asset})",
            (stream.tag_id,),
        )

    def _has_tag(self, term: HasTag, asset: str, negated: bool) -> Fragment:
        if not term.label:
            return self._probe(self._any_tag(term), asset, negated, join_tag=True)
        streams = self.streams(term)
        if not streams:
            return TRUE if negated else FALSE
        if self._may_join or len(streams) > 1 or not streams[0].is_plain:
            return self._probe(self.of_streams(streams, "p"), asset, negated)
        score = self.score_of(streams[0], asset)
        if negated:
            return _not_scored(score, streams[0])
        compared = _scored(score.sql, streams[0])
        return Fragment(compared.sql, score.params + compared.params)

    def _probe(
        self, row: Fragment, asset: str, negated: bool, *, join_tag: bool = False
    ) -> Fragment:
        join = f" JOIN {self.tables.tag} t ON t.id = p.tag_id" if join_tag else ""
        rows = f"{self.tables.asset_tag} p{join} WHERE p.asset_id = {asset} AND {row.sql}"
        return self._exists(rows, row.params, negated=negated)

    def _exists(self, rows: str, params: tuple[Any, ...], *, negated: bool = False) -> Fragment:
        if self._may_join:
            return Fragment(f"{'NOT ' * negated}EXISTS (SELECT 1 FROM {rows})", params)
        outcome = "IS NULL" if negated else "IS NOT NULL"
        return Fragment(f"(SELECT 1 FROM {rows} LIMIT 1) {outcome}", params)

    def _score(self, alias: str) -> str:
        if not self._archived:
            return f"{alias}.score"
        rejected = int(AssetTag.Decision.REJECTED)
        return (
            f"CASE WHEN {alias}.decision = {rejected} THEN {NOT_FOUND}"
            f" ELSE {alias}.confidence END"
        )

    def _any_tag(self, term: HasTag) -> Fragment:
        parts = [] if self._include_hidden else [Fragment("t.hidden = FALSE")]
        if term.decision == "rejected":
            if term.confidence is not None:
                parts.append(compared("p.confidence", term.confidence))
        elif term.confidence is not None or term.decision in ("accepted", "added"):
            low, high = _range(term, 0)
            parts.append(_scored(self._score("p"), Stream(0, low, high)))
        else:
            score = self._score("p")
            enough = f"{score} >= COALESCE(t.min_confidence, %s)"
            if term.decision is None:
                enough = f"({enough} OR {confirmed('p')}) AND {score} >= 0"
            parts.append(Fragment(enough, (self._min_confidence,)))
        if decided := _decided(term, "p"):
            parts.append(decided)
        if self._names.unapproved:
            parts.append(Fragment(is_approved_in_sql(self._names.unapproved, "p")))
        return joined(parts, "AND")

    def _happened(self, column: str, comparison: Comparison[str]) -> Fragment:
        adapt = connections[self.using].ops.adapt_datetimefield_value
        start, end = bounds_of(comparison)
        parts = []
        if start is not None:
            parts.append(Fragment(f"{column} >= %s", (adapt(start),)))
        if end is not None:
            parts.append(Fragment(f"{column} < %s", (adapt(end),)))
        return joined(parts, "AND")

    def _fact(self, field: str, value: str) -> Fragment:
        row = self._row
        match field:
            case "status":
                return Fragment(f"{row}.tagging_state = %s", (value,))
            case "error":
                return Fragment(f"{row}.error_code = %s", (value,))
            case "type":
                if value == UNKNOWN:
                    return among(f"{row}.mimetype", ("", UNKNOWN))
                if value.find("*") == len(value) - 1 > 0:
                    return self._begins(f"{row}.mimetype", value[:-1])
                if "*" in value:
                    return self._like(f"{row}.mimetype", value)
                return Fragment(f"{row}.mimetype = %s", (mime_type(value),))
            case "kind":
                return Fragment(f"{row}.kind = %s", (value,))
            case "name":
                return self._like(f"{row}.filename", value)
            case "handle":
                return among(f"{row}.digest", digests_of(value))
            case "by":
                table, key, name = self.tables.user
                # Does not depend on the asset, so it runs once. As an array, PostgreSQL cannot
                # turn it into a join.
                users = f"SELECT u.{key} FROM {table} u WHERE u.{name} = %s"
                some = f"= ANY(ARRAY({users}))" if self._is_postgresql else f"IN ({users})"
                return Fragment(f"{row}.uploader_id {some}", (value,))
        column, wanted = {
            "run": ("version", value[1:]),
            "tagger": ("tagger", value),
            "workflow": ("workflow_id", value),
        }[field]
        rows = f"{self.tables.run} r WHERE r.id = {row}.current_run_id AND r.{column} = %s"
        return self._exists(rows, (int(wanted) if field == "run" else wanted,))

    def _begins(self, column: str, prefix: str) -> Fragment:
        """Return the condition that a lowercase column begins with ``prefix``, from its index."""
        if self.vendor == "sqlite":
            sql = f"({column} >= %s AND {column} < %s)"
            return Fragment(sql, (prefix, end_of_range(prefix)))
        escaped = connections[self.using].ops.prep_for_like_query(prefix)
        begins = Fragment(f"{column} LIKE %s", (f"{escaped}%",))
        if self._is_postgresql:
            return begins
        # The column's own collation ignores accents.
        return joined((begins, self._like(column, f"{prefix}*")), "AND")

    def _like(self, column: str, pattern: str) -> Fragment:
        escaped = pattern.replace("!", "!!").replace("%", "!%").replace("_", "!_")
        bytewise = " COLLATE utf8mb4_bin" if self.vendor == "mysql" else ""
        return Fragment(
            f"LOWER({column}){bytewise} LIKE LOWER(%s) ESCAPE '!'",
            (escaped.replace("*", "%"),),
        )


def _is_group(node: Node) -> bool:
    return isinstance(node.term if isinstance(node, Not) else node, And | Or)


def needs_asset(node: Node) -> bool:
    """Whether the condition of ``node`` reads the asset's row."""
    match node:
        case And(terms) | Or(terms):
            return any(needs_asset(term) for term in terms)
        case Not(term):
            return needs_asset(term)
    return not isinstance(node, HasTag | Everything)


def among(column: str, values: Iterable[Any]) -> Fragment:
    """Return the condition that a column has one of some values, at least one."""
    values = tuple(values)
    if len(values) == 1:
        return Fragment(f"{column} = %s", values)
    return Fragment(f"{column} IN ({', '.join(['%s'] * len(values))})", values)


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


def _range(term: HasTag, threshold: int) -> tuple[int, int]:
    """Return lowest and highest score of a row that meets ``term``, which is not ``rejected``."""
    if term.confidence is not None:
        return scores_of(term.confidence)
    return (threshold if term.decision in (None, "none") else 0), MAX_SCORE


def _scored(score: str, stream: Stream) -> Fragment:
    if stream.high == MAX_SCORE:
        return Fragment(f"{score} >= %s", (stream.low,))
    if stream.low == stream.high:
        return Fragment(f"{score} = %s", (stream.low,))
    return Fragment(f"{score} BETWEEN %s AND %s", (stream.low, stream.high))


def _not_scored(score: Fragment, stream: Stream) -> Fragment:
    known = f"COALESCE({score.sql}, {NOT_FOUND})"
    if stream.high == MAX_SCORE:
        return Fragment(f"{known} < %s", (*score.params, stream.low))
    return Fragment(f"{known} NOT BETWEEN %s AND %s", (*score.params, stream.low, stream.high))


def _decided(term: HasTag, alias: str) -> Fragment:
    """Return the condition on source and decision, unless the score implies it."""
    if not (term.decision or term.source):
        return NOTHING
    parts = []
    if term.decision:
        decision = int(AssetTag.Decision[term.decision.upper()])
        parts.append(Fragment(f"{alias}.decision = %s", (decision,)))
    if term.source:
        source = int(AssetTag.Source[term.source.upper()])
        parts.append(Fragment(f"{alias}.source = %s", (source,)))
    return joined(parts, "AND")


def compared(column: str, comparison: Comparison[int]) -> Fragment:
    """Return the condition that a column meets ``comparison``."""
    if comparison.operator == "..":
        return Fragment(f"{column} BETWEEN %s AND %s", (comparison.value, comparison.upper))
    return Fragment(f"{column} {comparison.operator} %s", (comparison.value,))
