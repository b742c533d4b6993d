from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from example_project.demo.children import DemoFailed
from example_project.demo.run import run


class Command(BaseCommand):
    help = "Upload, tag and search real photos with real processes on this machine."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--serve", action="store_true", help="leave everything running until Ctrl-C"
        )

    def handle(self, *args: Any, serve: bool, **options: Any) -> None:
        try:
            run(serve=serve)
        except DemoFailed as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            print("\nStopped.")
            sys.exit(0 if serve else 130)
