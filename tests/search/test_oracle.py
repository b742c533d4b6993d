"""For any assets and any search, the database finds the same as a plain evaluation of the rows.

The evaluation below shares only the searches themselves with the planner: it checks one asset after
the other, in Python.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from unittest import mock
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import Q
from django.test import override_settings
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filestack_tags.db.text import label_key, reference_digest
from filestack_tags.models import (
    Asset,
    AssetTag,
    Tag,
    TagAlias,
    TaggingRun,
    TagStatistic,
    score_of,
)
from filestack_tags.search import Search, rare_terms
from filestack_tags.search.language.tree import (
    And,
    Comparison,
    Everything,
    Fact,
    HasTag,
    Measure,
    Moment,
    Not,
    Or,
    Query,
    conjunction,
    negation,
)

from .strategies import combined, comparisons, is_label, labels, tag_terms

BERLIN = ZoneInfo("Europe/Berlin")
DECISIONS = {"none": 0, "accepted": 1, "rejected": 2, "added": 3}
SOURCES = {"auto": 0, "user": 1}
USERS = ("anna", "me@example.com")
KINDS = ("handle", "url", "alias")
REFERENCES = ("aBc", "abc", "https://a.example/x%20y?q=(1)%7C2", "src://alias/ä")
TAGGERS = ("filestack", "local", "my.tagger")
WORKFLOWS = ("", "527ea8a9", "w_f%")
MIMETYPES = ("", "image/png", "image/jpeg", "image", "video/mp4", "x_image/png", "audio/mp\xe9")
ERRORS = ("", "server_error", "file_not_found")
STATES = ("new", "queued", "running", "tagged", "stale", "failed")


@dataclass
class ATag:
    name: str
    hidden: bool
    min_confidence: int | None
    aliases: list[str] = field(default_factory=list)
    sensitive: bool = False
    approved: bool = False


@dataclass
class ARow:
    tag: int
    confidence: int
    source: int
    decision: int


@dataclass
class AnAsset:
    kind: str
    reference: str
    filename: str
    mimetype: str
    size: int | None
    width: int | None
    height: int | None
    uploader: str | None
    uploaded_at: datetime
    created_at: datetime
    tagged_at: datetime | None
    state: str
    error: str
    run: tuple[int | None, str, str] | None
    deleted: bool
    rows: list[ARow]


@dataclass
class World:
    tags: list[ATag]
    assets: list[AnAsset]
    min_confidence: int
    hides_sensitive: bool = False

    @property
    def package(self) -> dict:
        """The settings for the evaluation."""
        return dict(
            django_settings.FILESTACK_TAGS,
            MIN_CONFIDENCE=self.min_confidence,
            HIDE_SENSITIVE=self.hides_sensitive,
            SENSITIVE_LABELS=[shouted(tag.name) for tag in self.tags if tag.sensitive],
            SENSITIVE_LABELS_EXCLUDE=[tag.name for tag in self.tags if not tag.sensitive],
        )


def shouted(name: str) -> str:
    """Return the name in capitals, or unchanged if those are another tag's name: ı is not i."""
    return name.upper() if label_key(name.upper()) == label_key(name) else name


# -- evaluation ----------------------------------------------------------------------------


IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""``Default_Ignorable_Code_Point`` of Unicode's ``DerivedCoreProperties.txt``."""


def plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", IGNORABLE.sub("", text)).casefold()
    folded = folded.replace("i\u0307", "i")  # İ counts as i
    text = unicodedata.normalize("NFKC", IGNORABLE.sub("", folded))
    return " ".join(text.split())


def compares(value, comparison: Comparison) -> bool:
    if value is None:
        return False
    given, upper = comparison.value, comparison.upper
    match comparison.operator:
        case ">=":
            return value >= given
        case ">":
            return value > given
        case "<=":
            return value <= given
        case "<":
            return value < given
        case "=":
            return value == given
    return given <= value <= upper


