"""Every error the package raises, in one tree.

::

    FilestackTagsError
    ├── ConfigurationError              a setting is missing or wrong
    ├── InvalidReference (ValueError)   not a handle, URL or storage alias path
    ├── InvalidLabel (ValueError)       not a tag: empty, too long, control characters
    ├── CurationError (ValueError)      a decision that cannot be made
    │   └── DecidedMeanwhile            another user decided about the same asset tag
    ├── BulkError (ValueError)          a bulk job that cannot be started, cancelled or undone
    ├── OutOfScope (ValueError)         an asset that its user would not see
    ├── SearchError (ValueError)      a search that cannot be parsed
    │   └── SearchTimeout               a search that took too long and was stopped
    ├── SavedSearchError (ValueError)   a search that cannot be saved, for example under that name
    ├── EndpointError (ValueError)      a URL to which no webhook may be sent
    ├── CursorError (ValueError)        a page cursor of another search
    ├── RuleError (ValueError)          a rule that cannot be parsed
    ├── WebhookError                    a webhook request that is rejected
    │   ├── WebhookMalformed            headers or size wrong: answered 400 or 413
    │   ├── WebhookSignatureInvalid     not signed with a configured secret: answered 403
    │   └── WebhookNotConfigured        no secret is configured: answered 503
    ├── PayloadError (ValueError)       a payload whose shape or values are not Filestack's
    └── TaggerError                     an asset could not be tagged
        ├── TaggerUnavailable           the tagger cannot run here
        ├── UnreadableImage             the bytes are not a picture it can read
        └── FilestackError              a call to Filestack failed
            ├── ConnectionFailed        no answer: network, DNS, TLS, timeout
            ├── ServerError             5xx
            ├── RateLimited             429 (uploads: also 503)
            ├── RequestRejected         4xx that a retry will not fix
            │   └── FileNotFound        the handle, URL or alias path does not exist
            ├── AccessDenied            401, 403: security, plan or whitelist
            │   ├── PolicyRejected      the policy or its signature was rejected
            │   └── InvalidApplication  the API key is unknown; Filestack may report it with a 200
            └── UnexpectedReply         answered, but not as expected

Nothing here imports Django, so that the search language and the payload parsers can be used and
tested without it. No message ever contains a secret, a policy, a signature or a signed URL.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .error_codes import ErrorCode
from .translation import translated


class FilestackTagsError(Exception):
    """Base class of every error this package raises on purpose."""


class ConfigurationError(FilestackTagsError):
    """A setting is missing or wrong; the message names it and the valid values."""


class InvalidReference(FilestackTagsError, ValueError):
    """The text is not a Filestack handle, an external URL or a storage alias path."""


class InvalidLabel(FilestackTagsError, ValueError):
    """The text cannot be a tag; the message says why and names the limit.

    Args:
        message: one sentence, with placeholders for ``values``; translated when it is displayed.
        values: the values of the placeholders.
    """

    def __init__(self, message: str, **values: Any) -> None:
        super().__init__(message)
        self.values = values

    def __str__(self) -> str:
        return translated(self.args[0], self.values)


class CurationError(FilestackTagsError, ValueError):
    """A decision that cannot be made; the message says why."""


class LimitExceeded(CurationError):
    """A user created too many tag names; ``wait`` is the seconds until more are allowed."""

    def __init__(self, wait: int) -> None:
        super().__init__(
            "Too many new tag names in the last hour. Use existing tags, or try again in "
            f"{-(-wait // 60)} minutes."
        )
        self.wait = wait


class DecidedMeanwhile(CurationError):
    """Another user decided about the asset tag after the caller last read its decisions.

    Args:
        message: names the user, the decision and the time.
        decision: that decision, a :class:`~filestack_tags.models.TagDecision`.
    """

    def __init__(self, message: str, *, decision: Any) -> None:
        super().__init__(message)
        self.decision = decision


class BulkError(FilestackTagsError, ValueError):
    """A bulk job that cannot be started, cancelled or undone; the message says why.

    Args:
        message: one sentence for the user.
        parameter: the invalid part of the request, such as ``tag``; ``""`` if none.
        conflict: whether the request is valid but conflicts with existing state.
    """

    def __init__(self, message: str, *, parameter: str = "", conflict: bool = False) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.conflict = conflict


class OutOfScope(FilestackTagsError, ValueError):
    """An asset that the user could not see afterwards; nothing was changed.

    Does not reveal whether there is such an asset.
    """


class UploadRefused(FilestackTagsError, ValueError):
    """A file cannot be uploaded by this user, or is not one that they uploaded."""


class SearchError(FilestackTagsError, ValueError):
    """A search that cannot be parsed.

    Args:
        message: one sentence for the user who typed the search, with placeholders for ``values``;
            translated when it is displayed.
        position: 0-based index into the search text where parsing stopped.
        found: the text at that position, ``""`` at the end of the text.
        expected: what could have been there, in words.
        suggestion: a corrected search, or ``""`` when none is obvious.
        values: the values of the placeholders.
    """

    def __init__(
        self,
        message: str,
        *,
        position: int = 0,
        found: str = "",
        expected: tuple[str, ...] = (),
        suggestion: str = "",
        values: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.position = position
        self.found = found
        self._expected = expected
        self.suggestion = suggestion
        self._values = values

    @property
    def message(self) -> str:
        """The sentence in the active language."""
        return translated(self.args[0], self._values)

    @property
    def expected(self) -> tuple[str, ...]:
        """What could have been at the position, in words of the active language."""
        return tuple(translated(word) for word in self._expected)

    def __str__(self) -> str:
        return self.message


class SearchTimeout(SearchError):
    """A search that was stopped because it took longer than ``SEARCH_TIMEOUT``.

    Args:
        message: what happened and what to do, for the user who typed the search.
        terms: the terms that make the search slow, in search syntax; () if none stands out.
        suggestion: the search without these terms, ``""`` when nothing would be left.
    """

    def __init__(
        self, message: str, *, terms: tuple[str, ...] = (), suggestion: str = ""
    ) -> None:
        super().__init__(message, suggestion=suggestion)
        self.terms = terms


class SavedSearchError(FilestackTagsError, ValueError):
    """A search that cannot be saved; the message says why.

    Args:
        message: one sentence for the user who saves it.
        parameter: the invalid field: ``name``, ``order`` or ``order_tag``.
        conflict: whether the values are valid but the name is taken.
    """

    def __init__(self, message: str, *, parameter: str, conflict: bool = False) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.conflict = conflict


class EndpointError(FilestackTagsError, ValueError):
    """An endpoint of outbound webhooks that cannot be used; the message says why."""


class CursorError(FilestackTagsError, ValueError):
    """A page cursor that is not ours, or belongs to another search or another order."""


class RuleError(FilestackTagsError, ValueError):
    """A workflow logic rule that cannot be parsed.

    Args:
        message: one sentence for the user who wrote the rule.
        position: 0-based index into the rule where parsing stopped.
    """

    def __init__(self, message: str, *, position: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


class WebhookError(FilestackTagsError):
    """A webhook request that is rejected; nothing of it is stored.

    ``status`` is the HTTP status to answer with, ``reason`` a short fixed word for metrics.
    """

    status = 400
    reason = "refused"

    def __init__(self, message: str, *, reason: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.reason = reason or self.reason
        self.status = status or self.status


class WebhookMalformed(WebhookError):
    """Headers or size are wrong; no signature was compared."""

    reason = "malformed"


class WebhookSignatureInvalid(WebhookError):
    """No configured secret signed these bytes at that timestamp."""

    status = 403
    reason = "signature"


class WebhookNotConfigured(WebhookError):
    """No webhook secret is configured, so nothing can be verified. Filestack will retry."""

    status = 503
    reason = "not_configured"


class PayloadError(FilestackTagsError, ValueError):
    """A payload whose shape or values are not Filestack's; the message says what and where."""


