"""A server on loopback that is too slow, in every way that a timeout for a single step misses."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BODY = HEADERS + b"Content-Length: 1000000\r\n\r\n"
WAYS = {
    "never answers": (b"", b""),
    "drips headers": (HEADERS + b"X-Long: ", b"x"),
    "drips the body": (BODY, b" "),
    "sends interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
}
"""How a server is slow: what it sends at once, and then repeatedly."""

SERVER_HELLO = b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xf0\x03\x03"
TLS_WAYS = {"never answers": (b"", b""), "drips its hello": (SERVER_HELLO, b"x")}
"""How a server is slow to establish TLS."""

PAUSE = 0.05
"""Seconds between two pieces."""


class Dripping:
    """A server that is slow in one of :data:`WAYS` or :data:`TLS_WAYS`."""

    def __init__(self, way: str, listener: socket.socket) -> None:
        self._first, self._piece = (WAYS | TLS_WAYS)[way]
        self._listener = listener
        self.stopped = Event()
        self.connections: list[socket.socket] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def accept(self) -> None:
        with suppress(OSError):
            while not self.stopped.is_set():
                connection, _ = self._listener.accept()
                self.connections.append(connection)
                Thread(target=self._drip, args=(connection,), daemon=True).start()

    def _drip(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.recv(1000)
            connection.sendall(self._first)
            while not self.stopped.wait(PAUSE):
                connection.sendall(self._piece)


@contextmanager
def dripping(way: str) -> Iterator[Dripping]:
    """Run a server until the context is left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Dripping(way, listener)
        thread = Thread(target=server.accept, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