def globs(text: str, pattern: str) -> bool:
    parts = [re.escape(part) for part in pattern.lower().split("*")]
    return re.fullmatch(".*".join(parts), text.lower(), re.DOTALL) is not None


def is_withheld(world: World, query: Query, row: ARow) -> bool:
    tag = world.tags[row.tag]
    withheld = world.hides_sensitive and tag.sensitive and not tag.approved
    return withheld and not query.include_hidden and row.decision not in (1, 3)


def row_matches(world: World, query: Query, term: HasTag, row: ARow) -> bool:
    tag = world.tags[row.tag]
    if tag.hidden and not query.include_hidden:
        return False
    if is_withheld(world, query, row):
        return False
    names = [plain(name) for name in (tag.name, *tag.aliases)]
    wanted = plain(term.label)
    if term.prefix and not any(name.startswith(wanted) for name in names):
        return False
    if wanted and not term.prefix and wanted not in names:
        return False
    if term.source is not None and row.source != SOURCES[term.source]:
        return False
    if term.decision is None:
        if row.decision == DECISIONS["rejected"]:
            return False
    elif row.decision != DECISIONS[term.decision]:
        return False
    if term.confidence is not None:
        return compares(row.confidence, term.confidence)
    if row.decision != DECISIONS["none"]:
        return True
    threshold = tag.min_confidence
    if threshold is None:
        threshold = world.min_confidence
    return row.confidence >= threshold


def moment_matches(moment: datetime | None, comparison: Comparison[str]) -> bool:
    if moment is None:
        return False
    if comparison.value.endswith("Z"):
        if not django_settings.USE_TZ:
            moment = timezone.make_aware(moment, timezone.get_default_timezone())
        moment = moment.astimezone(UTC)
    elif django_settings.USE_TZ:
        moment = moment.astimezone(BERLIN)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    given, upper = comparison.value.rstrip("Z"), comparison.upper
    if upper is not None:
        upper = upper.rstrip("Z")
        return given <= text[: len(given)] and text[: len(upper)] <= upper
    return compares(text[: len(given)], Comparison(comparison.operator, given))


def fact_matches(asset: AnAsset, name: str, value: str) -> bool:
    version, tagger, workflow = asset.run or (None, None, None)
    match name:
        case "kind":
            return asset.kind == value
        case "status":
            return asset.state == value
        case "error":
            return asset.error == value
        case "type":
            return globs(asset.mimetype, value)
        case "name":
            return globs(asset.filename, value)
        case "handle":
            return asset.reference == value
        case "by":
            return asset.uploader == value
        case "run":
            return f"v{version}" == value
        case "tagger":
            return tagger == value
    return workflow == value


def matches(world: World, query: Query, node, asset: AnAsset) -> bool:
    match node:
        case Everything():
            return True
        case And(terms):
            return all(matches(world, query, term, asset) for term in terms)
        case Or(terms):
            return any(matches(world, query, term, asset) for term in terms)
        case Not(term):
            return not matches(world, query, term, asset)
        case HasTag():
            return any(row_matches(world, query, node, row) for row in asset.rows)
        case Measure(name, comparison):
            return compares(getattr(asset, name), comparison)
        case Moment(name, comparison):
            return moment_matches(getattr(asset, f"{name}_at"), comparison)
        case Fact(name, value):
            return fact_matches(asset, name, value)
    raise AssertionError(node)


# -- writing -------------------------------------------------------------------------------