class TaggerError(FilestackTagsError):
    """An asset could not be tagged.

    Args:
        message: what happened, in one sentence, without secrets.
        code: a stable word for metrics, filters and the run's ``error_code``.
        fix: what to do about it, if more specific than what :class:`.ErrorCode` says.
        retryable: whether a retry can help.
        retry_at: when the other side asked to be called again, if it did (aware datetime).
        status: the HTTP status, when there was an answer.
        raw_reply: the body as received, stored on the run.
    """

    code: str = ErrorCode.TAGGER_ERROR
    retryable = False
    fix = ""

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        fix: str = "",
        retryable: bool | None = None,
        retry_at: datetime | None = None,
        status: int | None = None,
        raw_reply: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        code = code or self.code
        # Any other type is reported by the check of the tagger's reply.
        self.code = str(code) if isinstance(code, str) else code
        self.fix = str(fix or self.fix)
        self.retryable = self.retryable if retryable is None else retryable
        self.retry_at = retry_at
        self.status = status
        self.raw_reply = raw_reply

    def __str__(self) -> str:
        return f"{self.message} {self.fix}".strip()


class TaggerUnavailable(TaggerError):
    """The tagger cannot run in this process; the message names what is missing."""

    code = ErrorCode.TAGGER_UNAVAILABLE


class UnreadableImage(TaggerError):
    """The bytes are not a picture that the local tagger can read."""

    code = ErrorCode.UNREADABLE_IMAGE


class FilestackError(TaggerError):
    """A call to Filestack failed. The subclasses document whether a retry can help."""

    code = ErrorCode.FILESTACK_ERROR


class ConnectionFailed(FilestackError):
    """No answer: the network, name resolution, TLS or a timeout. A retry can help."""

    code = ErrorCode.CONNECTION_FAILED
    retryable = True


class ServerError(FilestackError):
    """Filestack answered 5xx. A retry can help."""

    code = ErrorCode.SERVER_ERROR
    retryable = True


class RateLimited(FilestackError):
    """Too many calls. ``retry_at`` is the time from ``Filestack-Reset``, if it was sent."""

    code = ErrorCode.RATE_LIMITED
    retryable = True


class RequestRejected(FilestackError):
    """Filestack rejected this request and will reject it again."""

    code = ErrorCode.REQUEST_REJECTED


class FileNotFound(RequestRejected):
    """The handle, URL or storage alias path does not exist."""

    code = ErrorCode.FILE_NOT_FOUND
    fix = code.english_fix


class AccessDenied(FilestackError):
    """Security, plan or domain whitelist denied the call."""

    code = ErrorCode.ACCESS_DENIED
    fix = code.english_fix


class PolicyRejected(AccessDenied):
    """The security policy or its signature was rejected for this file.

    The file may belong to another Filestack app, whose secret did not sign the policy.
    """

    code = ErrorCode.POLICY_REJECTED
    fix = code.english_fix


class InvalidApplication(AccessDenied):
    """The API key is unknown. Filestack may report it with status 200."""

    code = ErrorCode.INVALID_APPLICATION
    fix = code.english_fix


class UnexpectedReply(FilestackError):
    """Filestack answered, but not as expected."""

    code = ErrorCode.UNEXPECTED_REPLY
