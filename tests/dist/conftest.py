"""The published files: built once, and installed into a separate environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REDIS_URL = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/15")
SUPPORTED = ("3.13", "3.12", "3.11")


def newest_python() -> str:
    """Return this machine's newest supported Python, which users install the app on."""
    for version in SUPPORTED:
        for found in which_all(f"python{version}"):
            probe = "import sys, ensurepip, venv; print(sys.executable)"
            done = subprocess.run(
                [found, "-c", probe], capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                return done.stdout.strip()
    return sys.executable


def which_all(name: str) -> Iterator[str]:
    """Yield each command of that name, in the order of ``PATH``."""
    for folder in os.environ["PATH"].split(os.pathsep):
        if found := shutil.which(name, path=folder):
            yield found


@dataclass(frozen=True)
class Built:
    """The two files that a release publishes."""

    folder: Path
    wheel: Path
    sdist: Path


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command to its end and return its output; a failure shows all of it."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**clean_environment(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"
    return done.stdout


def clean_environment() -> dict[str, str]:
    """Return the environment without variables that would expose the checkout or this run."""
    ours = ("PYTHONPATH", "DJANGO_SETTINGS_MODULE", "VIRTUAL_ENV", "COVERAGE_PROCESS_START")
    return {name: value for name, value in os.environ.items() if name not in ours}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    # The wheel is built from the sdist, so that a file missing there is missing in both.
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return Built(folder, wheel, sdist)