def store(world: World) -> list[int]:
    """Write the world to the database; return the ids of the assets in order."""
    users = {name: get_user_model().objects.create(username=name) for name in USERS}
    tags = Tag.objects.bulk_create(
        Tag(
            key=label_key(tag.name),
            name=tag.name,
            hidden=tag.hidden,
            min_confidence=tag.min_confidence,
            approved_at=timezone.now() if tag.approved else None,
        )
        for tag in world.tags
    )
    tags = [Tag.objects.get(key=tag.key) for tag in tags]
    for stored, tag in zip(tags, world.tags, strict=True):
        for alias in tag.aliases:
            TagAlias.objects.create(key=label_key(alias), tag=stored)
    ids = []
    for each in world.assets:
        asset = Asset.objects.create(
            kind=each.kind,
            reference=each.reference,
            digest=reference_digest(each.kind, each.reference),
            filename=each.filename,
            mimetype=each.mimetype,
            size=each.size,
            width=each.width,
            height=each.height,
            uploader=each.uploader and users[each.uploader],
            uploaded_at=each.uploaded_at,
            tags_at=each.tagged_at,
            tagging_state=each.state,
            due_at=each.uploaded_at if each.state in ("queued", "running") else None,
            error_code=each.error,
            deleted_at=each.uploaded_at if each.deleted else None,
        )
        if each.run:
            version, tagger, workflow = each.run
            asset.current_run = TaggingRun.objects.create(
                asset=asset,
                tagger=tagger,
                version=version,
                workflow_id=workflow,
                trigger="api",
                content_version=1,
            )
            asset.save()
        AssetTag.objects.bulk_create(
            AssetTag(
                asset=asset,
                tag=tags[row.tag],
                confidence=row.confidence,
                score=score_of(row.confidence, row.decision, archived=each.deleted),
                source=row.source,
                decision=row.decision,
            )
            for row in each.rows
        )
        Asset.objects.filter(pk=asset.pk).update(created_at=each.created_at)
        ids.append(asset.pk)
    return ids


# -- generation ----------------------------------------------------------------------------

CONFIDENCES = st.integers(0, 100) | st.sampled_from([0, 49, 50, 51, 100])
SIZES = st.sampled_from([0, 1023, 1024, 2**31, 2**63 - 1])
PIXELS = st.sampled_from([0, 1199, 1200, 2**31 - 1])
MOMENTS = st.sampled_from(
    [
        datetime(year, month, day, tzinfo=UTC if django_settings.USE_TZ else None)
        + timedelta(minutes=minutes)
        for year, month, day in [
            (2025, 12, 31),
            (2026, 1, 1),
            (2026, 2, 28),
            (2026, 3, 29),
            (2026, 10, 25),
        ]
        for minutes in (-121, -120, -61, -60, -1, 0, 1320, 1380, 1439, 1440)
    ]
)
PERIODS = (
    "2025",
    "2026",
    "2025-12",
    "2026-01",
    "2026-03",
    "2026-01-01",
    "2026-03-29",
    "2026-10-25",
    "2025-12-31T23:59",
    "2026-01-01T00:00:00",
    "2026-01-01T00:00Z",
    "2026-03-29T00:00:00Z",
)
FILENAMES = st.text("aAbB%_\\!'\"* .🏖🌋éeש", max_size=5)


@st.composite
def worlds(draw) -> World:
    names = draw(st.lists(labels, min_size=1, max_size=7, unique_by=label_key))
    tags = [
        ATag(
            name,
            draw(st.integers(0, 4)) == 0,
            draw(st.none() | CONFIDENCES),
            sensitive=draw(st.integers(0, 2)) == 0,
            approved=draw(st.integers(0, 4)) == 0,
        )
        for name in names
    ]
    for alias in draw(st.lists(labels, max_size=3, unique_by=label_key)):
        draw(st.sampled_from(tags)).aliases.append(alias)
    row = st.builds(
        ARow,
        st.integers(0, len(tags) - 1),
        CONFIDENCES,
        st.sampled_from([0, 0, 1]),
        st.sampled_from([0, 0, 0, 1, 2, 3]),
    )
    asset = st.builds(
        AnAsset,
        st.sampled_from(KINDS),
        st.sampled_from(REFERENCES),
        FILENAMES,
        st.sampled_from(MIMETYPES),
        st.none() | SIZES,
        st.none() | PIXELS,
        st.none() | PIXELS,
        st.none() | st.sampled_from(USERS),
        MOMENTS,
        MOMENTS,
        st.none() | MOMENTS,
        st.sampled_from(STATES),
        st.sampled_from(ERRORS),
        st.none()
        | st.tuples(
            st.none() | st.integers(1, 2), st.sampled_from(TAGGERS), st.sampled_from(WORKFLOWS)
        ),
        st.integers(0, 7).map(lambda number: number == 0),
        st.lists(row, max_size=5, unique_by=lambda row: row.tag),
    )
    assets = draw(
        st.lists(asset, max_size=6, unique_by=lambda each: (each.kind, each.reference))
    )
    return World(tags, assets, draw(st.sampled_from([0, 30, 50])), draw(st.booleans()))


