"""Access control: API key, policy and signature, and each host's rejections."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from typing import Any

from . import policies, wire
from .config import Account
from .policies import PolicyNotBase64, PolicyRefused, Wanted
from .wire import Refused, Request

Credentials = tuple[str, str]
"""Policy and signature, as received."""


class Access:
    """Checks calls for one account."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def key(self, key: str | None, *, status: int = 401) -> None:
        """Reject a key that is not the account's. Uploads reject with status 200."""
        if key != self._account.api_key:
            raise wire.unknown_application(status)

    def cdn(
        self, credentials: Credentials | None, wanted: Wanted, *, always: bool = False
    ) -> None:
        """Check a call to the CDN; ``always`` if the task requires security in any app."""
        try:
            self._check(credentials, wanted, always=always)
        except PolicyNotBase64 as err:
            raise wire.policy_not_base64(str(err)) from err
        except PolicyRefused as err:
            raise wire.policy_refused_by_cdn(str(err)) from err

    def process(
        self, credentials: Credentials | None, wanted: Wanted, *, always: bool = False
    ) -> None:
        """Check a call to ``/process``."""
        try:
            self._check(credentials, wanted, always=always)
        except (PolicyNotBase64, PolicyRefused) as err:
            policy, signature = credentials or ("", "")
            raise wire.policy_refused_by_process(policy, signature, str(err)) from err

    def file_api(self, request: Request, wanted: Wanted) -> None:
        """Check a call to the File API: policy and signature, or HTTP Basic ``app:secret``."""
        if self._basic(request) and wanted.handle not in self._account.foreign_handles:
            return
        self._translate(credentials_in(request.query), wanted, wire.policy_refused_by_file_api)

    def upload(self, body: Mapping[str, Any], wanted: Wanted) -> None:
        """Check a multipart call, whose JSON contains policy and signature."""
        self._translate(
            credentials_in(body),
            wanted,
            lambda reason: wire.refused_by_upload("Invalid App policy", 403, reason),
        )

    def _translate(
        self,
        credentials: Credentials | None,
        wanted: Wanted,
        refusal: Callable[[str], Refused],
    ) -> None:
        try:
            self._check(credentials, wanted)
        except (PolicyNotBase64, PolicyRefused) as err:
            raise refusal(str(err)) from err

    def _check(
        self, credentials: Credentials | None, wanted: Wanted, *, always: bool = False
    ) -> None:
        is_foreign = wanted.handle in self._account.foreign_handles
        if credentials is None and not always and not self._account.security and not is_foreign:
            return
        policy, signature = credentials or ("", "")
        if is_foreign:
            raise PolicyRefused("the handle belongs to another app with its own secret")
        policies.check(policy, signature, self._account.app_secret, wanted)

    def _basic(self, request: Request) -> bool:
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return False
        return hmac.compare_digest(given, b"app:" + self._account.app_secret.encode())


def credentials_in(values: Mapping[str, Any]) -> Credentials | None:
    """Return ``policy`` and ``signature`` from a query or JSON, ``None`` if both are missing."""
    if not values.get("policy") and not values.get("signature"):
        return None
    return str(values.get("policy", "")), str(values.get("signature", ""))
