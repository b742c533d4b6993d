"""Middleware and Django's limits with a webhook's body, and bodies that are too large."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import global_settings
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import resolve, reverse

from filestack_tags import tasks
from filestack_tags.models import WebhookDelivery
from filestack_tags.views import WebhookView
from filestack_tags.webhooks import inbox
from tests import signed_headers

URL = "/filestack/webhook/"
BODY = json.dumps({"id": 1, "action": "fp.dialog", "text": {}}).encode()
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"

pytestmark = pytest.mark.django_db

READS: dict[str, Callable[[HttpRequest], Any]] = {
    "body": lambda request: request.body,
    "POST": lambda request: request.POST,
    "FILES": lambda request: request.FILES,
    "read": lambda request: request.read(),
    "lines": lambda request: list(request),
}
seen: list[Any] = []


class Reads:
    """Middleware that reads the request before or after the view, depending on :attr:`how`."""

    before = after = ""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if self.before:
            seen.append(READS[self.before](request))
        response = self.get_response(request)
        if self.after:
            seen.append(READS[self.after](request))
        return response


def post(body: bytes = BODY, content_type: str = "application/json", **headers: str) -> Any:
    signed = signed_headers(body) | headers
    return Client().generic("POST", URL, body, content_type, headers=signed)


@pytest.fixture
def reads(settings: Any, monkeypatch: pytest.MonkeyPatch) -> type[Reads]:
    settings.MIDDLEWARE = [f"{__name__}.Reads", *settings.MIDDLEWARE]
    monkeypatch.setattr(Reads, "before", "")
    monkeypatch.setattr(Reads, "after", "")
    seen.clear()
    return Reads


@pytest.mark.parametrize("content_type", ["application/json", FORM, MULTIPART])
@pytest.mark.parametrize("how", READS)
def test_middleware_may_read_the_request_after_the_view(
    reads: type[Reads], how: str, content_type: str
) -> None:
    reads.after = how
    assert post(content_type=content_type).status_code == 200
    (found,) = seen
    if how in ("body", "read"):
        assert found == BODY


@pytest.mark.parametrize("after", ["", *READS])
@pytest.mark.parametrize(
    ("how", "content_type", "status"),
    [
        ("body", "application/json", 200),
        ("body", FORM, 200),
        ("body", MULTIPART, 200),
        ("POST", "application/json", 200),
        ("FILES", "application/json", 200),
        ("POST", FORM, 200),
        ("POST", MULTIPART, 503),
        ("read", "application/json", 503),
        ("lines", "application/json", 503),
    ],
)
def test_middleware_may_read_the_request_before_the_view(
    reads: type[Reads], how: str, content_type: str, status: int, after: str
) -> None:
    """A consumed stream cannot be read again, which the response says."""
    reads.before, reads.after = how, after if status == 200 else ""
    response = post(content_type=content_type)
    assert response.status_code == status
    assert WebhookDelivery.objects.exists() is (status == 200)
    if status == 503:
        assert b"Middleware read the body as a stream" in response.content


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("append", [True, False])
def test_the_slash_may_be_left_out(settings: Any, debug: bool, append: bool) -> None:
    settings.DEBUG, settings.APPEND_SLASH = debug, append
    signed = signed_headers(BODY)
    for path in (URL.rstrip("/"), URL):
        response = Client().generic("POST", path, BODY, "application/json", headers=signed)
        assert response.status_code == 200
        assert Client().get(path).status_code == 405
    assert reverse("filestack_tags:webhook") == URL
    assert resolve(URL.rstrip("/")).func is resolve(URL).func


def test_what_is_above_djangos_limit_is_stored(settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert post().status_code == 200
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = global_settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    assert post(json.dumps({"ocr": "x" * 3_000_000}).encode()).status_code == 200


@pytest.fixture
def _small(settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"WEBHOOK_MAX_SIZE": 40}


@pytest.mark.usefixtures("_small")
class TestTooLarge:
    def test_a_signed_body_leaves_a_failed_delivery(
        self, told: Any, caplog: pytest.LogCaptureFixture, admin_client: Client
    ) -> None:
        with caplog.at_level(logging.WARNING):
            first, second = post(), post()
        assert first.status_code == second.status_code == 413
        assert first.content == (
            b"The body is larger than WEBHOOK_MAX_SIZE, 40 bytes: it has %d.\n" % len(BODY)
        )
        (delivery,) = WebhookDelivery.objects.all()
        assert (delivery.state, delivery.error_code) == ("failed", "too_large")
        assert (bytes(delivery.raw_body), delivery.duplicates) == (b"", 1)
        assert delivery.due_at is None
        assert [(event.name, event.labels) for event in told] == [
            ("webhook.refused", {"reason": "too_large"})
        ] * 2
        assert "WEBHOOK_MAX_SIZE" in caplog.text
        page = f"/admin/filestack_tags/webhookdelivery/{delivery.pk}/change/"
        assert "WEBHOOK_MAX_SIZE" in admin_client.get(page).content.decode()
        operations = admin_client.get(reverse("admin:filestack_tags_operations"))
        assert "too_large" in operations.content.decode()

    def test_there_is_nothing_to_replay(self) -> None:
        post()
        pk = WebhookDelivery.objects.get().pk
        assert tasks.replay([pk]) == []
        assert WebhookDelivery.objects.get().error_code == "too_large"

    def test_a_retry_is_stored_once_the_limit_is_raised(self, settings: Any) -> None:
        post()
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"WEBHOOK_MAX_SIZE": 4000}
        assert post().content == b"Stored.\n"
        assert WebhookDelivery.objects.count() == 2

    @pytest.mark.parametrize(
        "headers",
        [{"FS-Signature": "0" * 64}, {"FS-Signature": "x"}, {"FS-Timestamp": "17"}],
    )
    def test_an_unsigned_body_leaves_no_row(self, headers: dict[str, str]) -> None:
        assert post(**headers).status_code in (400, 403)
        assert not WebhookDelivery.objects.exists()

    def test_only_so_much_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inbox, "LARGEST_READ", len(BODY) - 1)
        response = post()
        assert response.status_code == 413
        assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize(
    ("environ", "status", "reason"),
    [
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, 411, "Transfer-Encoding: chunked"),
        ({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}, 200, "Stored"),
        ({"wsgi.input_terminated": True}, 400, "has no body"),
        ({"CONTENT_LENGTH": "0"}, 400, "has no body"),
        ({"CONTENT_LENGTH": "9999"}, 400, "closed before the whole body"),
    ],
)
def test_a_body_that_did_not_come_is_no_wrong_signature(
    environ: dict[str, Any], status: int, reason: str
) -> None:
    request = RequestFactory().generic(
        "POST", URL, BODY, "application/json", headers=signed_headers(BODY)
    )
    del request.environ["CONTENT_LENGTH"]
    request = type(request)(request.environ | {"wsgi.input": BytesIO(BODY)} | environ)
    response = WebhookView.as_view()(request)
    assert response.status_code == status
    assert reason in response.content.decode()


def post_by_asgi(*chunks: bytes, signed: bytes) -> tuple[int, str]:
    """Send a request without Content-Length, as an ASGI server passes on a chunked one."""
    headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": URL,
        "query_string": b"",
        "headers": [
            (name.lower().encode(), value.encode())
            for name, value in (headers | signed_headers(signed)).items()
        ],
    }
    received = iter(
        [
            *({"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks),
            {"type": "http.request", "body": b"", "more_body": False},
        ]
    )
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        for message in received:
            return message
        return await asyncio.Future()  # the client stays connected

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async_to_sync(ASGIHandler())(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], body.decode()


@pytest.mark.django_db(transaction=True)  # the handler closes old connections
@pytest.mark.parametrize("length", [0, 3_000_000])
def test_a_chunked_body_is_stored_under_asgi(length: int) -> None:
    body = json.dumps({"id": 1, "action": "fp.dialog", "text": {"ocr": "x" * length}}).encode()
    parts = [body[start : start + 50_000] for start in range(0, len(body), 50_000)]
    chunks = [parts[0][:1], parts[0][1:], *parts[1:]]
    assert post_by_asgi(*chunks, signed=body) == (200, "Stored.\n")
    assert post_by_asgi(*chunks, signed=body) == (200, "Duplicate.\n")
    assert bytes(WebhookDelivery.objects.get().raw_body) == body


@pytest.mark.django_db(transaction=True)
def test_a_chunked_body_under_asgi_is_refused_with_its_own_reason(settings: Any) -> None:
    status, text = post_by_asgi(signed=BODY)
    assert (status, "has no body" in text) == (400, True)
    assert not WebhookDelivery.objects.exists()
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"WEBHOOK_MAX_SIZE": 40}
    status, text = post_by_asgi(BODY[:10], BODY[10:], signed=BODY)
    assert (status, "WEBHOOK_MAX_SIZE" in text) == (413, True)
    assert WebhookDelivery.objects.get().error_code == "too_large"