def searches(world: World) -> st.SearchStrategy[Query]:
    known = [name for tag in world.tags for name in (tag.name, *tag.aliases)]
    variants = [name.upper() for name in known] + [name[:1] for name in known]
    names = st.sampled_from(known) | st.sampled_from(
        [name for name in variants if is_label(name)] or known
    )
    patterns = [
        pattern
        for asset in world.assets
        for pattern in (
            asset.filename,
            asset.filename.upper() if asset.filename.isascii() else asset.filename,
            f"*{asset.filename[1:]}",
            f"{asset.filename[:1]}*",
            f"{asset.filename[:1]}_{asset.filename[2:]}",
            f"%{asset.filename[1:]}",
        )
        if pattern.strip()
    ] or ["*"]
    facts = (
        st.sampled_from(STATES).map(lambda value: Fact("status", value))
        | st.sampled_from(["handle", "url", "alias"]).map(lambda value: Fact("kind", value))
        | st.sampled_from(ERRORS[1:]).map(lambda value: Fact("error", value))
        | st.sampled_from(
            [
                *("image/*", "*/png", "image*", "image/png", "video/mp4", "x/y", "?mage/png"),
                *("audio/*", "im_ge/*", "x_image/*", "%*", "audio/mpe*", "i*", "*"),
            ]
        ).map(lambda value: Fact("type", value))
        | st.sampled_from(patterns).map(lambda value: Fact("name", value))
        | st.sampled_from(REFERENCES).map(lambda value: Fact("handle", value))
        | st.sampled_from([*USERS, "nobody"]).map(lambda value: Fact("by", value))
        | st.sampled_from(["v1", "v2", "v3"]).map(lambda value: Fact("run", value))
        | st.sampled_from(TAGGERS).map(lambda value: Fact("tagger", value))
        | st.sampled_from(WORKFLOWS[1:]).map(lambda value: Fact("workflow", value))
        | st.builds(Measure, st.just("size"), comparisons(SIZES))
        | st.builds(Measure, st.sampled_from(["width", "height"]), comparisons(PIXELS))
        | st.builds(
            Moment,
            st.sampled_from(["uploaded", "created", "tagged"]),
            st.builds(
                Comparison,
                st.sampled_from([">=", ">", "<=", "<", "="]),
                st.sampled_from(PERIODS),
            )
            | st.sampled_from(
                [
                    Comparison("..", "2025", "2026-01"),
                    Comparison("..", "2026-01-01", "2026-03"),
                    Comparison("..", "2026-03-29", "2026-03-29"),
                    Comparison("..", "2025-12-31T22:59Z", "2026-01-01T00:00:00Z"),
                ]
            ),
        )
    )
    tags = tag_terms(names) | tag_terms(names | labels)
    unnamed = facts | st.builds(
        HasTag,
        source=st.none() | st.sampled_from(tuple(SOURCES)),
        decision=st.none() | st.sampled_from(tuple(DECISIONS)),
        confidence=st.none() | comparisons(CONFIDENCES),
    )
    where = (
        tags
        | facts
        | st.lists(unnamed | tags, min_size=2, max_size=3).map(conjunction)
        | facts.map(negation)
        | combined(tags, max_leaves=6)
        | combined(tags | facts, max_leaves=6)
        | st.just(Everything())
    )
    return st.builds(Query, where, st.booleans())


