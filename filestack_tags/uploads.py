"""What a browser needs to put files into Filestack itself: limits, and a policy for a while.

The API key is public where a browser uploads, the app's secret never leaves. Whoever asks must
have been allowed to by the caller: the policy stores files until it expires.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.utils import timezone

from .conf import get_settings
from .exceptions import ConfigurationError
from .filestack.security import Security

CALLS = ("pick", "store")
"""What the policy allows: to add files; not to read, change or delete any."""


@dataclass(frozen=True)
class UploadLimits:
    """What may be uploaded: most bytes in a file, most files at a time, which MIME types.

    Filestack holds uploads to ``max_size``, by the policy. The rest is kept by the client.
    """

    max_size: int
    max_files: int
    mimetypes: tuple[str, ...]


@dataclass(frozen=True)
class UploadPermit:
    """A signed policy, and all else a client of Filestack's multipart upload is told.

    Its repr shows neither policy nor signature.
    """

    api_key: str = field(repr=False)
    policy: str = field(repr=False)
    signature: str = field(repr=False)
    expires_at: datetime
    """Aware. Each step of an upload is signed; Filestack may refuse those that come later."""
    upload_url: str
    """Host of the multipart upload, without a slash at the end."""
    container: str
    """Where files have to be stored, as store options; empty for the app's own choice."""
    path: str
    limits: UploadLimits


def limits() -> UploadLimits:
    """Return what may be uploaded, as the settings say."""
    settings = get_settings()
    return UploadLimits(
        settings.UPLOAD_MAX_SIZE, settings.UPLOAD_MAX_FILES, settings.UPLOAD_MIMETYPES
    )


def permit(*, now: datetime | None = None) -> UploadPermit:
    """Return a permit for one batch of files, good for ``UPLOAD_POLICY_EXPIRY`` seconds.

    Reads the settings alone, and writes nothing. A policy cannot be withdrawn before it expires.

    Args:
        now: an aware datetime; the present, if not given.

    Raises:
        ConfigurationError: when ``API_KEY`` or ``APP_SECRET`` is empty.
    """
    settings = get_settings()
    if not settings.API_KEY:
        raise ConfigurationError(
            "FILESTACK_TAGS['API_KEY'] is empty: uploads have to name the app. "
            "Copy it from the Filestack portal."
        )
    moment = (now or timezone.now()).timestamp()
    signed = Security(settings.APP_SECRET, clock=lambda: moment).policy_for(
        CALLS,
        expires_in=settings.UPLOAD_POLICY_EXPIRY,
        max_size=settings.UPLOAD_MAX_SIZE,
        container=settings.UPLOAD_CONTAINER,
        path=settings.UPLOAD_PATH,
    )
    return UploadPermit(
        api_key=settings.API_KEY,
        policy=signed.policy,
        signature=signed.signature,
        expires_at=datetime.fromtimestamp(int(moment), UTC)
        + timedelta(seconds=settings.UPLOAD_POLICY_EXPIRY),
        upload_url=settings.UPLOAD_URL.rstrip("/"),
        container=settings.UPLOAD_CONTAINER,
        path=settings.UPLOAD_PATH,
        limits=limits(),
    )
