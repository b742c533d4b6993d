"""Analyze and transform pictures."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from filestack_tags.exceptions import TaggerUnavailable, UnreadableImage

from .config import Tagger
from .grammar import Task
from .payloads import tags_reply
from .wire import invalid_parameter, task_error

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 100_000_000
"""Largest picture Filestack converts (old docs)."""

LARGEST_SIDE = 10_000
LABELS_IN_CAPTION = 3

MAGIC: tuple[tuple[bytes, int, str], ...] = (
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"BM", 0, "image/bmp"),
    (b"%PDF-", 0, "application/pdf"),
)
FORMATS: Mapping[str, tuple[str, str]] = {
    "jpg": ("JPEG", "image/jpeg"),
    "jpeg": ("JPEG", "image/jpeg"),
    "png": ("PNG", "image/png"),
    "gif": ("GIF", "image/gif"),
    "webp": ("WEBP", "image/webp"),
}


def sniff(content: bytes) -> str | None:
    """Return the MIME type that the first bytes indicate, or ``None``."""
    for magic, offset, mimetype in MAGIC:
        if content[offset : offset + len(magic)] == magic:
            return mimetype
    return None


def size(content: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels; ``None`` if Pillow is missing or cannot read it."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        return None
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.size
    except (UnidentifiedImageError, OSError, ValueError):
        return None


class Eye:
    """Answers the tasks that analyze a picture, with the account's tagger."""

    def __init__(self, tagger: Tagger | None, unsafe_labels: frozenset[str]) -> None:
        self._tagger = tagger
        self._unsafe_labels = unsafe_labels

    def labels(self, content: bytes) -> Mapping[str, int]:
        """Return label → confidence.

        Raises:
            Refused: 400 when this is not a picture, or when the default tagger is not installed.
        """
        tagger = self._tagger or _default_tagger()
        try:
            return tagger(content)
        except (UnreadableImage, ValueError) as err:
            raise task_error("Unsupported input format", reason=str(err)) from err
        except TaggerUnavailable as err:
            raise task_error(str(err), 400, str(err)) from err

    def answer(self, task: str, content: bytes) -> dict[str, Any]:
        """Return the reply of ``tags``, ``sfw`` or ``caption`` for the picture."""
        labels = self.labels(content)
        if task == "tags":
            return tags_reply(labels)
        if task == "sfw":
            return {"sfw": not self._unsafe_labels & labels.keys()}
        best = sorted(labels, key=lambda label: (-labels[label], label))[:LABELS_IN_CAPTION]
        return {"caption": f"a picture of {', '.join(best)}" if best else "a picture"}


def _default_tagger() -> Tagger:
    try:
        from filestack_tags.tagging.taggers.local import tag_picture
    except ImportError as err:
        message = (
            "The emulator's own tagger is not installed. Install django-filestack-tags[local], "
            "or give EmulatorConfig a tagger."
        )
        raise task_error(message, 400, message) from err
    return tag_picture


def transform(content: bytes, tasks: Sequence[Task]) -> bytes:
    """Apply picture tasks in order and return the new file's bytes.

    Raises:
        Refused: an unknown task, wrong options, bytes that are not a picture, or no Pillow.
    """
    for task in tasks:
        if task.name not in CHANGES and task.name not in {"output", "quality", "no_metadata"}:
            raise task_error("Unsupported conversion", reason=f"task {task.name!r}")
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as err:
        message = "The emulator needs Pillow for this task: pip install pillow."
        raise task_error(message, 400, message) from err
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(io.BytesIO(content))
        if image.width * image.height > MAX_PIXELS:
            raise task_error(
                "Output size limit exceeded", reason="more than 100 million pixels"
            )
        format_name = image.format or "PNG"
        image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as err:
        raise task_error("Unsupported input format", reason="not a picture") from err
    quality = 90
    for task in tasks:
        if task.name == "output":
            format_name = _output_format(task, format_name)
        elif task.name == "quality":
            quality = _number(task, "value", "v", low=1, high=100) or quality
        elif task.name in CHANGES:
            image = CHANGES[task.name](image, task)
    return _encode(image, format_name, quality)


def _encode(image: Image, format_name: str, quality: int) -> bytes:
    if format_name == "JPEG" and image.mode not in {"RGB", "L"}:
        image = image.convert("RGB")
    written = io.BytesIO()
    image.save(written, format=format_name, quality=quality)
    return written.getvalue()


def _output_format(task: Task, current: str) -> str:
    wanted = task.text("format", "f")
    if wanted is None:
        return current
    if wanted.lower() not in FORMATS:
        raise task_error("Unsupported conversion", reason=f"output format {wanted!r}")
    return FORMATS[wanted.lower()][0]


def _number(task: Task, *names: str, low: int, high: int) -> int | None:
    text = task.text(*names)
    if text is None:
        return None
    try:
        number = int(text)
    except ValueError as err:
        raise invalid_parameter(f"{task.name}: {names[0]} is a whole number") from err
    if not low <= number <= high:
        raise invalid_parameter(f"{task.name}: {names[0]} is between {low} and {high}")
    return number


def _resize(image: Image, task: Task) -> Image:
    from PIL import ImageOps

    width = _number(task, "width", "w", low=1, high=LARGEST_SIDE)
    height = _number(task, "height", "h", low=1, high=LARGEST_SIDE)
    fit = task.text("fit", "f") or "clip"
    if width is None and height is None:
        raise invalid_parameter("resize needs width or height")
    if width is None or height is None:
        box = (width or LARGEST_SIDE, height or LARGEST_SIDE)
        return ImageOps.contain(image, box)
    if fit == "crop":
        return ImageOps.fit(image, (width, height))
    if fit == "scale":
        return image.resize((width, height))
    if fit not in {"clip", "max"}:
        raise invalid_parameter("resize: fit is clip, crop, scale or max")
    return ImageOps.contain(image, (width, height))


def _crop(image: Image, task: Task) -> Image:
    try:
        left, top, width, height = (
            int(number) for number in task.texts("dim" if "dim" in task.options else "d")
        )
    except ValueError as err:
        raise invalid_parameter("crop: dim is [x,y,width,height]") from err
    if left < 0 or top < 0 or width < 1 or height < 1:
        raise invalid_parameter("crop: dim is [x,y,width,height]")
    return image.crop(
        (left, top, min(left + width, image.width), min(top + height, image.height))
    )


def _rotate(image: Image, task: Task) -> Image:
    degrees = _number(task, "deg", "d", low=0, high=359) or 0
    return image.rotate(-degrees, expand=True)


def _flip(image: Image, task: Task) -> Image:
    from PIL import ImageOps

    return ImageOps.flip(image)


def _flop(image: Image, task: Task) -> Image:
    from PIL import ImageOps

    return ImageOps.mirror(image)


def _monochrome(image: Image, task: Task) -> Image:
    return image.convert("L")


CHANGES: Mapping[str, Callable[[Image, Task], Image]] = {
    "blackwhite": lambda image, task: image.convert("1"),
    "crop": _crop,
    "flip": _flip,
    "flop": _flop,
    "monochrome": _monochrome,
    "resize": _resize,
    "rotate": _rotate,
}


def file_name(name: str, mimetype: str) -> str:
    """Return ``name`` with the extension of ``mimetype`` if they disagree."""
    endings = [ending for ending, (_, known) in FORMATS.items() if known == mimetype]
    path = PurePath(name or "file")
    if not endings or path.suffix.lstrip(".").lower() in endings:
        return path.name
    return f"{path.stem}.{endings[0]}"
