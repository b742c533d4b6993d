"""The examples in the documents are run: Python, settings, JSON, and commands.

The examples of one document share their names, from the first to the last, as if a reader typed
them. Objects that a document assumes, such as a user, are in :data:`GIVEN`. ``make dist-test`` runs
the tutorial as written, in a separate project.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import get_commands, load_command_class
from django.test import Client
from django.urls import include, path

from filestack_tags import checks
from filestack_tags.testing import EmulatorApp, EmulatorConfig
from filestack_tags.testing.fixtures import Make

pytest_plugins = ["filestack_tags.pytest_plugin"]

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
MODELS = "tests.hosts.shop.models"
"""Where the models of examples are placed: an installed app."""

READERS = ("ASSET_SCOPE", "TAGGER", "TAGGERS")
ENVIRONMENT = {
    "FILESTACK_API_KEY": "AKEY",
    "FILESTACK_APP_SECRET": "TESTSECRET0000000000000000",
    "FILESTACK_WEBHOOK_SECRET": "whsec-A",
}


def given_to_all(make: Make) -> dict[str, Any]:
    """Objects that every project has: rows, a user, a request, and usual imports."""
    user = User.objects.create_user("anna")
    asset = make.asset({"sky": 90, "beach": 60, "New York City": 55}, filename="a.jpg")
    return {
        "os": os,
        "path": path,
        "include": include,
        "admin": admin,
        "DATABASES": {"default": {}},
        "INSTALLED_APPS": [],
        "urlpatterns": [],
        "user": user,
        "request": SimpleNamespace(user=user),
        "asset": asset,
        "hide": lambda asset: None,
        "statsd": SimpleNamespace(timing=Mock(), increment=Mock()),
        "client": Client(),
        "settings": SimpleNamespace(),
        "filestack": SimpleNamespace(config=type("Config", (), {})()),
    }


def blocks(document: str, *kinds: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each block of these kinds."""
    file = ROOT / document
    if not file.exists():  # when the wheel is tested, only docs/ is beside it
        return
    text = file.read_text("utf-8")
    for found in FENCE.finditer(text):
        if found[2] in kinds:
            yield text.count("\n", 0, found.start()) + 2, dedent(found[3])


def is_a_test(block: str) -> bool:
    return "def test_" in block


def having(*kinds: str) -> list[str]:
    return [document for document in DOCUMENTS if any(blocks(document, *kinds))]


def run(document: str, line: int, block: str, names: dict[str, Any]) -> None:
    """Run one example; a traceback shows the document and its line."""
    code = compile("\n" * (line - 1) + block, str(ROOT / document), "exec")
    exec(code, names)  # noqa: S102  the project's own documents


@contextmanager
def models_taken_away() -> Iterator[None]:
    """Remove the models that examples define, which have no tables."""
    before = {**apps.all_models["shop"]}
    try:
        yield
    finally:
        for name in apps.all_models["shop"].keys() - before:
            model = apps.all_models["shop"].pop(name)
            if admin.site.is_registered(model):
                admin.site.unregister(model)
        apps.clear_cache()


@pytest.mark.django_db
@pytest.mark.parametrize("document", having("python"))
def test_every_example_runs(
    document: str, filestack_make: Make, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    config = EmulatorConfig(tagger=lambda content: {}, background=False)
    with EmulatorApp(config) as app, models_taken_away():
        names = given_to_all(filestack_make) | {"app": app, "config": config}
        names["__name__"] = MODELS
        for line, block in blocks(document, "python"):
            if document == "docs/tutorial.md" or is_a_test(block):
                compile(block, document, "exec")
                continue
            run(document, line, block, names)
            if written := names.pop("FILESTACK_TAGS", None):
                # Settings that name the reader's code cannot be imported here.
                own = {key: each for key, each in written.items() if key not in READERS}
                settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, **own}
                assert not problems(), f"{document}:{line}"
        if "end" in names:  # of a subscription
            names["end"]()


def problems() -> list[Any]:
    """Return the results of the system checks for the settings of a document."""
    return [
        *checks.check_settings(),
        *checks.check_tagger(),
        *checks.check_workflows(),
        *checks.check_sinks(),
    ]


@pytest.mark.slow
def test_the_tests_in_the_documents_pass(tmp_path: Path) -> None:
    number = 0
    for document in having("python"):
        for line, block in blocks(document, "python"):
            if is_a_test(block) and document != "docs/tutorial.md":
                stem = re.sub(r"\W", "_", document.removesuffix(".md"))
                (tmp_path / f"test_{stem}_{line}.py").write_text(block, "utf-8")
                number += 1
    assert number >= 6
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-W", "error", "--ds", "tests.settings"),
            *("-p", "no:cacheprovider", "-p", "filestack_tags.pytest_plugin"),
            *("--rootdir", tmp_path, "-c", os.devnull, "--import-mode=importlib", tmp_path),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": "sqlite:"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("document", having("json"))
def test_every_json_can_be_read(document: str) -> None:
    read = 0
    for line, block in blocks(document, "json"):
        rest = block.strip()
        while rest:  # there may be several
            read += 1
            try:
                _, end = json.JSONDecoder().raw_decode(rest)
            except ValueError as error:
                pytest.fail(f"{document}:{line}: {error}")
            rest = rest[end:].strip()
    assert read


def commands(document: str) -> Iterator[str]:
    for _line, block in blocks(document, "", "console", "text", "sh"):
        joined = block.replace("\\\n", " ")
        for found in re.finditer(r"manage\.py (filestack_tags_\w+)([^\n|&;]*)", joined):
            yield f"{found[1]}{found[2]}"


def test_every_command_in_the_documents_takes_these_options() -> None:
    known = get_commands()
    seen = 0
    for document in DOCUMENTS:
        for typed in commands(document):
            name, *options = shlex.split(typed, comments=True)
            assert known.get(name) == "filestack_tags", f"{document}: {typed}"
            parser = load_command_class("filestack_tags", name).create_parser("manage.py", name)
            try:
                parser.parse_args(options)
            except SystemExit:
                pytest.fail(f"{document}: {typed}")
            seen += 1
    assert seen >= 5


def test_every_statement_of_the_threat_model_names_a_test_that_exists() -> None:
    text = (ROOT / "docs/security.md").read_text("utf-8")
    statements = [
        line
        for line in text.partition("## Anonymous")[2].splitlines()
        if line.startswith("| ") and not line.endswith("| test |")
    ]
    assert len(statements) > 20
    for statement in statements:
        named = re.search(r"`(tests/\S+\.py)::(test_\w+)` \|$", statement)
        assert named, f"names no test: {statement}"
        source = (ROOT / named[1]).read_text("utf-8")
        assert re.search(rf"def {named[2]}\(", source), f"there is no {named[1]}::{named[2]}"
