"""No secret leaks: recognizable secrets are set, everything is exercised, and all output is
searched.

That is an upload, its tags, each error that the emulator can return, good and bad webhooks, and
each place where any of it is shown: rows, logs, admin, API, health, sinks, checks, commands.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

from filestack_tags import conf, metrics, tasks
from filestack_tags.filestack.client import AsyncFilestackClient, FilestackClient
from filestack_tags.filestack.security import Security, SignedPolicy
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, TaggingRun, WebhookDelivery
from filestack_tags.operations.sinks.log import LoggingSink
from filestack_tags.operations.sinks.opentelemetry import OpenTelemetrySink
from filestack_tags.operations.sinks.prometheus import PrometheusSink
from filestack_tags.tagging import circuit_breaker
from filestack_tags.testing import Account, EmulatorApp, EmulatorServer, Workflow
from filestack_tags.testing.faults import ANSWER_FAULTS, JOB_FAULTS
from filestack_tags.testing.payloads import fp_upload, fs_workflow
from tests import signed_headers
from tests.testing.surroundings import config, picture

pytestmark = pytest.mark.django_db

API_KEY = "ACanaryApiKey7Qz"
APP_SECRET = "Canary/App+Secret=%&ü"
WEBHOOKS = ("Canary-Webhook/New+1", "Canary-Webhook/Old+2")
REDIS_PASSWORD = "Canary-Redis+Pass/word"
WORKFLOW = "workflow-1"
UPLOAD = "/admin/filestack_tags/asset/upload/"


def written(secret: str) -> set[str]:
    """Return the possible encodings of a secret: plain, percent-encoded, in base64."""
    raw = secret.encode()
    ways = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
    ways.add(json.dumps(secret)[1:-1])
    ways.add(repr(secret)[1:-1])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            # In base64, neighbouring characters affect the first and last character; the rest is
            # the same everywhere.
            encoded = encode(b"\0" * before + raw).decode().rstrip("=")
            ways.add(encoded[(before * 8 + 5) // 6 : len(encoded) - 1])
    assert all(len(way) >= 8 for way in ways), ways
    return ways


@pytest.mark.parametrize("around", ["", "x", "xy", "xyz"])
def test_a_secret_is_recognised_however_it_is_written(around: str) -> None:
    ways = written(APP_SECRET)
    for text in (
        base64.b64encode(f"{around}{APP_SECRET}{around}".encode()).decode(),
        base64.urlsafe_b64encode(f"{around}{APP_SECRET}".encode()).decode(),
        f"{around}{quote(APP_SECRET, safe='')}",
        repr(around + APP_SECRET),
    ):
        assert any(way in text for way in ways), text


class _Kept(logging.Handler):
    """Stores every record as formatted, including its traceback and its other attributes."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.names: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.names.add(record.name.partition(".")[0])
        self.lines.append(f"{record.name}: {self.format(record)} {record.__dict__}")


