"""Plan a search: which term it starts from, and in which order the others are checked.

The rarest term that names tags is the *driver*, unless it has more rows than there are assets. Its
rows are read from an index in the order of the page. The other terms are *probes*, which are
checked for each asset: the most selective first and negations last. No statistic shows how often
two tags occur together, so the databases' own planners guess; probing avoids that.

If all tags are common, a rare term that names no tag is looked up; see :mod:`.rare_terms`. Then the
search reads the assets of that term only, and checks all terms, since some may have changed in the
meantime. A search without a driver or a rare term walks the assets.
"""

# ruff: noqa: S608  # names of tables and columns are put in, values never are

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import connections

from . import rare_terms
from .language.tree import And, Everything, HasTag, Node, Not, Or, conjunction
from .statistics import estimate_rows
from .term_sql import NOTHING, Compiler, Fragment, Stream, joined, needs_asset

PROBE_COST = 8
"""How many rows a join reads in the time of one probe: a rough choice, not tuned."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A term that names tags, or an OR of such terms: a possible driver.

    Args:
        node: the term.
        streams: the rows that meet it; () when it names no existing tag.
        rows: about how many there are.
    """

    node: Node
    streams: tuple[Stream, ...]
    rows: float

    @property
    def has_scores(self) -> bool:
        """Whether all rows of the clause have a score; rejected rows have none."""
        return all(leaf.decision != "rejected" for leaf in _named(self.node))


