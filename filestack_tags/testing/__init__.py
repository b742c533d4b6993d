"""A Filestack emulator for tests and for work without an account; loopback only.

::

    from filestack_tags.testing import Account, EmulatorApp, EmulatorConfig, EmulatorServer

    with EmulatorApp(EmulatorConfig(account=Account(api_key="AKEY"))) as app:
        with EmulatorServer(app) as server:
            ...  # point CDN_URL at server.url, API_URL at server.url + "/api"

It does not need Django. ``tags`` is answered by analyzing the picture. Event dicts for tests are in
:mod:`.payloads`, signed requests in :mod:`.webhooks`.
"""

from .app import EmulatorApp
from .config import Account, EmulatorConfig, Workflow
from .faults import Fault
from .server import EmulatorServer
from .webhooks import signed_request

__all__ = [
    "Account",
    "EmulatorApp",
    "EmulatorConfig",
    "EmulatorServer",
    "Fault",
    "Workflow",
    "signed_request",
]
