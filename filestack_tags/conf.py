"""The one setting, ``FILESTACK_TAGS``: a dict, read when it is needed and never at import.

Every key is a field of :class:`Settings`, with its default. System checks
(:mod:`filestack_tags.checks`) report unknown keys and wrong values. :func:`get_settings` also
rejects unknown keys: a misspelled ``ASSET_SCOPE`` must not show every asset to every user.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Literal

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from .exceptions import ConfigurationError

SETTING = "FILESTACK_TAGS"
HOUR = 3600

# The system checks derive the valid values of a setting from its annotation.
Confidence = Annotated[int, "0 to 100"]
Count = Annotated[int, "0 or more"]
Days = Annotated[int, "days"]
Url = Annotated[str, "http or https"]


@dataclass(frozen=True)
class Settings:
    """The effective settings. Durations are seconds, sizes bytes, confidences 0–100."""

    API_KEY: str = field(default="", repr=False)
    """The app's API key. Required for URLs, alias paths, workflows and uploads."""

    APP_SECRET: str = field(default="", repr=False)
    """The app's secret, which signs policies. Tagging always needs security."""

    CDN_URL: Url = "https://cdn.filestackcontent.com"
    """Where tagging calls are sent: the default host, a CNAME, or the emulator."""

    API_URL: Url = "https://www.filestackapi.com/api"
    """Where files are stored, described and deleted."""

    UPLOAD_URL: Url = "https://upload.filestackapi.com"
    """Where browsers upload: the default host, a CNAME, or the emulator."""

    UPLOAD_POLICY_EXPIRY: int = 600
    """Seconds for which a policy can store the files of a batch; renewed when it expires."""

    UPLOAD_MAX_SIZE: int = 100 * 1024 * 1024
    """Largest file a browser may upload, in bytes."""

    UPLOAD_MAX_FILES: int = 100
    """Maximum number of files uploaded at a time."""

    UPLOAD_MIMETYPES: tuple[str, ...] = ("image/*",)
    """The file types that the upload page accepts."""

    UPLOAD_RULES: str = ""
    """Dotted path of a function ``(user, request) -> UploadRules | None``: what a user may upload
    and where it is stored. None refuses the upload."""

    STORAGE: Mapping[str, str] = field(default_factory=dict)
    """Where Filestack stores files: ``location``, ``region``, ``container``, ``path``, ``access``.
    Read by uploads, files of models, and the client's ``store_url`` and ``store_bytes``."""

    CONNECT_TIMEOUT: float = 10.0
    """Seconds to resolve the name of a Filestack host, connect and start TLS."""

    READ_TIMEOUT: float = 60.0
    """Seconds for the rest of a call. Each call ends ``CONNECT_TIMEOUT + READ_TIMEOUT`` seconds
    after it began, even while bytes are still being transferred. Filestack publishes no figure.
    """

    POLICY_EXPIRY: int = 300
    """Seconds a policy signed for one call stays valid."""

    TAGGER: str = "filestack"
    """The default tagger: ``filestack``, ``workflow``, ``workflow:NAME``, ``local``, a name from
    ``TAGGERS``, or a dotted path."""

    TAGGERS: Mapping[str, str] = field(default_factory=dict)
    """Names for custom taggers, each with the dotted path of its class or factory. Requests and
    stored rows choose a custom tagger only by such a name."""

    TAGS_VERSION: Literal[1, 2] = 2
    """Version of Filestack's tagging: 2, or the deprecated 1."""

    TASKS_BEFORE_TAGS: tuple[str, ...] = ()
    """Tasks inserted before ``tags`` in the call, such as ``("resize=h:2000",)``."""

    WORKFLOW_ID: str = ""
    """The workflow that the ``workflow`` tagger runs."""

    WORKFLOWS: Mapping[str, str] = field(default_factory=dict)
    """Names of further workflows, each with its id; ``workflow:NAME`` is the tagger that runs it.
    """

    REGISTER_FROM_WORKFLOWS: tuple[str, ...] = ("*",)
    """Workflows whose jobs register a file if they were not started here, such as those of uploads:
    names or ids of workflows, or patterns; ``*`` for all.
    """

    RULES: Mapping[str, str] = field(default_factory=dict)
    """Names, each with a rule such as ``tags.auto kex "sky"``. The outcome of each rule for a
    result is recorded on its run.
    """

    AUTO_TAG: bool = True
    """Whether a newly registered or overwritten asset is tagged at once."""

    AUTO_TAG_UPLOADS: bool = True
    """Whether the ``fp.upload`` webhook also has the file tagged. Turn it off if uploads start a
    workflow that tags, or if the host registers its files; otherwise a file may be paid for
    twice.
    """

    AUTO_TAG_MIMETYPES: tuple[str, ...] = ("image/*",)
    """The file types that are tagged automatically; an unknown type counts as an image."""

    PUBLISH_TIMEOUT: float = 2.0
    """Longest wait for a broker that does not answer, in seconds. Requests wait for it only if
    1,000 messages are queued already.
    """

    MAX_ATTEMPTS: int = 6
    """Maximum attempts for one tagging request before the asset fails."""

    RETRY_DELAY: int = 15
    """Longest delay in seconds before the first retry; doubled for each further one. Half of the
    delay is random.
    """

    RETRY_DELAY_MAX: int = HOUR
    """Longest delay that the app chooses itself. ``Filestack-Reset`` may require more."""

    LEASE_SECONDS: int = 300
    """Seconds after which work in progress counts as abandoned and is resumed."""

    TAGGING_CONCURRENCY: int = 8
    """How many calls one worker process keeps in flight."""

    RATE_LIMIT: str = ""
    """Maximum rate of calls by all processes together, such as ``20/second`` or ``1000/minute``."""

    REDIS_URL: str = field(default="", repr=False)
    """Where processes share ``RATE_LIMIT``. Without it, each process has the full rate."""

    CIRCUIT_FAILURES: int = 5
    """Calls are paused after access was denied to this many different files in a row. An unknown
    API key pauses them at once.
    """

    CIRCUIT_DELAY: int = 60
    """Seconds before the first trial call after that; doubled each time it fails."""

    CIRCUIT_DELAY_MAX: int = HOUR
    """The longest such delay. ``Filestack-Reset`` may require more."""

    BUDGET_PER_DAY: Count | None = None
    """Maximum tagging calls in one day (UTC)."""

    BUDGET_PER_MONTH: Count | None = None
    """Maximum tagging calls in one calendar month (UTC)."""

    PRICE_PER_CALL: float | None = None
    """Cost of one tagging call, in your currency; for estimates only."""

    REUSE_TAGS_BY_HASH: bool = True
    """Whether files with the same bytes are tagged with one call. Their SHA-256 must be known when
    the call is made, which then bypasses Filestack's cache.
    """

    FETCH_METADATA: bool = False
    """Whether to fetch a file's SHA-256 from Filestack before it is tagged."""

    WORKFLOW_POLL_DELAY: int = 600
    """Seconds without a webhook after which a workflow job is polled; doubled each time, up to
    ``RETRY_DELAY_MAX``.
    """

    WORKFLOW_TIMEOUT: int = 47 * HOUR
    """Seconds after which a workflow job without a result fails. Filestack keeps results 48 h."""

    WEBHOOK_SECRETS: tuple[str, ...] = field(default=(), repr=False)
    """Secrets of the webhooks, newest first; several while one is being rotated."""

    WEBHOOK_TOLERANCE: int | None = 16 * HOUR
    """Oldest accepted ``FS-Timestamp``, in seconds; ``None`` for any. More than the 12 hours 36
    minutes after which Filestack may retry, because a retry may carry its first timestamp.
    """

    WEBHOOK_MAX_SIZE: int = 8 * 1024 * 1024
    """Largest webhook body accepted, in bytes. Tags with OCR of one page came to 1.7 MB. MariaDB
    accepts statements of 16 MiB by default, in which a body may take twice its size.
    """

    WEBHOOK_MAX_ATTEMPTS: int = 9
    """Maximum attempts to process one delivery before it fails. With the default ``RETRY_DELAY``
    the last one is 32 to 64 minutes after the first.
    """

    OUTBOUND_WEBHOOKS: bool = False
    """Whether outbound webhooks are sent to the endpoints listed in the admin."""

    OUTBOUND_TIMEOUT: float = 10.0
    """Seconds for the whole request to an endpoint, up to the headers of its response."""

    OUTBOUND_MAX_ATTEMPTS: int = 14
    """Maximum attempts to send a message. With the default ``RETRY_DELAY`` the last one is 10 to 21
    hours after the first.
    """

    OUTBOUND_ALLOW_INSECURE: bool = False
    """Whether endpoints may use plain http and private addresses, as in development."""

    OUTBOUND_RETENTION_DAYS: Days = 30
    """Days for which ``filestack_tags_prune`` keeps messages that were sent or have failed."""

    DELIVERY_RETENTION_DAYS: Days = 30
    """Days for which ``filestack_tags_prune`` keeps deliveries that were processed or ignored."""

    RAW_REPLY_RETENTION_DAYS: Days = 90
    """Days for which it keeps the raw reply of a run whose tags are no longer shown by any asset.
    """

    RUN_RETENTION_DAYS: Days = 365
    """Days for which it keeps runs after they ended; the current run of an asset is always kept."""

    EXPORT_RETENTION_DAYS: Days = 30
    """Days for which it keeps the file of an export after its bulk job has ended."""

    UNDO_RETENTION_DAYS: Days = 90
    """Days for which it keeps the data needed to undo: the rows as they were before a merge of
    tags, and what bulk jobs recorded about single assets.
    """

    METRICS_SINKS: tuple[str, ...] = ()
    """Where metrics go: ``logging``, ``prometheus``, ``opentelemetry``, or dotted paths."""

    ASSET_SCOPE: str = ""
    """Dotted path of a function ``(user) -> Q | None`` that returns the assets a user may see. None
    means all, as without a function.
    """

    ALLOW_PRIVATE_URLS: bool = False
    """Whether API clients and admin users may register external URLs of private hosts: addresses
    that are not public, special-use names, names without a dot.
    """

    WRITES_PER_MINUTE: Count | None = 600
    """Maximum API writes by one user in a minute; None for no limit."""

    NEW_TAGS_PER_HOUR: Count | None = 200
    """Maximum new tag names that one user creates in an hour; None for no limit."""

    NEW_TAGS_PER_HOUR_IN_SCOPE: Count | None = 1000
    """Maximum new tag names that all users with the same ``ASSET_SCOPE`` create in an hour."""

    MIN_CONFIDENCE: Confidence = 0
    """Tags below this confidence are stored but not shown, nor found by name alone."""

    HIDE_SENSITIVE: bool = False
    """Whether sensitive labels are hidden from searches, facets and the API until a user approves
    them, or accepts or adds them on an asset.
    """

    SENSITIVE_LABELS: tuple[str, ...] = ()
    """Labels that count as sensitive in addition to the shipped list."""

    SENSITIVE_LABELS_EXCLUDE: tuple[str, ...] = ()
    """Labels on that list that do not count as sensitive."""

    SEARCH_MAX_LENGTH: int = 1000
    """Longest search, in characters."""

    SEARCH_MAX_TERMS: int = 32
    """Maximum terms in one search."""

    SEARCH_MAX_DEPTH: int = 10
    """Deepest nesting of parentheses in one search."""

    SEARCH_MAX_WILDCARD_TAGS: int = 1000
    """Maximum number of tags that one ``prefix*`` may match."""

    SEARCH_TIMEOUT: float | None = 5.0
    """Time limit for a search in the database; None for no limit."""


