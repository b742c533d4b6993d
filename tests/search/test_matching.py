"""Searches on the database: thresholds, decisions, limits, hints, and their cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections
from django.test import override_settings
from django.utils import timezone

from filestack_tags.db.datetimes import to_database_time
from filestack_tags.db.text import label_key, reference_digest
from filestack_tags.exceptions import SearchError
from filestack_tags.models import Asset, AssetTag, Tag, TagAlias, TaggingRun, score_of
from filestack_tags.search import Search, rare_terms
from filestack_tags.search.hints import Hint
from filestack_tags.search.language.fields import DECISIONS, SOURCES, STATUSES
from filestack_tags.search.language.parser import parse
from filestack_tags.search.language.tree import Comparison
from filestack_tags.search.limits import search_limits
from filestack_tags.search.periods import bounds_of
from filestack_tags.search.visible_tags import visible_asset_tags

pytestmark = pytest.mark.django_db


def an_asset(reference: str, using: str = "default", **facts: object) -> Asset:
    kind = str(facts.pop("kind", "handle"))
    tags = facts.pop("tags", {})
    asset = Asset.objects.using(using).create(
        kind=kind,
        reference=reference,
        digest=reference_digest(kind, reference),
        **facts,
    )
    for name, row in tags.items():
        tag, _ = Tag.objects.using(using).get_or_create(
            key=label_key(name), defaults={"name": name}
        )
        row = row if isinstance(row, dict) else {"confidence": row}
        score = score_of(
            row["confidence"], row.get("decision", 0), archived=bool(asset.deleted_at)
        )
        AssetTag.objects.using(using).create(asset=asset, tag=tag, score=score, **row)
    return asset


def found(query: str, **options: object) -> set[str]:
    return set(Asset.objects.search(query, **options).values_list("reference", flat=True))


def package(**values: object) -> override_settings:
    return override_settings(FILESTACK_TAGS=values)


def test_two_tags_of_one_asset_do_not_lend_each_other_their_confidence():
    an_asset("a", tags={"sky": 20, "sea": 90})
    an_asset("b", tags={"sky": 90})
    assert found("sky>=80") == {"b"}
    assert found("-sky>=80") == {"a"}
    assert found("sky sea>=80") == {"a"}


def test_a_threshold_holds_for_the_name_alone_and_gives_way_to_a_confidence():
    an_asset("low", tags={"sky": 20})
    an_asset("high", tags={"sky": 60})
    with package(MIN_CONFIDENCE=50):
        assert found("sky") == found("sk*") == found("tagged") == {"high"}
        assert found("untagged") == {"low"}
        assert found("sky>=10") == {"low", "high"}
        Tag.objects.update(min_confidence=70)
        assert found("sky") == found("sk*") == found("tagged") == set()
        Tag.objects.update(min_confidence=0)
        assert found("sky") == found("sk*") == found("tagged") == {"low", "high"}


def test_each_tag_of_a_prefix_keeps_its_own_threshold():
    an_asset("a", tags={"skyline": 40})
    an_asset("b", tags={"sky": 40})
    Tag.objects.filter(key="skyline").update(min_confidence=30)
    with package(MIN_CONFIDENCE=50):
        assert found("sky*") == {"a"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sky", {"accepted", "added"}),
        ("sky>=10", {"none", "accepted", "added"}),
        ("sky>=50", set()),
        ("sky@rejected", {"rejected"}),
        ("sky@rejected>=50", set()),
        ("sky@accepted", {"accepted"}),
        ("sky@none", set()),
        ("sky@none>=10", {"none"}),
        ("decision:rejected", {"rejected"}),
        ("decision:added", {"added"}),
        ("decision:none", set()),
        ("tagged", {"accepted", "added"}),
        ("sky@user", {"added"}),
        ("source:user", {"added"}),
        ("*@auto>=0", {"none", "accepted"}),
    ],
)
def test_a_decision_outweighs_the_threshold_but_not_a_confidence(query, expected):
    for number, word in enumerate(DECISIONS):
        source = AssetTag.Source.USER if word == "added" else AssetTag.Source.AUTO
        row = {
            "confidence": 20,
            "decision": AssetTag.Decision[word.upper()],
            "source": source,
        }
        an_asset(word, tags={"sky": row}, size=number)
    with package(MIN_CONFIDENCE=50):
        assert found(query) == expected


def test_a_hidden_tag_is_found_only_where_permitted_and_asked_for():
    an_asset("a", tags={"nude": 90})
    Tag.objects.update(hidden=True)
    for query in ("nude", "nu*", "tagged", "nude>=1", "source:auto"):
        assert found(query) == found(query, include_hidden=True) == set()
        assert found(f"{query} include:hidden", include_hidden=True) == {"a"}
    assert found("untagged") == {"a"}
    with pytest.raises(SearchError, match="permission") as caught:
        Asset.objects.search("nude include:hidden")
    assert caught.value.position == len("nude ")


def test_a_tag_that_does_not_exist_matches_nothing():
    an_asset("a", tags={"sky": 90})
    assert found("skyy") == found("skyy*") == found("sky skyy") == set()
    assert found("-skyy") == found("sky OR skyy") == found("-(sky skyy)") == {"a"}


def test_an_alias_finds_its_tag_and_the_tag_of_that_name():
    an_asset("a", tags={"car": 90})
    an_asset("b", tags={"automobile": 90})
    TagAlias.objects.create(key="auto", tag=Tag.objects.get(key="car"))
    TagAlias.objects.create(key="automobile", tag=Tag.objects.get(key="car"))
    assert found("Auto") == found("car") == {"a"}
    assert found("automobile") == found("auto*") == {"a", "b"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("100*", {"100%", "100% wool", "1000"}),
        ("100%*", {"100%", "100% wool"}),
        ("a_*", {"a_b"}),
        ("a\\*", {"a\\b"}),
        ('"a \\""*', {'a "b"'}),
        ("STRASS*", {"Straße"}),
        ("é*", {"Éclair"}),
        ("🏖*", {"🏖 beach"}),
        ("\ud7ff*", {"\ud7ffx"}),
        ("\U0010ffff*", {"\U0010ffffx"}),
        ("\U0010ffff\U0010ffff*", set()),
        ("b\U0010ffff*", {"b\U0010ffffx"}),
    ],
)
def test_a_prefix_is_literal(query, expected):
    names = [
        "100%",
        "100% wool",
        "1000",
        "a_b",
        "axb",
        "a\\b",
        'a "b"',
        "Straße",
        "Éclair",
        "eclair",
        "🏖 beach",
        "🌋",
        "\ud7ffx",
        "\ue000x",
        "\U0010ffffx",
        "b\U0010ffffx",
        "c",
    ]
    for name in names:
        an_asset(name, tags={name: 90})
    assert found(query) == expected


def test_a_prefix_that_matches_too_many_names_is_refused():
    for number in range(3):
        an_asset(f"r{number}", tags={f"sky{number}": 90})
    TagAlias.objects.create(key="skies", tag=Tag.objects.get(key="sky0"))
    with package(SEARCH_MAX_WILDCARD_TAGS=4):
        assert len(found("sk*")) == 3
        assert len(found("sky0 sky* sky1*")) == 0
        with pytest.raises(SearchError, match="Together, the prefixes") as caught:
            found("sky0 sky1* sky2* OR sky*")
    assert caught.value.found == "sky*"
    with package(SEARCH_MAX_WILDCARD_TAGS=3):
        assert len(found("sky*")) == 3
        with pytest.raises(SearchError, match=r"sk\* matches more than 3 tags") as caught:
            found("sky0 sk*")
    assert caught.value.found == "sk*"
    assert caught.value.position == len("sky0 ")


def test_names_are_matched_without_case_and_with_stars():
    an_asset("a", filename="IMG_0001.JPG")
    an_asset("b", filename="IMGX0001.jpg")
    an_asset("c", filename="50%!.png")
    assert found("name:img_*") == {"a"}
    assert found("name:img*jpg") == {"a", "b"}
    assert found("name:img_0001.jpg") == {"a"}
    assert found("name:0001") == set()
    assert found('name:"*%!*"') == {"c"}


def test_a_handle_is_matched_exactly():
    an_asset("aBc")
    an_asset("abc")
    an_asset("https://a.example/x.jpg", kind="url")
    assert found("handle:aBc") == {"aBc"}
    assert found("handle:aB") == set()
    assert found("handle:https://a.example/x.jpg") == {"https://a.example/x.jpg"}


def test_facts_that_are_not_known_match_nothing_and_their_negation_everything():
    an_asset("a")
    for query in ("size:>=0", "width:>=0", "height:<5", "by:anna", "run:v1", "workflow:x"):
        assert found(query) == set()
        assert found(f"-{query}") == found(f"-(tagged {query})") == {"a"}


def test_who_uploaded_it_is_matched_by_user_name():
    anna = get_user_model().objects.create(username="anna@example.com")
    an_asset("a", uploader=anna)
    an_asset("b")
    assert found("by:anna@example.com") == {"a"}


def test_the_current_run_counts_and_no_earlier_one():
    asset = an_asset("a")
    for version, tagger in ((1, "filestack"), (2, "workflow")):
        run = TaggingRun.objects.create(
            asset=asset,
            tagger=tagger,
            version=version,
            workflow_id="w-1",
            trigger="api",
            content_version=1,
        )
    Asset.objects.update(current_run=run)
    assert found("run:v2") == found("tagger:workflow") == found("workflow:w-1") == {"a"}
    assert found("run:v1") == found("tagger:filestack") == set()


def test_days_are_those_of_the_current_time_zone(settings):
    at = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)
    an_asset("a", uploaded_at=at if settings.USE_TZ else at.replace(tzinfo=None))
    with timezone.override(ZoneInfo("Europe/Berlin") if settings.USE_TZ else UTC):
        month = "2026-11" if settings.USE_TZ else "2026-10"
        assert found(f"uploaded:{month}") == {"a"}
    with timezone.override(UTC):
        assert found("uploaded:2026-10-31") == {"a"}
        assert found("uploaded:>2026-10") == found("uploaded:<2026-10-31") == set()
        assert found("uploaded:2026-12") == set()


def test_a_time_is_that_of_its_offset_or_of_the_current_time_zone(settings):
    an_asset(
        "a", tags_at=to_database_time(datetime(2026, 10, 31, 23, 30, 7, 250_000, tzinfo=UTC))
    )
    with timezone.override(ZoneInfo("Europe/Berlin")):
        here = "2026-11-01T00:30" if settings.USE_TZ else "2026-10-31T23:30"
        for text in (here, f"{here}:07", f"{here}:07.2", f"{here}:07.250000"):
            assert found(f"tagged:{text}") == {"a"}, text
            assert found(f"tagged:>={text} tagged:<={text}") == {"a"}, text
            assert found(f"tagged:>{text} OR tagged:<{text}") == set(), text
        assert found(f"tagged:{here}:07.3") == found(f"tagged:{here}:08") == set()
        for text in ("2026-10-31T23:30Z", "2026-11-01T01:30:07+02:00"):
            assert found(f"tagged:{text}") == {"a"}, text


def test_a_time_in_the_hour_that_comes_twice_lasts_as_long_as_any(settings):
    settings.USE_TZ = True
    in_summer, in_winter = "2026-10-25T02:59+02:00", "2026-10-25T02:59+01:00"
    with timezone.override(ZoneInfo("Europe/Berlin")):
        for text in (in_summer, in_winter, "2026-10-25T02:59", "2026-03-29T01:59"):
            first, end = bounds_of(Comparison("=", text))
            assert end - first == timedelta(minutes=1), text


def test_without_time_zones_days_are_those_of_the_clock_on_the_wall(settings):
    settings.USE_TZ = False
    an_asset("a", uploaded_at=datetime(2026, 10, 31, 23, 30))  # noqa: DTZ001  # USE_TZ is off
    assert found("uploaded:2026-10-31") == found("uploaded:2026-12") ^ {"a"} == {"a"}


def test_forgotten_assets_are_not_found():
    an_asset("a", deleted_at=timezone.now(), tags={"sky": 90})
    assert found("sky") == found("") == set()


def test_a_search_chains_with_everything_a_queryset_does():
    for number in range(4):
        an_asset(f"r{number}", size=number, tags={"sky": 80 + number, "sea": 80})
    skies = Asset.objects.filter(size__gte=1).search("sky>=81")
    assert skies.count() == 3
    assert [each.reference for each in skies.order_by("size")[1:]] == ["r2", "r3"]
    assert skies.search("sky<83").search("sea").exclude(size=1).get().reference == "r2"
    assert skies.first().reference == "r3"
    assert skies.filter(asset_tags__tag__key="sea").values_list("size").count() == 3
    assert sorted(skies.in_bulk()) == sorted(skies.values_list("pk", flat=True))
    assert (skies | Asset.objects.filter(size=0)).count() == 4
    assert skies.update(store_status="Stored") == 3
    assert skies.search("sky=83").delete()[1]["filestack_tags.Asset"] == 1


def test_a_query_may_be_given_as_text_or_as_value():
    an_asset("a", tags={"sky": 90})
    assert Search(parse("sky>80")).assets().get().reference == "a"
    assert type(Search("sky").assets()) is type(Asset.objects.all())


def test_thirty_two_terms_of_the_widest_kind_run_on_every_database():
    an_asset("a", tags={"sky": 90})
    assert found(" ".join(["tagged"] * 32)) == {"a"}
    assert found(" ".join(["sky"] * 16 + ["-run:v1"] * 8 + ["-by:x"] * 8)) == {"a"}


def test_the_deepest_search_permitted_runs():
    an_asset("a", tags={"sky": 90})
    with package(SEARCH_MAX_DEPTH=30):
        # Fifteen negations: of a true and of a false condition.
        assert found("-(sea OR (sky " * 15 + "sky" + "))" * 15) == set()
        assert found("-(sea OR (sky " * 15 + "sea" + "))" * 15) == {"a"}
        facts = "-(kind:url OR (kind:handle " * 15 + "sea" + "))" * 15
        assert found(facts) == {"a"}
        assert len(Search(facts).page().ids) == 1


@pytest.mark.parametrize(
    ("query", "queries", "queries_of_count"),
    [
        ("", 1, 1),
        ("tagged width:>1", 1, 1),
        ("tagged status:new", 2, 2),  # one looks up assets with the state
        ("sky", 2, 2),
        # Counting reads statistics.
        ('sky>=80 sky1 -sky2 (bea* | sk* | -"x y") run:v1 by:anna name:a*', 2, 3),
    ],
)
def test_the_number_of_queries_does_not_grow(
    query, queries, queries_of_count, django_assert_num_queries
):
    for number in range(12):
        an_asset(f"r{number}", tags={f"sky{number}": 90, f"beach{number}": 80, "sky": 85})
    with django_assert_num_queries(queries):
        list(Asset.objects.search(query))
    with django_assert_num_queries(queries_of_count):
        Asset.objects.search(query).count()


def test_limits_come_from_the_settings():
    with package(SEARCH_MAX_LENGTH=20, SEARCH_MAX_TERMS=2, SEARCH_MAX_DEPTH=1):
        limits = search_limits()
        assert (limits.length, limits.terms, limits.depth) == (20, 2, 1)
        for text in ("x" * 21, "a b c", "((a))"):
            with pytest.raises(SearchError, match="at most"):
                Asset.objects.search(text)


def test_the_words_of_the_language_are_those_of_the_models():
    assert set(STATUSES) == set(Asset.State.values)
    assert [word.upper() for word in SOURCES] == AssetTag.Source.names
    assert [word.upper() for word in DECISIONS] == AssetTag.Decision.names


def test_visible_asset_tags_are_those_that_tagged_asks_for():
    rows = {
        "low": {"confidence": 10},
        "high": {"confidence": 60},
        "kept": {"confidence": 10, "decision": AssetTag.Decision.ACCEPTED},
        "refused": {"confidence": 90, "decision": AssetTag.Decision.REJECTED},
        "secret": {"confidence": 90},
        "own": {"confidence": 60},
    }
    an_asset("a", tags=rows)
    Tag.objects.filter(key="secret").update(hidden=True)
    Tag.objects.filter(key="own").update(min_confidence=70)
    with package(MIN_CONFIDENCE=50):
        shown = visible_asset_tags(AssetTag.objects.all())
        assert set(shown.values_list("tag__key", flat=True)) == {"high", "kept"}
        shown = visible_asset_tags(AssetTag.objects.all(), include_hidden=True)
        assert set(shown.values_list("tag__key", flat=True)) == {"high", "kept", "secret"}


def test_hints_name_unknown_tags_with_near_ones():
    an_asset("a", tags={"Sky": 90, "skyline": 90, "beach": 90, "no person": 90})
    assert Search("sky beach").hints() == Search("tagged status:failed").hints() == ()
    assert Search("skyy -(bech | sky) zzz").hints() == (
        Hint("skyy", ("Sky",), "Sky -(bech OR sky) zzz"),
        Hint("bech", ("beach",), "skyy -(beach OR sky) zzz"),
        Hint("zzz", ()),
    )
    assert Search('"no persons" and "no persons"').hints() == (
        Hint("no persons", ("no person",), '"no person" and "no person"'),
        Hint("and", ("AND",)),
    )
    assert [hint.term for hint in Search("bex* ſkyy").hints()] == ["bex*", "ſkyy"]


def test_hints_treat_hidden_tags_as_unknown_and_never_name_them():
    an_asset("a", tags={"nude": 90})
    Tag.objects.update(hidden=True)
    assert Search("nude nudes").hints() == (Hint("nude", ()), Hint("nudes", ()))
    assert Search("nude nudes", include_hidden=True).hints() == Search("nude nudes").hints()
    with pytest.raises(SearchError, match="permission"):
        Search("nude nudes include:hidden")
    assert Search("nude nudes include:hidden", include_hidden=True).hints() == (
        Hint("nudes", ("nude",), "nude nude include:hidden"),
    )


def test_hints_are_bounded(django_assert_num_queries):
    an_asset("a", tags={"sky": 90})
    with django_assert_num_queries(5):  # the labels; the names of all tags, once a minute
        assert len(Search(" ".join(f"x{number}" for number in range(9))).hints()) == 5


@pytest.fixture
def elsewhere(tmp_path):
    """A second database, in SQLite whatever the first one is.

    In a file: Django never closes the connection to one in memory.
    """
    name = "elsewhere"
    entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "elsewhere.sqlite3"}
    configured = connections.configure_settings({"default": {}, name: entry})
    connections.settings[name] = configured[name]
    connections[name].connect()
    call_command("migrate", database=name, verbosity=0)
    yield name
    connections[name].close()
    del connections[name]
    del connections.settings[name]


def test_a_search_asks_the_database_of_its_queryset(elsewhere):
    an_asset("here", tags={"sea": 90})
    an_asset("there", using=elsewhere, tags={"sky": 90, "skyline": 80})
    there = Asset.objects.using(elsewhere)
    assert there.search("sky skyl* -by:x -run:v1 tagged").get().reference == "there"
    assert not there.search("sea").exists()
    assert not Asset.objects.search("sky").exists()
    assert Search("sea skyy", using=elsewhere).hints() == (
        Hint("sea", ()),
        Hint("skyy", ("sky",), "sea sky"),
    )


def test_a_queryset_counts_what_it_finds_now(monkeypatch):
    monkeypatch.setattr(rare_terms, "FEW", 3)
    for number in range(6):
        code = "server_error" if number < 3 else ""
        an_asset(f"r{number}", tags={"sky": 90}, error_code=code)
    Tag.objects.update(asset_count=100)  # so that the tag is not rare
    skies = Search("sky error:server_error").assets()
    assert skies.count() == 3
    an_asset("later", tags={"sky": 90}, error_code="server_error")
    assert skies.all().count() == len(skies.all()) == 4
