"""File events processed together: the same as one by one, in few statements, and only once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from filestack_tags.assets import registry
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, AssetTag, Tag, TaggingRun, WebhookDelivery
from filestack_tags.signals import asset_registered
from filestack_tags.tagging import results
from filestack_tags.testing.payloads import event, fp_delete, fp_overwrite, fp_upload
from filestack_tags.webhooks import file_events, handlers, processing
from filestack_tags.webhooks.handler_types import ReceivedEvent
from tests import scripted
from tests.webhooks.test_processing import rows, store

State = WebhookDelivery.State
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = int(NOON.timestamp())


def tagged(handle: str, **labels: int) -> Asset:
    asset, _ = registry.register(Source.handle(handle), at=NOON)
    run = TaggingRun.objects.create(asset=asset, tagger="t", trigger="code", content_version=1)
    results.apply(run.pk, scripted.reply(labels), result_at=NOON)
    return asset


def all_there_is() -> list[Any]:
    return [
        rows(),
        sorted(
            Asset.objects.values_list(
                *("reference", "size", "mimetype", "upload_tags", "facts_at", "uploaded_at"),
                *("content_changed_at", "deleted_at", "queued_by", "sha256", "store_status"),
            ),
            key=str,
        ),
        sorted(AssetTag.objects.values_list("asset__reference", "tag__key", "score")),
        sorted(Tag.objects.values_list("key", "asset_count")),
    ]


def outcome_of(work: Callable[[Sequence[int]], object], told: Sequence[dict[str, Any]]) -> Any:
    with transaction.atomic():
        tagged("known", sky=90, sea=40)
        tagged("hidden", sky=70)
        registry.archive(Asset.objects.get(reference="hidden").pk, at=NOON)
        work(store(*told))
        found = all_there_is()
        transaction.set_rollback(True)
    return found


def alone(ids: Sequence[int]) -> None:
    for pk in ids:
        processing.process([pk])


moments = st.integers(-3, 3).map(lambda seconds: SECOND + seconds)
handles = st.sampled_from(["known", "hidden", "new", "other"])
uploads = st.builds(
    lambda handle, at, size, mimetype, status, said: fp_upload(
        handle, timestamp=at, size=size, mimetype=mimetype, status=status, upload_tags=said
    ),
    handles,
    moments,
    st.integers(1, 3),
    st.sampled_from(["image/png", "text/plain"]),
    st.sampled_from(["Stored", "InTransit"]),
    st.sampled_from([{}, {"tenant": "7"}]),
)
overwrites = st.builds(
    lambda handle, at, size: fp_overwrite(handle, timestamp=at, size=size),
    handles,
    moments,
    st.integers(1, 3),
)
deletions = st.builds(lambda handle, at: fp_delete(handle, timestamp=at), handles, moments)
others = st.sampled_from(["fp.scan", "fp.telepathy"]).map(lambda action: event(action, {}))


class TestTogether(TestCase):
    @settings(deadline=None)
    @given(
        told=st.lists(
            st.one_of(uploads, overwrites, deletions, others), min_size=2, max_size=9
        ),
        tags_uploads=st.booleans(),
    )
    def test_they_come_to_the_same_as_one_by_one(
        self, told: list[dict[str, Any]], tags_uploads: bool
    ) -> None:
        with self.settings(FILESTACK_TAGS={"AUTO_TAG_UPLOADS": tags_uploads}):
            assert outcome_of(processing.process, told) == outcome_of(alone, told)


def count_statements(work: Callable[[Sequence[int]], object], told: list[Any]) -> int:
    ids = store(*told)
    with CaptureQueriesContext(connection) as captured:
        work(ids)
    return len(captured)


@pytest.mark.django_db
class TestStatements:
    @pytest.mark.parametrize("number", [2, 16])
    def test_new_files_take_as_many_as_one(self, number: int) -> None:
        told = [fp_upload(f"h{n}") for n in range(number)]
        assert count_statements(processing.process, told) == 12

    def test_known_files_take_as_many_as_one(self) -> None:
        for n in range(16):
            tagged(f"h{n}", sky=90)
        told = [
            *(fp_overwrite(f"h{n}") for n in range(8)),
            *(fp_delete(f"h{n}") for n in range(8, 16)),
        ]
        assert count_statements(processing.process, told) <= 16

    def test_what_says_nothing_of_files_takes_hardly_any(self) -> None:
        told = [event("fp.scan", {}), event("fp.telepathy", {})] * 8
        for number, one in enumerate(told):
            told[number] = one | {"id": number}
        assert count_statements(processing.process, told) == 8
        assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {State.IGNORED}

    def test_one_upload_takes_few(self) -> None:
        assert count_statements(alone, [fp_upload("new")]) == 12
        assert count_statements(alone, [fp_upload("new")]) == 11


@pytest.mark.django_db
def test_what_another_process_makes_known_meanwhile_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    insert = registry._insert

    def slow(new: Sequence[Asset]) -> bool:
        if not Asset.objects.exists():
            registry.register(Source.handle("h1"), at=NOON - timedelta(days=9))
        return insert(new)

    monkeypatch.setattr(registry, "_insert", slow)
    ids = store(fp_upload("h0"), fp_upload("h1"), fp_delete("h1"))
    outcomes = processing.process(ids)
    assert [outcome.state for outcome in outcomes] == [State.PROCESSED] * 3
    known = Asset.objects.get(reference="h1")
    assert known.uploaded_at == NOON - timedelta(days=9)
    assert known.filename
    assert known.deleted_at
    assert Asset.objects.count() == 2
    assert set(WebhookDelivery.objects.values_list("attempts", flat=True)) == {1}


@pytest.mark.django_db
def test_a_file_that_names_none_costs_the_others_nothing() -> None:
    ids = store(fp_upload("h0"), event("fp.upload", {"filename": "x.jpg"}), fp_upload("h1"))
    outcomes = processing.process(ids)
    assert [outcome.state for outcome in outcomes] == [
        State.PROCESSED,
        State.FAILED,
        State.PROCESSED,
    ]


@pytest.mark.django_db
def test_one_that_another_process_took_over_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tagged("known", sky=90)
    ids = store(fp_overwrite("known"), fp_upload("h1"), fp_delete("h2"))

    def slow(events: Sequence[ReceivedEvent]) -> Any:
        results = file_events.apply(events)
        WebhookDelivery.objects.filter(pk=ids[0]).update(attempts=2)
        return results

    monkeypatch.setattr(handlers, "HANDLERS", dict.fromkeys(file_events.EFFECTS, slow))
    monkeypatch.setattr(
        processing,
        "_apply_alone",
        lambda handler, event: processing.Outcome(event.delivery.pk, "alone"),
    )
    assert {outcome.state for outcome in processing.process(ids)} == {"alone"}
    assert list(Asset.objects.values_list("reference", "content_version")) == [("known", 1)]


@pytest.mark.django_db
def test_every_new_file_is_announced_once_and_known_ones_are_not(
    django_capture_on_commit_callbacks: Any,
) -> None:
    tagged("known", sky=90)
    announced: list[tuple[str, bool]] = []

    def listen(asset: Asset, **more: Any) -> None:
        announced.append((asset.reference, asset.pk is not None))

    asset_registered.connect(listen)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            processing.process(
                store(fp_upload("known"), fp_upload("a"), fp_overwrite("a"), fp_delete("b"))
            )
    finally:
        asset_registered.disconnect(listen)
    assert sorted(announced) == [("a", True), ("b", True)]
