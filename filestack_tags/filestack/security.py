"""Security policies: what a signed call or link allows, and for how long. No Django."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from filestack_tags.exceptions import (
    ConfigurationError,
)

from .sources import Source

CALLS = frozenset(
    {
        "pick",
        "read",
        "stat",
        "write",
        "writeUrl",
        "store",
        "convert",
        "remove",
        "revoke",
        "exif",
        "runWorkflow",
    }
)
"""What a policy can allow (docs: Security policies)."""


_SPECIAL = re.compile(r"[\\^$.|?*+()\[\]{}]")


@dataclass(frozen=True)
class SignedPolicy:
    """A policy as it is sent: base64url text and hex signature. Its repr shows neither."""

    policy: str = field(repr=False)
    signature: str = field(repr=False)


class Security:
    """Signs policies with the app's secret.

    Args:
        app_secret: the secret from the Filestack portal.
        clock: returns unix seconds.

    Raises:
        ConfigurationError: when the secret is empty. Tagging requires security even for apps that
            have it disabled (docs: Image Tagging).
    """

    def __init__(self, app_secret: str, clock: Callable[[], float] = time.time) -> None:
        if not app_secret:
            raise ConfigurationError(
                "FILESTACK_TAGS['APP_SECRET'] is empty: calls to Filestack must be signed. "
                "Set it to the app's secret from the Filestack portal."
            )
        self._key = app_secret.encode()
        self._clock = clock

    def __repr__(self) -> str:
        return "Security(…)"

    def policy_for(
        self,
        calls: Sequence[str] = ("read", "convert"),
        *,
        source: Source | None = None,
        expires_in: int = 300,
        container: str = "",
        path: str = "",
        max_size: int | None = None,
    ) -> SignedPolicy:
        """Return a signed policy that allows ``calls`` for ``expires_in`` seconds.

        A policy can be replayed until it expires. One that allows ``convert`` also allows paid
        tasks such as ``tags``, because Filestack has no narrower permission: keep it on the server.

        Args:
            calls: the allowed calls, by Filestack's names.
            source: the only file it is valid for: by handle, or by a regular expression that
                matches this URL and nothing else. Filestack has no such restriction for storage
                aliases, so a policy for one is valid for every file of the app.
            expires_in: seconds.
            container: the only container, by name, in which a file may be stored.
            path: the required prefix of a stored file's path.
            max_size: the largest file that may be stored, in bytes.

        Raises:
            ValueError: when a call is unknown to Filestack, none is given (a policy without calls
                allows nearly everything), or ``expires_in`` is not positive.
        """
        unknown = sorted(set(calls) - CALLS)
        if isinstance(calls, str) or not calls or unknown:
            raise ValueError(
                f"A policy names one or more of {', '.join(sorted(CALLS))}; "
                f"got {unknown or calls!r}."
            )
        if expires_in <= 0:
            raise ValueError(f"A policy expires in 1 second or more, not {expires_in}.")
        policy: dict[str, Any] = {
            "call": list(calls),
            "expiry": int(self._clock()) + expires_in,
        }
        if source is not None and source.kind == "handle":
            policy["handle"] = source.reference
        elif source is not None and source.kind == "url":
            policy["url"] = f"^{literally(source.reference)}$"
        if container:
            policy["container"] = f"^{literally(container)}$"
        if path:
            policy["path"] = f"^{literally(path)}"
        if max_size is not None:
            policy["maxSize"] = max_size
        return self.sign(policy)

    def sign(self, policy: Mapping[str, Any]) -> SignedPolicy:
        """Return ``policy`` encoded and signed as Filestack's Python SDK does.

        Raises:
            ValueError: when ``expiry`` (unix seconds) is missing; Filestack requires it.
        """
        if type(policy.get("expiry")) is not int:  # a bool is an int, but not a time
            raise ValueError("A policy needs an expiry, in whole unix seconds.")
        encoded = encode_policy(json.dumps(policy, sort_keys=True))
        return SignedPolicy(encoded, self.signature(encoded))

    def signature(self, encoded_policy: str) -> str:
        """Return the hex HMAC-SHA256 of an encoded policy: of its base64, not of its JSON."""
        return hmac.new(self._key, encoded_policy.encode(), hashlib.sha256).hexdigest()


def literally(text: str) -> str:
    """Return a regular expression that matches ``text`` and nothing else.

    Only characters that are special in every dialect are escaped: ``re.escape`` also escapes
    spaces, ``-`` and ``#``, and Filestack does not document its dialect.
    """
    return _SPECIAL.sub(r"\\\g<0>", text)


def encode_policy(text: str) -> str:
    """Return policy JSON as base64url with padding, which Filestack requires."""
    return base64.urlsafe_b64encode(text.encode()).decode("ascii")
