"""The management commands, and their output."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from filestack_tags import tasks
from filestack_tags.assets import registry
from filestack_tags.filestack.sources import Source
from filestack_tags.management.commands import filestack_tags_replay, filestack_tags_retag
from filestack_tags.models import Asset, TaggingRun, WebhookDelivery
from filestack_tags.search import Search
from filestack_tags.tagging import queue
from filestack_tags.testing import EmulatorApp, EmulatorConfig, EmulatorServer
from filestack_tags.testing.payloads import fp_delete, fp_upload

pytestmark = pytest.mark.django_db


def run(*args: str) -> str:
    out = StringIO()
    call_command(*args, stdout=out)
    return out.getvalue()


@pytest.fixture
def three(db: None) -> list[Asset]:
    return [registry.register(Source.handle(f"h{n}"))[0] for n in range(3)]


def test_retag_queues_what_a_search_finds(three: list[Asset], script: Any) -> None:
    assert run("filestack_tags_retag", "untagged", "--dry-run") == (
        "3 assets match; none was queued.\n"
    )
    assert not Asset.objects.filter(tagging_state="queued").exists()
    assert run("filestack_tags_retag", "untagged", "--limit", "2") == "Queued 2 assets.\n"
    assert run("filestack_tags_retag", "untagged").startswith("Queued 1 of 3 assets")
    assert Asset.objects.filter(queued_by=TaggingRun.Trigger.COMMAND).count() == 3


def test_retag_takes_up_to_date_assets_only_by_force(
    three: list[Asset], script: Any, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        run("filestack_tags_retag", "status:new")
    assert run("filestack_tags_retag", "sky>=90").startswith("Queued 0 of 3 assets")
    assert run("filestack_tags_retag", "sky>=90", "--force") == "Queued 3 assets.\n"


def test_retag_may_name_another_tagger(three: list[Asset], settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"WORKFLOWS": {"look": "wf-1"}}
    run("filestack_tags_retag", "", "--tagger", "workflow:look")
    assert Asset.objects.filter(queued_for="workflow:look").count() == 3


@pytest.mark.parametrize(
    ("tagger", "says"),
    [("workflow:loop", "'workflow:loop'.*workflow:look"), ("no", "'no'.*filestack")],
)
def test_retag_by_an_unknown_tagger_queues_nothing_and_says_which_there_are(
    three: list[Asset], settings: Any, tagger: str, says: str
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"WORKFLOWS": {"look": "wf-1"}}
    with pytest.raises(CommandError, match=says):
        run("filestack_tags_retag", "", "--tagger", tagger, "--dry-run")
    assert not Asset.objects.filter(tagging_state="queued").exists()


@pytest.mark.django_db(transaction=True)
def test_registering_says_why_a_file_is_not_tagged_and_retag_tries_at_once(
    settings: Any, capsys: Any
) -> None:
    """As without a worker and before the emulator was started."""
    config = EmulatorConfig(tagger=lambda content: {"cat": 90})
    account = {"API_KEY": config.account.api_key, "APP_SECRET": config.account.app_secret}
    nobody = {"CDN_URL": "http://127.0.0.1:9", "TAGGER": "filestack", "AUTO_TAG": True}
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | account | nobody
    with EmulatorApp(config) as app, EmulatorServer(app) as server:
        file = app.files.add(
            b"x", filename="a.jpg", mimetype="image/jpeg", options={}, base_url=server.url
        )
        asset, _ = tasks.register(Source.handle(file.handle))
        assert (asset.tagging_state, asset.error_code) == ("queued", "connection_failed")
        assert "127.0.0.1" in asset.error
        assert tasks.register(Source.handle(file.handle))[0].error == asset.error
        assert run("filestack_tags_retag", "status:queued") == "Queued 1 assets.\n"
        assert asset.error in capsys.readouterr().err
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"CDN_URL": server.url}
        assert run("filestack_tags_retag", "status:queued") == "Queued 1 assets.\n"
        assert capsys.readouterr().err == ""
        asset.refresh_from_db()
        assert (asset.tagging_state, asset.error) == ("tagged", "")


def test_retag_tells_its_progress(three: list[Asset], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filestack_tags_retag, "BATCH_SIZE", 2)
    assert run("filestack_tags_retag", "").splitlines() == [
        "2 of 3 assets checked, 2 queued",
        "3 of 3 assets checked, 3 queued",
        "Queued 3 assets.",
    ]


def test_a_wrong_search_is_pointed_at(db: None) -> None:
    with pytest.raises(CommandError) as caught:
        run("filestack_tags_retag", "sky (sea")
    assert "sky (sea" in str(caught.value)
    assert str(caught.value).endswith("^")


def test_sweep_says_what_it_found(three: list[Asset], script: Any) -> None:
    assert run("filestack_tags_sweep") == "Enqueued: nothing.\n"
    run("filestack_tags_retag", "untagged")
    Asset.objects.update(due_at=timezone.now() - timedelta(minutes=5))
    assert run("filestack_tags_sweep") == "Enqueued: 3 assets.\n"


@pytest.fixture
def deliveries(deliver: Any, script: Any) -> dict[str, WebhookDelivery]:
    """A failed and a processed delivery, with different actions; the first a day old."""
    deliver(fp_upload("abc"))
    deliver(fp_upload("abc") | {"text": {}})
    deliver(fp_delete("abc"))
    deliver(fp_delete("abc") | {"text": {}})
    names = ("upload", "failed upload", "delete", "failed delete")
    rows = WebhookDelivery.objects.order_by("id")
    rows.filter(action="fp.upload").update(received_at=timezone.now() - timedelta(days=1))
    return dict(zip(names, rows, strict=True))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--failed",), ["failed upload", "failed delete"]),
        (("--action", "fp.upload"), ["upload", "failed upload"]),
        (("--action", "fp.upload", "--failed"), ["failed upload"]),
        (("--since", "2h"), ["delete", "failed delete"]),
        (("--since", "25h", "--failed"), ["failed upload", "failed delete"]),
        (("--since", "30m", "--action", "fp.upload"), []),
        (("--since", "2020-01-01", "--action", "fp.delete"), ["delete", "failed delete"]),
    ],
)
def test_replay_takes_what_all_options_agree_on(
    deliveries: dict[str, WebhookDelivery], options: tuple[str, ...], expected: list[str]
) -> None:
    count = len(expected)
    assert run("filestack_tags_replay", *options, "--dry-run") == (
        f"{count} deliveries would be processed again.\n"
    )
    said = run("filestack_tags_replay", *options)
    assert said == (
        f"{count} deliveries will be processed again.\n" if count else "No delivery matches.\n"
    )
    received = WebhookDelivery.objects.filter(state="received").order_by("id")
    assert list(received) == [deliveries[name] for name in expected]


def test_replay_by_id_says_how_many_were_left_alone(
    deliveries: dict[str, WebhookDelivery],
) -> None:
    ids = [str(delivery.pk) for delivery in deliveries.values()]
    assert run("filestack_tags_replay", "--id", *ids[:2]) == (
        "2 deliveries will be processed again.\n"
    )
    expected = "processed again. 2 are still open and were skipped.\n"
    assert run("filestack_tags_replay", "--id", *ids, "--dry-run") == (
        f"2 deliveries would be {expected}"
    )
    assert run("filestack_tags_replay", "--id", *ids) == f"2 deliveries will be {expected}"


def test_replay_reads_a_few_at_a_time(
    deliveries: dict[str, WebhookDelivery],
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    monkeypatch.setattr(filestack_tags_replay, "BATCH_SIZE", 2)
    with django_capture_on_commit_callbacks(execute=True):
        said = run("filestack_tags_replay", "--since", "2d")
    assert said.splitlines() == [
        "2 deliveries checked …",
        "4 deliveries checked …",
        "4 deliveries will be processed again.",
    ]
    states = WebhookDelivery.objects.order_by("id").values_list("state", flat=True)
    assert list(states) == ["processed", "failed", "processed", "failed"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Choose deliveries"),
        (("--since", "yesterday"), "'yesterday' is not a time. Examples: 2h"),
        (("--since", "2026-13-01"), "is not a time"),
        (("--since", "99999999999d"), "is not a time"),
        (("--since", "0001-01-01T00:00+14:00"), "is in the future or before"),
        (("--since", "9999-12-31T23:59-12:00"), "is in the future or before"),
        (("--id", "-1"), "expected at least one|is not the id"),
        (("--id", str(2**63)), "is not the id of a delivery"),
        (("--id", "x"), "is not the id of a delivery"),
    ],
)
def test_a_replay_that_cannot_be_made_says_why(
    db: None, options: tuple[str, ...], said: str
) -> None:
    with pytest.raises(CommandError, match=said):
        run("filestack_tags_replay", *options)


def test_search_shows_matches_in_order_and_how_many_there_are(
    three: list[Asset], script: Any, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        run("filestack_tags_retag", "untagged")
    shown = run("filestack_tags_search", "sky", "--order", "best", "--limit", "2").splitlines()
    assert [line.split() for line in shown] == [
        [str(three[2].pk), "90", "h2"],
        [str(three[1].pk), "90", "h1"],
        ["Matches:", "3"],
    ]
    assert run("filestack_tags_search", "--", "-sky") == "Matches: 0\n"


def test_search_explains_itself(three: list[Asset], script: Any) -> None:
    queue.request([three[0].pk])
    queue.tag(three[0].pk)
    assert run("filestack_tags_search", "sky>=80", "--explain").startswith(
        "Starts from sky>=80"
    )
    assert "Matches: 1" in run("filestack_tags_search", "sky", "--explain", "--analyze")


def test_a_search_from_the_shell_may_take_ten_times_as_long(
    three: list[Asset], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"SEARCH_TIMEOUT": 60}
    limits: list[float | None] = []
    limit = Search.time_limit

    def noting(self: Search, *, seconds: float | None = None) -> Any:
        limits.append(seconds)
        return limit(self, seconds=seconds)

    monkeypatch.setattr(Search, "time_limit", noting)
    run("filestack_tags_search", "sky", "--explain", "--analyze")
    assert limits[0] == 600


@pytest.mark.parametrize("options", [("sky (sea",), ("sky", "--limit", "0")])
def test_a_search_that_cannot_be_made_says_why(db: None, options: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        run("filestack_tags_search", *options)
