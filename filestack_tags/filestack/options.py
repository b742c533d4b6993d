"""Options of a client, set in code or from the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Required, TypedDict
from urllib.parse import urlsplit

from .storage import Storage
from .urls import normalized


class Options(TypedDict, total=False):
    """Options of a client; :class:`FilestackClient` describes each."""

    api_key: str
    app_secret: Required[str]
    cdn_url: str
    api_url: str
    connect_timeout: float
    read_timeout: float
    policy_expiry: int
    storage: Storage
    clock: Callable[[], float]


def configured() -> Options:
    """Return the options from the current ``FILESTACK_TAGS``."""
    # Imported here, so that the library can be used without Django.
    from filestack_tags.conf import get_settings

    settings = get_settings()
    return {
        "api_key": settings.API_KEY,
        "app_secret": settings.APP_SECRET,
        "cdn_url": settings.CDN_URL,
        "api_url": settings.API_URL,
        "connect_timeout": settings.CONNECT_TIMEOUT,
        "read_timeout": settings.READ_TIMEOUT,
        "policy_expiry": settings.POLICY_EXPIRY,
        "storage": Storage.of(settings.STORAGE),
    }


def file_hosts() -> set[str]:
    """Return the hosts in the settings that serve stored files, such as a CNAME."""
    from filestack_tags.conf import get_settings  # for the reason given in configured()

    settings = get_settings()
    return {urlsplit(normalized(url)).netloc for url in (settings.CDN_URL, settings.API_URL)}
