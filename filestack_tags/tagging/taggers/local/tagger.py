"""The local tagger: bytes → tags, on this machine, with no account and no network service.

The packages of the ``local`` extra are imported for the first picture, never when this module is
imported, so that a project without the extra can still be checked and run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from filestack_tags.error_codes import ErrorCode
from filestack_tags.exceptions import TaggerError
from filestack_tags.fields import storage_of
from filestack_tags.filestack.shared_client import shared_client
from filestack_tags.tagging.taggers.base import TaggerReply, TagScore

from .required_packages import require_packages

if TYPE_CHECKING:
    from filestack_tags.filestack.sources import Source


def tag_picture(data: bytes) -> dict[str, int]:
    """Return ``{label: confidence}``, highest first, then by name; deterministic.

    Confidence is 0–100: the rounded share from the network or a measurement, not a probability. A
    readable picture has at least one tag, its orientation. At most :data:`~.decoder_pool.DECODERS`
    pictures are tagged at a time; other threads wait.

    Raises:
        UnreadableImage: when the bytes are not a picture within the limits; see
            :func:`~.pictures.open_picture`.
        TaggerUnavailable: when the ``local`` extra or its weights are missing or not the expected
            ones.
    """
    require_packages()
    from .decoder_pool import slots

    with slots:
        return _tags_of(data)


def _tags_of(data: bytes) -> dict[str, int]:
    from .colours import visual_tags
    from .labels import content_tags
    from .network_session import classify
    from .pictures import network_views, open_picture

    picture = open_picture(data)
    return confidences(visual_tags(picture), content_tags(classify(network_views(picture))))


def confidences(*found: Mapping[str, float]) -> dict[str, int]:
    """Convert shares (0–1) to confidences (0–100), highest first, then by name.

    A label found twice, such as ``orange`` by its color and as a fruit, keeps its higher share.
    """
    highest: dict[str, float] = {}
    for shares in found:
        for label, share in shares.items():
            highest[label] = max(share, highest.get(label, 0.0))
    ordered = sorted(highest.items(), key=lambda item: (-round(100 * item[1]), item[0]))
    return {label: min(100, round(100 * share)) for label, share in ordered}


class LocalTagger:
    """Tags the file on this machine: read from the host's own storage, or else downloaded."""

    name = "local"
    cached = True

    def tag(self, source: Source, *, fresh: bool = False) -> TaggerReply:
        """Return the picture's tags; ``raw`` has the shape of Filestack's own reply.

        Args:
            source: the file.
            fresh: whether a download must bypass Filestack's cache.

        Raises:
            TaggerUnavailable, UnreadableImage: as :func:`tag_picture`.
            FilestackError: when the file cannot be downloaded.
            TaggerError: when the host's storage does not have it.
        """
        require_packages()
        from .decoder_pool import slots

        with slots:
            tags = _tags_of(_bytes_of(source, fresh=fresh))
        return TaggerReply(
            scores=tuple(TagScore(name, confidence) for name, confidence in tags.items()),
            raw=json.dumps({"tags": {"auto": tags, "user": None}}),
        )


def _bytes_of(source: Source, *, fresh: bool) -> bytes:
    from .pictures import MAX_BYTES

    alias, path = source.in_storage or ("", "")
    storage = storage_of(alias) if alias else None
    if storage is None:
        return shared_client().download(source, max_bytes=MAX_BYTES, fresh=fresh)
    try:
        with storage.open(path) as file:
            return bytes(file.read(MAX_BYTES + 1))  # one byte too many is rejected as too large
    except FileNotFoundError as error:
        raise TaggerError(
            f"The storage {alias!r} has no file {path}.", code=ErrorCode.FILE_NOT_FOUND
        ) from error
