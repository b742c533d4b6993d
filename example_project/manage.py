#!/usr/bin/env python
"""Django's command line, and the demo."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    # This folder is a package, imported as `example_project.…` from the folder above.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    if sys.argv[1:2] == ["demo"]:
        # The settings read the environment, so ports and folders must be set first.
        from example_project.demo.environment import prepare

        prepare()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
