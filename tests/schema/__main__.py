"""schemathesis over the whole schema, against a live server: no fault, nothing undocumented.

::

    python -m tests.schema --seconds 90
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PORT = 8907
SITE = f"http://127.0.0.1:{PORT}"
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance"),
    *("allow_header_conformance", "ignored_auth"),
)
SEED = """
from django.contrib.auth.models import User
from filestack_tags import bulk, curation, merging
from filestack_tags.models import Tag
from tests.api.rows import tagged

root = User.objects.create_superuser("root", password="secret")
for number in range(12):
    tagged(f"h{number}", {"Sky": 90 - number, "sea": 50 + number, f"only{number}": 40})
ids = dict(Tag.objects.values_list("key", "pk"))
curation.reject(1, ids["sea"], user=root)
curation.accept(2, ids["sky"], user=root)
curation.add_alias(ids["sky"], "heaven")
merging.start(ids["only3"], ids["only4"], user=root)
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.schema", description=__doc__)
    parser.add_argument("--seconds", type=int, default=90, help="for which it goes on")
    parser.add_argument("rest", nargs="*", help="further arguments for schemathesis")
    options = parser.parse_args()
    done = 1
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "DATABASE_URL": f"sqlite://{folder}/db.sqlite3",
            "DJANGO_SETTINGS_MODULE": "tests.schema.settings",
            "PYTHONPATH": str(ROOT),
        }
        django = (sys.executable, "-m", "django")
        subprocess.run([*django, "migrate", "--verbosity", "0"], env=environment, check=True)
        subprocess.run([*django, "shell", "-v", "0", "-c", SEED], env=environment, check=True)
        with (Path(folder) / "server.log").open("w+") as log:
            server = subprocess.Popen(
                [*django, "runserver", str(PORT), "--noreload"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                _wait_for(f"{SITE}/schema/swagger/")
                done = _schemathesis(options.seconds, options.rest, folder)
            finally:
                server.terminate()
                server.wait(10)
            log.seek(0)
            said_by_server = log.read()
        if done or "Traceback" in said_by_server:
            sys.stdout.write(said_by_server[-10_000:])
            return done or 1
    return 0


def _schemathesis(seconds: int, rest: list[str], folder: str) -> int:
    # One worker: Python 3.11 before 3.11.8 cannot parse in two threads, which hypothesis does.
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run"),
        *(str(ROOT / "docs" / "openapi.yaml"), "--url", SITE, "--auth", "root:secret"),
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
    # It says that all is well when there was time for nothing.
    selected, tested = re.search(r"Selected: (\d+)", told), re.search(r"Tested: (\d+)", told)
    if not (selected and tested and selected[1] == tested[1]):
        sys.stdout.write("Not every operation was tried: give it more --seconds.\n")
        return run.wait() or 1
    return run.wait()


def _wait_for(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url)  # noqa: S310  # our own server
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"No answer from {url}")


if __name__ == "__main__":
    sys.exit(main())
