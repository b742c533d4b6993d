"""Autocomplete: suggest tags for a few typed letters.

Each process caches the names in memory, sorted, so that a lookup takes no query and 0.03 ms (95th
percentile 0.12; "Completion" in ``make bench-search``). A query cannot find the start of any word
with an index that every database has.
They are reloaded when tags were added, renamed, hidden or removed, and once a minute to refresh the
counts and anything the cheap version query misses. For users with a scope, its counts are cached
for a minute too.
"""

from __future__ import annotations

import time
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from heapq import nsmallest
from itertools import islice
from operator import itemgetter
from threading import Lock
from typing import Any, TypeAlias

from django.db.models import Count, Max, Q, Sum

from filestack_tags.assets.sensitive import unapproved_ids
from filestack_tags.conf import get_settings
from filestack_tags.db.replicas import read_alias
from filestack_tags.db.text import without_ignorable
from filestack_tags.exceptions import SearchTimeout
from filestack_tags.models import Tag, TagAlias

from .deadline import time_limit
from .scope import counts_within, scope_condition
from .tag_lookup import rows_of
from .term_sql import Fragment

CHECK_AFTER = 1.0
"""Seconds for which the names in memory are used without checking for changes."""

READ_AFTER = 60.0
"""Seconds after which the names are reloaded even if no change was detected."""

SHARE = 20
"""A process waits this many times as long as loading took before it loads the names again. So
loading takes at most a twentieth of its time, however many tags there are and however often they
change.
"""

MAX_SCOPES = 200
"""Number of scopes whose counts a process caches; the least recently used one is dropped."""

