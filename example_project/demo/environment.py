"""Shared by the demo's processes: free ports, new secrets, a temporary folder."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
VAR = Path(__file__).resolve().parents[2] / "var"
WORKFLOW_ID = "6d3f0a0e-demo-4f5a-9a51-5d1e7c0a7a65"


@dataclass(frozen=True)
class Stage:
    """Ports, secrets and folders of one demo."""

    web_port: int
    emulator_port: int
    folder: Path
    admin_password: str

    @property
    def web(self) -> str:
        return f"http://{HOST}:{self.web_port}"

    @property
    def emulator(self) -> str:
        return f"http://{HOST}:{self.emulator_port}"

    @property
    def webhook(self) -> str:
        return f"{self.web}/filestack/webhook/"


def prepare() -> None:
    """Choose ports, secrets and folders, and put them into the environment for the settings.

    The folder is deleted when this process ends.
    """
    VAR.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir=VAR))
    owner = os.getpid()
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(folder, ignore_errors=True))
    web, emulator = _free_ports(2)
    os.environ.update(
        DEMO_WEB_PORT=str(web),
        DEMO_EMULATOR_PORT=str(emulator),
        DEMO_ADMIN_PASSWORD=secrets.token_urlsafe(9),
        STATE_DIR=str(folder),
        SECRET_KEY=secrets.token_urlsafe(32),
        FILESTACK_API_KEY="A" + secrets.token_hex(10),
        FILESTACK_APP_SECRET=secrets.token_hex(16).upper(),
        FILESTACK_WEBHOOK_SECRETS=secrets.token_urlsafe(24),
        FILESTACK_WORKFLOW_ID=WORKFLOW_ID,
        FILESTACK_CDN_URL=f"http://{HOST}:{emulator}",
        FILESTACK_UPLOAD_URL=f"http://{HOST}:{emulator}",
        FILESTACK_API_URL=f"http://{HOST}:{emulator}/api",
        PYTHONUNBUFFERED="1",
    )


def stage() -> Stage:
    """Return the choices of :func:`prepare`."""
    return Stage(
        web_port=int(os.environ["DEMO_WEB_PORT"]),
        emulator_port=int(os.environ["DEMO_EMULATOR_PORT"]),
        folder=Path(os.environ["STATE_DIR"]),
        admin_password=os.environ["DEMO_ADMIN_PASSWORD"],
    )


def _free_ports(count: int) -> list[int]:
    """Return unused ports; all are held until the last one is found."""
    holders = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports
