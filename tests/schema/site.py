"""A live server with the API, some rows and a user ``root``, for clients of its schema."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "docs" / "openapi.yaml"
PORT = 8907
SITE = f"http://127.0.0.1:{PORT}"
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


@contextmanager
def serving() -> Iterator[Path]:
    """Serve the site during the block, which gets an empty folder.

    Raises:
        SystemExit: when the server does not start, or had an error meanwhile.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = os.environ | {
            "DATABASE_URL": f"sqlite://{folder}/db.sqlite3",
            "DJANGO_SETTINGS_MODULE": "tests.schema.settings",
            "PYTHONPATH": str(ROOT),
        }
        django = (sys.executable, "-m", "django")
        subprocess.run([*django, "migrate", "--verbosity", "0"], env=environment, check=True)
        subprocess.run([*django, "shell", "-v", "0", "-c", SEED], env=environment, check=True)
        with (folder / "server.log").open("w+") as log:
            server = subprocess.Popen(
                [*django, "runserver", str(PORT), "--noreload"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                _wait_for(f"{SITE}/schema/swagger/")
                yield folder
            finally:
                server.terminate()
                server.wait(10)
            log.seek(0)
            said = log.read()
        if "Traceback" in said:
            raise SystemExit(f"The server had a fault:\n{said[-10_000:]}")


def _wait_for(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url)  # noqa: S310  # our own server
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"No answer from {url}")
