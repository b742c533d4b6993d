"""The web server's application: Django, and a crash point during a request."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.core.wsgi import get_wsgi_application

from . import crashing, plan

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LATEST = 0.02
"""Seconds after the start of a request; most take less."""

django = get_wsgi_application()
dice = random.Random()


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a request, unless the server crashes first."""
    if crashing.take(plan.WEB) is not None:
        threading.Thread(target=_die_soon, daemon=True).start()
    return django(environ, start_response)


def _die_soon() -> None:
    time.sleep(dice.uniform(0, LATEST))
    crashing.kill(plan.WEB, crashing.WITH_ITS_GROUP, os.getpid())
