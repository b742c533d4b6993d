"""``python -m filestack_tags.tagging.taggers.local FILE…`` prints the tags of local image files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from filestack_tags.exceptions import TaggerError

from . import tag_picture


def main(arguments: list[str] | None = None) -> int:
    """Print one line per file; return 1 when any could not be tagged."""
    parser = argparse.ArgumentParser(
        prog="python -m filestack_tags.tagging.taggers.local",
        description="Print the tags that the local tagger gives to pictures.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    failed = False
    for path in parser.parse_args(arguments).files:
        try:
            tags = tag_picture(path.read_bytes())
        except (OSError, TaggerError) as error:
            failed = True
            sys.stderr.write(f"{path.name}: {error}\n")
        else:
            listing = ", ".join(f"{label} {confidence}" for label, confidence in tags.items())
            sys.stdout.write(f"{path.name}: {listing}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
