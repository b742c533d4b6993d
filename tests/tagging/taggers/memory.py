"""Run as a process by test_memory.py: tag pictures, and print how much memory each took.

Reads the files named on the command line. Prints a JSON array with the tags or the error of each,
and the peak memory (bytes) of this process and its decoder above the previous usage.
"""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path


def peak(process: int) -> int:
    """Return the process's peak memory since the last reset, in bytes."""
    status = Path(f"/proc/{process}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def reset(process: int) -> int:
    """Reset the peak, and return the current memory of the process."""
    Path(f"/proc/{process}/clear_refs").write_text("5")
    return peak(process)


def decoder() -> int:
    """Return the id of the only child process."""
    (number,) = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return int(number)


def main() -> None:
    from django.conf import settings
    from PIL import Image

    settings.configure()
    from filestack_tags.exceptions import TaggerError
    from filestack_tags.tagging.taggers.local import tag_picture
    from filestack_tags.tagging.taggers.local.decoder_pool import Decoder

    small = io.BytesIO()
    Image.new("RGB", (400, 300), "red").save(small, "JPEG")

    measured: list[int] = []
    close = Decoder.close

    def close_measured(self: Decoder) -> None:
        measured.append(peak(self._process.pid))  # its peak is lost when it ends
        close(self)

    Decoder.close = close_measured  # type: ignore[method-assign]
    answers = []
    for path in sys.argv[1:]:
        tag_picture(small.getvalue())  # loads the network and a decoder
        measured.clear()
        before = reset(os.getpid()), reset(decoder())
        answer: dict[str, object] = {}
        try:
            answer["tags"] = tag_picture(Path(path).read_bytes())
        except TaggerError as error:
            answer |= {"code": error.code, "retryable": error.retryable, "error": str(error)}
        if not measured:
            measured.append(peak(decoder()))
        answer["bytes"] = peak(os.getpid()) - before[0] + max(measured) - before[1]
        answers.append(answer)
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main()
