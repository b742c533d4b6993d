"""The committed schema matches the views, and only the schema needs drf-spectacular."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from filestack_tags.api.problems import PROBLEMS
from filestack_tags.api.urls import router

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "docs" / "openapi.yaml"

WITHOUT = """
import sys
sys.modules["drf_spectacular"] = None
import django
django.setup()
import filestack_tags.api.urls
assert "filestack_tags.api.schema" not in sys.modules
"""
PAGES = """
import re
import django
django.setup()
from django.test import Client
for page in ("swagger", "redoc"):
    reply = Client().get(f"/schema/{page}/")
    assert reply.status_code == 200
    hosts = re.findall(r'(?:src|href)="(?:https?:)?//([^"]*)', reply.content.decode())
    assert not hosts, hosts
"""


def python(*arguments: str, settings: str = "tests.settings") -> str:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": settings, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_committed_schema_is_what_the_views_say(tmp_path: Path) -> None:
    made = tmp_path / "openapi.yaml"
    options = ("--validate", "--fail-on-warn", "--file", str(made))
    python("-m", "django", "spectacular", *options, settings="tests.schema.settings")
    assert made.read_text("utf-8") == COMMITTED.read_text("utf-8"), "run `make openapi`"


def test_every_action_is_described_with_its_permissions() -> None:
    undeclared = [
        (url.callback.cls.__name__, action)
        for url in router.urls
        for action in url.callback.actions.values()
        if not getattr(url.callback.cls, action).operation.permissions
    ]
    assert not undeclared


def test_every_problem_of_a_request_is_in_the_schema() -> None:
    text = COMMITTED.read_text("utf-8")
    # No operation documents these: they concern unsupported methods and formats.
    besides = {"method-not-allowed", "not-acceptable"}
    missing = {problem.name for problem in PROBLEMS if f"`{problem.name}`" not in text}
    assert missing == besides


def test_every_member_of_a_problem_is_in_the_schema() -> None:
    schemas = yaml.safe_load(COMMITTED.read_text("utf-8"))["components"]["schemas"]
    members = {member for problem in PROBLEMS for member in problem.members}
    assert members <= schemas["Problem"]["properties"].keys()


def test_the_api_needs_no_drf_spectacular() -> None:
    assert python("-c", WITHOUT + "print('asked')").endswith("asked\n")


def test_the_pages_that_show_the_schema_load_nothing_from_another_host() -> None:
    said = python("-c", PAGES + "print('looked')", settings="tests.schema.settings")
    assert said.endswith("looked\n")
