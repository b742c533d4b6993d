"""Run schemathesis on the whole schema, against a live server: no server error, nothing
undocumented.

::

    python -m tests.schema --seconds 90
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from .site import SCHEMA, SITE, serving

CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance"),
    *("allow_header_conformance", "ignored_auth"),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.schema", description=__doc__)
    parser.add_argument("--seconds", type=int, default=90, help="for which it goes on")
    parser.add_argument("rest", nargs="*", help="further arguments for schemathesis")
    options = parser.parse_args()
    with serving() as folder:
        return _schemathesis(options.seconds, options.rest, folder)


def _schemathesis(seconds: int, rest: list[str], folder: Path) -> int:
    # One worker: Python 3.11 before 3.11.8 cannot parse in two threads, which hypothesis does.
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run"),
        *(str(SCHEMA), "--url", SITE, "--auth", "root:secret"),
        *("--checks", ",".join(CHECKS), "--max-time", str(seconds), "--workers", "1"),
        *("--request-timeout", "30", "--continue-on-failure", "--warnings", "off"),
        *("--suppress-health-check", "all", "--no-color"),
        *rest,
    ]
    run = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    told = ""
    for line in run.stdout or ():
        sys.stdout.write(line)
        told += line
    # It reports success even if there was no time to test anything.
    selected, tested = re.search(r"Selected: (\d+)", told), re.search(r"Tested: (\d+)", told)
    if not (selected and tested and selected[1] == tested[1]):
        sys.stdout.write("Not every operation was tried: give it more --seconds.\n")
        return run.wait() or 1
    return run.wait()


if __name__ == "__main__":
    sys.exit(main())
