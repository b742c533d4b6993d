"""The endpoint, and the processing behind it, with arbitrary requests."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from filestack_tags import tasks
from filestack_tags.models import AssetTag, TaggingRun, WebhookDelivery
from tests import examples, scripted, signed_headers

from .strategies import bodies, webhooks, written

URL = "/filestack/webhook/"
State = WebhookDelivery.State
ENDS = {State.PROCESSED, State.IGNORED, State.FAILED}
LATIN = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\x00"), max_size=80)

values = LATIN | st.sampled_from(["1710000010", "0", "9" * 30, "-1", "1e3", "0" * 64, "f" * 64])
# The server checks the length of the body, before Django sees the request.
headers = st.dictionaries(
    st.sampled_from(["FS-Timestamp", "FS-Signature", "User-Agent", "X-Forwarded-For", "Cookie"]),
    values,
)  # fmt: skip
content_types = LATIN | st.sampled_from(
    ["application/json", "multipart/form-data", "multipart/form-data; boundary=x",
     "application/x-www-form-urlencoded", "text/plain; charset=no-such"]
)  # fmt: skip


@override_settings(
    FILESTACK_TAGS={
        **settings.FILESTACK_TAGS,
        "TAGGER": "tests.scripted.ScriptedTagger",
        "WORKFLOWS": {"look": "c516519f-3755-4fb5-85a4-15ae4b31d475"},
        "RULES": {"sky": 'tags.auto kex "sky"', "sure": "tags.auto.sky gte 50", "not": "a = 1"},
    }
)
class TestAnything(TestCase):
    def setUp(self) -> None:
        super().setUp()
        scripted.answers[:] = [scripted.reply({"sky": 90})]

    def post(self, body: bytes, *, content_type: str = "application/json", **given: str) -> Any:
        with self.captureOnCommitCallbacks(execute=True):
            return self.client.generic("POST", URL, body, content_type, headers=given)

    def signed(self, body: bytes) -> Any:
        return self.post(body, **signed_headers(body))

    def assert_at_an_end(self) -> None:
        for delivery in WebhookDelivery.objects.all():
            reason = delivery.error or delivery.outcome
            assert delivery.state in ENDS, reason
            assert reason
            assert "Traceback" not in reason
            assert delivery.due_at is None
        assert not TaggingRun.objects.exclude(state__in=["succeeded", "failed", "superseded"])
        for score, confidence in AssetTag.objects.values_list("score", "confidence"):
            assert score in (confidence, -1)

    @given(st.lists(webhooks.map(written), min_size=1, max_size=3) | bodies.map(lambda x: [x]))
    def test_what_is_signed_is_stored_and_comes_to_an_end(self, sent: list[bytes]) -> None:
        for body in sent:
            response = self.signed(body)
            assert response.status_code == 200
            assert response.content in (b"Stored.\n", b"Duplicate.\n")
        self.assert_at_an_end()
        before = list(WebhookDelivery.objects.values_list("pk", "state"))
        with self.captureOnCommitCallbacks(execute=True):
            tasks.replay(pk for pk, _ in before)
        self.assert_at_an_end()

    @given(bodies, headers, content_types)
    def test_what_is_not_signed_is_refused_in_a_sentence(
        self, body: bytes, given: dict[str, str], content_type: str
    ) -> None:
        response = self.post(body, content_type=content_type, **given)
        assert response.status_code in (400, 403)
        assert response["Content-Type"].startswith("text/plain")
        assert response.content.endswith(b".\n")
        assert b"Traceback" not in response.content
        assert not WebhookDelivery.objects.exists()

    @examples(20)
    @given(st.integers(1, 300))
    def test_no_nesting_is_too_deep(self, depth: int) -> None:
        for opening, closing in (("[", "]"), ('{"text":', "}")):
            body = opening * depth + json.dumps(depth) + closing * depth
            assert self.signed(body.encode()).status_code == 200
        self.assert_at_an_end()