@pytest.fixture
def log() -> Iterator[_Kept]:
    """Capture the output of every logger at level DEBUG."""
    kept, root = _Kept(), logging.getLogger()
    loggers = [
        logging.getLogger(name)
        for name in (
            "",
            "celery",
            "django",
            "django.request",
            "filestack_tags",
            "httpx2",
            "redis",
        )
    ]
    levels = [(logger, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.propagate = True
    root.addHandler(kept)
    yield kept
    root.removeHandler(kept)
    for logger, level, propagate in levels:
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> list[SignedPolicy]:
    """Return the policies that are signed from now on."""
    made: list[SignedPolicy] = []
    sign = Security.sign

    def keep(security: Security, policy: Any) -> SignedPolicy:
        made.append(sign(security, policy))
        return made[-1]

    monkeypatch.setattr(Security, "sign", keep)
    return made


@pytest.fixture
def emulator(settings: Any) -> Iterator[EmulatorApp]:
    account = Account(api_key=API_KEY, app_secret=APP_SECRET, workflows=(Workflow(WORKFLOW),))
    with EmulatorApp(config(account=account)) as app, EmulatorServer(app) as server:
        settings.FILESTACK_TAGS = {
            "API_KEY": API_KEY,
            "APP_SECRET": APP_SECRET,
            "WEBHOOK_SECRETS": WEBHOOKS,
            "REDIS_URL": f"redis://user:{quote(REDIS_PASSWORD, safe='')}@127.0.0.1:1/0",
            "RATE_LIMIT": "1000/second",
            "CDN_URL": server.url,
            "API_URL": f"{server.url}/api",
            "WORKFLOW_ID": WORKFLOW,
        }
        yield app


class _Sinks:
    """All sinks, connected."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader])
        self._sinks = (
            LoggingSink(),
            PrometheusSink(self._registry),
            OpenTelemetrySink(self._provider),
        )
        self._ends = [metrics.subscribe(sink.record) for sink in self._sinks]

    def close(self) -> None:
        for end in self._ends:
            end()
        self._provider.shutdown()

    def shown(self) -> list[str]:
        data = self._reader.get_metrics_data()
        assert data is not None
        return [generate_latest(self._registry).decode(), data.to_json()]


@contextmanager
def changed(settings: Any, **values: Any) -> Iterator[None]:
    """Use other values for some keys of the setting."""
    right = settings.FILESTACK_TAGS
    settings.FILESTACK_TAGS = right | values
    yield
    settings.FILESTACK_TAGS = right


def shake(emulator: EmulatorApp, settings: Any, capture: Any) -> None:
    """Tag files while everything that can go wrong does."""
    base = settings.FILESTACK_TAGS["CDN_URL"]

    def tag(source: Source, tagger: str = "") -> None:
        with capture(execute=True):
            tasks.register(source, tagger=tagger)
        for name in ("filestack", "workflow"):
            circuit_breaker.close(name)

    def stored() -> Source:
        file = emulator.files.add(
            picture(), filename="red.jpg", mimetype="image/jpeg", options={}, base_url=base
        )
        return Source.handle(file.handle)

    tag(stored())
    # Filestack echoes what it was sent.
    echo = f"{API_KEY} {APP_SECRET} {quote(APP_SECRET, safe='')}"
    for kind in ANSWER_FAULTS:
        for text in ("", echo):
            emulator.faults.add(kind, text=text)
            if kind == "slow":
                with changed(settings, READ_TIMEOUT=0.3):
                    tag(stored())
            else:
                tag(stored())
            emulator.faults.clear()
    emulator.faults.add("error_json", status=403, text=f"{echo} invalid signature")
    tag(Source.url("https://example.com/a.jpg"))
    for kind in JOB_FAULTS:
        emulator.faults.add(kind)
        tag(stored(), tagger="workflow")
        emulator.run_due()
        emulator.faults.clear()
    Asset.objects.exclude(due_at=None).update(due_at=timezone.now() - timedelta(minutes=2))
    with capture(execute=True):
        tasks.sweep()
    wrong: tuple[dict[str, str], ...] = (
        {"APP_SECRET": f"{APP_SECRET}-wrong"},
        {"API_KEY": f"{API_KEY}Wrong", "TAGGER": "workflow"},
        {"CDN_URL": "http://127.0.0.1:1"},
        {"CDN_URL": "nonsense"},
        {"APP_SECRET": ""},
    )
    for number, values in enumerate(wrong):
        with changed(settings, **values):
            tag(Source.url(f"https://example.com/{number}.jpg"))


def deliver(client: Client, capture: Any) -> list[str]:
    """Post webhooks, good and bad; return the responses."""
    answers = []
    good = [fp_upload("VJQTvCboRVivWJ2BpKgd"), fs_workflow("h1", tags={"sky": 9}, job_id="j")]
    bodies = [*(json.dumps(event).encode() for event in good), b"{", b'{"action": "fp.upload"}']
    for body in bodies:
        for secret in (*WEBHOOKS, "no secret of ours"):
            headers = signed_headers(body, secret)
            with capture(execute=True):
                answers.append(_post(client, body, headers))
    answers.append(_post(client, b"{}", {}))
    answers.append(_post(client, b"{}", {"FS-Timestamp": "17", "FS-Signature": "0" * 64}))
    answers.append(_post(client, b"{}", {"FS-Timestamp": "soon", "FS-Signature": "0"}))
    return answers


def _post(client: Client, body: bytes, headers: dict[str, str]) -> str:
    url = "/filestack/webhook/"
    response = client.post(url, body, content_type="application/json", headers=headers)
    return response.content.decode()


def look(client: Client) -> list[str]:
    """Return every page that shows any of it."""
    paths = ["/admin/", "/admin/filestack_tags/", "/health/", "/health/live/", "/api/v1/tags/"]
    paths += ["/api/v1/assets/", "/api/v1/assets/?q=sky%3E", "/api/v1/assets/?cursor=x"]
    for model in apps.get_app_config("filestack_tags").get_models():
        listed = f"/admin/filestack_tags/{model._meta.model_name}/"
        if client.get(listed).status_code == 404:  # without a detail page
            continue
        paths.append(listed)
        paths += [f"{listed}{pk}/change/" for pk in model.objects.values_list("pk", flat=True)]
    paths += [f"/api/v1/assets/{pk}/" for pk in Asset.objects.values_list("pk", flat=True)]
    pages = []
    for path in paths:
        response = client.get(path)
        assert response.status_code in (200, 400), path
        pages.append(response.content.decode())
    pages.append(Client().get("/health/").content.decode())
    return pages


def said() -> list[str]:
    """Return the output of checks and commands."""
    out = StringIO()
    call_command("filestack_tags_sweep", stdout=out)
    call_command("filestack_tags_search", "status:failed", stdout=out)
    settings = conf.get_settings()
    return [
        out.getvalue(),
        *(
            f"{message} {message!r}"
            for message in run_checks(include_deployment_checks=True, databases=["default"])
        ),
        repr(settings),
        str(settings),
        repr(FilestackClient.from_settings()),
        repr(AsyncFilestackClient.from_settings()),
    ]


def rows() -> list[str]:
    """Return every column of every row, with bodies as received."""
    return [
        f"{row} {bytes(row.get('raw_body', b'')).decode('utf-8', 'replace')}"
        for model in apps.get_app_config("filestack_tags").get_models()
        for row in model.objects.values()
    ]


def uploads(client: Client, emulator: EmulatorApp) -> tuple[dict[str, Any], list[str]]:
    """Upload like the admin's page; return the permit, which is the one response that may contain
    secrets, and the other responses.
    """
    permit = client.post(f"{UPLOAD}permit/").json()
    file = emulator.files.add(
        picture(), filename="u.jpg", mimetype="image/jpeg", options={}, base_url="http://x"
    )
    stored = client.post(f"{UPLOAD}stored/", {"handle": file.handle})
    (row,) = stored.json()["assets"]
    wrong = client.post(f"{UPLOAD}stored/", {"handle": "not a handle"})
    watched = client.get(f"{UPLOAD}tags/?id={row['id']}")
    assert [answer.status_code for answer in (stored, wrong, watched)] == [200, 400, 200]
    shown = [row["html"], watched.json()["assets"][0]["html"], wrong.content.decode()]
    return permit, [client.get(UPLOAD).content.decode(), *shown]


@pytest.mark.slow
def test_no_secret_is_anywhere(
    emulator: EmulatorApp,
    settings: Any,
    log: _Kept,
    signed: list[SignedPolicy],
    client: Client,
    django_capture_on_commit_callbacks: Any,
) -> None:
    sinks = _Sinks()
    try:
        shake(emulator, settings, django_capture_on_commit_callbacks)
        answers = deliver(client, django_capture_on_commit_callbacks)
        call_policies = list(signed)
        circuit_breaker.record("filestack", [circuit_breaker.Call(is_trial=False, error=None)])
        client.force_login(User.objects.create_superuser("root"))
        permit, uploaded = uploads(client, emulator)
        pages = [*look(client), *uploaded]
        places = {
            "rows": rows(),
            "log": log.lines,
            "sinks": sinks.shown(),
            "answers": answers,
            "pages": pages,
            "checks and commands": said(),
        }
    finally:
        sinks.close()

    # Check that all of it happened; otherwise there would be nothing to find.
    codes = set(TaggingRun.objects.values_list("error_code", flat=True))
    assert codes >= {
        "",
        "configuration",
        "connection_failed",
        "invalid_application",
        "policy_rejected",
        "rate_limited",
        "request_rejected",
        "server_error",
        "unexpected_reply",
        "workflow_failed",
        "workflow_task_failed",
    }
    assert Asset.objects.filter(tagging_state="tagged").count() >= 3
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {
        "processed",
        "failed",
    }
    assert log.names >= {"celery", "django", "filestack_tags", "httpx2"}
    assert len(call_policies) > 20
    assert any("rate_limit.unreachable" in line for line in log.lines)

    assert permit["api_key"] == API_KEY
    assert (permit["policy"], permit["signature"]) in {
        (made.policy, made.signature) for made in signed
    }
    assert not [way for way in written(APP_SECRET) if way in json.dumps(permit)]

    secrets = {
        "policy of the permit": permit["policy"],
        "signature of the permit": permit["signature"],
        "API_KEY": API_KEY,
        "APP_SECRET": APP_SECRET,
        **{f"WEBHOOK_SECRETS[{number}]": text for number, text in enumerate(WEBHOOKS)},
        "REDIS_URL": REDIS_PASSWORD,
    }
    for number, made in enumerate(call_policies):
        secrets[f"policy {number}"] = made.policy
        secrets[f"signature {number}"] = made.signature
    found = {
        (name, place, text[max(text.index(way) - 200, 0) :][:400])
        for name, secret in secrets.items()
        for way in written(secret)
        for place, texts in places.items()
        for text in texts
        if way in text
    }
    assert not found
