"""System checks: each wrong setting has an id and a fix."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.core.checks import registry, run_checks
from django.db import connection
from django.utils import timezone

from filestack_tags import checks, conf
from filestack_tags.assets import registry as assets_registry
from filestack_tags.assets.visibility import scope_of
from filestack_tags.conf import RENAMED, Settings
from filestack_tags.exceptions import ConfigurationError
from filestack_tags.filestack.client import FilestackClient
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, Circuit
from filestack_tags.operations import heartbeat, setting_values
from filestack_tags.tagging import queue

ROOT = Path(__file__).resolve().parents[1]

# Django 6.1 queries whether the database supports the fields of a model.
pytestmark = pytest.mark.django_db

LIMITS = ("task_soft_time_limit", "task_time_limit")
GOOD = {"API_KEY": "k", "APP_SECRET": "s", "WEBHOOK_SECRETS": ["w"]}


def ids(*, deploy: bool = False) -> list[str]:
    found = run_checks(include_deployment_checks=deploy)
    return [
        message.id.removeprefix("filestack_tags.")
        for message in found
        if str(message.id).startswith("filestack_tags.")
    ]


def test_good_settings_pass_every_check(settings: Any) -> None:
    settings.FILESTACK_TAGS = GOOD
    settings.CELERY_TASK_ALWAYS_EAGER = False
    assert ids(deploy=True) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], ["E001"]),
        ({"API_KEYS": "k"}, ["E002"]),
        ({"zzz": 1}, ["E002"]),
        ({"zzz": 1, "SCOPE": "a.b"}, ["E002", "E002"]),
        (GOOD | {"LEASE_SECONDS": 0}, ["E003"]),
        (GOOD | {"READ_TIMEOUT": None}, ["E003"]),
        (GOOD | {"MAX_ATTEMPTS": True}, ["E003"]),
        (GOOD | {"WEBHOOK_TOLERANCE": -1}, ["E003"]),
        (GOOD | {"WEBHOOK_TOLERANCE": None}, []),
        (GOOD | {"MIN_CONFIDENCE": 101}, ["E004"]),
        (GOOD | {"CDN_URL": "cdn.example.com"}, ["E005"]),
        (GOOD | {"WEBHOOK_SECRETS": "w"}, ["E006"]),
        (GOOD | {"AUTO_TAG_MIMETYPES": [1]}, ["E006"]),
        (GOOD | {"APP_SECRET": None}, ["E007"]),
        (GOOD | {"AUTO_TAG": "yes"}, ["E008"]),
        (GOOD | {"TAGS_VERSION": 3}, ["E009"]),
        (GOOD | {"SEARCH_MAX_DEPTH": 31}, ["E012"]),
        (GOOD | {"SEARCH_MAX_DEPTH": "deep"}, ["E003"]),
        (GOOD | {"RULES": ["sky"]}, ["E014"]),
        (GOOD | {"WORKFLOWS": {"tagging": 1}}, ["E014"]),
        (GOOD | {"BUDGET_PER_DAY": -1}, ["E015"]),
        (GOOD | {"BUDGET_PER_MONTH": 0, "BUDGET_PER_DAY": None}, []),
        (GOOD | {"RATE_LIMIT": "fast"}, ["E030"]),
        (GOOD | {"RATE_LIMIT": "20/second"}, ["W004"]),
        (GOOD | {"RATE_LIMIT": "20/second", "REDIS_URL": "redis://r/0"}, []),
        (GOOD | {"LEASE_SECONDS": 70}, ["W005"]),
        (GOOD | {"RULES": {"beach": 'tags.auto kex "beach"'}}, []),
        (GOOD | {"RULES": {"beach": "tags.auto kex beach", "b": "a = 1"}}, ["E020", "E020"]),
        (GOOD | {"WORKFLOWS": {"look": "687r07d2", "x" * 91: "wf.1_b-C"}}, []),
        (GOOD | {"WORKFLOWS": {"look": "a/b"}}, ["E021"]),
        (GOOD | {"WORKFLOWS": {"look": ""}}, ["E021"]),
        (GOOD | {"WORKFLOWS": {"x" * 92: "wf"}}, ["E021"]),
        (GOOD | {"WORKFLOWS": {"a look": "wf"}}, ["E021"]),
        (GOOD | {"WORKFLOW_ID": "wf,x:1"}, ["E021"]),
        (GOOD | {"WORKFLOWS": {"look": "wf"}, "TAGGER": "workflow:look"}, []),
        (GOOD | {"WORKFLOWS": {"look": "wf"}, "TAGGER": "workflow:loop"}, ["E010"]),
        ({"WORKFLOWS": {"look": "wf"}, "TAGGER": "workflow:look"}, ["W001", "W001"]),
        (GOOD | {"TAGGERS": {"scripted": "tests.scripted.ScriptedTagger"}}, []),
        (GOOD | {"TAGGERS": {"filestack": "tests.scripted.ScriptedTagger"}}, ["E017"]),
        (GOOD | {"TAGGERS": {"a.b": "tests.scripted.ScriptedTagger"}}, ["E017"]),
        (GOOD | {"TAGGERS": {"workflow:a": "tests.scripted.ScriptedTagger"}}, ["E017"]),
        (GOOD | {"TAGGERS": {"x" * 101: "tests.scripted.ScriptedTagger"}}, ["E017"]),
        (GOOD | {"TAGGERS": {"a": "tests.nowhere"}, "TAGGER": "a"}, ["E017", "E010"]),
        (GOOD | {"TAGGERS": {"a": ["tests.scripted.ScriptedTagger"]}}, ["E014"]),
        (GOOD | {"DELIVERY_RETENTION_DAYS": 0.6}, ["E040"]),
        (
            GOOD | {"DELIVERY_RETENTION_DAYS": 0, "RAW_REPLY_RETENTION_DAYS": "long"},
            ["E003", "E003"],
        ),
        (GOOD | {"RAW_REPLY_RETENTION_DAYS": 0.5, "DELIVERY_RETENTION_DAYS": 1}, ["E040"]),
        (GOOD | {"TAGGER": "no.such"}, ["E010"]),
        (GOOD | {"TAGGER": "workflow", "WORKFLOW_ID": ""}, ["W003"]),
        (GOOD | {"TAGS_VERSION": 1}, ["W002"]),
        ({}, ["W001", "W001"]),
        ({"TAGGER": "local"}, []),
    ],
)
def test_a_wrong_setting_has_its_id(settings: Any, value: Any, expected: list[str]) -> None:
    settings.FILESTACK_TAGS = value
    assert ids() == expected


def test_a_rule_that_cannot_be_read_is_told_with_its_place(settings: Any) -> None:
    settings.FILESTACK_TAGS = GOOD | {"RULES": {"beach": "tags.auto kex beach"}}
    (message,) = (found for found in run_checks() if found.id == "filestack_tags.E020")
    assert "['RULES']['beach']" in message.msg
    assert 'Did you mean "beach"?' in message.msg
    assert "character 15 of 19" in str(message.hint)


def test_a_former_key_names_the_new_one(settings: Any) -> None:
    settings.FILESTACK_TAGS = GOOD | {"SCOPE": "tests.admin.scopes.first"}
    (message,) = (found for found in run_checks() if found.id == "filestack_tags.E002")
    assert (message.msg, message.hint) == (
        "FILESTACK_TAGS has no key 'SCOPE'.",
        "It is now 'ASSET_SCOPE'.",
    )


def test_a_process_without_checks_rejects_an_unknown_key(settings: Any) -> None:
    settings.FILESTACK_TAGS = GOOD | {"ASSETS_SCOPE": "tests.admin.scopes.first"}
    with pytest.raises(
        ConfigurationError, match=r"no key 'ASSETS_SCOPE'\. Did you mean 'ASSET_S"
    ):
        scope_of(None)


def test_every_former_key_has_a_replacement() -> None:
    names = {item.name for item in fields(Settings)}
    assert names.issuperset(RENAMED.values())
    assert names.isdisjoint(RENAMED)


def test_every_setting_has_a_rule(settings: Any) -> None:
    settings.FILESTACK_TAGS = {item.name: object() for item in fields(Settings)}
    found = [message for message in run_checks() if "must be" in message.msg]
    assert len(found) == len(fields(Settings))


def test_a_value_is_never_shown(settings: Any) -> None:
    settings.FILESTACK_TAGS = {"WEBHOOK_SECRETS": "CANARY", "CDN_URL": "CANARY"}
    assert "CANARY" not in str(run_checks())


def test_the_local_tagger_without_its_extra_is_an_error(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FILESTACK_TAGS = GOOD | {"TAGGER": "local"}
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert ids() == ["E011"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [("READ COMMITTED", []), ("repeatable read", ["E013"]), (None, ["E013"])],
)
def test_mariadb_is_read_at_the_isolation_level_that_locks_need(
    settings: Any, monkeypatch: pytest.MonkeyPatch, level: str | None, expected: list[str]
) -> None:
    settings.FILESTACK_TAGS = GOOD
    options = connection.settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "isolation_level", level)
    assert ids() == (expected if connection.vendor == "mysql" else [])


EMULATOR = {
    "CDN_URL": "http://127.0.0.1:8901",
    "API_URL": "http://[::1]:8901/api",
    "UPLOAD_URL": "http://localhost:8901",
}


@pytest.mark.parametrize("left_out", [(), *([name] for name in EMULATOR), tuple(EMULATOR)])
def test_hosts_of_which_some_are_the_emulator_are_warned_of(
    settings: Any, left_out: Sequence[str]
) -> None:
    hosts = {name: url for name, url in EMULATOR.items() if name not in left_out}
    settings.FILESTACK_TAGS = {**GOOD, **hosts}
    assert ids() == (["W006"] if 0 < len(hosts) < len(EMULATOR) else [])


def test_deployment_is_warned_of(settings: Any) -> None:
    settings.FILESTACK_TAGS = {"API_KEY": "k", "APP_SECRET": "s", "API_URL": "http://a"}
    settings.CELERY_TASK_ALWAYS_EAGER = True
    assert ids(deploy=True) == ["W010", "W011", "W012"]


def test_a_wrong_dict_stops_further_checks(settings: Any) -> None:
    settings.FILESTACK_TAGS = None
    assert ids(deploy=True) == ["E001"]
    with pytest.raises(ConfigurationError, match="must be a dict"):
        conf.get_settings()


def test_no_id_is_used_for_two_things() -> None:
    source = "".join(Path(module.__file__).read_text() for module in (checks, setting_values))
    used = re.findall(r'"(?:filestack_tags\.)?([EW]0\d\d)"', source)
    assert len(used) == len(set(used))


def test_the_checks_are_registered() -> None:
    every = registry.registry.get_checks(include_deployment_checks=True)
    assert {checks.check_settings, checks.check_tagger, checks.check_deployment} <= set(every)


def test_a_single_string_stands_for_a_list_of_one(settings: Any) -> None:
    settings.FILESTACK_TAGS = {"WEBHOOK_SECRETS": "one"}
    assert conf.get_settings().WEBHOOK_SECRETS == ("one",)


def found_in_database(*databases: str) -> list[tuple[str, str]]:
    return [
        (str(found.id).removeprefix("filestack_tags."), str(found.msg))
        for found in run_checks(databases=list(databases))
        if str(found.id).startswith("filestack_tags.")
    ]


def test_an_open_circuit_is_reported_with_its_reason(settings: Any) -> None:
    settings.FILESTACK_TAGS = GOOD
    heartbeat.beat("sweep")
    assert found_in_database("default") == []
    now = timezone.now()
    Circuit.objects.create(tagger="filestack", opened_at=now, retry_at=now, reason="Why.")
    ((number, text),) = found_in_database("default")
    assert number == "W020"
    assert "Why." in text


def test_a_budget_and_a_sweep_are_reported_too(settings: Any) -> None:
    settings.FILESTACK_TAGS = GOOD | {"BUDGET_PER_DAY": 0}
    assert [number for number, _ in found_in_database("default")] == ["W021", "W022"]


def test_the_database_is_asked_only_where_that_is_permitted(
    settings: Any, django_assert_num_queries: Any
) -> None:
    settings.FILESTACK_TAGS = GOOD
    with django_assert_num_queries(0):
        assert checks.check_operations() == []
        assert checks.check_operations(databases=["another"]) == []


def django_admin(*arguments: str, database: Path, **environment: str) -> tuple[int, str]:
    """Run a command in a separate process, on a database file that may not exist yet."""
    done = subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        cwd=ROOT,
        env=os.environ
        | {"DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": f"sqlite:{database}"}
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_missing_migrations_are_reported_with_the_command_that_applies_them(
    tmp_path: Path,
) -> None:
    empty = tmp_path / "empty.sqlite3"
    code, printed = django_admin("check", "--database", "default", database=empty)
    assert code == 0
    assert "filestack_tags.W025" in printed
    assert "0001_initial" in printed
    assert "manage.py migrate --database default" in printed
    for command in (
        ("filestack_tags_search", "sky"),
        ("filestack_tags_sweep",),
        ("filestack_tags_retag", "sky"),
    ):
        code, printed = django_admin(*command, database=empty)
        assert code == 1
        assert printed.startswith("CommandError: The database 'default' lacks migrations")
        assert "manage.py migrate --database default" in printed
        assert "Traceback" not in printed
    code, printed = django_admin("migrate", database=empty)
    assert code == 0
    assert "W025" not in printed
    code, printed = django_admin("check", "--database", "default", database=empty)
    assert "W025" not in printed
    assert "W022" in printed  # no scheduled task has run


def test_a_database_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    broken = tmp_path / "broken.sqlite3"
    broken.write_bytes(b"no database" * 1000)
    code, printed = django_admin("check", "--database", "default", database=broken)
    assert code == 0
    assert "filestack_tags.W026" in printed
    assert "Traceback" not in printed


def test_work_that_waits_too_long_is_reported(settings: Any) -> None:
    settings.FILESTACK_TAGS = GOOD
    heartbeat.beat("sweep")
    asset, _ = assets_registry.register(Source.handle("VJQTvCboRVivWJ2BpKgd"))
    queue.request([asset.pk])
    assert found_in_database("default") == []
    Asset.objects.update(due_at=timezone.now() - timedelta(minutes=20))
    ((number, text),) = found_in_database("default")
    assert number == "W024"
    assert "worker" in text


NO_CELERY_APP = """
import django
from django.conf import settings
from django.core.checks import run_checks

settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "filestack_tags"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    FILESTACK_TAGS={"API_KEY": "AKEY", "APP_SECRET": "SECRET"},
)
django.setup()
print(*(f"{message.id} {message.msg}" for message in run_checks()), sep="\\n")
"""


def test_a_project_without_a_celery_app_is_warned() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_CELERY_APP],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("filestack_tags.W013 The project has no Celery app")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("task", "fault"),
    [
        ("tags", "is the task that follows"),
        ("tags=version:2", "is the task that follows"),
        ("resize=h: 2000", "has a space at character 10"),
        (" resize=h:2000", "has a space at character 1"),
        ("resize=h:2000/rotate=deg:90", "has '/' at character 14"),
        ("resize=h:é", "has 'é' at character 10"),
        ("", "is empty"),
        ("Resize=h:2000", "lower-case"),
        ("=h:2000", "lower-case"),
        ("resize=2000", "name:value"),
        ("resize=", "name:value"),
        ("resize=h:2000,", "name:value"),
        ("resize=h:", "name:value"),
        ("crop=dim:[1,2,3", "name:value"),
        ("security=p:x,s:y", "is added to each call by the app"),
        ("store", "stores another file with each call"),
        ("store=location:s3", "stores another file with each call"),
        ("run_workflow=id:abc", "starts a workflow with each call"),
        ("workflow_status=job_id:abc", "answers with JSON"),
        ("sfw", "answers with JSON"),
        ("caption", "answers with JSON"),
        ("ocr", "answers with JSON"),
        ("copyright", "answers with JSON"),
        ("image_sentiment", "answers with JSON"),
        ("text_sentiment=text:a", "answers with JSON"),
        ("metadata", "answers with JSON"),
        ("imagesize", "answers with JSON"),
        ("doc_detection=coords:true", "is charged as a separate call"),
        ("video_convert=preset:h264", "does not return a picture"),
    ],
)
def test_a_task_that_cannot_come_before_tags_is_named_with_its_fault(
    settings: Any, task: str, fault: str
) -> None:
    settings.FILESTACK_TAGS = GOOD | {"TASKS_BEFORE_TAGS": ["resize=h:2000", task]}
    (message,) = [found for found in run_checks() if found.id == "filestack_tags.E018"]
    assert repr(task) in message.msg
    assert fault in message.msg
    # A call with such a task is rejected with the same message, and not sent.
    with FilestackClient(api_key="k", app_secret="s") as client:  # for a test
        for call in (client.tags, partial(client.download, max_bytes=1)):
            with pytest.raises(ConfigurationError, match=re.escape(fault)):
                call(Source.handle("h1"), before=(task,))


@pytest.mark.parametrize(
    "task",
    ["resize=h:2000", "resize=w:800,h:600,fit:crop", "monochrome", "rotate=deg:exif",
     "crop=dim:[10,20,200,250]", "cache=false", "cache=expiry:max", "output=format:jpg",
     "watermark=file:aB3_-x,position:[top,right]"],
)  # fmt: skip
def test_a_task_that_returns_a_picture_can_come_before_tags(settings: Any, task: str) -> None:
    settings.FILESTACK_TAGS = GOOD | {"TASKS_BEFORE_TAGS": [task]}
    assert "E018" not in ids()


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        (None, None, []),
        (10, 95, []),
        (9, None, ["W018"]),
        (None, 94, ["W017"]),
        (3, 5, ["W017", "W018"]),
    ],
)
def test_time_limits_are_long_enough_for_the_calls(
    settings: Any, soft: float | None, hard: float | None, expected: list[str]
) -> None:
    """The minimum: the time in which calls begin, the longest call, and the time to apply it."""
    settings.FILESTACK_TAGS = GOOD | {"CONNECT_TIMEOUT": 10, "READ_TIMEOUT": 60}
    former = {name: current_app.conf.get(name) for name in LIMITS}
    current_app.conf.update(task_soft_time_limit=soft, task_time_limit=hard)
    try:
        assert ids() == expected
    finally:
        current_app.conf.update(former)
