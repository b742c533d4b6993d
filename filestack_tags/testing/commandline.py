"""The emulator from a shell: ``python -m filestack_tags.testing``, or the management command."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .app import EmulatorApp
from .config import RETRIES, Account, EmulatorConfig, Workflow
from .server import EmulatorServer

STOPPING = (signal.SIGINT, signal.SIGTERM)


def add_arguments(parser: ArgumentParser, account: Account) -> None:
    """Declare the options; ``account`` gives the defaults."""
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to answer on")
    parser.add_argument("--port", type=int, default=8901, help="0 takes a free one")
    parser.add_argument("--api-key", default=account.api_key)
    parser.add_argument(
        "--app-secret",
        default=None,
        help="visible in the process list: only for throw-away secrets",
    )
    parser.add_argument(
        "--no-security",
        action="store_true",
        help="play an app with security switched off; tags still need a policy",
    )
    parser.add_argument("--webhook-url", default=account.webhook_url, metavar="URL")
    parser.add_argument("--webhook-secret", default=None)
    parser.add_argument(
        "--workflow",
        action="append",
        type=_workflow,
        metavar="ID[:TASK,TASK]",
        help="a workflow of the account, with its tasks (tags by default), such as "
        "ID:safe=sfw,'tags if safe.sfw eq true'; may be repeated",
    )
    parser.add_argument(
        "--event",
        action="append",
        metavar="ACTION",
        help="an event that the webhook is registered for (all by default); may be repeated",
    )
    parser.add_argument(
        "--foreign-handle",
        action="append",
        default=[],
        metavar="HANDLE",
        help="a file of another app, for which calls are refused; may be repeated",
    )
    parser.add_argument(
        "--no-cdn-cache",
        action="store_true",
        help="process every call; Filestack's CDN answers the same URL from its cache",
    )
    parser.add_argument(
        "--alias",
        action="append",
        type=_alias,
        default=[],
        metavar="NAME=DIR",
        help="a storage alias, read by src://NAME/PATH; may be repeated",
    )
    parser.add_argument(
        "--directory", type=Path, default=None, help="keep everything there; else in memory"
    )
    parser.add_argument("--workflow-delay", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--webhook-delay", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument(
        "--time-scale", type=float, default=1.0, help="multiplies every wait, also of retries"
    )
    parser.add_argument(
        "--retries",
        type=_seconds,
        default=RETRIES,
        metavar="S,S,…",
        help="seconds before each retry of a webhook",
    )
    parser.add_argument("--seed", type=int, default=0, help="of faults with a probability")
    parser.add_argument("--certificate", type=Path, default=None, help="PEM file, for TLS")
    parser.add_argument("--key", type=Path, default=None, help="PEM file, for TLS")


def configuration(options: Namespace, account: Account) -> EmulatorConfig:
    """Return the configuration from the options. Raises ValueError when they are inconsistent."""
    return EmulatorConfig(
        account=Account(
            api_key=options.api_key,
            app_secret=options.app_secret or account.app_secret,
            security=not options.no_security,
            webhook_url=options.webhook_url,
            webhook_secret=options.webhook_secret or account.webhook_secret,
            workflows=tuple(options.workflow or account.workflows),
            aliases=dict(options.alias),
            foreign_handles=tuple(options.foreign_handle),
            events=options.event,
        ),
        cdn_cache=not options.no_cdn_cache,
        directory=options.directory,
        workflow_delay=options.workflow_delay,
        webhook_delay=options.webhook_delay,
        webhook_retries=options.retries,
        time_scale=options.time_scale,
        seed=options.seed,
    )


def run(options: Namespace, account: Account, say: Callable[[str], object]) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ValueError: the options are inconsistent. OSError: the port is in use.
    """
    config = configuration(options, account)
    with _stop_signal() as stopped, EmulatorApp(config) as app:
        server = EmulatorServer(
            app, options.host, options.port, certificate=options.certificate, key=options.key
        )
        with server:
            for line in (*settings_lines(server.url, config.account), *missing(config)):
                say(line)
            stopped.wait()
        say("Stopped.")


def settings_lines(url: str, account: Account) -> list[str]:
    """Return the lines for the project's settings; secrets are named, not shown."""
    lines = [
        f"Filestack emulator at {url} (stop with Ctrl-C).",
        "",
        "FILESTACK_TAGS = {",
        f'    "CDN_URL": "{url}",',
        f'    "API_URL": "{url}/api",',
        f'    "UPLOAD_URL": "{url}",',
        f'    "API_KEY": "{account.api_key}",',
        '    "APP_SECRET": …,  # the one the emulator was started with',
    ]
    if account.webhook_url:
        lines.append('    "WEBHOOK_SECRETS": […],  # the one the emulator was started with')
    lines.extend(f'    "WORKFLOW_ID": "{workflow.id}",' for workflow in account.workflows[:1])
    return [*lines, "}"]


def missing(config: EmulatorConfig) -> list[str]:
    """Return a warning if pictures cannot be tagged because packages are not installed."""
    if config.tagger is not None:
        return []
    # Imports Django, which the emulator does not need until it analyzes a picture.
    from filestack_tags.tagging.taggers.local.required_packages import INSTALL, missing_packages

    packages = missing_packages()
    if not packages:
        return []
    return [
        "",
        f"Warning: every call for tags will fail, because {', '.join(packages)} is missing.",
        INSTALL,
    ]


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    stopped = threading.Event()
    before = {number: signal.getsignal(number) for number in STOPPING}
    for number in STOPPING:
        signal.signal(number, lambda *_: stopped.set())
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _workflow(text: str) -> Workflow:
    workflow_id, _, tasks = text.partition(":")
    try:
        return Workflow(workflow_id, tuple(tasks.split(",")) if tasks else ("tags",))
    except ValueError as err:
        raise ArgumentTypeError(str(err)) from err


def _alias(text: str) -> tuple[str, Path]:
    name, separator, directory = text.partition("=")
    if not separator or not name or not Path(directory).is_dir():
        raise ArgumentTypeError(f"{text!r} is not NAME=DIR with an existing directory")
    return name, Path(directory)


def _seconds(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(item) for item in text.split(",") if item)
    except ValueError as err:
        raise ArgumentTypeError(f"{text!r} is not a list of seconds such as 10,60,300") from err
