"""A browser user: real HTTP requests to the running web server, with cookies."""

from __future__ import annotations

import json
import re
from http.cookiejar import CookieJar
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, ProxyHandler, Request, build_opener

from example_project.demo.children import DemoFailed

TIMEOUT = 20
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class Visitor:
    def __init__(self, base: str) -> None:
        self.base = base
        # Proxies are only for other machines.
        self.opener = build_opener(HTTPCookieProcessor(CookieJar()), ProxyHandler({}))

    def log_in(self, username: str, password: str) -> None:
        """Log in to the admin.

        Raises:
            DemoFailed: when the page still shows the login form.
        """
        page = self.get("/admin/login/")
        form = {
            "username": username,
            "password": password,
            "next": "/admin/",
            "csrfmiddlewaretoken": self._token(page),
        }
        if "id_username" in self._open("/admin/login/", urlencode(form).encode()):
            raise DemoFailed(f"{self.base}/admin/ does not accept the login it was given.")

    def get(self, path: str, **query: str) -> str:
        """Return the body of a page that answers 200.

        Raises:
            DemoFailed: for every other status, with the beginning of the response.
        """
        return self._open(path + (f"?{urlencode(query)}" if query else ""))

    def get_json(self, path: str, **query: str) -> Any:
        return json.loads(self.get(path, **query))

    def send_file(self, path: str, field: str, name: str, content: bytes) -> str:
        """Submit the upload form with a file; return the page that follows."""
        token = self._token(self.get(path))
        boundary = "demo-boundary-7d1c0f"
        head = (
            f"--{boundary}\r\nContent-Disposition: form-data; "
            f'name="csrfmiddlewaretoken"\r\n\r\n{token}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; '
            f'filename="{name}"\r\nContent-Type: image/jpeg\r\n\r\n'
        )
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        return self._open(path, body, f"multipart/form-data; boundary={boundary}")

    def _token(self, page: str) -> str:
        if not (found := TOKEN.search(page)):
            raise DemoFailed("A form of the web site has no CSRF token.")
        return found[1]

    def _open(self, path: str, body: bytes | None = None, content_type: str = "") -> str:
        request = Request(self.base + path, data=body)  # noqa: S310  always http, on loopback
        if content_type:
            request.add_header("Content-Type", content_type)
        try:
            with self.opener.open(request, timeout=TIMEOUT) as response:
                return str(response.read().decode())
        except HTTPError as error:
            text = error.read().decode("utf-8", "replace")[:600]
            raise DemoFailed(f"{self.base}{path} answered {error.code}: {text}") from error
        except URLError as error:
            raise DemoFailed(f"{self.base}{path} does not answer: {error.reason}") from error
