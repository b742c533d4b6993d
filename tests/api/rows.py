"""Assets with tags, created by the services, for the tests of the API and the admin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import Permission, User
from django.utils import timezone

from filestack_tags.assets import registry
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, TaggingRun
from filestack_tags.tagging import results
from tests import scripted


def tagged(
    reference: str,
    auto: Mapping[str, int] | None = None,
    user: Mapping[str, int] | None = None,
    **facts: Any,
) -> Asset:
    """Register a file and apply a reply with these tags; without tags it stays new."""
    asset, _ = registry.register(Source.parse(reference), facts=registry.Facts(**facts))
    if auto is None and user is None:
        return asset
    run = TaggingRun.objects.create(
        asset=asset,
        tagger="scripted",
        trigger=TaggingRun.Trigger.CODE,
        content_version=asset.content_version,
    )
    results.apply(run.pk, scripted.reply(auto or {}, user), result_at=timezone.now())
    asset.refresh_from_db()
    return asset


def person(name: str, *permissions: str, **kwargs: Any) -> User:
    """Return a user with exactly these permissions of this app."""
    user = User.objects.create_user(name, **kwargs)
    user.user_permissions.set(
        Permission.objects.filter(
            content_type__app_label="filestack_tags", codename__in=permissions
        )
    )
    assert user.user_permissions.count() == len(permissions)
    return user
