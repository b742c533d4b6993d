"""Send tasks to the broker within bounded time; on failure, leave them to the recovery task."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import Task, current_app, current_task
from django.utils import timezone
from kombu import Connection, Producer
from kombu.exceptions import OperationalError

from filestack_tags import metrics
from filestack_tags.concurrency.message_publisher import Publisher
from filestack_tags.conf import get_settings

if TYPE_CHECKING:
    from celery import Celery


logger = logging.getLogger(__name__)

LONGEST_COUNTDOWN = 600.0
"""Seconds. Later retries are left to :func:`sweep`: on Redis a message that waits longer than
the visibility timeout is delivered twice."""

TIMEOUTS = {
    "amqp": ("read_timeout", "write_timeout"),
    "redis": ("socket_timeout", "socket_connect_timeout"),
}
"""Options of kombu's transports that limit a step on the network; with them every step ends."""


def publish(task: Task[Any, Any], *ids: int, at: datetime | None = None) -> None:
    """Hand a task to the broker. If it cannot be sent, log that and leave it to :func:`sweep`.

    Returns at once in a web process. Inside a task it waits for its messages to be sent, for at
    most ``PUBLISH_TIMEOUT`` seconds, because the process may end afterwards.
    """
    countdown = max((at - timezone.now()).total_seconds(), 0.0) if at else 0.0
    if countdown > LONGEST_COUNTDOWN:
        return
    options: dict[str, Any] = {}
    if (
        countdown
    ):  # without a delay, send no time: a worker whose clock is slow would wait for it
        options["countdown"] = countdown
    name = f"{task.name}{ids or ''}"
    is_eager = task.app.conf.task_always_eager
    if not is_eager:
        options["producer"] = _Outgoing(task.app, name)
    try:
        task.apply_async(ids, **options)
    except _refusals(task) as error:
        _not_sent(name, error)
    if not is_eager and current_task and not current_task.request.called_directly:
        _publisher.flush()


class _Outgoing:
    """Looks like a producer of kombu, and leaves the sending to the publisher's thread.

    Everything that Celery does before a message is sent, such as signals and routing, happens in
    the thread that enqueues the task.
    """

    def __init__(self, app: Celery, name: str) -> None:
        self.connection = (
            app.connection_for_write()
        )  # describes a connection; does not open one
        self._app = app
        self._name = name

    def publish(self, body: Any, **options: Any) -> None:
        _publisher.put(self._name, partial(_send, self._app, body, options))


_lines: dict[Celery, Producer] = {}
"""The connections of this process that its publisher's thread uses, one for each app."""


def _send(app: Celery, body: Any, options: dict[str, Any]) -> None:
    producer = _lines.get(app)
    if producer is None:
        producer = _lines[app] = app.amqp.Producer(_connection(app), auto_declare=False)
    once_more = {"max_retries": 1, "interval_start": 0}  # the connection may be an old one
    try:
        producer.publish(body, **options | {"retry": True, "retry_policy": once_more})
    except Exception:
        del _lines[app]
        if producer.connection is not None:
            with suppress(Exception):
                producer.connection.collapse()  # type: ignore[attr-defined]  # missing in the stubs
        raise


def _connection(app: Celery) -> Connection:
    """Return a connection whose steps all end in time, whatever the host's options are."""
    longest = get_settings().PUBLISH_TIMEOUT
    host = app.connection_for_write()
    names = TIMEOUTS.get(host.transport.driver_type, ())
    known = app.conf.broker_transport_options
    return app.connection_for_write(
        # This connection would never send heartbeats.
        heartbeat=0,
        connect_timeout=min(longest, host.connect_timeout or longest),
        transport_options={name: min(longest, known.get(name) or longest) for name in names},
    )


def _not_sent(name: str, error: BaseException | None) -> None:
    metrics.count("broker.unreachable")
    logger.warning(
        "%s was not sent and is left to the recovery task (sweep): the broker %s",
        name,
        f"failed ({type(error).__name__})" if error else "is not answering",
    )


def has_celery_app() -> bool:
    """Whether the project created a Celery app; without one Celery uses a default app."""
    return bool(current_app.main != "default")


def _refusals(task: Task[Any, Any]) -> tuple[type[BaseException], ...]:
    """Return the exceptions by which the broker rejects a message or a login."""
    transport = task.app.connection_for_write().transport
    return (OperationalError, *transport.connection_errors, *transport.channel_errors)


_publisher = Publisher(_not_sent, lambda: get_settings().PUBLISH_TIMEOUT)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_lines.clear)
