"""The three kinds of file that Filestack can read, and their form in a URL.

A *handle* names a file Filestack stores. An external *URL* is fetched by Filestack. A storage
*alias* path, ``src://ALIAS/PATH``, reads from storage connected to the app (docs: Processing API).
No Django.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, cast, get_args
from urllib.parse import quote, urlsplit

from filestack_tags.db.text import MAX_REFERENCE_LENGTH, reference_digest
from filestack_tags.exceptions import InvalidReference

from .urls import normalized

Kind = Literal["handle", "url", "alias"]

# 20 characters are the norm, but an official example has 19; only the charset is certain.
HANDLE = r"[A-Za-z0-9_-]{1,64}"
STORAGE_ALIAS = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_HANDLE = re.compile(HANDLE)
_ALIAS = re.compile(STORAGE_ALIAS)
_HTTP = re.compile(r"https?://", re.IGNORECASE)
_ALIAS_SCHEME = "src://"
_LINK_SEGMENT = re.compile(r"[A-Za-z0-9_]+(=.*)?")

FILE_HOSTS = frozenset(
    {
        "cdn.filestackcontent.com",
        "process.filestackapi.com",
        "www.filestackapi.com",
        "api.filestackapi.com",
    }
)
"""Filestack's hosts that read stored files (docs: Processing API; File API)."""


@dataclass(frozen=True)
class Source:
    """A file that Filestack can read.

    ``reference`` is a handle, a URL, or ``src://ALIAS/PATH``. A URL is normalized, so that URLs
    that make the same request are the same source: see :func:`~.urls.normalized`. Percent signs in
    an alias path are data: nothing is decoded.

    Raises:
        InvalidReference: on construction, when ``reference`` does not fit ``kind``.
    """

    kind: Kind
    reference: str

    def __post_init__(self) -> None:
        if self.kind not in ("handle", "url", "alias"):
            raise InvalidReference(
                f"A reference is of kind handle, url or alias, not {str(self.kind)[:32]!r}."
            )
        if not isinstance(self.reference, str):
            raise InvalidReference(f"A reference is text, not {type(self.reference).__name__}.")
        _check_length(self.reference)
        if any(unicodedata.category(char) in ("Cc", "Cs") for char in self.reference):
            raise InvalidReference("A reference cannot contain control characters.")
        if self.kind == "handle":
            _check_handle(self.reference)
        elif self.kind == "url":
            object.__setattr__(self, "reference", _checked_url(self.reference))
        else:
            _split_alias(self.reference)

    @classmethod
    def handle(cls, handle: str) -> Source:
        """Return the source for a file stored by Filestack."""
        return cls("handle", handle)

    @classmethod
    def url(cls, url: str) -> Source:
        """Return the source for an external ``http`` or ``https`` URL."""
        return cls("url", url)

    @classmethod
    def alias(cls, alias: str, path: str) -> Source:
        """Return the source for ``path`` in the storage known as ``alias``."""
        return cls("alias", f"{_ALIAS_SCHEME}{alias}/{path.removeprefix('/')}")

    @classmethod
    def of(cls, kind: str, reference: str) -> Source:
        """Return the source of that kind, for a reference that was stored as text."""
        return cls(cast("Kind", kind), reference)

    @classmethod
    def parse(cls, text: str) -> Source:
        """Guess the kind from the text; surrounding white space is ignored.

        Raises:
            InvalidReference: when it is not one of the three.
        """
        reference = text.strip()
        if _HTTP.match(reference):
            return cls("url", reference)
        if reference.startswith(_ALIAS_SCHEME):
            return cls("alias", reference)
        if "://" in reference:
            raise InvalidReference(
                "Only http, https and src:// references can be read by Filestack."
            )
        return cls("handle", reference)

    @property
    def needs_api_key(self) -> bool:
        """Whether the URL of a task must name the app (see Filestack's Processing API)."""
        return self.kind != "handle"

    @property
    def in_storage(self) -> tuple[str, str] | None:
        """The alias and the path of a storage alias path; None for the other kinds."""
        return _split_alias(self.reference) if self.kind == "alias" else None

    @property
    def path(self) -> str:
        """The form of the source at the end of a CDN URL.

        An external URL is percent-encoded completely, so that its own query is not mistaken for the
        call's; decoding once returns the reference.
        """
        if self.kind == "handle":
            return self.reference
        if self.kind == "url":
            return quote(self.reference, safe="")
        alias, path = _split_alias(self.reference)
        return f"{_ALIAS_SCHEME}{alias}/{quote(path, safe='/')}"


