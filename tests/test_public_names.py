"""The public names: importable before Django's apps, and complete."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

import filestack_tags
from filestack_tags import archive, curation, register, request_tagging, restore
from filestack_tags.exceptions import WebhookError
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, Tag, WebhookDelivery
from filestack_tags.testing import signed_request
from filestack_tags.testing.payloads import fp_upload
from filestack_tags.views import WebhookView

ROOT = Path(__file__).resolve().parents[1]

BEFORE_APPS = """
import sys
import filestack_tags
assert not [name for name in sys.modules if name.startswith(("django", "filestack_tags."))]
assert {*filestack_tags.__all__} <= {*dir(filestack_tags)}
assert filestack_tags.__version__
"""


def test_the_package_imports_nothing_before_it_is_used() -> None:
    subprocess.run([sys.executable, "-c", BEFORE_APPS], cwd=ROOT, check=True)


@pytest.mark.parametrize("name", filestack_tags.__all__)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    assert getattr(filestack_tags, name).__name__ == name
    reference = (ROOT / "docs/reference/python.md").read_text("utf-8")
    assert re.search(rf"^from filestack_tags import .*\b{name}\b", reference, re.MULTILINE)


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = filestack_tags.nothing


@pytest.mark.django_db
def test_functions_take_an_asset_or_its_id_and_a_tag_or_its_name() -> None:
    asset, created = register(Source.handle("h1"), tag=False)
    assert created
    assert archive(asset) is True
    assert restore(asset.pk) is True
    assert request_tagging(asset) == [asset.pk]
    added = curation.add(asset, "Sky", user=None)
    assert curation.reject(asset.pk, "SKY", user=None).tag == added.tag
    assert curation.accept(asset, added.tag, user=None).pk == added.pk
    assert curation.hide("sky").hidden
    with pytest.raises(Tag.DoesNotExist, match="sea"):
        curation.accept(asset, "sea", user=None)


@pytest.mark.django_db
def test_several_assets_are_queued_by_a_search() -> None:
    ids = [register(Source.handle(f"h{number}"), tag=False)[0].pk for number in range(2)]
    assert sorted(request_tagging(Asset.objects.all())) == ids


class OwnView(WebhookView):
    seen: list[int] = []

    def receive(self, body: bytes, headers: Any) -> Any:
        receipt = super().receive(body, headers)
        self.seen.append(len(body))
        return receipt

    def reject(self, error: WebhookError) -> HttpResponse:
        return HttpResponse(error.reason, status=error.status)


@pytest.mark.django_db
def test_the_webhook_view_can_be_subclassed(rf: RequestFactory, settings: Any) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "WEBHOOK_SECRETS": ["whsec-A"]}
    view = OwnView.as_view()
    body, headers = signed_request(fp_upload("HANDLE"), "whsec-A")
    assert view(rf.generic("POST", "/", body, headers=headers)).content == b"Stored.\n"
    assert OwnView.seen == [len(body)]
    assert WebhookDelivery.objects.count() == 1
    refused = view(rf.generic("POST", "/", body + b" ", headers=headers))
    assert (refused.status_code, refused.content) == (403, b"signature")
    assert view(rf.get("/")).status_code == 405
