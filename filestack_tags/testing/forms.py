"""Find the file in a ``multipart/form-data`` body (RFC 7578)."""

from __future__ import annotations

from email.message import Message


def file_in_form(content_type: str, body: bytes) -> tuple[str, str, bytes] | None:
    """Return file name, MIME type and bytes of the first file field, or ``None``."""
    boundary = _header(content_type).get_boundary()
    if not boundary:
        return None
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:]:
        head, separator, content = part.partition(b"\r\n\r\n")
        if not separator:
            continue
        fields = _fields(head)
        disposition = Message()
        disposition["Content-Disposition"] = fields.get("content-disposition", "")
        filename = disposition.get_filename()
        if filename is not None:
            return filename, fields.get("content-type", ""), content
    return None


def _header(content_type: str) -> Message:
    message = Message()
    message["Content-Type"] = content_type
    return message


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("utf-8", "replace").strip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