def handle_from_url(url: str) -> str | None:
    """Return the handle at the end of a Filestack file URL, or ``None``.

    Webhooks name a file by URL only; the handle is its last path segment, on the CDN as well as
    under ``/api/file/``.
    """
    try:
        path = urlsplit(url).path
    except ValueError:
        return None
    last = path.rstrip("/").rpartition("/")[2]
    return last if _HANDLE.fullmatch(last) else None


def digests_of(reference: str) -> tuple[str, ...]:
    """Return the digests of the files that a text may refer to, one of each kind.

    A URL is accepted in any spelling. Text that cannot be a reference has digests that no file has.
    """
    spelled = reference
    with suppress(InvalidReference):
        spelled = Source.parse(reference).reference
    return tuple(reference_digest(kind, spelled) for kind in get_args(Kind))


def handle_in_link(url: str, hosts: Collection[str] = ()) -> str | None:
    """Return the handle of the stored file that a Filestack link reads, or ``None``.

    Tasks, policies and an API key may be part of the link. Links to external URLs, storage aliases
    and results of workflows have no handle.

    Args:
        url: an http or https URL.
        hosts: hosts of links in addition to Filestack's own, as ``host`` or ``host:port``.
    """
    try:
        parts = urlsplit(normalized(url))
    except InvalidReference:
        return None
    if parts.netloc not in FILE_HOSTS and parts.netloc not in hosts:
        return None
    segments = [segment for segment in parts.path.split("/") if segment]
    if segments[:2] == ["api", "file"]:
        segments = segments[2:3]
    elif segments[-1:] == ["metadata"]:
        segments.pop()
    if not segments or not all(map(_LINK_SEGMENT.fullmatch, segments[:-1])):
        return None
    return segments[-1] if _HANDLE.fullmatch(segments[-1]) else None


def _check_length(reference: str) -> None:
    if len(reference) > MAX_REFERENCE_LENGTH:
        raise InvalidReference(
            f"A reference has at most {MAX_REFERENCE_LENGTH} characters; "
            f"this one has {len(reference)}."
        )


def _check_handle(handle: str) -> None:
    if not _HANDLE.fullmatch(handle):
        raise InvalidReference(
            "A handle has 1 to 64 characters: letters, digits, '-' and '_' only."
        )


def _checked_url(url: str) -> str:
    if not _HTTP.match(url):
        raise InvalidReference("An external URL starts with http:// or https://.")
    spelled = normalized(url)
    if "@" in urlsplit(url).netloc:
        raise InvalidReference(
            "The URL holds a user name or password; Filestack would be sent it in the clear."
        )
    _check_length(spelled)
    return spelled


def _split_alias(reference: str) -> tuple[str, str]:
    alias, _, path = reference.removeprefix(_ALIAS_SCHEME).partition("/")
    if not reference.startswith(_ALIAS_SCHEME) or not _ALIAS.fullmatch(alias) or not path:
        raise InvalidReference(
            "A storage alias path is written src://ALIAS/PATH, the alias in letters, digits, "
            "'-', '_' and '.'."
        )
    if not {".", ".."}.isdisjoint(path.split("/")):
        raise InvalidReference("A storage alias path cannot hold '.' or '..' segments.")
    return alias, path
