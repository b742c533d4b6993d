"""Files: reading sources, storing, describing, overwriting and deleting (docs: File API)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import mimetypes
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from . import payloads, pictures, wire
from .cache import Cache
from .config import Account
from .grammar import Call, Source, UploadTags
from .loopback import fetch, is_loopback_url
from .store import Store, StoredFile
from .webhooks import Webhooks
from .wire import task_error

DIGESTS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
DEFAULT_METADATA = ("mimetype", "uploaded", "writeable", "filename", "size")
OCTET_STREAM = "application/octet-stream"
MAX_UPLOAD_TAGS = 10
MAX_UPLOAD_TAG_VALUE = 256


class Files:
    """Everything that happens to files, and the events about it."""

    def __init__(
        self, account: Account, store: Store, webhooks: Webhooks, cache: Cache
    ) -> None:
        self._account = account
        self._cache = cache
        self._store = store
        self._webhooks = webhooks

    def get(self, handle: str) -> StoredFile:
        """Return a file. Raises Refused (404)."""
        file = self._store.get(handle)
        if file is None:
            raise wire.not_found("file")
        return file

    def read(self, source: Source) -> tuple[bytes, str, str]:
        """Return bytes, MIME type and file name of a source.

        Raises:
            Refused: 404 when it does not exist; 400 for an external URL that is not on loopback.
        """
        if source.kind == "url":
            return self._read_url(source.reference)
        if source.kind == "alias":
            return self._read_alias(source.reference)
        content = self._store.content(source.reference) if source.kind == "handle" else None
        if content is None:
            raise wire.not_found("file")
        file = self.get(source.reference)
        return content, file.mimetype, file.filename

    def _read_url(self, url: str) -> tuple[bytes, str, str]:
        if not is_loopback_url(url):
            raise task_error(
                "The emulator reads external URLs from loopback addresses over http only.",
                reason="serve the file on 127.0.0.1 or localhost",
            )
        try:
            status, content_type, content = fetch(url)
        except OSError as err:
            raise task_error("The external URL did not answer.", 404, str(err)) from err
        if status != 200:
            raise task_error("The external URL was not found.", 404, f"it answered {status}")
        name = url.partition("?")[0].rpartition("/")[2]
        return content, mimetype_of(content, name, content_type.partition(";")[0]), name

    def _read_alias(self, reference: str) -> tuple[bytes, str, str]:
        alias, _, path = reference.partition("/")
        root = self._account.aliases.get(alias)
        if root is None:
            raise wire.not_found("storage alias")
        file = (root / path).resolve()
        if not file.is_relative_to(root.resolve()) or not file.is_file():
            raise wire.not_found("file")
        content = file.read_bytes()
        return content, mimetype_of(content, file.name, ""), file.name

    def add(
        self,
        content: bytes,
        *,
        filename: str,
        mimetype: str,
        options: Mapping[str, Any],
        base_url: str,
        upload_tags: UploadTags | None = None,
    ) -> StoredFile:
        """Store a new file and emit ``fp.upload``: both or neither."""
        name = str(options.get("filename") or filename or "unnamed_file")
        with self._store.transaction():
            file = self._store.add(
                content,
                filename=name,
                mimetype=mimetype_of(content, name, str(options.get("mimetype") or mimetype)),
                container=str(options.get("container") or payloads.CONTAINER),
                path=str(options.get("path") or ""),
                location=str(options.get("location") or "S3"),
                upload_tags=upload_tags or {},
            )
            text = payloads.upload_text(
                file.handle,
                filename=file.filename,
                mimetype=file.mimetype,
                size=file.size,
                container=file.container,
                key=file.key,
                upload_tags=file.upload_tags,
                cdn_url=base_url,
            )
            self._webhooks.emit("fp.upload", text)
        return file

    def overwrite(
        self, handle: str, content: bytes, *, filename: str, mimetype: str, base_url: str
    ) -> StoredFile:
        """Replace the content of a handle and emit ``fp.overwrite``."""
        old = self.get(handle)
        file = replace(
            old,
            filename=filename or old.filename,
            mimetype=mimetype_of(content, filename, mimetype),
            size=len(content),
            uploaded=time.time_ns() / 1e6,
        )
        with self._store.transaction():
            if not self._store.overwrite(file, content):
                raise wire.not_found("file")
            text = payloads.overwrite_text(
                handle,
                filename=file.filename,
                mimetype=file.mimetype,
                size=file.size,
                cdn_url=base_url,
            )
            self._webhooks.emit("fp.overwrite", text)
        return file

    def delete(self, handle: str, *, base_url: str) -> None:
        """Delete a file and emit ``fp.delete``. Raises Refused (404)."""
        with self._store.transaction():
            if not self._store.remove(handle):
                raise wire.not_found("file")
            self._cache.remove(handle)
            self._webhooks.emit("fp.delete", {"url": f"{base_url}/{handle}"})

    def converted(
        self, call: Call, content: bytes, *, filename: str, mimetype: str, base_url: str
    ) -> None:
        """Emit ``fp.converse`` for a picture that was converted, also before it is tagged."""
        if call.source is None or call.source.kind != "handle":
            return  # the event names a handle
        file = self.get(call.source.reference)
        text = payloads.converse_text(
            file.handle,
            tasks=[task.name for task in call.work],
            filename=filename,
            mimetype=mimetype,
            size=len(content),
            path=file.key,
            api_url=f"{base_url}/api",
        )
        self._webhooks.emit("fp.converse", text)

    def metadata(self, source: Source, wanted: Mapping[str, str]) -> dict[str, Any]:
        """Return the attributes requested with ``name=true``, or the usual five."""
        names = [name for name, value in wanted.items() if value == "true"]
        file = self.get(source.reference)
        content = self.read(source)[0]
        values: dict[str, Callable[[], Any]] = {
            "mimetype": lambda: file.mimetype,
            "filename": lambda: file.filename,
            "size": lambda: file.size,
            "uploaded": lambda: file.uploaded,
            "writeable": lambda: True,
            "cloud": lambda: file.location,
            "location": lambda: file.location,
            "path": lambda: file.key,
            "container": lambda: file.container,
            "key": lambda: file.key,
            "source_url": lambda: None,
            "exif": dict,
        }
        for digest in DIGESTS:
            values[digest] = partial(_digest, digest, content)
        if "width" in names or "height" in names:
            width, height = pictures.size(content) or (None, None)
            values |= {"width": lambda: width, "height": lambda: height}
        return {name: values[name]() for name in names or DEFAULT_METADATA if name in values}


def check_upload_tags(value: object) -> UploadTags | None:
    """Return the upload tags of a request: an object, or filestack-go's list of texts.

    Raises:
        ValueError: when there are too many, or one is too long or not a text.
    """
    if value is None:
        return None
    if not isinstance(value, dict | list) or len(value) > MAX_UPLOAD_TAGS:
        raise ValueError("upload_tags are an object of at most 10 keys, or a list of as many")
    texts = value.values() if isinstance(value, dict) else value
    if any(not isinstance(text, str) or len(text) > MAX_UPLOAD_TAG_VALUE for text in texts):
        raise ValueError("an upload tag is a text of at most 256 characters")
    return value


def _digest(name: str, content: bytes) -> str:
    return hashlib.new(name, content).hexdigest()


def mimetype_of(content: bytes, filename: str, claimed: str) -> str:
    """Return the claimed type, unless it is generic: then inspect bytes and name."""
    if claimed and claimed not in {OCTET_STREAM, "application/x-www-form-urlencoded"}:
        return claimed
    return pictures.sniff(content) or mimetypes.guess_type(filename)[0] or OCTET_STREAM


def decoded(content: bytes, wanted: str | None) -> bytes:
    """Return the content, base64-decoded if ``base64decode=true`` was requested."""
    if wanted != "true":
        return content
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as err:
        raise task_error("Invalid parameter", reason="base64decode: not base64") from err
