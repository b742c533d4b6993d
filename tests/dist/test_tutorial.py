"""The tutorial, done as it is written: in an empty folder, with the wheel that is published."""

from __future__ import annotations

import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from .conftest import ROOT, Built, clean_environment
from .terminal import Terminal

TUTORIAL = ROOT / "docs" / "tutorial.md"
PHOTO = ROOT / "example_project" / "photos" / "cat.jpg"

BLOCK = re.compile(r"(?P<said>[^\n]+):\n\n```(?P<kind>console|python)\n(?P<text>.*?)```", re.S)
PORTS = {"filestack_tags_emulator": 8901, "runserver": 8000}
PATIENCE = 60
"""Seconds until a server that was started has to answer."""


def blocks() -> Iterator[tuple[str, str, str]]:
    """Yield the sentence before each block, its kind, and its text."""
    text = re.sub(r"\n\n```console", ":\n\n```console", TUTORIAL.read_text("utf-8"))
    for found in BLOCK.finditer(text):
        yield found["said"], found["kind"], found["text"]


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block, and what it is said to print."""
    for typed in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = typed.splitlines()
        further = 1
        while further < len(lines) and lines[further].startswith(">"):
            further += 1
        command = "\n".join([lines[0], *(line[2:] for line in lines[1:further])])
        yield command, "\n".join(lines[further:])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_every_step_of_the_tutorial_does_what_it_says(built: Built, tmp_path: Path) -> None:
    taken = [port for port in PORTS.values() if answers(port)]
    assert not taken, f"The tutorial needs the ports {taken}, which something else answers on."
    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    base = Path(sys.base_prefix) / "bin"
    environment = clean_environment() | {
        "PATH": f"{base}:{clean_environment()['PATH']}",
        "PIP_FIND_LINKS": str(built.folder),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
    }
    with ExitStack() as terminals:
        first = terminals.enter_context(Terminal(tmp_path, environment))
        for said, kind, text in blocks():
            if kind == "python":
                write(tmp_path, said, text)
            elif "leave this running" in said:
                other = terminals.enter_context(Terminal(tmp_path, environment))
                other.run(". venv/bin/activate")
                leave_running(other, text)
            else:
                for command, expected in commands(text):
                    check(first, command, expected)


def write(folder: Path, said: str, text: str) -> None:
    found = re.search(r"(Append to|Create) `([^`]+)`", said)
    assert found, f"The tutorial does not say where this goes: {text[:80]}"
    path = folder / found[2]
    before = path.read_text("utf-8") if found[1] == "Append to" else ""
    path.write_text(before + text, "utf-8")


def leave_running(terminal: Terminal, text: str) -> None:
    ((command, _),) = commands(text)
    (port,) = (port for name, port in PORTS.items() if name in command)
    terminal.type(command)
    until = time.monotonic() + PATIENCE
    while not answers(port):
        assert time.monotonic() < until, f"Nothing answers on {port}: {command}"
        time.sleep(0.1)


def check(terminal: Terminal, command: str, expected: str) -> None:
    printed, status = terminal.run(command)
    assert status == 0, f"{command}\n{printed}"
    if expected:
        pattern = ".*".join(map(re.escape, expected.split("…")))
        assert re.search(pattern, printed, re.DOTALL), f"{command}\nprinted: {printed}"
