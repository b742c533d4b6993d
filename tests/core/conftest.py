from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from filestack_tags.assets import registry
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, AssetTag
from tests import scripted, signed_headers

PAYLOADS = Path(__file__).parent.parent / "payloads"
SECRET = "whsec-A"


@pytest.fixture
def payload() -> Callable[[str], bytes]:
    """Return the exact bytes of a recorded payload."""
    return lambda name: (PAYLOADS / name).read_bytes()


@pytest.fixture
def deliver(client: Client, django_capture_on_commit_callbacks: Any) -> Callable[..., Any]:
    """Post a signed webhook like Filestack, and run its tasks as after a commit."""

    def post(body: bytes | Mapping[str, Any], **headers: str) -> Any:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        signed = signed_headers(raw, SECRET) | headers
        with django_capture_on_commit_callbacks(execute=True):
            return client.post(
                "/filestack/webhook/", raw, content_type="application/json", headers=signed
            )

    return post


@pytest.fixture
def script(settings: Any) -> Iterator[list[Any]]:
    """Use the scripted tagger; the list contains its next replies."""
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "TAGGER": "tests.scripted.ScriptedTagger"
    }
    scripted.answers[:] = [scripted.reply({"sky": 90})]
    scripted.asked.clear()
    yield scripted.answers
    scripted.answers.clear()


@pytest.fixture
def asset(db: None) -> Asset:
    return registry.register(Source.handle("VJQTvCboRVivWJ2BpKgd"))[0]


@pytest.fixture
def tags_of() -> Callable[[Asset], dict[str, int]]:
    """Return ``{key: confidence}`` of an asset's rows, without rejected ones."""

    def read(asset: Asset) -> dict[str, int]:
        rows = AssetTag.objects.filter(asset=asset).exclude(decision=AssetTag.Decision.REJECTED)
        return dict(rows.values_list("tag__key", "confidence"))

    return read
