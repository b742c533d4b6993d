"""Uploads: simple store, overwrite, and multipart with or without intelligent ingestion
(docs: Uploading; File API)."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from . import grammar, wire
from .access import Access, credentials_in
from .files import OCTET_STREAM, Files, check_upload_tags, decoded
from .forms import file_in_form
from .grammar import Source, UploadTags
from .policies import Wanted
from .store import Store, StoredFile, Upload
from .wire import Reply, Request, invalid_parameter, json_reply
from .workflows import Workflows

REGION = "us-east-1"


@dataclass(frozen=True)
class Received:
    """The bytes of a request, however they were sent."""

    content: bytes
    filename: str
    mimetype: str


class Uploads:
    """The upload host and the File API's store."""

    def __init__(
        self, access: Access, files: Files, store: Store, workflows: Workflows
    ) -> None:
        self._access = access
        self._files = files
        self._store = store
        self._workflows = workflows

    def store(self, request: Request, location: str) -> Reply:
        """``POST /api/store/LOCATION?key=``: a form with ``url``, a file field, or raw bytes."""
        query = request.query
        self._access.key(query.get("key"), status=200)
        received = self._receive(request)
        wanted = Wanted(
            "store",
            size=len(received.content),
            path=query.get("path", ""),
            container=query.get("container", ""),
        )
        self._access.file_api(request, wanted)
        file = self._files.add(
            received.content,
            filename=received.filename,
            mimetype=received.mimetype,
            options={**query, "location": location},
            base_url=request.base_url,
        )
        reply = {
            "url": f"{request.base_url}/{file.handle}",
            "size": file.size,
            "type": file.mimetype,
            "filename": file.filename,
            "key": file.key,
        }
        return json_reply(reply)

    def overwrite(self, request: Request, handle: str) -> Reply:
        """``POST /api/file/HANDLE``: the handle stays, the content changes."""
        call = "writeUrl" if _form_url(request) else "write"
        self._access.file_api(request, Wanted(call, handle=handle))
        self._files.get(handle)
        received = self._receive(request)
        size = len(received.content)
        self._access.file_api(request, Wanted(call, handle=handle, size=size))
        file = self._files.overwrite(
            handle,
            received.content,
            filename=received.filename,
            mimetype=received.mimetype,
            base_url=request.base_url,
        )
        reply = {
            "url": f"{request.base_url}/{handle}",
            "mimetype": file.mimetype,
            "isWriteable": True,
            "size": file.size,
            "filename": file.filename,
        }
        return json_reply(reply)

    def _receive(self, request: Request) -> Received:
        url = _form_url(request)
        if url:
            try:
                source = grammar.parse_source(url)
            except grammar.Unreadable as err:
                raise invalid_parameter(str(err)) from err
            content, mimetype, filename = self._files.read(source)
            return Received(content, filename, mimetype)
        content_type = request.headers.get("content-type", "")
        filename, mimetype, content = "", content_type.partition(";")[0].strip(), request.body
        if mimetype == "multipart/form-data":
            field = file_in_form(content_type, request.body)
            if field is None:
                raise invalid_parameter("the form has no file field, such as fileUpload")
            filename, mimetype, content = field
        content = decoded(content, request.query.get("base64decode"))
        return Received(content, filename, mimetype or OCTET_STREAM)

    def prefetch(self, request: Request) -> Reply:
        """``POST /prefetch``: what the account permits; filestack-js's picker calls it first.

        The names in the reply are those that filestack-js reads; their values are not documented.
        """
        body = _body(request)
        self._access.key(body.get("apikey"), status=200)
        security = body.get("security") or {}
        if not isinstance(security, dict):
            raise _inalid("security is an object")
        self._access.upload(security, Wanted("pick"))
        reply: dict[str, Any] = {"blocked": False}
        for name in ("permissions", "settings"):
            names = body.get(name) or []
            if not isinstance(names, list):
                raise _inalid(f"{name} is a list")
            reply[name] = dict.fromkeys(map(str, names), False)
        if body.get("picker_config"):
            reply["updated_config"] = body["picker_config"]
        return json_reply(reply)

    def start(self, request: Request) -> Reply:
        """``POST /multipart/start``."""
        body = _body(request)
        self._access.key(body.get("apikey"), status=200)
        size, options = body.get("size"), _options(body)
        if not isinstance(size, int) or size < 1 or not body.get("filename"):
            raise _inalid("filename and a size of 1 or more are needed")
        self._access.upload(body, _wanted(size, options))
        upload = Upload(
            id=secrets.token_hex(16),
            filename=str(body["filename"]),
            mimetype=str(body.get("mimetype") or OCTET_STREAM),
            size=size,
            store=options,
            intelligent=body.get("fii") is True,
        )
        self._store.start_upload(upload)
        reply = {
            "uri": _uri(upload.id),
            "region": REGION,
            "upload_id": upload.id,
            "location_url": _location(request),
        }
        if upload.intelligent:
            reply["upload_type"] = "intelligent_ingestion"
        return json_reply(reply)

    def part(self, request: Request) -> Reply:
        """``POST /multipart/upload``: return where to put a part's bytes, and the headers."""
        body = _body(request)
        upload = self._upload(body)
        number, offset, md5 = body.get("part"), body.get("offset", 0), body.get("md5")
        if not isinstance(number, int) or number < 1 or not isinstance(offset, int):
            raise _inalid("part counts from 1, offset is in bytes")
        # filestack-js omits it when integrity checks are disabled.
        if md5 is not None and (not isinstance(md5, str) or not md5):
            raise _inalid("md5 is the base64 MD5 of the bytes")
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers = {
            "Authorization": "AWS4-HMAC-SHA256 ...",
            **({"Content-MD5": md5} if md5 else {}),
            "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
            "x-amz-date": now,
        }
        url = f"{request.base_url}/multipart/bytes/{upload.id}/{number}/{offset}"
        return json_reply({"url": url, "headers": headers, "location_url": _location(request)})

    def put(self, request: Request, upload_id: str, number: int, offset: int) -> Reply:
        """``PUT`` of a part's bytes, as in the storage: the ETag is the quoted MD5."""
        if self._store.upload(upload_id) is None:
            raise wire.not_found("upload")
        digest = hashlib.md5(request.body, usedforsecurity=False)
        right = base64.b64encode(digest.digest()).decode()
        if request.headers.get("content-md5", right) != right:
            raise wire.Refused(wire.text_reply("BadDigest", 400), "Content-MD5 does not match")
        etag = f'"{digest.hexdigest()}"'
        self._store.put_chunk(upload_id, number, offset, request.body, etag)
        return Reply(200, b"", "text/plain", {"ETag": etag})

    def commit(self, request: Request) -> Reply:
        """``POST /multipart/commit``: a part of an intelligent upload is complete."""
        body = _body(request)
        self._upload(body)
        return json_reply({})

    def complete(self, request: Request) -> Reply:
        """``POST /multipart/complete``: create the file."""
        body = _body(request)
        upload = self._upload(body)
        content = self._assemble(upload, body.get("parts"))
        workflows = _options(body).get("workflows") or upload.store.get("workflows") or []
        if not isinstance(workflows, list):
            raise _inalid("store.workflows is a list")
        self._workflows.check(workflows)
        tags = _upload_tags(body.get("upload_tags"))
        with self._store.transaction():
            if not self._store.end_upload(upload.id):
                raise _inalid("the upload was completed before")
            file = self._files.add(
                content,
                filename=upload.filename,
                mimetype=upload.mimetype,
                options=upload.store,
                base_url=request.base_url,
                upload_tags=tags,
            )
            reply = _file_object(file, request.base_url)
            if workflows:
                source = Source("handle", file.handle)
                reply["workflows"] = self._workflows.run_all(workflows, source)
        return json_reply(reply)

    def _upload(self, body: Mapping[str, Any]) -> Upload:
        self._access.key(body.get("apikey"), status=200)
        upload = self._store.upload(str(body.get("upload_id")))
        if upload is None or body.get("uri") != _uri(upload.id) or body.get("region") != REGION:
            raise _inalid("uri, region and upload_id are those of the start reply")
        # Python's SDK signs only the start, filestack-js every step.
        if credentials_in(body):
            self._access.upload(body, _wanted(upload.size, upload.store))
        return upload

    def _assemble(self, upload: Upload, parts: object) -> bytes:
        chunks = self._store.chunks(upload.id)
        if not upload.intelligent:
            named = _named_parts(parts)
            arrived = [(number, etag) for number, etag, _ in chunks]
            if named != arrived:
                raise _inalid("parts are not the part numbers and ETags of what arrived")
        content = b"".join(chunk for _, _, chunk in chunks)
        if len(content) != upload.size:
            raise _inalid(f"{len(content)} bytes arrived, {upload.size} were announced")
        return content


