"""Direct uploads: what a browser gets."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from filestack_tags.assets import upload_policy
from filestack_tags.exceptions import ConfigurationError
from filestack_tags.filestack.storage import Storage
from filestack_tags.testing.policies import PolicyRefused, Wanted, check

SECRET = "TESTSECRET0000000000000000"


def policy(permit: upload_policy.UploadPermit) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(permit.policy))
    return read


def allows(permit: upload_policy.UploadPermit, **wanted: Any) -> bool:
    try:
        check(permit.policy, permit.signature, SECRET, Wanted(**{"call": "store"} | wanted))
    except PolicyRefused:
        return False
    return True


def test_it_stores_files_of_the_allowed_size_and_does_nothing_else() -> None:
    permit = upload_policy.permit(upload_policy.UploadRules())

    assert policy(permit).keys() == {"call", "expiry", "maxSize"}
    assert policy(permit)["call"] == ["pick", "store"]
    assert allows(permit, size=100 * 1024 * 1024)
    assert not allows(permit, size=100 * 1024 * 1024 + 1)
    for call in ("read", "stat", "write", "writeUrl", "convert", "remove", "runWorkflow"):
        assert not allows(permit, call=call)


def test_container_and_path_are_the_only_ones_when_they_are_set(settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "STORAGE": {"container": "box.eu", "path": "in"},
    }
    permit = upload_policy.permit(upload_policy.UploadRules())

    assert permit.rules.storage == Storage(container="box.eu", path="in/")
    assert allows(permit, container="box.eu", path="in/2026/")
    assert not allows(permit, container="boxxeu", path="in/")
    for container, path in (
        ("box.eu", "out/in/"),
        ("box.eu", "in"),
        ("box.eu", "inner/"),
        ("box.eu", ""),
        ("box.eu2", "in/"),
        ("", "in/"),
    ):
        assert not allows(permit, container=container, path=path)


def test_it_expires_when_it_says() -> None:
    now = datetime(2026, 5, 1, 12, 0, 0, 900_000, tzinfo=UTC)

    permit = upload_policy.permit(upload_policy.UploadRules(), now=now)

    assert permit.expires_at == now.replace(microsecond=0) + timedelta(seconds=600)
    assert policy(permit)["expiry"] == permit.expires_at.timestamp()


@pytest.mark.parametrize("missing", ["API_KEY", "APP_SECRET"])
def test_without_key_or_secret_there_is_none(settings: Any, missing: str) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {missing: ""}

    with pytest.raises(ConfigurationError, match=missing):
        upload_policy.permit(upload_policy.UploadRules())


def test_it_shows_neither_policy_nor_signature() -> None:
    permit = upload_policy.permit(upload_policy.UploadRules())

    assert permit.policy not in repr(permit)
    assert permit.signature not in repr(permit)
    assert permit.api_key not in repr(permit)
