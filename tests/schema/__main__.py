"""Run schemathesis on the whole schema, against a live server, as each of three users.

::

    python -m tests.schema                  # as much each time; the same with -- --seed 1
    python -m tests.schema --seconds 600    # at most this long
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .site import PASSWORD, PORT, ROOT, SCHEMA, USERS, prepared, serving

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 10
"""Test cases an operation, and sequences of requests, if there is no time to fill."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.schema", description=__doc__)
    parser.add_argument("--seconds", type=int, default=0, help="time to fill")
    parser.add_argument("--user", choices=USERS, action="append", help="only as this user")
    parser.add_argument("rest", nargs="*", help="further arguments for schemathesis")
    options = parser.parse_args()
    users = options.user or USERS
    amount = ("--max-examples", str(EXAMPLES))
    if options.seconds:
        amount = ("--max-time", str(max(1, options.seconds)))
    with prepared() as database, ThreadPoolExecutor(len(users)) as threads:
        runs = {
            user: threads.submit(_run, user, (*amount, *options.rest), database, PORT + number)
            for number, user in enumerate(users)
        }
        results = {user: run.result() for user, run in runs.items()}
    failed = [user for user, passes in results.items() if not passes]
    sys.stdout.write(f"Failed as {', '.join(failed)}.\n" if failed else "No user failed.\n")
    return bool(failed)


def _run(user: str, arguments: tuple[str, ...], database: Path, port: int) -> bool:
    """Run schemathesis as a user, with a separate server and database."""
    started = time.monotonic()
    with serving(database, port) as (site, folder):
        passes, output = _schemathesis(user, arguments, site, folder)
    seconds = time.monotonic() - started
    sys.stdout.write(f"\n==== As {user}: {seconds:.0f} seconds ====\n{output}")
    return passes


def _schemathesis(
    user: str, arguments: tuple[str, ...], site: str, folder: Path
) -> tuple[bool, str]:
    """Return whether it passes, and its output."""
    # One worker: Python 3.11 before 3.11.8 cannot parse in two threads, which hypothesis does.
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG)),
        *("run", str(SCHEMA), "--url", site, "--auth", f"{user}:{PASSWORD}"),
        *("--checks", "all", "--mode", "all", "--workers", "1", "--request-timeout", "30"),
        *("--continue-on-failure", "--warnings", "off", "--suppress-health-check", "all"),
        *("--no-color", *arguments),
    ]
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.schema.settings",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.schema.hooks",
        "SCHEMA_USER": user,
    }
    run = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    output = run.stdout
    # It reports success even if there was no time to test anything.
    selected, tested = (
        re.search(r"Selected: (\d+)", output),
        re.search(r"Tested: (\d+)", output),
    )
    if not (selected and tested and selected[1] == tested[1]):
        return False, f"{output}Some operations were not tested: give it more --seconds.\n"
    return run.returncode == 0, output


if __name__ == "__main__":
    sys.exit(main())