def _wanted(size: int, options: Mapping[str, Any]) -> Wanted:
    return Wanted(
        "store",
        size=size,
        path=str(options.get("path") or ""),
        container=str(options.get("container") or ""),
    )


def _named_parts(parts: object) -> list[tuple[int, str]]:
    if not isinstance(parts, list):
        raise _inalid("parts is a list")
    try:
        return sorted((int(part["part_number"]), str(part["etag"])) for part in parts)
    except (KeyError, TypeError, ValueError) as err:
        raise _inalid("a part has part_number and etag") from err


def _file_object(file: StoredFile, base_url: str) -> dict[str, Any]:
    reply: dict[str, Any] = {
        "handle": file.handle,
        "url": f"{base_url}/{file.handle}",
        "filename": file.filename,
        "size": file.size,
        "mimetype": file.mimetype,
        "status": "Stored",
        "key": file.key,
        "container": file.container,
    }
    if file.upload_tags:
        reply["upload_tags"] = file.upload_tags
    return reply


def _body(request: Request) -> dict[str, Any]:
    try:
        return request.json()
    except ValueError as err:
        raise _inalid("the body is a JSON object") from err


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    options = body.get("store")
    if not isinstance(options, dict):
        raise _inalid("store is an object")
    return options


def _upload_tags(value: object) -> UploadTags | None:
    try:
        tags = check_upload_tags(value)
    except ValueError as err:
        raise _inalid(str(err)) from err
    if isinstance(tags, list):
        raise _inalid("upload_tags are an object")
    return tags


def _form_url(request: Request) -> str:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if content_type != "application/x-www-form-urlencoded":
        return ""
    return parse_qs(request.body.decode("utf-8", "replace")).get("url", [""])[0]


def _uri(upload_id: str) -> str:
    return f"/filestack-uploads/{upload_id}"


def _location(request: Request) -> str:
    # filestack-js uses a location_url with a scheme unchanged, which plain http needs;
    # filestack-python always prepends https://.
    from_js = request.headers.get("filestack-source", "").startswith("JS")
    return request.base_url if from_js else request.base_url.partition("://")[2]


def _inalid(reason: str) -> wire.Refused:
    message = "Parameters are inalid"  # sic: filestack-python #27  # codespell:ignore inalid
    return wire.refused_by_upload(message, 400, reason)
