"""A live server with the API, some rows and three users, for clients of the schema."""

from __future__ import annotations

import os
import shutil
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
PASSWORD = "secret"
USERS = ("root", "viewer", "editor")
SEES_HIDDEN_TAGS = frozenset({"root"})
TAGS = ("Sky", "sea", "only1", "heaven")
"""Names of tags that there are; the last one is an alias."""

SEED = """
from django.contrib.auth.models import Permission, User
from filestack_tags import curation
from filestack_tags.curation import merging
from filestack_tags.models import Tag
from tests.api.rows import tagged

root = User.objects.create_superuser("root", password="secret")
ours = Permission.objects.filter(content_type__app_label="filestack_tags")
viewer = User.objects.create_user("viewer", password="secret")
viewer.user_permissions.set(ours.filter(codename__startswith="view_"))
editor = User.objects.create_user("editor", password="secret")
editor.user_permissions.set(ours.exclude(codename="search_hidden"))
for number in range(12):
    tagged(f"h{number}", {"Sky": 90 - number, "sea": 50 + number, f"only{number}": 40})
ids = dict(Tag.objects.values_list("key", "pk"))
curation.reject(1, ids["sea"], user=root)
curation.accept(2, ids["sky"], user=root)
curation.add_alias(ids["sky"], "heaven")
merging.start(ids["only3"], ids["only4"], user=root)
"""

# Without TCP_NODELAY each request waits 40 ms for a delayed acknowledgement.
SERVE = """
import sys

from django.core.management import execute_from_command_line
from django.core.servers.basehttp import WSGIRequestHandler

WSGIRequestHandler.disable_nagle_algorithm = True
execute_from_command_line(["django", "runserver", sys.argv[1], "--noreload"])
"""


@contextmanager
def prepared() -> Iterator[Path]:
    """Yield a folder with a database that has the rows of :data:`SEED`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        django = (sys.executable, "-m", "django")
        environment = environment_of(folder)
        subprocess.run([*django, "migrate", "--verbosity", "0"], env=environment, check=True)
        subprocess.run([*django, "shell", "-v", "0", "-c", SEED], env=environment, check=True)
        yield folder


def environment_of(folder: Path) -> dict[str, str]:
    """Return the environment for the database in a folder."""
    return os.environ | {
        "DATABASE_URL": f"sqlite://{folder}/db.sqlite3",
        "DJANGO_SETTINGS_MODULE": "tests.schema.settings",
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": "0",
    }


@contextmanager
def serving(database: Path, port: int = PORT) -> Iterator[tuple[str, Path]]:
    """Serve the site during the block, from a copy of a database; yield its URL and a folder.

    Args:
        database: the folder of :func:`prepared`.
        port: where to serve it.

    Raises:
        SystemExit: if the server does not start, or logged an exception.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(database / "db.sqlite3", folder)
        site = f"http://127.0.0.1:{port}"
        with (folder / "server.log").open("w+") as log:
            server = subprocess.Popen(
                [sys.executable, "-c", SERVE, str(port)],
                env=environment_of(folder),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                _wait_for(f"{site}/schema/swagger/")
                yield site, folder
            finally:
                server.terminate()
                server.wait(10)
            log.seek(0)
            text = log.read()
        if "Traceback" in text:
            raise SystemExit(f"The server had a fault:\n{text[-10_000:]}")


def _wait_for(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url)  # noqa: S310  # our own server
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"No answer from {url}")
