"""Filestack's events as dicts, for tests of host projects and for the emulator itself.

Shapes: docs, Webhooks page. Sign them with :func:`filestack_tags.testing.webhooks.signed_request`.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

CDN_URL = "https://cdn.filestackcontent.com"
CONTAINER = "filestack-uploads-persist-production"
RESULTS_KEPT = 172800
"""Seconds that Filestack keeps the results of a workflow job (docs: Workflows API)."""

_last_id = 0
_last_id_lock = threading.Lock()


def next_event_id() -> int:
    """Return an id that grows with time, so that it stays unique across restarts."""
    global _last_id
    with _last_id_lock:
        _last_id = max(_last_id + 1, time.time_ns() // 1000)
        return _last_id


def rfc3339nano(nanoseconds: int) -> str:
    """Format unix nanoseconds as Go does: UTC, up to 9 digits, trailing zeros dropped."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    digits = f"{fraction:09d}".rstrip("0")
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{moment}.{digits}Z" if digits else f"{moment}Z"


def event(
    action: str,
    text: Mapping[str, Any],
    *,
    event_id: int | None = None,
    timestamp: int | None = None,
) -> dict[str, Any]:
    """Return an event with its envelope. ``timestamp`` is the event's time in unix seconds."""
    return {
        "id": next_event_id() if event_id is None else event_id,
        "action": action,
        "timestamp": int(time.time()) if timestamp is None else timestamp,
        "text": dict(text),
    }


def upload_text(
    handle: str,
    *,
    filename: str = "example.jpg",
    mimetype: str = "image/jpeg",
    size: int = 158584,
    container: str = CONTAINER,
    key: str = "",
    client: str = "Computer",
    status: str = "Stored",
    upload_tags: Mapping[str, str] | Sequence[str] | None = None,
    cdn_url: str = CDN_URL,
) -> dict[str, Any]:
    """Return the ``text`` of an ``fp.upload`` event; see :func:`fp_upload`."""
    text: dict[str, Any] = {
        "container": container,
        "url": f"{cdn_url}/{handle}",
        "filename": filename,
        "client": client,
        "key": key or f"{handle}_{filename}",
        "type": mimetype,
        "status": status,
        "size": size,
    }
    if upload_tags:
        text["upload_tags"] = upload_tags
    return text


def converse_text(
    handle: str,
    *,
    tasks: Sequence[str] = ("resize",),
    filename: str = "example.png",
    mimetype: str = "image/png",
    size: int = 158584,
    path: str = "",
    api_url: str = "https://www.filestackapi.com/api",
) -> dict[str, Any]:
    """Return the ``text`` of an ``fp.converse`` event; see :func:`fp_converse`."""
    return {
        "url": f"/{'/'.join(tasks)}/{handle}",
        "link": {
            "url": f"{api_url}/file/{handle}",
            "handle": handle,
            "filename": filename,
            "mimetype": mimetype,
            "path": path or f"{handle}_{filename}",
            "provider": "internal_v2",
            "size": size,
        },
    }


def overwrite_text(
    handle: str,
    *,
    filename: str = "example.jpg",
    mimetype: str = "image/jpeg",
    size: int = 436688,
    client: str = "Computer",
    cdn_url: str = CDN_URL,
) -> dict[str, Any]:
    """Return the ``text`` of an ``fp.overwrite`` event; see :func:`fp_overwrite`."""
    return {
        "mimetype": mimetype,
        "url": f"{cdn_url}/{handle}",
        "isWriteable": True,
        "filename": filename,
        "client": client,
        "size": size,
    }


def fp_upload(
    handle: str,
    *,
    event_id: int | None = None,
    timestamp: int | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """Return the event of an upload.

    ``facts`` are those of :func:`upload_text`: ``filename``, ``mimetype``, ``size`` (bytes),
    ``container``, ``key``, ``client``, ``status``, ``upload_tags``, ``cdn_url``. That upload tags
    are sent is documented; that their key is ``upload_tags`` is not.
    """
    text = upload_text(handle, **facts)
    return event("fp.upload", text, event_id=event_id, timestamp=timestamp)


def fp_overwrite(
    handle: str,
    *,
    event_id: int | None = None,
    timestamp: int | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """Return the event of new content for an existing handle.

    ``facts`` are those of :func:`overwrite_text`: ``filename``, ``mimetype``, ``size`` (bytes),
    ``client``, ``cdn_url``.
    """
    text = overwrite_text(handle, **facts)
    return event("fp.overwrite", text, event_id=event_id, timestamp=timestamp)


def fp_converse(
    handle: str,
    *,
    event_id: int | None = None,
    timestamp: int | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """Return the event of a converted picture; thumbnails and ``resize/tags`` cause it, too.

    ``facts`` are those of :func:`converse_text`: ``tasks``, ``filename``, ``mimetype``, ``size``
    (bytes), ``path``, ``api_url``.
    """
    text = converse_text(handle, **facts)
    return event("fp.converse", text, event_id=event_id, timestamp=timestamp)


def fp_delete(
    handle: str,
    *,
    event_id: int | None = None,
    timestamp: int | None = None,
    cdn_url: str = CDN_URL,
) -> dict[str, Any]:
    """Return the event of a deleted file."""
    text = {"url": f"{cdn_url}/{handle}"}
    return event("fp.delete", text, event_id=event_id, timestamp=timestamp)


def tags_reply(auto: Mapping[str, int]) -> dict[str, Any]:
    """Return the reply of the ``tags`` task (docs: Tagging)."""
    return {"tags": {"auto": dict(auto), "user": None}}


def job_text(
    sources: Sequence[str],
    *,
    workflow: str,
    job_id: str,
    results: Mapping[str, Any],
    status: str,
    created: int,
    updated: int,
) -> dict[str, Any]:
    """Return a workflow job as in its status call and its event; times in nanoseconds."""
    return {
        "workflow": workflow,
        "createdAt": rfc3339nano(created),
        "updatedAt": rfc3339nano(updated),
        "sources": list(sources),
        "results": dict(results),
        "status": status,
        "jobid": job_id,
        "ttl": RESULTS_KEPT,
    }


def fs_workflow(
    handle: str,
    *,
    tags: Mapping[str, int] | None = None,
    results: Mapping[str, Any] | None = None,
    workflow: str = "c516519f-3755-4fb5-85a4-15ae4b31d475",
    job_id: str | None = None,
    status: str = "Finished",
    task_name: str = "tags_1552311891723",
    created: int | None = None,
    event_id: int | None = None,
    timestamp: int | None = None,
) -> dict[str, Any]:
    """Return the event of a workflow job's end.

    Args:
        handle: the job's source.
        tags: label → confidence, put under ``task_name`` as the ``tags`` task would.
        results: further results by task name, in Filestack's format.
        job_id: a new UUID by default.
        status: ``Finished``; ``Failed`` is what consumers check for.
        created: when the job started, in unix nanoseconds; now by default.
    """
    named = dict(results or {})
    if tags is not None:
        named[task_name] = {"data": tags_reply(tags)}
    started = time.time_ns() if created is None else created
    text = job_text(
        [handle],
        workflow=workflow,
        job_id=str(uuid.uuid4()) if job_id is None else job_id,
        results=named,
        status=status,
        created=started,
        updated=started + 592_505_181,
    )
    return event("fs.workflow", text, event_id=event_id, timestamp=timestamp)
