"""Vendored files match their record."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.vendor import BUNDLE, RECORD, VENDORED, digest, record, without_source_map


def test_every_vendored_file_has_its_recorded_checksum() -> None:
    files = {
        path.name: digest(path.read_bytes()) for path in VENDORED.iterdir() if path != RECORD
    }

    assert files == record()["sha256"]


def test_the_record_names_package_version_licence_and_tarball() -> None:
    told = record()

    assert told["name"] == "filestack-js"
    assert re.fullmatch(r"\d+\.\d+\.\d+", told["version"])
    assert told["license"] == "MIT"
    assert told["integrity"].startswith("sha512-")
    assert (VENDORED / "LICENSE").read_text("utf-8").startswith("MIT License")
    assert f'"{told["version"]}"' in (VENDORED / BUNDLE).read_text("utf-8")


def test_only_the_name_of_the_source_map_is_taken_out() -> None:
    script = b"export{a as b};\n"

    assert without_source_map(script + b"//# sourceMappingURL=a.js.map") == script
    assert without_source_map(script) == script


@pytest.mark.parametrize("follows_imports", [False, True])
def test_static_files_are_collected_under_hashed_names(
    tmp_path: Path,
    settings: Any,
    follows_imports: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    monkeypatch.setattr(f"{storage}.support_js_module_import_aggregation", follows_imports)
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {"staticfiles": {"BACKEND": storage}}

    call_command("collectstatic", interactive=False, verbosity=0)

    (hashed,) = tmp_path.glob("filestack_tags/vendor/filestack-js/filestack.esm.*.js")
    assert digest(hashed.read_bytes()) == record()["sha256"][BUNDLE]


def test_a_source_map_that_is_named_and_missing_would_stop_that(
    tmp_path: Path, settings: Any
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(VENDORED / BUNDLE, source / "named.js")
    with (source / "named.js").open("a") as script:
        script.write("//# sourceMappingURL=named.js.map\n")
    settings.STATICFILES_DIRS = [source]
    settings.STATIC_ROOT = tmp_path / "collected"
    settings.STORAGES = {
        "staticfiles": {
            "BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
        }
    }

    with pytest.raises((ValueError, CommandError), match=r"named\.js\.map"):
        call_command("collectstatic", interactive=False, verbosity=0)
