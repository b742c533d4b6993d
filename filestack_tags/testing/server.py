"""The emulator on a real port of this machine, over http or TLS."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase, BufferedReader, RawIOBase
from pathlib import Path
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from .app import DROP, EmulatorApp
from .loopback import is_loopback

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

logger = logging.getLogger(__name__)


class _Body(RawIOBase):
    """The body of one request on a connection; the next request begins after it."""

    def __init__(self, connection: BufferedIOBase, length: int) -> None:
        self._connection = connection
        self.left = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = self._connection.read(min(len(buffer), self.left))
        buffer[: len(read)] = read
        self.left -= len(read)
        return len(read)


class _Answer(ServerHandler):
    http_version = "1.1"
    request_handler: WSGIRequestHandler

    def _flush(self) -> None:
        """Do nothing: the request's handler flushes when the response is complete and logged."""


class _Handler(WSGIRequestHandler):
    """Keeps connections open; WSGIRequestHandler answers one request and closes."""

    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds; for a client that opens a connection and sends nothing
    wbufsize = -1  # send a response in one piece: several would wait for each other
    disable_nagle_algorithm = True
    server: _Server

    handle = BaseHTTPRequestHandler.handle  # continues until either side closes

    def _answer(self) -> None:
        length = self.headers.get("Content-Length", "0")
        is_told = length.isdecimal() and "Transfer-Encoding" not in self.headers
        body = _Body(self.rfile, int(length) if is_told else 0)
        read: Any = BufferedReader(body)
        wire: Any = self.wfile
        answer = _Answer(read, wire, self.get_stderr(), self.get_environ())
        answer.request_handler = self
        app: Any = self.server.get_app()
        answer.run(app)
        if body.left or not is_told:  # otherwise the rest would be parsed as the next request
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = _answer

    def get_environ(self) -> WSGIEnvironment:
        environ = super().get_environ()
        # PATH_INFO is decoded, which breaks an external URL inside a path.
        environ["RAW_URI"] = self.path
        environ["REMOTE_PORT"] = str(self.client_address[1])
        if isinstance(self.connection, ssl.SSLSocket):
            environ["HTTPS"] = "on"  # where wsgiref finds wsgi.url_scheme
        environ[DROP] = self._cut
        return environ

    def _cut(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)

    def address_string(self) -> str:
        return str(self.client_address[0])

    def log_message(self, format: str, *args: Any) -> None:
        # Paths contain policies and signatures: log only the method and the status.
        if len(args) > 1:
            logger.info("%s answered %s", str(args[0]).partition(" ")[0], args[1])


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128
    scheme = "http"

    def __init__(self, *args: Any) -> None:
        self._open: set[Any] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in tuple(self._open):  # they wait for another request
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def server_bind(self) -> None:
        # As WSGIServer does, but without looking up this machine's name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name = str(self.server_address[0])
        self.server_port = int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("A connection ended with %s", sys.exc_info()[0])


class EmulatorServer:
    """Serves an :class:`~filestack_tags.testing.app.EmulatorApp` in threads.

    Args:
        app: the emulator; the caller closes it.
        host: a loopback address or ``localhost``.
        port: 0 selects a free one.
        certificate, key: PEM files; with both, it uses TLS. filestack-python's multipart upload
            requires https.

    Raises:
        ValueError: ``host`` is not loopback, or only one of ``certificate`` and ``key`` is given.
    """

    def __init__(
        self,
        app: EmulatorApp,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        if not is_loopback(host):
            raise ValueError(
                f"The emulator answers on loopback only, not on {host!r}: "
                "use 127.0.0.1, ::1 or localhost."
            )
        if (certificate is None) != (key is None):
            raise ValueError("TLS needs both certificate and key.")
        self.app = app
        self._host = host
        self._port = port
        self._certificate = certificate
        self._key = key
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        if self._server is None:
            raise RuntimeError("The server is not started.")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{self._server.scheme}://{host}:{self._server.server_port}"

    def start(self) -> EmulatorServer:
        """Bind the port and start serving. Raises OSError when the port is in use."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        kind = type("_BoundServer", (_Server,), {"address_family": family})
        server: _Server = kind((self._host, self._port), _Handler)
        if self._certificate is not None and self._key is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate, self._key)
            # The handshake happens with the first read, in the connection's own thread.
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
            server.scheme = "https"
        server.set_app(self.app)
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="filestack-emulator",
            daemon=True,
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving and free the port. Idempotent."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = self._thread = None

    def __enter__(self) -> EmulatorServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