RENAMED = {
    "ASK_FOR_SHA256": "FETCH_METADATA",
    "CONCURRENCY": "TAGGING_CONCURRENCY",
    "KEEP_DELIVERIES": "DELIVERY_RETENTION_DAYS",
    "KEEP_EXPORTS": "EXPORT_RETENTION_DAYS",
    "KEEP_OUTBOUND": "OUTBOUND_RETENTION_DAYS",
    "KEEP_RAW_REPLIES": "RAW_REPLY_RETENTION_DAYS",
    "KEEP_RUNS": "RUN_RETENTION_DAYS",
    "KEEP_UNDO": "UNDO_RETENTION_DAYS",
    "LEASE": "LEASE_SECONDS",
    "NOT_SENSITIVE_LABELS": "SENSITIVE_LABELS_EXCLUDE",
    "SCOPE": "ASSET_SCOPE",
    "SEARCH_TIMEOUT_SECONDS": "SEARCH_TIMEOUT",
    "SHARE_TAGS": "REUSE_TAGS_BY_HASH",
    "SINKS": "METRICS_SINKS",
    "UPLOAD_CONTAINER": "STORAGE",
    "UPLOAD_PATH": "STORAGE",
    "WEBHOOK_MAX_BODY": "WEBHOOK_MAX_SIZE",
    "WORKFLOW_DEADLINE": "WORKFLOW_TIMEOUT",
}
"""Former keys, each with the key that replaces it; used in error messages only."""

