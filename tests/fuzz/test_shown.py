"""Whatever a signed webhook or a reply contains, every page and response that shows it works."""

from __future__ import annotations

import json

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import override_settings
from django.urls import reverse
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from filestack_tags.db.text import sanitize_text
from filestack_tags.models import Asset, TaggingRun, WebhookDelivery
from tests import examples, signed_headers

from .strategies import hostile, webhooks

pytestmark = pytest.mark.slow

HANDLE = "VJQTvCboRVivWJ2BpKgd"
ODD_NUMBERS = [
    *("1e400", "-1e400", "NaN", "Infinity", "-Infinity", "1e-400", "-0", "-0.0", "0.1e1"),
    *("9" * 20, "9" * 400, "9" * 4300, "9" * 4301, "1" + "0" * 5000, "1." + "3" * 400),
    *(str(2**63), str(2**64), str(-(2**63) - 1), "1e308", "123456789012345678901.5"),
]
HUGE = b'{"action":"fp.upload","text":{"url":"https://x/a","upload_tags":{"a":1%s}}}' % (
    b"0" * 99
)
ODD_TEXTS = [
    *(r"\ud800", r"\udfff", r"\ud83d", r"\ud83d\ude00", r"\u0000", r"\u0001\u001b[31m"),
    *(r"\u202e", r"\u200b", r"\u2028", "</script><!--", "😀", "\x7f", r"\uffff", "e\u0301"),
]
odd = (
    st.sampled_from(ODD_NUMBERS)
    | st.sampled_from([f'"{text}"' for text in ODD_TEXTS])
    | st.integers(2, 900).map(lambda depth: "[" * depth + "]" * depth)
    | st.integers(2, 900).map(lambda depth: '{"a":' * depth + "1" + "}" * depth)
    | hostile.map(json.dumps)
)
"""JSON text, including values that Python's own writer would not produce."""

TEMPLATES = [
    '{"id":1,"action":"fp.upload@TEXT@","text":{"url":"https://x/@HANDLE@"}}',
    '{"id":@@,"action":"fp.upload","timestamp":@@,"text":{"url":"https://x/@HANDLE@","size":@@,'
    '"filename":@@,"mimetype":@@,"key":@@,"container":@@,"status":@@,"upload_tags":{"a":@@}}}',
    '{"id":2,"action":"fp.upload","text":{"url":"https://x/@HANDLE@","upload_tags":@@}}',
    '{"id":3,"action":"fs.workflow","text":{"workflow":"wf-1","jobid":"job-1","status":"Finished",'
    '"sources":["@HANDLE@"],"results":{"a":{"data":{"sfw":@@}},"@TEXT@":{"error":@@},'
    '"tags":{"data":{"tags":{"auto":{"sky":90,"@TEXT@":@@}}}}}}}',
    '{"workflow":"wf-1","results":{"a":{"data":@@}},"sources":["@HANDLE@"],"status":"Finished"}',
    '{"workflow":"wf-1","results":{"a":{"error":@@}},"sources":["@HANDLE@"],"status":"Failed"}',
    '@@',
]  # fmt: skip


@st.composite
def odd_bodies(draw: st.DrawFn) -> bytes:
    body = draw(st.sampled_from(TEMPLATES)).replace("@HANDLE@", HANDLE)
    while "@@" in body:
        body = body.replace("@@", draw(odd), 1)
    while "@TEXT@" in body:
        body = body.replace("@TEXT@", draw(st.sampled_from(ODD_TEXTS)), 1)
    return body.encode("utf-8", "surrogatepass")


@override_settings(
    FILESTACK_TAGS={
        **settings.FILESTACK_TAGS,
        "AUTO_TAG": False,
        "RULES": {"safe": "sfw eq true", "many": "sfw gt 1.5", "none": "sfw neq null"},
    }
)
class TestShown(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = User.objects.create_superuser("anna")

    def assert_shown(self) -> None:
        self.client.force_login(self.user)
        for name, model in (
            ("deliveries", WebhookDelivery), ("assets", Asset), ("runs", TaggingRun),
        ):  # fmt: skip
            admin = f"admin:filestack_tags_{model._meta.model_name}"
            urls = [reverse(f"{admin}_changelist"), f"/api/v1/{name}/"]
            for row in model.objects.all():
                urls.append(reverse(f"{admin}_change", args=[row.pk]))
                if not getattr(row, "deleted_at", None):  # the API has no archived assets
                    urls.append(f"/api/v1/{name}/{row.pk}/")
            for url in urls:
                response = self.client.get(url)
                assert response.status_code == 200, url
                if url.startswith("/api/"):
                    json.loads(b"".join(response) if response.streaming else response.content)

    @examples(25)
    @given(odd_bodies() | webhooks.map(lambda payload: json.dumps(payload).encode()))
    @example(b'{"action":"fp.upload\\ud800"}')
    @example(HUGE)
    def test_what_a_signed_webhook_holds_can_be_shown(self, body: bytes) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            response = self.client.generic(
                "POST",
                "/filestack/webhook/",
                body,
                "application/json",
                headers=signed_headers(body),
            )
        assert response.status_code == 200
        (delivery,) = WebhookDelivery.objects.all()
        assert delivery.state in ("processed", "ignored", "failed"), delivery.error
        assert "Traceback" not in delivery.error, delivery.error
        self.assert_shown()

    @examples(25)
    @given(odd_bodies(), st.booleans())
    @example(b'{"tags":{"auto":{"sky":1}},"a":"\\ud800"}', True)
    def test_what_a_reply_holds_can_be_shown(self, body: bytes, is_good: bool) -> None:
        asset = Asset.objects.create(kind="handle", reference=HANDLE, digest="d")
        text = sanitize_text(body.decode("utf-8", "surrogatepass"))
        for raw in (text, '{"tags":{"auto":{"sky":1},"user":null}}', text):
            TaggingRun.objects.create(
                asset=asset,
                tagger="filestack",
                trigger="code",
                content_version=1,
                state="succeeded" if is_good else "failed",
                raw_reply=raw,
                error=sanitize_text(text, 500),
            )
        self.assert_shown()
