"""The objects behind the fixtures of :mod:`filestack_tags.pytest_plugin`.

Needs Django and pytest-django. Everything goes through the services that the app itself uses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from filestack_tags import tasks
from filestack_tags.assets import registry
from filestack_tags.conf import get_settings
from filestack_tags.exceptions import ConfigurationError
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, TaggingRun, WebhookDelivery
from filestack_tags.tagging import results
from filestack_tags.tagging.taggers import TaggerReply, TagScore
from filestack_tags.webhooks import inbox

from .app import EmulatorApp
from .config import Account, EmulatorConfig
from .faults import Faults
from .server import EmulatorServer
from .webhooks import signed_request

if TYPE_CHECKING:
    from django.http import HttpResponseBase

    CaptureCommits = Callable[..., AbstractContextManager[list[Callable[[], Any]]]]

EVENTS_TO = "http://127.0.0.1"
"""Never connected to: events are posted by Django's test client."""


class Commit:
    """Runs what was enqueued in a ``with`` block, as workers would after the commit."""

    def __init__(self, capture: CaptureCommits) -> None:
        self._capture = capture

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Run the block, then its tasks, in this process; their errors are raised."""
        from filestack_tags.db.transactions import alias

        conf: Any = tasks.tag_asset.app.conf
        changes = conf.changes
        before = dict(changes)
        for name in ("task_always_eager", "task_eager_propagates"):
            # Celery before 5.7 prefers the project's value under its prefix.
            changes |= {name: True, f"{conf.prefix or ''}{name.upper()}": True}
        try:
            with self._capture(using=alias(), execute=True):
                yield
        finally:
            changes.clear()
            changes.update(before)


class Webhook:
    """Posts events to the project's webhook, signed as Filestack signs them."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit

    def __call__(
        self,
        event: Mapping[str, Any] | bytes,
        *,
        secret: str = "",
        timestamp: int | None = None,
    ) -> HttpResponseBase:
        """Post ``event``, process it, and return the response.

        Args:
            event: a dict from :mod:`filestack_tags.testing.payloads`, or the bytes to send.
            secret: signs it; the first of ``WEBHOOK_SECRETS`` if empty.
            timestamp: ``FS-Timestamp`` in unix seconds; now by default.
        """
        body, headers = signed_request(event, secret or _secret(), timestamp=timestamp)
        return self.send(body, headers)

    def send(self, body: bytes, headers: Mapping[str, str]) -> HttpResponseBase:
        """Post bytes with custom headers, such as a wrong signature."""
        rest = dict(headers)
        kind = rest.pop("Content-Type", "application/json")
        with self._commit():
            reply: HttpResponseBase = Client().post(
                reverse("filestack_tags:webhook"), body, content_type=kind, headers=rest
            )
        return reply