DEFAULTS = Settings()
_TUPLES = frozenset(
    item.name for item in fields(Settings) if isinstance(getattr(DEFAULTS, item.name), tuple)
)


def configured() -> Mapping[str, Any]:
    """Return the host's dict as written, or ``{}``."""
    value = getattr(django_settings, SETTING, {})
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{SETTING} must be a dict, not {type(value).__name__}.")
    return value


def unknown_keys(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys of *values* that are no settings, each with what to do about it."""
    names = [item.name for item in fields(Settings)]
    hints = {}
    for key in values:
        if key in names:
            continue
        if key in RENAMED:
            hints[key] = f"It is now {RENAMED[key]!r}."
        elif matches := get_close_matches(str(key).upper(), names, n=1):
            hints[key] = f"Did you mean {matches[0]!r}?"
        else:
            hints[key] = f"Settings: {', '.join(names)}."
    return hints


@cache
def get_settings() -> Settings:
    """Return the effective settings; cheap, and respects ``override_settings``.

    Raises:
        ConfigurationError: when ``FILESTACK_TAGS`` is not a dict or has an unknown key.
    """
    values = dict(configured())
    for key, hint in unknown_keys(values).items():
        raise ConfigurationError(f"{SETTING} has no key {key!r}. {hint}")
    for key in _TUPLES & values.keys():
        value = values[key]
        values[key] = (value,) if isinstance(value, str) else tuple(value)
    return Settings(**values)


class MaskedText(str):
    """A string that is masked in a ``repr``, such as on Django's DEBUG error page."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'********'"


def mask_secrets() -> None:
    """Mask secrets in the host's dict that Django's error pages do not recognize by their keys.

    Those pages hide ``API_KEY``, ``APP_SECRET`` and ``WEBHOOK_SECRETS``, but not a URL that may
    contain a password.
    """
    value = getattr(django_settings, SETTING, None)
    if isinstance(value, dict) and isinstance(url := value.get("REDIS_URL"), str):
        value["REDIS_URL"] = MaskedText(url)


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == SETTING:
        get_settings.cache_clear()
        mask_secrets()


def reset_on_setting_changed() -> None:
    """Make :func:`get_settings` follow ``override_settings`` and the ``settings`` fixture."""
    setting_changed.connect(_forget, dispatch_uid="filestack_tags.conf")
