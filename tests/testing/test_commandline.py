"""The emulator as a process: with Django and without."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from filestack_tags.management.commands.filestack_tags_emulator import account_from_settings
from filestack_tags.tagging.taggers.local import required_packages
from filestack_tags.testing import Account, EmulatorConfig
from filestack_tags.testing.commandline import (
    add_arguments,
    configuration,
    missing,
    settings_lines,
)
from filestack_tags.testing.loopback import fetch

ROOT = Path(__file__).parents[2]


def options(*arguments: str, account: Account | None = None) -> EmulatorConfig:
    account = account or Account()
    parser = ArgumentParser()
    add_arguments(parser, account)
    return configuration(parser.parse_args(arguments), account)


def test_without_options_it_is_the_account_given() -> None:
    account = Account(api_key="MINE", app_secret="s", webhook_secret="w")

    assert options(account=account).account == account


def test_options_describe_account_and_behaviour(tmp_path: Path) -> None:
    config = options(
        *("--api-key", "K", "--app-secret", "S", "--no-security"),
        *("--webhook-url", "http://127.0.0.1:8000/hook/", "--webhook-secret", "W"),
        *("--workflow", "wf-1", "--workflow", "wf-2:tags,safe=sfw"),
        *("--alias", f"photos={tmp_path}", "--directory", str(tmp_path)),
        *("--event", "fp.upload", "--foreign-handle", "H", "--no-cdn-cache"),
        *("--retries", "1,2.5", "--time-scale", "0.5", "--seed", "7"),
    )

    assert (config.account.api_key, config.account.security) == ("K", False)
    assert config.account.workflows[1].tasks == ("tags", "safe=sfw")
    assert config.account.aliases == {"photos": tmp_path}
    assert config.webhook_retries == (1.0, 2.5)
    assert (config.account.events, config.account.foreign_handles) == (["fp.upload"], ("H",))
    assert config.cdn_cache is False


@pytest.mark.parametrize(
    "arguments",
    [
        ("--workflow", "wf:odd"),
        ("--alias", "photos"),
        ("--alias", "photos=/nowhere"),
        ("--retries", "soon"),
    ],
)
def test_an_option_that_cannot_be_read_is_named(
    arguments: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        options(*arguments)

    assert arguments[0] in capsys.readouterr().err


def test_the_settings_shown_hold_no_secret() -> None:
    account = Account(
        app_secret="canary-1", webhook_secret="canary-2", webhook_url="http://[::1]/"
    )

    assert "canary" not in "\n".join(settings_lines("http://127.0.0.1:1", account))


def test_every_host_is_shown_that_the_app_calls() -> None:
    shown = "\n".join(settings_lines("http://127.0.0.1:1", Account()))
    for setting in ("CDN_URL", "API_URL", "UPLOAD_URL"):
        assert f'"{setting}": "http://127.0.0.1:1' in shown


def test_it_warns_at_start_when_no_picture_can_be_tagged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert missing(EmulatorConfig()) == []
    monkeypatch.setitem(required_packages.PACKAGES, "no_such_module", "no-such-package")
    shown = "\n".join(missing(EmulatorConfig()))
    assert "no-such-package" in shown
    assert "pip install" in shown
    assert missing(EmulatorConfig(tagger=lambda content: {})) == []


def test_the_account_is_that_of_the_settings() -> None:
    account = account_from_settings()
    assert (account.api_key, account.webhook_secret) == ("AKEY", "whsec-A")
    with override_settings(FILESTACK_TAGS={"WORKFLOW_ID": "wf-9"}):
        assert [workflow.id for workflow in account_from_settings().workflows] == ["wf-9"]


def test_a_host_beyond_loopback_is_a_command_error() -> None:
    with pytest.raises(CommandError, match="loopback"):
        call_command("filestack_tags_emulator", "--host", "192.0.2.1")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "command",
    [["-m", "filestack_tags.testing"], ["-m", "django", "filestack_tags_emulator"]],
)
@pytest.mark.slow
def test_it_serves_until_a_signal_and_stops_cleanly(
    command: list[str], number: signal.Signals
) -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    process = subprocess.Popen(
        [sys.executable, *command, "--port", "0", "--workflow", "wf-1"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found is not None
        assert fetch(f"{found[0]}/_emulator/")[0] == 200
        process.send_signal(number)
        output = process.stdout.read()
        process.wait(timeout=30)
    finally:
        if process.stdout is not None:
            process.stdout.close()
        process.kill()
        process.wait()

    assert process.returncode == 0
    assert output.endswith("Stopped.\n")
    assert '"WORKFLOW_ID": "wf-1"' in output


def test_without_django_a_wrong_host_is_one_line() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "filestack_tags.testing", "--host", "192.0.2.1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "loopback" in result.stderr


def test_django_is_not_imported() -> None:
    code = "import sys, filestack_tags.testing.__main__; sys.exit('django' in sys.modules)"

    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)

    assert result.returncode == 0