Version: TypeAlias = tuple[dict[str, Any], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Completion:
    """A suggested tag.

    ``count`` is its number of assets at any confidence, up to a minute old. A search for the name
    alone finds only those at or above ``min_confidence``: the tag's minimum, or the global one.
    """

    tag_id: int
    name: str
    count: int
    min_confidence: int = 0


def complete(
    text: str,
    *,
    limit: int = 10,
    include_hidden: bool = False,
    scope: Q | None = None,
    using: str | None = None,
) -> list[Completion]:
    """Return the most used tags whose name, or a word of it, begins with ``text``.

    Case, accents and width are ignored: ``ca`` finds Café, ``york`` and ``york c`` find New York
    City. An alias finds its tag. Results are sorted by use, then by key; an empty text returns the
    most used tags. Usually no query: two small ones to check for changes, at most once a second,
    and two more to reload. Thread-safe; within a process all threads see the same names.

    With ``scope``, only tags of those assets are found, and the counts and the order are for those
    assets. Once a minute that takes a query which reads all their tags.

    Args:
        text: what the user typed, of any length.
        limit: the maximum number of tags, at least 1.
        include_hidden: whether hidden and unapproved tags are found; the caller checks the
            permission.
        scope: the assets whose tags are found; see :mod:`.scope`. All, if None.
        using: alias of the database; by default the one that the router reads tags from.

    Raises:
        ValueError: when ``limit`` is less than 1.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}.")
    if using is None:
        using = read_alias(Tag)
    index = _kept.setdefault(using, _Kept(using)).current()
    condition = scope_condition(scope, using)
    if not condition:
        return index.search(folded(text), limit, include_hidden)
    return index.search_within(folded(text), limit, include_hidden, _counts(condition, using))


def clear_cache() -> None:
    """Make the next call of :func:`complete` reload the names; for this process only."""
    _kept.clear()
    with _counted_lock:
        _counted.clear()


def folded(text: str) -> str:
    """Return ``text`` in its form for comparison: NFKD, casefolded, without accents, one space."""
    if not text.isascii():
        text = without_ignorable(text)
        text = unicodedata.normalize("NFKD", text).casefold()
        text = unicodedata.normalize("NFKD", text)
        text = "".join(char for char in text if not unicodedata.combining(char))
    return " ".join(text.casefold().split())


class _Index:
    """A sorted snapshot of the names. Immutable, so threads share it without a lock."""

    def __init__(
        self,
        tags: list[tuple[int, str, str, bool, int, int]],
        aliases: list[tuple[str, int]],
    ) -> None:
        """Take tags as (id, key, name, hidden, count, minimum confidence), aliases as (key, id of
        the tag).
        """
        tags = sorted(tags, key=lambda tag: (-tag[4], tag[1]))
        self._found = [
            Completion(tag_id, name, count, minimum)
            for tag_id, _, name, _, count, minimum in tags
        ]
        self._hidden = frozenset(rank for rank, tag in enumerate(tags) if tag[3])
        rank_of = {tag[0]: rank for rank, tag in enumerate(tags)}
        labels = [(key, tag_id) for tag_id, key, *_ in tags]
        # The tag of an alias may have been removed between the two queries.
        labels += [(key, tag_id) for key, tag_id in aliases if tag_id in rank_of]
        entries = sorted(
            (ending, rank_of[tag_id])
            for key, tag_id in labels
            for ending in _from_each_word(folded(key))
        )
        self._texts = [text for text, _ in entries]
        self._ranks = [rank for _, rank in entries]

    def search(self, text: str, limit: int, include_hidden: bool) -> list[Completion]:
        hidden: frozenset[int] = frozenset() if include_hidden else self._hidden
        if not text:
            shown = (rank for rank in range(len(self._found)) if rank not in hidden)
            return [self._found[rank] for rank in islice(shown, limit)]
        first = bisect_left(self._texts, text)
        beginning = itemgetter(slice(len(text)))
        last = bisect_right(self._texts, text, first, key=beginning)
        ranks = set(self._ranks[first:last]) - hidden
        return [self._found[rank] for rank in nsmallest(limit, ranks)]

    def search_within(
        self, text: str, limit: int, include_hidden: bool, counts: Mapping[int, int]
    ) -> list[Completion]:
        """Return what :meth:`search` returns, for the tags in ``counts``, ordered by these."""
        all_of_them = self.search(text, len(self._found), include_hidden)
        in_scope = [each for each in all_of_them if each.tag_id in counts]
        counted = (replace(each, count=counts[each.tag_id]) for each in in_scope)
        return nsmallest(limit, counted, key=lambda each: (-each.count, each.name))


class _Kept:
    """The index of one database, and when to check whether it is current."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._lock = Lock()
        self._index: _Index | None = None
        self._version: Version | None = None
        self._check_at = self._read_at = 0.0

    def current(self) -> _Index:
        index = self._index
        if index is None:
            with self._lock:
                return self._refreshed()
        # While one thread reloads, the others continue with the current index.
        if time.monotonic() < self._check_at or not self._lock.acquire(blocking=False):
            return index
        try:
            return self._refreshed()
        finally:
            self._lock.release()

    def _refreshed(self) -> _Index:
        now = time.monotonic()
        index = self._index
        if index is not None and now < self._check_at:
            return index
        version = self._ask_version()
        if index is None or version != self._version or now >= self._read_at:
            index = _read(self._using)
            took = time.monotonic() - now
            self._index, self._version = index, version
            self._check_at = now + took + max(CHECK_AFTER, SHARE * took)
            self._read_at = now + max(READ_AFTER, SHARE * took)
        else:
            self._check_at = now + CHECK_AFTER
        return index

    def _ask_version(self) -> Version:
        """Return a value that changes with new, removed, hidden and renamed tags, with minimums,
        and with aliases.

        A renamed tag leaves an alias behind.
        """
        tags = rows_of(Tag, self._using).aggregate(
            Max("id"),
            Count("id"),
            Count("approved_at"),
            Count("min_confidence"),
            Sum("min_confidence"),
            hidden=Sum("id", filter=Q(hidden=True)),
        )
        aliases = rows_of(TagAlias, self._using).aggregate(Max("id"), Count("id"))
        return tags, aliases


_kept: dict[str, _Kept] = {}

_counted: dict[tuple[str, str, str], tuple[float, dict[int, int]]] = {}
_counted_lock = Lock()


def _counts(condition: Fragment, using: str) -> dict[int, int]:
    """Return how many assets of a scope have each tag, cached for at least a minute.

    Counting reads every tag of the scope: about 1 s for 100,000 assets with 1.2 million tags.

    If counting takes too long, the previous counts are kept; without them no tag is found.
    """
    key = (using, condition.sql, repr(condition.params))
    now = time.monotonic()
    cached = _counted.get(key)
    if cached and now < cached[0]:
        return cached[1]
    try:
        with time_limit(using):
            counts = counts_within(condition, using)
    except SearchTimeout:
        counts = cached[1] if cached else {}
    took = time.monotonic() - now
    with _counted_lock:
        _counted.pop(key, None)
        while len(_counted) >= MAX_SCOPES:
            del _counted[next(iter(_counted))]
        _counted[key] = (now + max(READ_AFTER, SHARE * took), counts)
    return counts


def _read(using: str) -> _Index:
    aliases = rows_of(TagAlias, using).values_list("key", "tag_id")
    tags = rows_of(Tag, using).values_list(
        "id", "key", "name", "hidden", "asset_count", "min_confidence"
    )
    kept = unapproved_ids(using)
    least = get_settings().MIN_CONFIDENCE
    return _Index(
        [
            (pk, key, name, hidden or pk in kept, count, least if minimum is None else minimum)
            for pk, key, name, hidden, count, minimum in tags
        ],
        list(aliases),
    )


def _from_each_word(text: str) -> Iterator[str]:
    """Yield ``text``, and the rest of it from each further word on."""
    yield text
    within = True
    for position, char in enumerate(text):
        is_part = char.isalnum() or unicodedata.category(char).startswith("M")
        if is_part and not within:
            yield text[position:]
        within = is_part
