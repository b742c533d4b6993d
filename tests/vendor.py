"""Run by ``make vendor``: put filestack-js, as published on npm, among the static files.

``vendored.json`` records the version, and the digests of its tarball and of each file. Without an
argument that version is fetched again, and any difference is an error; with a version, that one is
fetched and recorded.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import filestack_tags

# Beside the imported package: the tests run on the installed wheel, too.
VENDORED = (
    Path(filestack_tags.__file__).resolve().parent / "static/filestack_tags/vendor/filestack-js"
)
RECORD = VENDORED / "vendored.json"
BUNDLE = "filestack.esm.js"
TAKEN = {
    BUNDLE: f"build/browser/{BUNDLE}",
    f"{BUNDLE}.LICENSE.txt": f"build/browser/{BUNDLE}.LICENSE.txt",
    "LICENSE": "LICENSE",
}
"""File here → file in the package."""

SOURCE_MAP = b"\n//# sourceMappingURL="


def record() -> dict[str, Any]:
    """Return the record of the package."""
    read: dict[str, Any] = json.loads(RECORD.read_text("utf-8"))
    return read


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file, in the record's format."""
    return hashlib.sha256(content).hexdigest()


def without_source_map(content: bytes) -> bytes:
    """Return a script without the line that names its source map.

    The map is three times as big as the script, and Django's manifest storage rejects a script
    whose map is missing.
    """
    return content.partition(SOURCE_MAP)[0] + b"\n" if SOURCE_MAP in content else content


def fetched(name: str, version: str) -> tuple[str, dict[str, bytes]]:
    """Return the integrity of the package's tarball, and the files to vendor."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", f"{name}@{version}"], cwd=folder, check=True)
        (tarball,) = Path(folder).glob("*.tgz")
        sha512 = hashlib.sha512(tarball.read_bytes()).digest()
        with tarfile.open(tarball) as package:
            files = {}
            for here, there in TAKEN.items():
                member = package.extractfile(f"package/{there}")
                assert member is not None
                files[here] = without_source_map(member.read())
    return f"sha512-{base64.b64encode(sha512).decode()}", files


def main(version: str | None) -> None:
    """Fetch the recorded version, or switch to another one."""
    known = record()
    integrity, files = fetched(known["name"], version or known["version"])
    found = {
        **known,
        "version": version or known["version"],
        "integrity": integrity,
        "sha256": {name: digest(content) for name, content in files.items()},
    }
    if version is None and found != known:
        sys.exit(f"npm has other files than {RECORD} says: {json.dumps(found, indent=2)}")
    for name, content in files.items():
        (VENDORED / name).write_bytes(content)
    RECORD.write_text(f"{json.dumps(found, indent=2)}\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
