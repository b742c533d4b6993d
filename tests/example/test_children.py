"""The demo's processes: none is left behind, however it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from example_project.demo.children import Child, Children, DemoFailed, wait_for_port

ROOT = Path(__file__).resolve().parents[2]
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), grandchild.pid, flush=True)
time.sleep(600)
"""
PARENT = """
import sys, time
from pathlib import Path
from example_project.demo.children import Child
Child("sleeper", [sys.executable, "-c", sys.argv[1]], Path(sys.argv[2]))
time.sleep(600)
"""
SLEEPER = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


def pids(log: Path, count: int) -> list[int]:
    """Wait until the processes have logged their ids."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if log.exists() and len(words := log.read_text().split()) == count:
            return [int(word) for word in words]
        time.sleep(0.05)
    raise AssertionError(f"{log} does not name {count} processes.")


def is_gone(pid: int) -> bool:
    """Wait until a process has ended; a zombie has ended too."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.strip()
        if not state or state.startswith("Z"):
            return True
        time.sleep(0.05)
    return False


def test_leaving_the_block_ends_even_what_does_not_want_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("example_project.demo.children.STOP_TIMEOUT", 0.5)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with Children(tmp_path) as children:
        child = children.start("stubborn", sys.executable, "-c", STUBBORN)
        found = pids(child.log, 2)
    for number, handler in before.items():
        signal.signal(number, handler)
    assert all(is_gone(pid) for pid in found)


def test_a_child_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "sleeper.log"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, SLEEPER, str(log)], cwd=ROOT)
    (pid,) = pids(log, 1)
    parent.kill()
    parent.wait()
    assert is_gone(pid)


def test_a_child_that_ends_by_itself_is_reported_with_its_log(tmp_path: Path) -> None:
    child = Child(
        "worker", [sys.executable, "-c", "raise SystemExit('no broker')"], tmp_path / "l"
    )
    child.process.wait()
    with pytest.raises(DemoFailed, match=r"(?s)The worker ended with code 1.*no broker"):
        child.check()
    child.stop()


def test_a_port_that_stays_closed_is_reported(tmp_path: Path) -> None:
    child = Child("web", [sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "l")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        with pytest.raises(DemoFailed, match="does not answer on port"):
            wait_for_port(child, holder.getsockname()[1], timeout=0.3)
    child.stop()


def test_a_demo_that_is_stopped_leaves_nothing_behind() -> None:
    demo = subprocess.Popen(
        [sys.executable, "example_project/manage.py", "demo"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if "Celery worker" in line:
            break
    else:
        pytest.fail("The demo ended before its worker was started.")
    leash = int(line.split()[-1])
    demo.send_signal(signal.SIGTERM)
    demo.communicate(timeout=40)
    assert demo.returncode == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.killpg(leash, 0)
