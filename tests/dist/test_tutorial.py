"""The tutorial, followed as written: in an empty folder, with the wheel that is published.

It runs on this machine's newest Python with the newest releases, which is what a reader gets. The
second test does its last step without any extra.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from .conftest import REDIS_URL, ROOT, Built, clean_environment, newest_python, run
from .terminal import Terminal

TUTORIAL = ROOT / "docs" / "tutorial.md"
PHOTO = ROOT / "example_project" / "photos" / "cat.jpg"

BLOCK = re.compile(r"(?P<said>[^\n]+):\n\n```(?P<kind>console|python)\n(?P<text>.*?)```", re.DOTALL)
PORTS = {"filestack_tags_emulator": 8901, "runserver": 8000}
BROKER = "redis://127.0.0.1:6379/0"
PATIENCE = 60
"""Seconds until a started server must answer."""


def blocks() -> Iterator[tuple[str, str, str]]:
    """Yield the sentence before each block, its kind, and its text."""
    text = re.sub(r"\n\n```console", ":\n\n```console", TUTORIAL.read_text("utf-8"))
    for found in BLOCK.finditer(text):
        yield found["said"], found["kind"], found["text"]


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block, and its documented output."""
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
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(newest_python())
    environment = clean_environment() | {
        "PATH": f"{tmp_path / 'bin'}:{clean_environment()['PATH']}",
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
                leave_running(other, text, tmp_path)
            else:
                for command, expected in commands(text):
                    check(first, command, expected)


def write(folder: Path, said: str, text: str) -> None:
    found = re.search(r"(Append to|Create) `([^`]+)`", said)
    assert found, f"The tutorial does not say where this goes: {text[:80]}"
    path = folder / found[2]
    before = path.read_text("utf-8") if found[1] == "Append to" else ""
    path.write_text(before + text, "utf-8")


def leave_running(terminal: Terminal, text: str, folder: Path) -> None:
    ((command, _),) = commands(text)
    ports = [port for name, port in PORTS.items() if name in command]
    if not ports:
        log = folder / "worker.log"
        log.touch()
        terminal.type(f"{with_redis(command)} >> {log} 2>&1")
        wait_until(lambda: "ready." in log.read_text(), command, log)
        return
    terminal.type(command)
    wait_until(lambda: answers(ports[0]), command)


def with_redis(command: str) -> str:
    """Return a command with the Redis database for tests."""
    return command.replace(BROKER, REDIS_URL)


def wait_until(is_true: Callable[[], bool], command: str, log: Path | None = None) -> None:
    until = time.monotonic() + PATIENCE
    while not is_true():
        printed = log.read_text() if log else ""
        assert time.monotonic() < until, f"Not ready: {command}\n{printed}"
        time.sleep(0.1)


def check(terminal: Terminal, command: str, expected: str) -> None:
    printed, status = terminal.run(with_redis(command))
    assert status == 0, f"{command}\n{printed}"
    if expected:
        pattern = ".*".join(map(re.escape, expected.split("…")))
        assert re.search(pattern, printed, re.DOTALL), f"{command}\nprinted: {printed}"


def test_the_wheel_without_extras_tags_a_file_over_redis(built: Built, tmp_path: Path) -> None:
    """On the newest Python with the newest releases; the emulator is another process."""
    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    python = tmp_path / "venv" / "bin" / "python"
    run(newest_python(), "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    run(python, "-m", "pip", "install", "--quiet", built.wheel, cwd=tmp_path)
    run(python, "-m", "django", "startproject", "mysite", ".", cwd=tmp_path)
    for said, kind, text in blocks():
        if kind == "python":
            write(tmp_path, said, text)
    port = free_port()
    settings = tmp_path / "mysite" / "settings.py"
    settings.write_text(settings.read_text().replace("8901", str(port)))
    queue = f"dist-{port}"  # other workers on this Redis take none of our tasks
    settings.write_text(f"{settings.read_text()}\nCELERY_TASK_DEFAULT_QUEUE = {queue!r}\n")
    environment = clean_environment() | {"BROKER_URL": REDIS_URL, "PYTHONUNBUFFERED": "1"}
    account = ("--api-key", "any-key", "--app-secret", "any-secret")
    emulator = (sys.executable, "-m", "filestack_tags.testing", "--port", str(port), *account)
    worker = (python, "-m", "celery", "-A", "mysite", "worker", "--concurrency", "1")
    with ExitStack() as processes, (tmp_path / "worker.log").open("w") as log:
        for command in ((*emulator, "--alias", f"photos={tmp_path}"), worker):
            started = subprocess.Popen(
                command, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
            processes.callback(started.wait)
            processes.callback(started.terminate)
        wait_until(lambda: answers(port), "the emulator")
        run(python, "manage.py", "migrate", "--verbosity", "0", cwd=tmp_path)
        register = (
            "from filestack_tags.filestack.sources import Source;"
            "from filestack_tags.tasks import register;"
            "register(Source.alias('photos', 'photo.jpg'))"
        )
        run(python, "manage.py", "shell", "-c", register, cwd=tmp_path, BROKER_URL=REDIS_URL)
        search = (python, "manage.py", "filestack_tags_search", "cat>=80")
        wait_until(lambda: "photo.jpg" in run(*search, cwd=tmp_path), "the worker")
    listed = run(python, "-m", "pip", "list", cwd=tmp_path).lower()
    assert not {"pillow", "onnxruntime", "orjson"} & set(listed.split())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
