"""The demo from start to end."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from types import FrameType

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import OperationalError, connection
from kombu.exceptions import OperationalError as BrokerError

from example_project.celery_app import app as celery_app
from example_project.demo import processes, report, uploads
from example_project.demo.children import Children, DemoFailed
from example_project.demo.environment import Stage, stage
from example_project.demo.progress import wait_until_tagged
from example_project.demo.questions import Answer, ask_all
from example_project.demo.visitor import Visitor
from filestack_tags.models import Asset, WebhookDelivery

ADMIN = "admin"
TIME_LIMIT = 120


class TimeIsUp(DemoFailed):
    """The whole demo took too long."""


def run(*, serve: bool) -> None:
    """Show the whole path of an upload, on real processes; with ``serve``, leave them running.

    Raises:
        DemoFailed: when something does not work as it should.
        SystemExit: on SIGTERM and SIGHUP. Whatever happens, no process is left behind.
    """
    _end_on_signals()
    place = stage()
    started = time.monotonic()
    with Children(place.folder) as children:
        _limit_time(TIME_LIMIT)
        visitor = _open_house(place, children)
        assets = _upload_and_tag(visitor, children)
        found = ask_all(assets, visitor)
        report.runs(assets)
        report.tags(assets)
        report.answers(found)
        _verify(assets, found)
        _limit_time(0)
        print(f"\nEverything works: {time.monotonic() - started:.0f} s.", flush=True)
        if serve:
            _serve(place, children)


def _open_house(place: Stage, children: Children) -> Visitor:
    report.title("Starting")
    print(f"   database        {connection.display_name}")
    try:
        call_command("migrate", verbosity=0)
    except OperationalError as error:
        raise DemoFailed(f"The database of DATABASE_URL cannot be used: {error}") from error
    _check_broker()
    users = get_user_model().objects
    user, _ = users.get_or_create(
        username=ADMIN, defaults={"is_staff": True, "is_superuser": True}
    )
    user.set_password(place.admin_password)
    user.save()
    processes.start_emulator(children, place)
    print(f"   Filestack       {place.emulator} (emulated)")
    worker = processes.start_worker(children)
    print(f"   Celery worker   process {worker.process.pid}")
    processes.start_web(children, place)
    print(f"   web server      {place.web}", flush=True)
    visitor = Visitor(place.web)
    visitor.log_in(ADMIN, place.admin_password)
    return visitor


def _check_broker() -> None:
    try:
        with celery_app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, timeout=5)
    except BrokerError as error:
        raise DemoFailed(f"The broker of BROKER_URL does not answer: {error}") from error


def _upload_and_tag(visitor: Visitor, children: Children) -> list[Asset]:
    photos = uploads.photos()
    report.title(f"Uploading {len(photos)} photos")
    print("   half through the gallery's upload page, each tagged by a call;")
    print("   half tagged by a workflow, whose result comes as a signed webhook")
    uploaded = [
        uploads.upload_by_form(visitor, photo)
        if number % 2
        else uploads.upload_with_workflow(photo)
        for number, photo in enumerate(photos)
    ]
    assets = wait_until_tagged(uploaded, children)
    _verify_ways(uploaded, assets)
    return assets


def _verify_ways(uploaded: Sequence[uploads.Upload], assets: Sequence[Asset]) -> None:
    """Check that each photo was paid for once, and tagged in the expected way."""
    for upload, asset in zip(uploaded, assets, strict=True):
        runs = [(run.tagger, run.delivery_id is not None) for run in asset.runs.all()]
        if runs != [(upload.way, upload.way == uploads.BY_WORKFLOW)]:
            raise DemoFailed(f"{asset} should have one run by {upload.way}, but has {runs}.")


def _verify(assets: Sequence[Asset], found: Sequence[Answer]) -> None:
    problems = [problem for answer in found for problem in answer.problems()]
    problems += [f"{asset} has no tags" for asset in assets if not asset.asset_tags.exists()]
    failed = WebhookDelivery.objects.filter(
        asset__in=assets, state=WebhookDelivery.State.FAILED
    )
    problems += [f"{delivery} failed: {delivery.error}" for delivery in failed]
    if problems:
        raise DemoFailed("Not as expected:\n" + "\n".join(f"   {line}" for line in problems))


def _serve(place: Stage, children: Children) -> None:
    report.title("Running until Ctrl-C")
    print(f"   gallery   {place.web}/")
    print(f"   admin     {place.web}/admin/   user {ADMIN}, password {place.admin_password}")
    print(f"   API       {place.web}/api/v1/assets/?q=dog")
    print(f"   logs      {place.folder}", flush=True)
    while True:
        time.sleep(1)
        children.check()


def _end_on_signals() -> None:
    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


def _limit_time(seconds: int) -> None:
    def too_long(number: int, frame: FrameType | None) -> None:
        raise TimeIsUp(f"The demo is stopped after {seconds} s.")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
