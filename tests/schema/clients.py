"""Generated clients, in TypeScript and in Python, each with a round trip.

::

    python -m tests.schema.clients

Needs npm and node 20 or later; npm installs into a separate folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .site import SCHEMA, prepared, serving

HERE = Path(__file__).parent
PACKAGES = ("openapi-typescript@7", "openapi-fetch@0.17", "typescript@5")
STRICT = (
    "--strict",
    "--noUncheckedIndexedAccess",
    "--module",
    "nodenext",
    "--target",
    "es2022",
)


def main() -> int:
    with prepared() as database, serving(database) as (site, folder):
        typescript(site, folder / "typescript")
        python(site, folder / "python")
    return 0


def typescript(site: str, folder: Path) -> None:
    """Generate types, compile code that uses them, and run it."""
    folder.mkdir()
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    run("npm", "install", "--silent", "--no-audit", "--no-fund", *PACKAGES, within=folder)
    run("npx", "openapi-typescript", SCHEMA, "--output", "api.d.ts", within=folder)
    shutil.copy(HERE / "roundtrip.ts", folder)
    run("npx", "tsc", *STRICT, "--skipLibCheck", "roundtrip.ts", within=folder)
    run("node", "roundtrip.js", site, within=folder)


def python(site: str, folder: Path) -> None:
    """Generate a client, and run code that uses it."""
    folder.mkdir()
    generator = Path(sys.executable).with_name("openapi-python-client")
    options = ("--meta", "none", "--output-path", folder / "generated", "--fail-on-warning")
    run(generator, "generate", "--path", SCHEMA, *options, within=folder)
    shutil.copy(HERE / "roundtrip.py", folder)
    run(sys.executable, "-W", "error", "roundtrip.py", site, within=folder)


def run(*command: str | Path, within: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(command, cwd=within, env={**os.environ, "PATH": path}, check=True)


if __name__ == "__main__":
    sys.exit(main())
