"""``python -m filestack_tags.testing``: the emulator without a Django project."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from functools import partial

from .commandline import add_arguments, run
from .config import Account


def main() -> None:
    """Parse the options, serve until a signal, and exit."""
    account = Account()
    parser = ArgumentParser(
        prog="python -m filestack_tags.testing",
        description="A Filestack emulator for this machine only.",
        epilog="Without options it plays an account with the key AKEY and the throw-away secrets "
        "of filestack_tags.testing.config.Account.",
    )
    add_arguments(parser, account)
    say = partial(print, file=sys.stdout, flush=True)
    try:
        run(parser.parse_args(), account, say)
    except (OSError, ValueError) as err:
        parser.exit(1, f"{err}\n")


if __name__ == "__main__":
    main()
