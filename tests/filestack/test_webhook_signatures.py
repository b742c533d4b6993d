"""Webhook signatures: ours against published vectors, the SDK, and hostile headers."""

from __future__ import annotations

import pytest
from django.test import RequestFactory
from filestack.helpers import verify_webhook_signature
from hypothesis import given
from hypothesis import strategies as st

from filestack_tags.exceptions import (
    WebhookError,
    WebhookMalformed,
    WebhookNotConfigured,
    WebhookSignatureInvalid,
)
from filestack_tags.filestack.webhook_signatures import sign_webhook, verify_webhook
from tests.payloads import decoded, payload

VECTORS = decoded("webhook_vectors.json")
SECRET = "whsec-A"
BODY = b'{"id":1}'


def headers(signature: str, timestamp: str = "1710000000") -> dict[str, str]:
    return {"FS-Signature": signature, "FS-Timestamp": timestamp}


def signed(timestamp: str = "1710000000", secret: str = SECRET) -> dict[str, str]:
    return headers(sign_webhook(BODY, timestamp, secret), timestamp)


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["fs_timestamp"]])
def test_every_published_signature_is_accepted(vector):
    body = payload(vector["fixture"]) if "fixture" in vector else vector["body"].encode()
    given_headers = headers(vector["fs_signature"], vector["fs_timestamp"])
    assert verify_webhook(body, given_headers, [vector["secret"]]) == vector["fs_timestamp"]


def test_an_empty_timestamp_is_refused_although_its_hmac_is_right():
    [vector] = [v for v in VECTORS if not v["fs_timestamp"]]
    assert sign_webhook(vector["body"].encode(), "", vector["secret"]) == vector["fs_signature"]
    with pytest.raises(WebhookMalformed):
        verify_webhook(
            vector["body"].encode(), headers(vector["fs_signature"], ""), [vector["secret"]]
        )


@given(
    body=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(str.encode),
    timestamp=st.integers(0, 10**19).map(str),
    secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
def test_the_official_sdk_agrees_with_our_signature(body, timestamp, secret):
    signature = sign_webhook(body, timestamp, secret)
    assert verify_webhook_signature(secret, body, headers(signature, timestamp)) == (True, {})
    assert verify_webhook(body, headers(signature, timestamp), [secret]) == timestamp


@given(
    body=st.binary(min_size=1), position=st.integers(0, 10**6), timestamp=st.integers(0, 10**12)
)
def test_one_changed_byte_is_noticed(body, position, timestamp):
    signature = sign_webhook(body, timestamp, SECRET)
    changed = bytearray(body or b"x")
    changed[position % len(changed)] ^= 1
    with pytest.raises(WebhookSignatureInvalid):
        verify_webhook(bytes(changed), headers(signature, str(timestamp)), [SECRET])
    with pytest.raises(WebhookSignatureInvalid):
        verify_webhook(body, headers(signature, str(timestamp + 1)), [SECRET])


@given(
    st.dictionaries(
        st.sampled_from(["FS-Signature", "fs-signature", "Fs-Timestamp", "FS-Timestamp", "X"])
        | st.text(max_size=5),
        st.text() | st.from_regex(r"[0-9a-f]{64}", fullmatch=True) | st.just("1710000000"),
    ),
    st.binary(max_size=50),
)
def test_hostile_headers_are_refused_and_nothing_else_happens(given_headers, body):
    with pytest.raises(WebhookError) as caught:
        verify_webhook(body, given_headers, [SECRET])
    assert caught.value.status in (400, 403)


@pytest.mark.parametrize(
    ("given_headers", "name"),
    [
        ({}, "FS-Timestamp header is missing"),
        ({"FS-Timestamp": "1"}, "FS-Signature header is missing"),
        ({"FS-Signature": "0" * 64}, "FS-Timestamp header is missing"),
        (headers("0" * 64, ""), "FS-Timestamp header is not"),
        (headers("0" * 64, "1" * 21), "FS-Timestamp header is not"),
        (headers("0" * 64, "١٢٣"), "FS-Timestamp header is not"),
        (headers("0" * 64, "1\n"), "FS-Timestamp header is not"),
        (headers("0" * 64, "-1"), "FS-Timestamp header is not"),
        (headers(""), "FS-Signature header is not"),
        (headers("0" * 63), "FS-Signature header is not"),
        (headers("0" * 6500), "FS-Signature header is not"),
        (headers("g" * 64), "FS-Signature header is not"),
        (headers("ü" * 64), "FS-Signature header is not"),
        ({**headers("0" * 64), "fs-signature": "0" * 64}, "FS-Signature header is not"),
    ],
)
def test_malformed_headers_are_named(given_headers, name):
    with pytest.raises(WebhookMalformed, match=name) as caught:
        verify_webhook(BODY, given_headers, [SECRET])
    assert (caught.value.status, caught.value.reason) == (400, "malformed")


def test_djangos_headers_are_read_in_any_case():
    request = RequestFactory().post("/", headers=signed())
    assert verify_webhook(BODY, request.headers, [SECRET]) == "1710000000"
    assert verify_webhook(BODY, {k.lower(): v for k, v in signed().items()}, [SECRET])


@pytest.mark.parametrize("secrets", [["new", SECRET], [SECRET, "old"], ["", SECRET]])
def test_any_of_several_secrets_may_have_signed(secrets):
    assert verify_webhook(BODY, signed(), secrets) == "1710000000"


@pytest.mark.parametrize("secrets", [[], [""]])
def test_without_a_secret_nothing_is_accepted(secrets):
    with pytest.raises(WebhookNotConfigured, match="WEBHOOK_SECRETS") as caught:
        verify_webhook(BODY, headers(sign_webhook(BODY, 1710000000, "")), secrets)
    assert caught.value.status == 503


def test_the_right_signature_is_never_revealed():
    right = signed()["FS-Signature"]
    with pytest.raises(WebhookSignatureInvalid) as caught:
        verify_webhook(BODY, headers("0" * 64), [SECRET])
    assert caught.value.status == 403
    assert right not in f"{caught.value!r}{caught.value}"
    assert SECRET not in f"{caught.value!r}{caught.value}"


@pytest.mark.parametrize("age", [-300, 0, 300])
def test_a_timestamp_within_the_tolerance_is_accepted(age):
    assert verify_webhook(BODY, signed(), [SECRET], tolerance=300, now=1710000000 + age)


@pytest.mark.parametrize("age", [-301, 301])
def test_a_timestamp_beyond_the_tolerance_is_stale(age):
    with pytest.raises(WebhookSignatureInvalid, match="300 seconds") as caught:
        verify_webhook(BODY, signed(), [SECRET], tolerance=300, now=1710000000 + age)
    assert (caught.value.status, caught.value.reason) == (403, "stale")


def test_the_clock_of_this_machine_is_used_by_default():
    with pytest.raises(WebhookSignatureInvalid, match="seconds old"):
        verify_webhook(BODY, signed(), [SECRET], tolerance=60)


def test_any_age_is_accepted_without_a_tolerance():
    assert verify_webhook(BODY, signed("1"), [SECRET]) == "1"
