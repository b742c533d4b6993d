"""An emulator account with the CDN's cache and with files of other accounts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filestack_tags.testing import EmulatorApp, EmulatorConfig
from filestack_tags.testing.wire import Reply

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

SECURITY = re.compile(r"/security=[^/]*")
REFUSED = b"policy error: proper credentials were not provided"


class AccountApp(EmulatorApp):
    """The emulator behind a cache as Filestack documents it (docs: CDN).

    A reply is cached by the URL of its call; policies and signatures do not count, and
    ``cache=false`` bypasses the cache. Attributes:

    foreign: handles of another Filestack app, whose secret did not sign the policy.
    tagged: the paths of the calls to tag that the cache did not answer, without security.
    """

    def __init__(self, config: EmulatorConfig | None = None) -> None:
        super().__init__(config)
        self.foreign: set[str] = set()
        self.tagged: list[str] = []
        self._cached: dict[str, Reply] = {}

    def _answer(self, environ: WSGIEnvironment) -> Reply:
        path = SECURITY.sub("", str(environ["RAW_URI"]).partition("?")[0])
        if not self.foreign.isdisjoint(path.split("/")):
            return Reply(403, REFUSED, "text/plain")
        if "/tags" not in path:
            return super()._answer(environ)
        if "cache=false" in path or path not in self._cached:
            self.tagged.append(path)
            self._cached[path] = super()._answer(environ)
        return self._cached[path]
