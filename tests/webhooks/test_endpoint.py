"""The webhook endpoint: what it stores, what it rejects, and its responses."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from filestack_tags import checks, metrics
from filestack_tags.assets import registry
from filestack_tags.exceptions import ConfigurationError
from filestack_tags.filestack.webhook_signatures import sign_webhook
from filestack_tags.models import Asset, TaggingRun, WebhookDelivery
from filestack_tags.operations import retention
from filestack_tags.testing.payloads import event, fp_delete
from tests import signed_headers

URL = "/filestack/webhook/"

pytestmark = pytest.mark.django_db


def test_the_payload_of_filestacks_tagging_page_is_found_by_tag_and_confidence(
    deliver: Any, payload: Any
) -> None:
    response = deliver(payload("webhook_fs_workflow_tags.json"))

    assert response.status_code == 200
    (asset,) = Asset.objects.search("umbrella>=95")
    assert asset.reference == "VJQTvCboRVivWJ2BpKgd"
    assert asset.tagging_state == Asset.State.TAGGED
    assert not Asset.objects.search("umbrella>=98").exists()


def test_a_delivery_is_stored_whole_but_not_its_signature(deliver: Any, payload: Any) -> None:
    body = payload("webhook_fp_delete.json")
    deliver(
        body,
        **{
            "User-Agent": "Filestack",
            "FS-Timestamp": (sent := signed_headers(body))["FS-Timestamp"],
            "FS-Signature": sent["FS-Signature"],
        },
    )
    (delivery,) = WebhookDelivery.objects.all()
    assert bytes(delivery.raw_body) == body
    assert delivery.headers == {
        "FS-Timestamp": sent["FS-Timestamp"],
        "User-Agent": "Filestack",
        "Content-Type": "application/json",
    }
    assert delivery.state == WebhookDelivery.State.PROCESSED
    assert delivery.action == "fp.delete"


def test_the_same_event_twice_is_stored_once_and_counted(deliver: Any, payload: Any) -> None:
    body = payload("webhook_fs_workflow_tags.json")
    assert deliver(body).content == b"Stored.\n"
    assert deliver(body).content == b"Duplicate.\n"
    (delivery,) = WebhookDelivery.objects.all()
    assert delivery.duplicates == 1
    assert TaggingRun.objects.count() == 1


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
def test_only_post_is_answered(client: Client, method: str) -> None:
    assert getattr(client, method)(URL).status_code == 405


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"FS-Signature": "0" * 64}, 403),
        ({"FS-Signature": "0" * 63}, 400),
        ({"FS-Signature": "é" * 64}, 400),
        ({"FS-Signature": ""}, 400),
        ({"FS-Timestamp": ""}, 400),
        ({"FS-Timestamp": "soon"}, 400),
        ({"FS-Timestamp": "١٢٣"}, 400),
        ({"FS-Timestamp": "9" * 5000}, 400),
        ({"FS-Timestamp": "1710000011"}, 403),
    ],
)
def test_a_bad_signature_is_refused_and_nothing_is_stored(
    deliver: Any, payload: Any, headers: dict[str, str], status: int
) -> None:
    response = deliver(payload("webhook_fp_upload.json"), **headers)
    assert response.status_code == status
    assert b"Traceback" not in response.content
    assert not WebhookDelivery.objects.exists()


def test_unsigned_requests_are_refused(client: Client) -> None:
    response = client.post(URL, b"{}", content_type="application/json")
    assert response.status_code == 400
    assert b"FS-Timestamp header is missing" in response.content
    assert not WebhookDelivery.objects.exists()


def test_each_of_several_secrets_may_have_signed(client: Client, settings: Any) -> None:
    settings.FILESTACK_TAGS = {"WEBHOOK_SECRETS": ["new", "old"]}
    for secret, status in (("new", 200), ("old", 200), ("older", 403)):
        body = json.dumps(event("fp.dialog", {"secret": len(secret)})).encode()
        headers = signed_headers(body, secret)
        response = client.post(URL, body, content_type="application/json", headers=headers)
        assert response.status_code == status


def test_without_a_secret_filestack_is_asked_to_come_again(deliver: Any, settings: Any) -> None:
    settings.FILESTACK_TAGS = {}
    response = deliver(b"{}")
    assert response.status_code == 503
    assert b"WEBHOOK_SECRETS" in response.content


def test_a_body_above_the_limit_is_refused(deliver: Any, settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"WEBHOOK_MAX_SIZE": 10}
    assert deliver(b"0123456789").status_code == 200
    assert deliver(b"0123456789a").status_code == 413
    assert WebhookDelivery.objects.exclude(error_code="too_large").count() == 1


DAY = 86400


@pytest.mark.parametrize(
    ("tolerance", "age", "status"),
    [
        ("default", 0, 200),
        ("default", 12 * 3600 + 36 * 60, 200),  # the last retry, with its first timestamp
        ("default", 13 * 3600, 200),
        ("default", DAY, 403),
        ("default", 30 * DAY, 403),
        ("default", -240, 200),
        ("default", -3600, 403),
        (60, 30, 200),
        (60, 90, 403),
        (None, 3650 * DAY, 200),
        (None, -DAY, 200),
    ],
)
def test_a_signature_is_accepted_for_as_long_as_filestack_may_retry(
    deliver: Any, settings: Any, tolerance: Any, age: int, status: int
) -> None:
    if tolerance != "default":
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"WEBHOOK_TOLERANCE": tolerance}
    timestamp = str(int(time.time()) - age)
    signature = sign_webhook(b"{}", timestamp, "whsec-A")
    response = deliver(b"{}", **{"FS-Timestamp": timestamp, "FS-Signature": signature})
    assert response.status_code == status


def test_a_pruned_deletion_does_not_take_effect_again(client: Client, deliver: Any) -> None:
    body = json.dumps(fp_delete("HANDLE")).encode()
    signed = signed_headers(body)
    assert deliver(body, **signed).status_code == 200
    asset = Asset.objects.get()
    registry.restore(asset.pk)
    with time_machine.travel(timezone.now() + timedelta(days=31), tick=False):
        assert retention.prune().deliveries == 1
        response = deliver(body, **signed)
    assert (response.status_code, response.content) == (
        403, b"FS-Timestamp is more than 57600 seconds old.\n",
    )  # fmt: skip
    asset.refresh_from_db()
    assert asset.deleted_at is None


@pytest.mark.parametrize(
    ("tolerance", "days", "is_allowed"),
    [
        ("default", 1, True), (None, 1, True), (86_099, 1, True), (86_101, 1, False),
        (86_101, 2, True), (30 * DAY, 30, False), (30 * DAY, 31, True),
    ],
)  # fmt: skip
def test_deliveries_are_kept_for_longer_than_their_signature_is_accepted(
    settings: Any, tolerance: Any, days: int, is_allowed: bool
) -> None:
    values = {} if tolerance == "default" else {"WEBHOOK_TOLERANCE": tolerance}
    kept = values | {"DELIVERY_RETENTION_DAYS": days}
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | kept
    found = [problem.id for problem in checks.check_settings()]
    assert found == ([] if is_allowed else ["filestack_tags.E041"])
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"DELIVERY_RETENTION_DAYS": 365}
    if is_allowed:
        retention.prune(deliveries=days)
    else:
        with pytest.raises(ConfigurationError, match="WEBHOOK_TOLERANCE"):
            retention.prune(deliveries=days)


def test_the_endpoint_needs_no_login_and_no_csrf_token(settings: Any, payload: Any) -> None:
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    body = payload("webhook_fp_delete.json")
    headers = signed_headers(body)
    client = Client(enforce_csrf_checks=True)
    response = client.post(URL, body, content_type="application/json", headers=headers)
    assert response.status_code == 200


def test_refusals_are_counted_by_reason(deliver: Any) -> None:
    counted: list[tuple[str, dict[str, str]]] = []
    end = metrics.subscribe(lambda told: counted.append((told.name, dict(told.labels))))
    deliver(b"{}", **{"FS-Signature": "0" * 64})
    end()
    assert counted == [("webhook.refused", {"reason": "signature"})]


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{", b"\xff\xfe", b'{"action": 1}', b'{"text": {}}', b"[" * 100_000],
)
def test_signed_nonsense_is_stored_and_never_an_error(deliver: Any, body: bytes) -> None:
    assert deliver(body).status_code == 200
    (delivery,) = WebhookDelivery.objects.all()
    assert bytes(delivery.raw_body) == body
    assert delivery.state in (WebhookDelivery.State.FAILED, WebhookDelivery.State.IGNORED)
    assert delivery.error or delivery.outcome


def test_the_request_itself_only_stores(
    client: Client, payload: Any, django_assert_num_queries: Any
) -> None:
    body = payload("webhook_fs_workflow_tags.json")
    headers = signed_headers(body)
    # The insert inside a savepoint; for a duplicate also its count and the look-up of its id.
    for answer, queries in ((b"Stored.\n", 3), (b"Duplicate.\n", 6)):
        with django_assert_num_queries(queries):
            response = client.post(URL, body, content_type="application/json", headers=headers)
        assert response.content == answer
    assert not Asset.objects.exists()


def test_an_answer_says_how_long_it_is(deliver: Any) -> None:
    """Without CommonMiddleware nothing else sets it, and servers would send chunks."""
    response = deliver(b"{}")
    assert response["Content-Length"] == str(len(response.content))
