"""Facts about a file, in the many shapes that Filestack has sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from filestack_tags.db.text import sanitize_json, sanitize_text
from filestack_tags.exceptions import PayloadError
from filestack_tags.filestack.sources import handle_from_url

from .reading import decode, first_integer, first_text, mapping


@dataclass(frozen=True)
class FileEvent:
    """The file of a webhook event. Missing values are ``""``, ``None`` or ``{}``.

    ``size`` is in bytes. ``status`` is the storage status, ``Stored`` once it can be read.
    """

    handle: str
    url: str
    filename: str
    mimetype: str
    size: int | None
    container: str
    key: str
    status: str
    upload_tags: Mapping[str, Any]


@dataclass(frozen=True)
class StoredFile:
    """A file that was just stored. ``workflows`` maps each started workflow's id to its job id."""

    handle: str
    url: str
    filename: str
    mimetype: str
    size: int | None
    container: str
    key: str
    workflows: Mapping[str, str]
    upload_tags: Mapping[str, Any]
    raw: str = ""


@dataclass(frozen=True)
class FileMetadata:
    """Metadata of a stored file: ``size`` in bytes, ``width`` and ``height`` in pixels."""

    filename: str
    mimetype: str
    size: int | None
    width: int | None
    height: int | None
    sha256: str
    container: str
    key: str
    raw: str = ""


def read_file_event(
    text: Mapping[str, Any], upload_tags: Mapping[str, Any] | None = None
) -> FileEvent:
    """Parse the ``text`` of a file event (docs: Webhooks).

    Facts are in ``text``, in ``text.data`` (2019), or, for a conversion's result, in ``text.link``.
    ``type`` and ``mimetype`` mean the same. A fact of the wrong type is ignored: no upload should
    be lost because of its file name. ``upload_tags`` are those beside ``text``, used if it contains
    none.

    Raises:
        PayloadError: when no handle can be determined.
    """
    link = mapping(text.get("link"))
    places = (link, text, mapping(text.get("data")))
    return FileEvent(
        handle=_handle(*places),
        url=first_text("url", *places),
        filename=first_text("filename", *places),
        mimetype=first_text("mimetype", *places) or first_text("type", *places),
        size=first_integer("size", *places),
        container=first_text("container", *places),
        key=first_text("key", *places),
        status=first_text("status", *places),
        upload_tags=_upload_tags(*places, {"upload_tags": upload_tags}),
    )


def parse_file(data: bytes | str | Mapping[str, Any]) -> StoredFile:
    """Parse the reply of a store, ``/process`` or multipart upload (docs: File API, Uploads).

    Raises:
        PayloadError: when no handle can be determined from ``handle`` or ``url``.
    """
    payload, raw = decode(data)
    return StoredFile(
        handle=_handle(payload),
        url=first_text("url", payload),
        filename=first_text("filename", payload),
        mimetype=first_text("mimetype", payload) or first_text("type", payload),
        size=first_integer("size", payload),
        container=first_text("container", payload),
        key=first_text("key", payload),
        workflows=_workflows(payload),
        upload_tags=_upload_tags(payload),
        raw=raw,
    )


def parse_metadata(data: bytes | str | Mapping[str, Any]) -> FileMetadata:
    """Parse the reply of the metadata call (docs: File API). It never contains tags.

    Raises:
        PayloadError: when file name, type and size are all missing.
    """
    payload, raw = decode(data)
    found = FileMetadata(
        filename=first_text("filename", payload),
        mimetype=first_text("mimetype", payload),
        size=first_integer("size", payload),
        width=first_integer("width", payload),
        height=first_integer("height", payload),
        sha256=first_text("sha256", payload),
        container=first_text("container", payload),
        key=first_text("key", payload),
        raw=raw,
    )
    if not found.filename and not found.mimetype and found.size is None:
        raise PayloadError(
            "The reply has no filename, mimetype or size, so it is not metadata."
        )
    return found


def _handle(*places: Mapping[str, Any]) -> str:
    for key in ("handle", "url"):
        for place in places:
            if handle := handle_from_url(first_text(key, place)):
                return handle
    raise PayloadError("There is neither a handle nor a url that ends in one.")


def _workflows(payload: Mapping[str, Any]) -> dict[str, str]:
    return {
        sanitize_text(workflow): job
        for workflow, entry in mapping(payload.get("workflows")).items()
        if (job := first_text("jobid", mapping(entry)))
    }


def _upload_tags(*places: Mapping[str, Any]) -> dict[str, Any]:
    for place in places:
        if tags := mapping(place.get("upload_tags")):
            return dict(sanitize_json(tags))
    return {}
