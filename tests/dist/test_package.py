"""The wheel and the sdist are complete, and the installed wheel passes a part of the suite."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from .conftest import ROOT, Built, run

PACKAGE = "filestack_tags"
PARTS = ("tests/webhooks", "tests/test_documents.py")
"""The tests that run on the installed wheel: code, templates, migrations and the pytest plugin.
Everywhere else the suite imports the package from the checkout.
"""


@pytest.fixture(scope="session")
def names(built: Built) -> set[str]:
    with zipfile.ZipFile(built.wheel) as wheel:
        return set(wheel.namelist())


@pytest.fixture(scope="session")
def metadata(built: Built) -> Message:
    with zipfile.ZipFile(built.wheel) as wheel:
        (name,) = (each for each in wheel.namelist() if each.endswith(".dist-info/METADATA"))
        return message_from_bytes(wheel.read(name))


def tracked(*folders: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(listed.stdout.split("\n")) - {""}


def test_the_index_would_take_both_files(built: Built) -> None:
    said = run(
        sys.executable,
        *("-m", "twine", "check", "--strict", built.wheel, built.sdist),
        cwd=built.folder,
    )
    assert said.count("PASSED") == 2


def test_the_wheel_holds_every_file_of_the_package_and_no_other(names: set[str]) -> None:
    assert {name for name in names if ".dist-info/" not in name} == tracked(PACKAGE)


@pytest.mark.parametrize("kind", ["templates", "static", "locale", "migrations"])
def test_the_wheel_holds_what_is_no_code(names: set[str], kind: str) -> None:
    assert any(name.startswith(f"{PACKAGE}/{kind}/") for name in names)


def test_the_sdist_holds_what_it_takes_to_test_it(built: Built) -> None:
    with tarfile.open(built.sdist) as sdist:
        held = {name.partition("/")[2] for name in sdist.getnames()}
    assert tracked(PACKAGE, "tests", "docs", "pyproject.toml", "LICENSE") <= held


def test_the_metadata_says_who_may_install_it_and_under_what_licence(
    metadata: Message,
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert metadata["Name"] == project["name"]
    assert metadata["Version"] == project["version"]
    assert metadata["Requires-Python"] == project["requires-python"]
    assert metadata["License-Expression"] == project["license"]
    licences = {
        path.relative_to(ROOT).as_posix()
        for pattern in project["license-files"]
        for path in ROOT.glob(pattern)
    }
    assert {*metadata.get_all("License-File", [])} == licences
    assert len(licences) == 3  # ours, filestack-js's, and that of what its bundle holds
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert set(metadata.get_all("Provides-Extra", [])) == {
        *project["optional-dependencies"],
    }


def test_a_part_of_the_suite_passes_on_the_installed_wheel(built: Built, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    run(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1", cwd=tmp_path)
    run(python, "-m", "pip", "install", "--quiet", f"{built.wheel}[local]", cwd=tmp_path)
    run(python, "-m", "pip", "install", "--quiet", "--group", "test", cwd=ROOT)
    # Everything except the package, so that only the wheel can be tested.
    for folder in ("tests", "example_project"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("var"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    where = "import filestack_tags; print(filestack_tags.__file__)"
    assert "site-packages" in run(python, "-c", where, cwd=tmp_path)
    fixtures = run(python, "-m", "pytest", "--fixtures", "tests/payloads", cwd=tmp_path)
    assert "filestack_make" in fixtures  # pytest finds the plugin without configuration
    said = run(
        python,
        *("-m", "pytest", "-q", "-n", "auto", "-m", "not services and not slow"),
        "--hypothesis-profile=brief",
        *PARTS,
        cwd=tmp_path,
    )
    assert " passed" in said
