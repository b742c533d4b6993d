"""Retention: what is old enough goes, what somebody may still ask for stays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import timezone

from filestack_tags import retention, tasks, transactions
from filestack_tags.exceptions import ConfigurationError
from filestack_tags.management.commands import filestack_tags_prune
from filestack_tags.models import Asset, Heartbeat, TaggingRun, WebhookDelivery
from filestack_tags.retention import Pruned
from filestack_tags.testing.payloads import fp_delete

State = WebhookDelivery.State

pytestmark = pytest.mark.django_db


def delivery(key: str, *, days: float = 31, state: str = State.PROCESSED) -> WebhookDelivery:
    received_at = timezone.now() - timedelta(days=days)
    is_open = state in (State.RECEIVED, State.PROCESSING)
    return WebhookDelivery.objects.create(
        event_key=key, raw_body=b"{}", state=state, received_at=received_at,
        due_at=received_at if is_open else None,
    )  # fmt: skip


def run(
    asset: Asset, *, days: float = 91, state: str = TaggingRun.State.SUCCEEDED, **columns: Any
) -> TaggingRun:
    return TaggingRun.objects.create(
        asset=asset, tagger="t", trigger="code", content_version=1, state=state, raw_reply="{}",
        finished_at=timezone.now() - timedelta(days=days), **columns,
    )  # fmt: skip


def keys() -> set[str]:
    return set(WebhookDelivery.objects.values_list("event_key", flat=True))


def with_raw_reply() -> set[int]:
    return set(TaggingRun.objects.exclude(raw_reply="").values_list("pk", flat=True))


def command(*options: str) -> str:
    out = StringIO()
    call_command("filestack_tags_prune", *options, stdout=out)
    return out.getvalue()


def test_only_old_deliveries_that_came_to_a_good_end_are_deleted() -> None:
    for state in State.values:
        delivery(f"old {state}", state=state)
        delivery(f"new {state}", state=state, days=29)
    assert retention.prune().deliveries == 2
    assert keys() == {
        *(f"new {state}" for state in State.values),
        *(f"old {state}" for state in (State.FAILED, State.RECEIVED, State.PROCESSING)),
    }


def test_an_event_is_known_for_as_long_as_filestack_may_send_it_again(deliver: Any) -> None:
    event = fp_delete("h")
    deliver(event)
    with time_machine.travel(timezone.now() + timedelta(hours=12, minutes=36), tick=False):
        retention.prune(deliveries=retention.LEAST_DAYS)
        assert deliver(event).content == b"Known already.\n"


@pytest.mark.parametrize("kept", [{"deliveries": 0}, {"raw_replies": 0}, {"deliveries": -1}])
def test_less_than_a_day_is_refused(kept: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="12 hours"):
        retention.prune(**kept)
    options = [f"--{name.replace('_', '-')}={days}" for name, days in kept.items()]
    with pytest.raises(CommandError, match="1 day or more"):
        command(*options)


def test_settings_and_options_say_for_how_long(settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"KEEP_DELIVERIES": 10}
    for days in (5, 15, 25):
        delivery(str(days), days=days)
    assert retention.prune(deliveries=20).deliveries == 1
    assert retention.prune(deliveries=10**9).deliveries == 0
    assert retention.prune().deliveries == 1
    assert keys() == {"5"}


def test_a_run_survives_its_delivery(asset: Asset) -> None:
    told = run(asset, delivery=delivery("old"), days=1)
    kept = run(asset, delivery=delivery("new", days=1), days=1)
    assert retention.prune() == Pruned(deliveries=1)
    told.refresh_from_db()
    kept.refresh_from_db()
    assert told.delivery is None
    assert kept.delivery is not None
    assert told.raw_reply


def test_a_raw_reply_stays_while_it_is_young_open_or_shown(asset: Asset) -> None:
    shown_by_other = run(asset)
    run(asset)
    young = run(asset, days=89)
    started = run(asset, state=TaggingRun.State.STARTED)
    current = run(asset, shared_from=shown_by_other)
    Asset.objects.update(current_run=current)
    run(asset, state=TaggingRun.State.FAILED)
    run(asset, state=TaggingRun.State.SUPERSEDED, shared_from=young)
    assert retention.prune(dry_run=True).raw_replies == 3
    assert retention.prune().raw_replies == 3
    assert with_raw_reply() == {shown_by_other.pk, young.pk, started.pk, current.pk}


def test_batches_go_past_what_stays_to_the_last(
    asset: Asset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    moment = timezone.now() - timedelta(days=40)
    for number in range(10):
        delivery(str(number), state=State.FAILED if number % 4 == 1 else State.PROCESSED)
        run(asset)
    WebhookDelivery.objects.filter(event_key__lt="7").update(received_at=moment)
    current = run(asset)
    Asset.objects.update(current_run=current)
    told: list[Pruned] = []
    assert retention.prune(tell=told.append) == Pruned(deliveries=7, raw_replies=10)
    assert keys() == {"1", "5", "9"}
    assert [so_far.deliveries for so_far in told[:3]] == [3, 6, 7]
    assert [so_far.raw_replies for so_far in told[-4:]] == [3, 6, 9, 10]


def test_pruning_twice_does_nothing_more_and_its_end_is_recorded(asset: Asset) -> None:
    delivery("old")
    run(asset)
    assert tasks.prune.delay().get() == {"deliveries": 1, "raw_replies": 1}
    assert Heartbeat.objects.get(name="prune").found == {"deliveries": 1, "raw_replies": 1}
    with time_machine.travel(timezone.now() + timedelta(days=1), tick=False):
        assert retention.prune() == Pruned()
        beat = Heartbeat.objects.get(name="prune")
        assert beat.found == {"deliveries": 0, "raw_replies": 0}
        assert beat.at == timezone.now()


def test_a_dry_run_only_counts(asset: Asset) -> None:
    delivery("old")
    run(asset)
    assert command("--dry-run") == (
        "1 deliveries would be deleted, 1 raw replies would be emptied.\n"
    )
    assert keys() == {"old"}
    assert len(with_raw_reply()) == 1
    assert not Heartbeat.objects.exists()


def test_a_delivery_that_is_reopened_in_between_is_not_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reopened = delivery("old").pk
    real = retention._delete

    def delete(ids: list[int]) -> int:
        assert tasks.replay(ids) == [reopened]
        return real(ids)

    monkeypatch.setattr(retention, "_delete", delete)
    assert retention.prune() == Pruned()
    assert keys() == {"old"}


class TestCommand:
    def test_says_what_it_did_and_how_far_it_is_in_lines(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "BATCH", 1)
        monkeypatch.setattr(filestack_tags_prune, "TOLD_EVERY", 2)
        for number in range(3):
            delivery(str(number))
        assert command("--deliveries", "1").splitlines() == [
            "2 deliveries deleted, 0 raw replies emptied.",
            "3 deliveries deleted, 0 raw replies emptied.",
        ]

    def test_counts_on_one_line_of_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Terminal(StringIO):
            def isatty(self) -> bool:
                return True

        monkeypatch.setattr(retention, "BATCH", 1)
        for number in range(2):
            delivery(str(number))
        terminal = Terminal()
        call_command("filestack_tags_prune", stdout=terminal, no_color=True)
        shown = terminal.getvalue()
        assert shown.count("\n") == 1
        assert [line.partition(" ")[0] for line in shown.split("\r")] == ["", "1", "2", "2"]

    def test_interrupted_it_says_what_was_done(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "BATCH", 1)
        for number in range(3):
            delivery(str(number))
        real = retention._delete

        def delete(ids: list[int]) -> int:
            if WebhookDelivery.objects.count() == 1:
                raise KeyboardInterrupt
            return real(ids)

        monkeypatch.setattr(retention, "_delete", delete)
        with pytest.raises(CommandError, match=r"Stopped\. 2 deliveries deleted") as caught:
            command()
        assert caught.value.returncode == 130
        assert WebhookDelivery.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has one writer; PostgreSQL and MariaDB run it"
)
class TestAtOnce:
    def test_what_somebody_writes_is_left_to_the_next_time(self, asset: Asset) -> None:
        held = delivery("held")
        held_run = run(asset, delivery=delivery("of a held run"), days=1)
        delivery("free")

        def prune(_: int = 0) -> int:
            try:
                return retention.prune().deliveries
            finally:
                connections.close_all()

        with ThreadPoolExecutor(2) as pool:
            with transactions.atomic():
                transactions.locked(TaggingRun.objects.filter(pk=held_run.pk)).get()
                transactions.locked(WebhookDelivery.objects.filter(pk=held.pk)).get()
                assert pool.submit(prune).result(timeout=10) == 1
                assert keys() == {"held", "of a held run"}
            assert sum(pool.map(prune, range(2))) == 2
        assert keys() == set()
