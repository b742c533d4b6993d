"""The processes of a real installation: Filestack (emulated), web server, Celery worker."""

from __future__ import annotations

import sys

from example_project.demo.children import ROOT, Child, Children, wait_for_port
from example_project.demo.environment import HOST, Stage

MANAGE = str(ROOT / "example_project" / "manage.py")


def start_emulator(children: Children, stage: Stage) -> Child:
    child = children.start(
        "emulator",
        sys.executable,
        MANAGE,
        "filestack_tags_emulator",
        f"--port={stage.emulator_port}",
        f"--webhook-url={stage.webhook}",
    )
    wait_for_port(child, stage.emulator_port)
    return child


def start_web(children: Children, stage: Stage) -> Child:
    child = children.start(
        "web server",
        sys.executable,
        MANAGE,
        "runserver",
        "--noreload",
        f"{HOST}:{stage.web_port}",
    )
    wait_for_port(child, stage.web_port)
    return child


def start_worker(children: Children) -> Child:
    # Threads: the work is mostly waiting, and they start the same way on every platform.
    return children.start(
        "Celery worker",
        sys.executable,
        "-m",
        "celery",
        "--app=example_project",
        "worker",
        "--beat",
        "--pool=threads",
        "--concurrency=2",
        "--loglevel=INFO",
    )
