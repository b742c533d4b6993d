"""A project that used the app removes it as docs/guides/uninstalling.md says."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SETTINGS = """
SECRET_KEY = "only for this test"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "pictures",
    "filestack_tags",
]
FILESTACK_TAGS = {"API_KEY": "AKEY", "APP_SECRET": "SECRET"}
"""

WITHOUT = """
from django.db import models


class Picture(models.Model):
    title = models.CharField(max_length=50)
    image = models.FileField(upload_to="pictures/")
"""

WITH = f"""
from filestack_tags.fields import AssetOf
{WITHOUT}    image_asset = AssetOf("image")
"""


class Project:
    """A separate project in a folder, run with ``manage.py``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "settings.py").write_text(SETTINGS)
        self.migrations = folder / "pictures" / "migrations"
        self.migrations.mkdir(parents=True)
        (folder / "pictures" / "__init__.py").touch()
        (self.migrations / "__init__.py").touch()

    def models(self, text: str) -> None:
        (self.folder / "pictures" / "models.py").write_text(text)

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "django", *arguments, "--pythonpath", str(self.folder)],
            cwd=self.folder,
            env=os.environ
            | {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": f"{self.folder}:{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
        return done.stdout

    def uninstall(self) -> None:
        settings = self.folder / "settings.py"
        text = settings.read_text().replace('    "filestack_tags",\n', "")
        settings.write_text(re.sub(r"^FILESTACK_TAGS.*\n", "", text, flags=re.MULTILINE))

    def tables(self) -> set[str]:
        with sqlite3.connect(self.folder / "db.sqlite3") as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            names = {name for (name,) in rows}
        connection.close()
        return names


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def remove_from_migrations(folder: Path) -> None:
    """Follow the guide by hand: no migration mentions the field or the app."""
    for file in sorted(folder.glob("0*.py")):
        text = file.read_text()
        text = re.sub(r" *\('filestack_tags', '\w+'\),\n", "", text)
        text = re.sub(r" *\('image_asset', .*\),\n", "", text)
        text = re.sub(
            r" *migrations\.(Add|Remove)Field\(\n(?: {12}.*\n)*? {12}name='image_asset',\n"
            r"(?: {12}.*\n)* {8}\),\n",
            "",
            text,
        )
        file.write_text(text)


@pytest.mark.parametrize("from_the_start", [True, False])
def test_the_app_can_be_removed_from_a_project(project: Project, from_the_start: bool) -> None:
    if not from_the_start:
        project.models(WITHOUT)
        project.manage("makemigrations", "pictures")
    project.models(WITH)
    project.manage("makemigrations", "pictures")
    project.manage("migrate", "--verbosity", "0")
    with sqlite3.connect(project.folder / "db.sqlite3") as connection:
        connection.execute("INSERT INTO pictures_picture (title, image) VALUES ('a', 'a.jpg')")
    connection.close()

    project.models(WITHOUT)
    project.manage("makemigrations", "pictures")
    project.manage("migrate", "--verbosity", "0")
    remove_from_migrations(project.migrations)
    project.manage("makemigrations", "--check")
    project.manage("migrate", "--check")
    project.manage("migrate", "filestack_tags", "zero", "--verbosity", "0")
    project.manage("remove_stale_contenttypes", "--include-stale-apps", "--noinput")
    project.uninstall()

    project.manage("check")
    project.manage("migrate", "--check")
    project.manage("makemigrations", "--check")
    assert not [name for name in project.tables() if name.startswith("filestack_tags")]
    with sqlite3.connect(project.folder / "db.sqlite3") as connection:
        rows = connection.execute("SELECT title, image FROM pictures_picture").fetchall()
    connection.close()
    assert rows == [("a", "a.jpg")]
    (project.folder / "db.sqlite3").unlink()
    project.manage("migrate", "--verbosity", "0")  # a new database needs nothing of the app
    assert "pictures_picture" in project.tables()