FEW = st.sampled_from([0, 1, 2, 2000])
"""Maximum number of assets that a search starts from."""
SCOPES = (
    (None, lambda asset: True),
    (Q(kind="handle"), lambda asset: asset.kind == "handle"),
    (Q(uploader__username="anna"), lambda asset: asset.uploader == "anna"),
    (
        Q(asset_tags__decision=AssetTag.Decision.ACCEPTED),
        lambda asset: any(row.decision == DECISIONS["accepted"] for row in asset.rows),
    ),
)
"""Scopes of a host, and whether an asset is in them."""

MANY_WORLDS = settings(
    max_examples=40,  # with every profile: each database and Django runs its own SQL
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.mark.django_db
@MANY_WORLDS
@given(data=st.data())
def test_a_search_finds_what_reading_every_row_finds(data):
    world = data.draw(worlds(), label="world")
    package = world.package
    with (
        ExitStack() as stack,
        transaction.atomic(),
        timezone.override(BERLIN),
        override_settings(FILESTACK_TAGS=package),
    ):
        ids = store(world)
        for _ in range(20):
            query = data.draw(searches(world), label="query")
            few = data.draw(FEW, label="few")
            stack.enter_context(mock.patch.object(rare_terms, "FEW", few))
            scope, contains = data.draw(st.sampled_from(SCOPES), label="scope")
            expected = {
                pk
                for pk, asset in zip(ids, world.assets, strict=True)
                if not asset.deleted
                and contains(asset)
                and matches(world, query, query.where, asset)
            }
            found = Asset.objects.within(scope).search(str(query), include_hidden=True)
            assert sorted(found.values_list("pk", flat=True)) == sorted(expected), str(query)
            assert found.count() == len(expected), str(query)
            assert Search(str(query), scope=scope, include_hidden=True).total().count == len(
                expected
            )
            expected = {
                pk
                for pk, asset in zip(ids, world.assets, strict=True)
                if matches(world, query, query.where, asset)
            }
            search = Search(str(query), include_hidden=True)
            found = search.assets(Asset.objects.all(), archived=True)
            assert sorted(found.values_list("pk", flat=True)) == sorted(expected), str(query)
        transaction.set_rollback(True)


# -- pages ---------------------------------------------------------------------------------


def best_confidence(world: World, query: Query, terms, asset: AnAsset) -> int | None:
    """The highest confidence among the asset's rows that one of the terms matches."""
    rows = [
        row.confidence
        for row in asset.rows
        for term in terms
        if row_matches(world, query, term, row)
    ]
    return max(rows, default=None)


def clauses(query: Query) -> list[list[HasTag]]:
    """The required terms that name tags, and the ORs of such terms; without ``rejected`` ones."""
    found = []
    for term in query.where.terms if isinstance(query.where, And) else (query.where,):
        leaves = list(term.terms) if isinstance(term, Or) else [term]
        if all(
            isinstance(leaf, HasTag) and leaf.label and leaf.decision != "rejected"
            for leaf in leaves
        ):
            found.append(leaves)
    return found


def in_order(world: World, query: Query, order: str, tag: str | None, matched):
    """The matches, ``{id: asset}``, in the order of the pages: ``[(id, confidence)]``."""
    terms: list[HasTag] | None = None
    known = clauses(query)
    if order == "best" and known:
        terms = [leaf for clause in known for leaf in clause]
    elif order == "confidence" and tag:
        about = [
            clause
            for clause in known
            if len(clause) == 1
            and not clause[0].prefix
            and plain(clause[0].label) == plain(tag)
        ]
        terms = about[0] if about else [HasTag(tag)]
    elif order == "confidence" and known:
        terms = known[0]
    if terms is None:
        return [(pk, None) for pk in sorted(matched, reverse=order != "oldest")]
    ranked = [
        (pk, best_confidence(world, query, terms, asset)) for pk, asset in matched.items()
    ]
    return sorted(ranked, key=lambda row: (-1 if row[1] is None else row[1], row[0]))[::-1]


def walked(search: Search, size: int, **options):
    """Every row of every page, forward and then backward."""
    pages = [search.page(size=size, **options)]
    while pages[-1].next:
        options["cursor"] = pages[-1].next
        pages.append(search.page(size=size, **options))
    forward = [list(zip(page.ids, page.confidences, strict=True)) for page in pages]
    page, backward = pages[-1], [forward[-1]]
    while page.previous:
        options["cursor"] = page.previous
        page = search.page(size=size, **options)
        backward.insert(0, list(zip(page.ids, page.confidences, strict=True)))
    return (
        [row for rows in forward for row in rows],
        [row for rows in backward for row in rows],
    )


def counted(search: Search) -> Counter:
    """The facets of a search, by key of the tag; each has a histogram of as many assets or more."""
    facets = search.facets()
    assert not facets.is_approximate
    for facet in facets.tags:
        assert sum(search.histogram(facet.tag_id).values()) >= facet.count
    return Counter({label_key(facet.name): facet.count for facet in facets.tags})


def visible(world: World, query: Query, assets) -> Counter:
    """The tags that are shown on these assets, by key."""
    return Counter(
        label_key(world.tags[row.tag].name)
        for asset in assets
        for row in asset.rows
        if row_matches(world, query, HasTag(), row)
    )


def wrong_statistics(data) -> None:
    """Store statistics unrelated to the tags, or none."""
    TagStatistic.objects.all().delete()
    if data.draw(st.booleans(), label="statistics"):
        TagStatistic.objects.bulk_create(
            TagStatistic(tag_id=pk, score=score, assets=data.draw(st.integers(0, 1000)))
            for pk in Tag.objects.values_list("pk", flat=True)
            for score in (0, 60)
        )


@pytest.mark.django_db
@MANY_WORLDS
@given(data=st.data())
def test_pages_hold_every_match_once_in_order_both_ways_whatever_the_statistics(data):
    world = data.draw(worlds(), label="world")
    package = world.package
    with (
        ExitStack() as stack,
        transaction.atomic(),
        timezone.override(BERLIN),
        override_settings(FILESTACK_TAGS=package),
    ):
        ids = store(world)
        wrong_statistics(data)
        for _ in range(8):
            query = data.draw(searches(world), label="query")
            few = data.draw(FEW, label="few")
            stack.enter_context(mock.patch.object(rare_terms, "FEW", few))
            scope, contains = data.draw(st.sampled_from(SCOPES), label="scope")
            matched = {
                pk: asset
                for pk, asset in zip(ids, world.assets, strict=True)
                if not asset.deleted
                and contains(asset)
                and matches(world, query, query.where, asset)
            }
            search = Search(str(query), scope=scope, include_hidden=True)
            assert counted(search) == visible(world, query, matched.values()), str(query)
            with connection.cursor() as cursor:
                statement = search.plan().matches()
                cursor.execute(statement.sql, statement.params)
                assert sorted(pk for (pk,) in cursor.fetchall()) == sorted(matched), str(query)
            size = data.draw(st.integers(1, 4), label="size")
            names = [None, *(tag.name for tag in world.tags), "no such tag"]
            for order in ("newest", "oldest", "confidence", "best"):
                tag = data.draw(st.sampled_from(names), label="tag")
                forward, backward = walked(search, size, order=order, tag=tag)
                expected = in_order(world, query, order, tag, matched)
                assert forward == expected, (str(query), order, tag)
                assert backward == expected, (str(query), order, tag)
                if expected:
                    place = data.draw(st.integers(0, len(expected) - 1), label="place")
                    around = search.neighbours(expected[place][0], order=order, tag=tag)
                    before = expected[place - 1][0] if place else None
                    after = expected[place + 1][0] if place + 1 < len(expected) else None
                    assert (around.previous, around.next) == (before, after), str(query)
        transaction.set_rollback(True)
