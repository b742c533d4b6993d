"""Define every error code: what it means, and what to do about it. No Django.

Rows store the code only, so its texts can be improved and translated later. The error text of the
failed call itself is on its run or delivery.
"""

from __future__ import annotations

from enum import StrEnum

from .translation import Text, translated
from .translation import gettext_noop as _

_DATABASE_CONNECTION_FAILED = (
    _("The connection to the database failed."),
    _("Check the database's log and its connection limit, then replay the delivery."),
)


class ErrorCode(StrEnum):
    """An error code of a run, an asset or a delivery, with its texts for users."""

    english_meaning: Text
    english_fix: Text

    def __new__(cls, code: str, meaning: Text, fix: Text) -> ErrorCode:
        member = str.__new__(cls, code)
        member._value_ = code
        member.english_meaning, member.english_fix = meaning, fix
        return member

    @property
    def meaning(self) -> str:
        """What happened, in the active language."""
        return translated(self.english_meaning)

    @property
    def fix(self) -> str:
        """What to do about it, in the active language."""
        return translated(self.english_fix)

    @classmethod
    def of_run(cls, code: str) -> ErrorCode:
        """Return the member for the code of a run or an asset; a custom code is ``OTHER``."""
        return cls._find(code, cls.OTHER)

    @classmethod
    def of_delivery(cls, code: str) -> ErrorCode:
        """Return the member for the code of a delivery, which may name any Python exception."""
        return cls._find(code, cls.HANDLER_FAILED)

    @classmethod
    def _find(cls, code: str, default: ErrorCode) -> ErrorCode:
        unknown = default if code else cls.UNKNOWN
        return next((member for member in cls if member == code), unknown)

    ABANDONED = (
        "abandoned",
        _("The worker stopped before it had finished."),
        _(
            "Check whether workers are killed because of their memory or a time limit. Then tag "
            "the assets again, or replay the deliveries."
        ),
    )
    ACCESS_DENIED = (
        "access_denied",
        _("Filestack denied access."),
        _(
            "Check the app's security settings, plan and domain whitelist in the Filestack portal. "
            "If calls are paused, resume them."
        ),
    )
    CONFIGURATION = (
        "configuration",
        _("A setting is missing or invalid."),
        _(
            "Run manage.py check, which names the setting. Correct it, then tag the assets again."
        ),
    )
    CONNECTION_FAILED = (
        "connection_failed",
        _("The connection to Filestack failed: network, DNS, TLS or timeout."),
        _(
            "The call is retried automatically. If it keeps failing, check that the worker can "
            "reach CDN_URL through its proxy and firewall, then tag the assets again."
        ),
    )
    FILE_NOT_FOUND = (
        "file_not_found",
        _("The file does not exist."),
        _(
            "Check the handle, URL or storage alias path. If the file was deleted, archive its "
            "asset."
        ),
    )
    FILE_TOO_LARGE = (
        "file_too_large",
        _("The file or its picture exceeds the size limit."),
        _("Register a smaller version of the file, or use a tagger that does not download it."),
    )
    FILESTACK_ERROR = (
        "filestack_error",
        _("A call to Filestack failed."),
        _("Read the error on the run, then tag the assets again."),
    )
    HANDLER_FAILED = (
        "handler_failed",
        _("The code that processes the delivery raised an exception."),
        _(
            "The delivery has the traceback. Fix the code that it names or report it, then replay "
            "the delivery."
        ),
    )
    INTEGRITY_ERROR = (
        "IntegrityError",
        _("The database rejected a row."),
        _(
            "The delivery has the traceback. Report it; replay the delivery after the fix is "
            "installed."
        ),
    )
    INTERFACE_ERROR = (
        "InterfaceError",
        *_DATABASE_CONNECTION_FAILED,
    )
    INVALID_APPLICATION = (
        "invalid_application",
        _("The API key is unknown to Filestack."),
        _(
            "Correct API_KEY and restart the worker. If calls are paused, resume them; then tag "
            "the failed assets again."
        ),
    )
    OPERATIONAL_ERROR = (
        "OperationalError",
        *_DATABASE_CONNECTION_FAILED,
    )
    OTHER = (
        "other",
        _("A custom tagger reported its own error."),
        _(
            "Read the error on the run and the worker's log. Fix the tagger, then tag the assets "
            "again."
        ),
    )
    PAYLOAD = (
        "payload",
        _("The payload does not have the format of its action."),
        _(
            "The delivery shows what is invalid. If Filestack changed the format, upgrade this "
            "package, then replay the delivery."
        ),
    )
    POLICY_REJECTED = (
        "policy_rejected",
        _("The security policy or its signature was rejected."),
        _(
            "If single files are rejected, they probably belong to another Filestack app: remove "
            "them. If all files are rejected, correct APP_SECRET and the clock of this machine, "
            "then tag the failed assets again."
        ),
    )
    RATE_LIMITED = (
        "rate_limited",
        _("The rate limit of Filestack was exceeded."),
        _(
            "The call is retried automatically. If this happens every day, set RATE_LIMIT or "
            "BUDGET_PER_DAY below the limit of your plan."
        ),
    )
    RELEASED = (
        "released",
        _("The worker stopped before the call; no call was counted."),
        _("Nothing to do: the asset keeps its previous state."),
    )
    REQUEST_REJECTED = (
        "request_rejected",
        _("Filestack rejected the request."),
        _(
            "Read the response on the run. Usually the file is not an image, or TASKS_BEFORE_TAGS "
            "is invalid. Correct that, then tag the assets again."
        ),
    )
    SERVER_ERROR = (
        "server_error",
        _("Filestack had an internal error."),
        _(
            "The call is retried automatically. Once Filestack works again, tag the assets that "
            "failed meanwhile."
        ),
    )
    TAGGER_CRASHED = (
        "tagger_crashed",
        _("The tagger raised an unexpected exception."),
        _("Read the traceback in the worker's log. Fix the tagger, then tag the assets again."),
    )
    TAGGER_ERROR = (
        "tagger_error",
        _("The tagger could not tag the file, or returned an invalid reply."),
        _(
            "Read the error on the run. Fix the tagger if it names one, then tag the assets again."
        ),
    )
    TAGGER_UNAVAILABLE = (
        "tagger_unavailable",
        _("The tagger cannot run on a worker's host."),
        _(
            "Install what is missing, such as the extra local: "
            'pip install "django-filestack-tags[local]". Restart the worker, then tag the assets '
            "again."
        ),
    )
    TOO_LARGE = (
        "too_large",
        _("The body is larger than WEBHOOK_MAX_SIZE."),
        _(
            "Raise WEBHOOK_MAX_SIZE and the limit of your proxy. Filestack resends the event for "
            "about half a day. This delivery cannot be replayed, because its body was not stored."
        ),
    )
    UNEXPECTED_REPLY = (
        "unexpected_reply",
        _("The reply was not in Filestack's format."),
        _(
            "Check CDN_URL and API_URL: a proxy or a login page may answer instead of Filestack."
        ),
    )
    UNKNOWN = (
        "unknown",
        _("No reason was recorded."),
        _("Open one of the entries to read its error."),
    )
    UNREADABLE_IMAGE = (
        "unreadable_image",
        _("The tagger cannot read the picture."),
        _(
            "Open the file. If it is damaged, upload it again; if its format is not supported, use "
            "another tagger."
        ),
    )
    UNUSABLE_REPLY = (
        "unusable_reply",
        _("The reply could not be stored."),
        _(
            "Read the error on the run and the worker's log. Tag the asset again; if it fails "
            "again, report it."
        ),
    )
    WORKFLOW_DEADLINE = (
        "workflow_deadline",
        _("A workflow job had no result within WORKFLOW_TIMEOUT."),
        _(
            "Check the workflow's jobs in the Filestack portal, and that its webhook reaches this "
            "site. Then run the workflow again."
        ),
    )
    WORKFLOW_FAILED = (
        "workflow_failed",
        _("A workflow job failed."),
        _("Check the workflow in the Filestack portal, then run it again."),
    )
    WORKFLOW_TASK_FAILED = (
        "workflow_task_failed",
        _("A task of a workflow failed."),
        _("The run names the task and its error. Fix the workflow, then run it again."),
    )
