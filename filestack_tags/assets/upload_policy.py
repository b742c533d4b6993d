"""Direct uploads from a browser to Filestack: the rules, and a policy for some minutes.

The API key is public in a browser that uploads; the app's secret never leaves the server. The
caller checks that the user may add files: the policy can store files until it expires.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.utils import timezone
from django.utils.module_loading import import_string

from filestack_tags.conf import SETTING, get_settings
from filestack_tags.exceptions import ConfigurationError, FileNotFound, UploadRefused
from filestack_tags.filestack.security import Security
from filestack_tags.filestack.storage import Storage

from .visibility import sees_everything

if TYPE_CHECKING:
    from .registry import Facts

CALLS = ("pick", "store")
"""What the policy allows: adding files, but not reading, changing or deleting any."""

TIMEOUT = 5.0
"""Seconds for the whole call to Filestack that checks an upload."""


def _storage() -> Storage:
    return Storage.of(get_settings().STORAGE)


@dataclass(frozen=True)
class UploadRules:
    """What a user may upload, and where it is stored. The defaults come from the settings.

    Filestack enforces ``storage.container``, ``storage.path`` and ``max_size``, which are in the
    policy. The rest is left to the client.
    """

    storage: Storage = field(default_factory=_storage)
    max_size: int = field(default_factory=lambda: get_settings().UPLOAD_MAX_SIZE)
    """Largest file, in bytes."""
    max_files: int = field(default_factory=lambda: get_settings().UPLOAD_MAX_FILES)
    """Most files at a time."""
    mimetypes: tuple[str, ...] = field(default_factory=lambda: get_settings().UPLOAD_MIMETYPES)


Hook = Callable[[Any, HttpRequest], UploadRules | None]


@dataclass(frozen=True)
class UploadPermit:
    """A signed policy, and everything else a client of Filestack's multipart upload needs.

    Its repr shows neither policy nor signature.
    """

    api_key: str = field(repr=False)
    policy: str = field(repr=False)
    signature: str = field(repr=False)
    expires_at: datetime
    """Aware. Each step of an upload is signed; Filestack may reject steps after this time."""
    upload_url: str
    """Host of the multipart upload, without a slash at the end."""
    rules: UploadRules


def rules_for(user: Any, request: HttpRequest) -> UploadRules:
    """Return what ``user`` may upload, by the setting ``UPLOAD_RULES``.

    Exceptions of the host's function propagate.

    Raises:
        UploadRefused: when the function returns None: this user may not upload.
        ConfigurationError: when the function or ``STORAGE`` cannot be used.
    """
    path = get_settings().UPLOAD_RULES
    if not path:
        return UploadRules()
    rules = hook(path)(user, request)
    if rules is None:
        raise UploadRefused("You do not have permission to upload files.")
    if not isinstance(rules, UploadRules):
        raise ConfigurationError(
            f"{SETTING}['UPLOAD_RULES'] returned {type(rules).__name__}: it must return "
            "filestack_tags.assets.upload_policy.UploadRules, or None for users who may not upload."
        )
    return rules


def permit(rules: UploadRules, *, now: datetime | None = None) -> UploadPermit:
    """Return a permit for one batch of files, valid for ``UPLOAD_POLICY_EXPIRY`` seconds.

    Only reads the settings. A policy cannot be withdrawn before it expires.

    Args:
        rules: of the user; see :func:`rules_for`.
        now: an aware datetime; defaults to the present.

    Raises:
        ConfigurationError: when ``API_KEY`` or ``APP_SECRET`` is empty.
    """
    settings = get_settings()
    if not settings.API_KEY:
        raise ConfigurationError(
            "FILESTACK_TAGS['API_KEY'] is empty: uploads need the key of the app. "
            "Copy it from the Filestack portal."
        )
    moment = (now or timezone.now()).timestamp()
    signed = Security(settings.APP_SECRET, clock=lambda: moment).policy_for(
        CALLS,
        expires_in=settings.UPLOAD_POLICY_EXPIRY,
        max_size=rules.max_size,
        container=rules.storage.container,
        path=rules.storage.path,
    )
    return UploadPermit(
        api_key=settings.API_KEY,
        policy=signed.policy,
        signature=signed.signature,
        expires_at=datetime.fromtimestamp(int(moment), UTC)
        + timedelta(seconds=settings.UPLOAD_POLICY_EXPIRY),
        upload_url=settings.UPLOAD_URL.rstrip("/"),
        rules=rules,
    )


def confirmed(handle: str, facts: Facts, *, user: Any, request: HttpRequest) -> Facts:
    """Return the facts about an uploaded file; Filestack's values replace the client's.

    If ``UPLOAD_RULES`` is set, or ``user`` has a scope, the file's metadata is fetched from
    Filestack, and the client's values for container and key are dropped. Otherwise nothing depends
    on them, and ``facts`` are returned unchanged.

    Args:
        handle: of the file.
        facts: as sent by the client.
        user: the user who uploaded it.
        request: the user's request.

    Raises:
        UploadRefused: when the user may not upload, Filestack has no such file, or the file is not
            where the user's rules allow or larger than they allow.
        FilestackError: when Filestack could not be reached, or rejected the call.
        ConfigurationError: when a needed setting is missing or cannot be used.
    """
    rules = rules_for(user, request)
    if not get_settings().UPLOAD_RULES and sees_everything(user):
        return facts
    from filestack_tags.filestack.shared_client import shared_client  # loads the HTTP client

    try:
        file = shared_client().metadata(handle, timeout=TIMEOUT)
    except FileNotFound as error:
        raise UploadRefused("Filestack has no file with this handle.") from error
    if not rules.storage.holds(file.container, file.key):
        raise UploadRefused("The file is not stored where you may upload.")
    if file.size is not None and file.size > rules.max_size:
        raise UploadRefused("The file is larger than you may upload.")
    return replace(
        facts,
        filename=file.filename or facts.filename,
        mimetype=file.mimetype or facts.mimetype,
        size=facts.size if file.size is None else file.size,
        width=file.width,
        height=file.height,
        sha256=file.sha256 or None,
        container=file.container or None,
        key=file.key or None,
        store_status=None,
    )


def hook(path: str) -> Hook:
    """Return the function at a dotted path.

    Raises:
        ConfigurationError: when it cannot be imported or is not callable.
    """
    try:
        rules: Hook = import_string(path)
    except ImportError as error:
        raise ConfigurationError(
            f"{SETTING}['UPLOAD_RULES'] cannot be imported: {error}"
        ) from error
    if not callable(rules):
        raise ConfigurationError(f"{SETTING}['UPLOAD_RULES'] is not a function.")
    return rules