class Plan:
    """The plan of one search. Making it takes at most two queries.

    One is for statistics, if several terms name tags. The other one looks up terms that may be
    rare, unless a rare tag is required.

    ``driver`` is the clause that the search starts from, and ``rare`` the term; both are None when
    it walks the assets. ``probes`` are the other terms in the order of their checks. ``is_empty``
    means that nothing can match. ``rows`` is about how many rows the driver has, and ``total`` how
    many assets there are.

    Args:
        where: the condition on an asset.
        compiler: compiles it.
        former: the plan of a part of the condition, whose rare term is used.
    """

    def __init__(self, where: Node, compiler: Compiler, former: Plan | None = None) -> None:
        self.where = where
        self.compiler = compiler
        self._assets = compiler.tables.asset
        self._scope = (compiler.scope,) if compiler.scope else ()
        self._conditions: dict[tuple[Node, str], Fragment] = {}
        self.clauses, others = split(where, compiler)
        self.total = 0.0
        self.is_empty = any(not clause.streams for clause in self.clauses)
        self.driver: Clause | None = None
        if self.clauses and not self.is_empty:
            is_filtered = bool(others or compiler.scope)
            several = any(len(clause.streams) > 1 for clause in self.clauses)
            if len(self.clauses) > 1 or (several and is_filtered):
                self.estimate()
            driver = min(self.clauses, key=lambda clause: clause.rows)
            # Examining more rows than there are assets is slower than examining the assets.
            if not (is_filtered and self.total and driver.rows > self.total):
                self.driver = driver
        self.rare: rare_terms.RareTerm | None = None
        if former:
            self.rare = former.rare
        elif not self.is_empty and (self.driver is None or self.driver.rows > rare_terms.FEW):
            self.rare = rare_terms.find(others, compiler)
        if self.rare:
            self.driver = None
            self.is_empty |= not self.rare.ids
        self.probes = tuple(
            clause.node
            for clause in sorted(self.clauses, key=lambda clause: clause.rows)
            if clause is not self.driver
        ) + tuple(sorted(others, key=lambda node: isinstance(node, Not)))

    @property
    def using(self) -> str:
        return self.compiler.using

    @property
    def rows(self) -> float:
        """About how many rows the driver or the rare term has; for a walk, how many assets there
        are, 0 before :meth:`estimate`.
        """
        if self.rare:
            return len(self.rare.ids)
        return self.driver.rows if self.driver else self.total

    @property
    def is_everything(self) -> bool:
        """Whether every asset that is not archived matches."""
        return isinstance(self.where, Everything) and not self.compiler.scope

    @property
    def is_one_tag(self) -> bool:
        """Whether the search is just the rows of one tag."""
        is_filtered = bool(self.probes or self._scope)
        return self.driver is not None and not is_filtered and len(self.driver.streams) == 1

    @property
    def is_unpredictable(self) -> bool:
        """Whether nothing tells how many assets match: they are walked, and checked."""
        is_filtered = bool(self.probes or self._scope)
        return self.driver is None and self.rare is None and is_filtered

    def estimate(self) -> None:
        """Look up about how many rows the clauses have, in one query."""
        if self.total:
            return
        streams = [stream for clause in self.clauses for stream in clause.streams]
        self.total, rows = estimate_rows(streams, self.using)
        sized = [
            Clause(clause.node, clause.streams, sum(rows[each] for each in clause.streams))
            for clause in self.clauses
        ]
        if self.driver:
            self.driver = sized[self.clauses.index(self.driver)]
        self.clauses = sized

    def matches(self, *, without: Clause | None = None) -> Fragment:
        """Return a ``SELECT`` of the distinct ids, ``asset_id``, of all matches, unordered.

        Args:
            without: a clause that the caller checks separately.
        """
        if self.is_empty:
            return Fragment(f"SELECT a.id AS asset_id FROM {self._assets} a WHERE 1 = 0")
        if self.driver is None:
            return self.assets("a.id AS asset_id")
        streams = self.driver.streams
        distinct = "DISTINCT " if len(streams) > 1 else ""
        probes = self.without(self.driver, without) if without else self.probes
        return self.tagged(f"{distinct}d.asset_id", streams, probes=probes)

    def matches_between(self, first: str, end: str) -> Fragment:
        """Return :meth:`matches` limited to ids from ``first`` up to but not including ``end``.

        The bounds are SQL expressions, and are assumed to be close to each other.
        """
        if self.driver is None:
            window = Fragment(f"a.id >= {first} AND a.id < {end}")
            return self.assets("a.id AS asset_id", window)
        streams = self.driver.streams
        distinct = "DISTINCT " if len(streams) > 1 else ""
        window = Fragment(f"d.asset_id >= {first} AND d.asset_id < {end}")
        return self.tagged(f"{distinct}d.asset_id", streams, window, examined=0)

    def without(self, *clauses: Clause) -> tuple[Node, ...]:
        """Return the conditions on an asset, in order, except some clauses."""
        nodes = [clause.node for clause in clauses]
        driver = (self.driver.node,) if self.driver else ()
        return tuple(
            node for node in (*driver, *self.probes) if not any(node is each for each in nodes)
        )

    def assets(self, columns: str, *more: Fragment, tail: str = "") -> Fragment:
        """Return a ``SELECT`` of assets, ``a``, that match and meet ``more``."""
        where = joined(
            (
                *((self.rare.condition("a.id", self.compiler.vendor),) if self.rare else ()),
                Fragment("a.deleted_at IS NULL"),
                *self._scope,
                *(self.compiler.condition(node, asset="a.id") for node in self.probes),
                *more,
            ),
            "AND",
        )
        return Fragment(
            f"SELECT {columns} FROM {self._assets} a WHERE {where.sql}{tail}",
            where.params,
            varies=True,
        )

    def tagged(
        self,
        columns: str,
        streams: Sequence[Stream],
        *more: Fragment,
        probes: Iterable[Node] | None = None,
        source: str = "",
        tail: str = "",
        ordered_by_id: bool = False,
        examined: float | None = None,
    ) -> Fragment:
        """Return a ``SELECT`` of asset tags, ``d``, of streams that match and meet ``more``.

        Args:
            columns: the columns to select.
            streams: the streams whose rows are selected.
            more: further conditions.
            probes: the conditions on each row's asset; those of the plan by default.
            source: another table with the ids of the tags, as ``s.tag_id``; the streams must then
                be equal otherwise.
            tail: the end of the statement: order and limit.
            ordered_by_id: whether to keep the database from using an index in another order.
            examined: about how many rows will be read; all of the streams' by default.
        """
        if examined is None:
            examined = self.rows
        probes = self.probes if probes is None else tuple(probes)
        rejected = any(each.is_rejected for each in streams)
        join = ""
        present = NOTHING
        if rejected or self._scope or any(needs_asset(node) for node in probes):
            join = f" JOIN {self._assets} a ON a.id = d.asset_id"
            present = Fragment("a.deleted_at IS NULL") if rejected else NOTHING
        if source:
            rows = joined(
                (Fragment(f"d.tag_id = {source}"), self.compiler.row(streams[0])), "AND"
            )
        else:
            rows = self.compiler.of_streams(streams, "d", ordered_by_id=ordered_by_id)
        # (asset, tag) is unique, so a join finds each asset once.
        clauses = [each for node in probes if (each := self._joins(node, examined))]
        conditions = []
        for number, clause in enumerate(clauses):
            on = self.compiler.of_streams(clause.streams, f"j{number}")
            conditions.append(on)
            join += (
                f" JOIN {self.compiler.tables.asset_tag} j{number}"
                f" ON j{number}.asset_id = d.asset_id AND {on.sql}"
            )
        # Conditions on all joined tables can only be checked after the joins.
        sides = ", ".join(f"j{number}.asset_id" for number in range(len(clauses)))
        asset = f"GREATEST(d.asset_id, {sides})" if clauses else "d.asset_id"
        joined_nodes = [clause.node for clause in clauses]
        parts = (
            rows,
            *more,
            *((present,) if present else ()),
            *self._scope,
            *(
                self._condition(node, asset)
                for node in probes
                if not any(node is each for each in joined_nodes)
            ),
        )
        where = joined(parts, "AND")
        return Fragment(
            f"SELECT {columns} FROM {self.compiler.tables.asset_tag} d{join}"
            f" WHERE {where.sql}{tail}",
            (*(value for on in conditions for value in on.params), *where.params),
            varies=bool(join),
        )

    def examined(self, clause: Clause, limit: int) -> float:
        """Return about how many rows of ``clause`` are read until ``limit`` match."""
        share = 1.0
        for other in self.clauses:
            if other.node is not clause.node and self.total:
                share *= min(other.rows / self.total, 1.0)
        return min(clause.rows, limit / max(share, 1e-9))

    def _joins(self, node: Node, examined: float) -> Clause | None:
        """Return the clause of ``node`` if joining it costs less than probing each row.

        Only PostgreSQL has merge joins and hash joins.
        """
        clause = next((each for each in self.clauses if each.node is node), None)
        if clause is None or self.compiler.vendor != "postgresql" or len(clause.streams) > 1:
            return None
        return clause if clause.rows < PROBE_COST * examined else None

    def also(self, node: Node) -> Plan:
        """Return the plan of this search AND ``node``, whose labels must be in the search."""
        return Plan(conjunction((self.where, node)), self.compiler, self)

    def _condition(self, node: Node, asset: str) -> Fragment:
        """Compile a probe once: every stream repeats it, and one may name many tags."""
        if (node, asset) not in self._conditions:
            self._conditions[node, asset] = self.compiler.condition(node, asset=asset)
        return self._conditions[node, asset]

    def explain(self, *, analyze: bool = False) -> str:
        """Describe the plan in words: what it starts from, the probes, and the numbers of rows.

        Args:
            analyze: whether to count the driver's rows and the matches, which reads them all.
        """
        if self.is_empty:
            if self.rare:
                return f"Nothing can match: no asset meets {self.rare.node}."
            return "Nothing can match: a required tag does not exist."
        self.estimate()
        lines = []
        if self.rare:
            assets = "asset" if len(self.rare.ids) == 1 else "assets"
            lines.append(f"Starts from {self.rare.node}: {len(self.rare.ids):,} {assets}.")
        elif self.driver is None:
            lines.append(f"Scans about {self.total:,.0f} assets: no required term is rare.")
        else:
            driver, tags = self.driver, len(self.driver.streams)
            rows = f"about {driver.rows:,.0f} rows"
            if analyze:
                counted = self._count(self.tagged("1", driver.streams, probes=()))
                rows += f", {counted:,} counted"
            word = "tag" if tags == 1 else "tags"
            lines.append(f"Starts from {driver.node}: {tags} {word}, {rows}.")
        rows_of = {clause.node: clause.rows for clause in self.clauses}
        for node in self.probes:
            if self.rare and node is self.rare.node:
                continue
            rows = f", about {rows_of[node]:,.0f} rows" if node in rows_of else ""
            lines.append(f"Then checks {node}{rows}.")
        if self._scope:
            lines.append("Only assets in the scope are checked.")
        if analyze:
            lines.append(f"Matches: {self._count(self.matches()):,}")
        return "\n".join(lines)

    def _count(self, rows: Fragment) -> int:
        with connections[self.using].cursor() as cursor:
            cursor.execute(f"SELECT COUNT(*) FROM ({rows.sql}) x", rows.params)
            return int(cursor.fetchone()[0])


def split(where: Node, compiler: Compiler) -> tuple[list[Clause], list[Node]]:
    """Split the required terms into possible drivers and others, without ``Everything``."""
    terms = where.terms if isinstance(where, And) else (where,)
    clauses: list[Clause] = []
    others: list[Node] = []
    for term in terms:
        named = _named(term)
        if named:
            streams = tuple(
                dict.fromkeys(each for leaf in named for each in compiler.streams(leaf))
            )
            clauses.append(Clause(term, streams, float(sum(each.weight for each in streams))))
        elif not isinstance(term, Everything):
            others.append(term)
    return clauses, others


def requires_tag(where: Node) -> bool:
    """Whether a required term names tags, so that a plan has a possible driver."""
    terms = where.terms if isinstance(where, And) else (where,)
    return any(_named(term) for term in terms)


def _named(term: Node) -> tuple[HasTag, ...]:
    """Return the tag terms of a clause, () when ``term`` cannot be a driver."""
    alternatives = term.terms if isinstance(term, Or) else (term,)
    named = tuple(each for each in alternatives if isinstance(each, HasTag) and each.label)
    return named if len(named) == len(alternatives) else ()