class Filestack:
    """A local Filestack emulator, with the project as its app.

    ``app`` is the emulator itself, ``url`` its base URL, ``faults`` the faults to inject.
    """

    def __init__(self, webhook: Webhook, account: Account) -> None:
        self._webhook = webhook
        self._says: dict[str, int] | None = None
        path = reverse("filestack_tags:webhook")
        self.app = EmulatorApp(
            EmulatorConfig(
                account=replace(account, webhook_url=f"{EVENTS_TO}{path}"),
                tagger=self._look,
                time_scale=0,
                background=False,
                send=self._send,
            )
        )
        self.server = EmulatorServer(self.app)

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        return self.server.url

    @property
    def faults(self) -> Faults:
        """The queue of faults; see the emulator's page."""
        return self.app.faults

    @property
    def calls(self) -> list[str]:
        """The operations that were called, in order, such as ``store`` and ``tags``."""
        return [operation for operation, _status in self.app.requests]

    def says(self, tags: Mapping[str, int]) -> None:
        """Return these tags for every picture, ``{label: confidence}``, from now on.

        Until this is called, the emulator analyzes pictures with the local tagger.
        """
        self._says = dict(tags)

    def store(
        self, data: bytes, filename: str = "picture.jpg", mimetype: str = "image/jpeg"
    ) -> str:
        """Store a file like an upload, and return its handle; ``deliver()`` sends the event."""
        stored = self.app.files.add(
            data, filename=filename, mimetype=mimetype, options={}, base_url=self.url
        )
        return stored.handle

    def deliver(self) -> int:
        """Finish workflow jobs and post the events that are due; return how many there were."""
        return self.app.run_due()

    def _look(self, content: bytes) -> Mapping[str, int]:
        if self._says is not None:
            return self._says
        from filestack_tags.tagging.taggers.local import tag_picture

        return tag_picture(content)

    def _send(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        return self._webhook.send(body, headers).status_code


class TagNow:
    """Tags assets at once, with the tagger in the settings."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit

    def __call__(self, *wanted: Asset, tagger: str = "") -> None:
        """Tag these assets, even if they have tags, and refresh them in memory."""
        with self._commit():
            tasks.request_tagging([each.pk for each in wanted], force=True, tagger=tagger)
        for asset in wanted:
            asset.refresh_from_db()


class Make:
    """Creates rows for tests with the services that create them in production."""

    def __init__(self) -> None:
        self._number = 0

    def asset(
        self,
        tags: Mapping[str, int] | None = None,
        *,
        user_tags: Mapping[str, int] | None = None,
        source: Source | None = None,
        uploader: Any = None,
        **facts: Any,
    ) -> Asset:
        """Return an asset with these tags; without any it was never tagged.

        Args:
            tags: ``{label: confidence}`` as from a tagger.
            user_tags: the same, as Filestack's user tags.
            source: the file; a new handle if not given.
            uploader: the user who uploaded it.
            facts: see :class:`filestack_tags.assets.registry.Facts`.
        """
        self._number += 1
        asset, _ = registry.register(
            source or Source.handle(f"test-handle-{self._number}"),
            facts=registry.Facts(**facts),
            uploader=uploader,
        )
        if tags is not None or user_tags is not None:
            self.run(asset, tags or {}, user_tags=user_tags)
        return asset

    def run(
        self,
        asset: Asset,
        tags: Mapping[str, int],
        *,
        user_tags: Mapping[str, int] | None = None,
        tagger: str = "filestack",
    ) -> TaggingRun:
        """Tag ``asset`` with these tags, and return the run."""
        run = TaggingRun.objects.create(
            asset=asset,
            tagger=tagger,
            trigger=TaggingRun.Trigger.CODE,
            content_version=asset.content_version,
        )
        auto = [TagScore(name, confidence) for name, confidence in tags.items()]
        user = [TagScore(name, value, "user") for name, value in (user_tags or {}).items()]
        raw = json.dumps({"tags": {"auto": dict(tags), "user": user_tags}})
        reply = TaggerReply((*auto, *user), raw=raw, status=200)
        results.apply(run.pk, reply, result_at=timezone.now())
        run.refresh_from_db()
        asset.refresh_from_db()
        return run

    def delivery(self, event: Mapping[str, Any]) -> WebhookDelivery:
        """Store an event as received and not yet processed, and return its delivery."""
        body, headers = signed_request(event, _secret())
        receipt = inbox.receive(body, headers)
        return WebhookDelivery.objects.get(pk=receipt.delivery_id)


def account() -> Account:
    """Return an account with the keys and secrets of the settings, or default ones."""
    settings, own = get_settings(), Account()
    return Account(
        api_key=settings.API_KEY or own.api_key,
        app_secret=settings.APP_SECRET or own.app_secret,
        webhook_secret=next(iter(settings.WEBHOOK_SECRETS), own.webhook_secret),
    )


def _secret() -> str:
    for secret in get_settings().WEBHOOK_SECRETS:
        return secret
    raise ConfigurationError(
        "FILESTACK_TAGS['WEBHOOK_SECRETS'] is empty: set one in the settings of your tests, or "
        "use the fixture filestack, which does."
    )
