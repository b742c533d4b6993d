"""Check whether a call is signed, and whether the policy allows it.

Written from the documented rules and not with the package's own signer, so that one tests the other
(docs: Security policies, Signing policies).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from dataclasses import dataclass
from typing import Any

CALLS = frozenset(
    [
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
    ]
)
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*={0,2}")


class PolicyNotBase64(ValueError):
    """The policy is not base64url with padding."""


class PolicyRefused(ValueError):
    """The policy is missing, wrongly signed, expired, or does not allow the call."""


@dataclass(frozen=True)
class Wanted:
    """What a call does, as far as a policy can restrict it. Sizes in bytes."""

    call: str
    handle: str | None = None
    url: str | None = None
    size: int | None = None
    path: str | None = None
    container: str | None = None


def check(policy: str, signature: str, secret: str, wanted: Wanted) -> None:
    """Return if the signed ``policy`` allows ``wanted``.

    Raises:
        PolicyNotBase64: wrong alphabet, or the ``=`` padding is missing.
        PolicyRefused: anything else; the message says what.
    """
    if not policy or not signature:
        raise PolicyRefused("policy and signature are both needed")
    if len(policy) % 4 or not _BASE64URL.fullmatch(policy):
        raise PolicyNotBase64("base64url (- and _) with its = padding is needed")
    expected = hmac.new(secret.encode(), policy.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise PolicyRefused(
            "the signature is not the lower-case hex HMAC-SHA256 of the encoded policy "
            "under this account's app secret"
        )
    _allow(_decode(policy), wanted)


def _decode(policy: str) -> dict[str, Any]:
    try:
        value = json.loads(base64.urlsafe_b64decode(policy))
    except ValueError as err:
        raise PolicyRefused("the policy is not JSON") from err
    if not isinstance(value, dict):
        raise PolicyRefused("the policy is not a JSON object")
    return value


def _allow(policy: dict[str, Any], wanted: Wanted) -> None:
    expiry = policy.get("expiry")
    if not isinstance(expiry, int) or isinstance(expiry, bool):
        raise PolicyRefused("the policy needs expiry in whole unix seconds")
    if expiry <= time.time():
        raise PolicyRefused(f"the policy expired {time.time() - expiry:.0f} s ago")
    _allow_call(policy.get("call"), wanted.call)
    if "handle" in policy and policy["handle"] != wanted.handle:
        raise PolicyRefused("the policy is for another handle")
    for key, value in (
        ("url", wanted.url),
        ("path", wanted.path),
        ("container", wanted.container),
    ):
        if key in policy and value is not None and not _matches(policy[key], value):
            raise PolicyRefused(f"the policy's {key} does not match")
    if wanted.size is not None:
        _allow_size(policy, wanted.size)


def _allow_call(call: object, wanted: str) -> None:
    if call is None:
        allowed = CALLS - {"exif"}
    elif isinstance(call, str):
        allowed = frozenset({call})
    elif isinstance(call, list) and all(isinstance(item, str) for item in call):
        allowed = frozenset(call)
    else:
        raise PolicyRefused("the policy's call is neither a string nor a list of strings")
    if "revoke" in allowed:
        allowed |= {"remove"}
    if wanted not in allowed:
        raise PolicyRefused(f"the policy does not allow the call {wanted}")


def _matches(pattern: object, value: str) -> bool:
    try:
        return isinstance(pattern, str) and re.search(pattern, value) is not None
    except re.error as err:
        raise PolicyRefused("the policy holds an expression that cannot be read") from err


def _allow_size(policy: dict[str, Any], size: int) -> None:
    if size > policy.get("maxSize", size) or size < policy.get("minSize", size):
        raise PolicyRefused("the policy does not allow a file of this size")
