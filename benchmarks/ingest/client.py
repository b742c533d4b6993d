"""``python -m benchmarks.ingest.client``: post webhooks as fast as they are answered.

A closed loop in one process: each connection sends its next request after the response to the last
one. Requests are built and signed before the clock starts. Reads its options as JSON from standard
input and writes its measurements as JSON; no Django, so that it uses little CPU.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import selectors
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import count
from time import perf_counter

MADE_AHEAD_PER_SECOND = 8000
DUPLICATE_OF = 500
"""Number of requests between an event and its duplicate."""


@dataclass(frozen=True)
class Orders:
    port: int
    path: str
    seconds: float
    """How long to run; with ``requests``, the maximum time."""
    connections: int
    secret: str
    body: str
    """One event, in which ``@@`` is replaced to make it unique."""
    first: int
    """The number of the first event."""
    every: int = 0
    """Every n-th request is a duplicate; 0 for none."""
    requests: int = 0


@dataclass
class Measured:
    sent: int = 0
    seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    """Milliseconds from sending a request to reading its response."""
    refused: int = 0
    problem: str = ""


def requests(orders: Orders) -> Iterator[bytes]:
    secret = orders.secret.encode()
    head = (
        f"POST {orders.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: benchmark\r\n"
        "Content-Type: application/json\r\nFS-Timestamp: 1710000010\r\n"
    ).encode()
    recent: list[bytes] = []
    for number in count(orders.first):
        if orders.every and len(recent) >= DUPLICATE_OF and not number % orders.every:
            yield recent[number % DUPLICATE_OF]
            continue
        body = orders.body.replace("@@", str(number)).encode()
        signature = hmac.new(secret, b"1710000010." + body, hashlib.sha256).hexdigest()
        request = (
            head
            + f"FS-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        if len(recent) < DUPLICATE_OF:
            recent.append(request)
        else:
            recent[number % DUPLICATE_OF] = request
        yield request


class Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_at = 0.0
        self.answer = b""

    def send(self, request: bytes) -> None:
        self.answer = b""
        self.sent_at = perf_counter()
        self.socket.sendall(request)

    def is_answered(self) -> bool:
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionError("The server closed a connection that was to be kept.")
        self.answer += chunk
        head, found, rest = self.answer.partition(b"\r\n\r\n")
        if not found:
            return False
        head = head.lower()
        if b"transfer-encoding: chunked" in head:
            return rest.endswith(b"0\r\n\r\n")
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return len(rest) >= int(length)


def post(orders: Orders) -> Measured:
    source = requests(orders)
    ahead = orders.requests or int(orders.seconds * MADE_AHEAD_PER_SECOND)
    made = [next(source) for _ in range(ahead)][::-1]
    connections = [Connection(orders.port) for _ in range(orders.connections)]
    measured = Measured()
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        start = now = perf_counter()
        waiting = 0

        def go_on(connection: Connection) -> bool:
            if now - start >= orders.seconds or (orders.requests and not made):
                return False
            connection.send(made.pop() if made else next(source))
            return True

        for connection in connections:
            waiting += go_on(connection)
        while waiting:
            for key, _ in selector.select(timeout=30):
                connection = key.data
                if not connection.is_answered():
                    continue
                now = perf_counter()
                measured.times.append((now - connection.sent_at) * 1000)
                if not connection.answer.startswith(b"HTTP/1.1 200"):
                    measured.refused += 1
                    measured.problem = connection.answer[:200].decode("latin-1")
                waiting -= 1
                waiting += go_on(connection)
    measured.sent = len(measured.times)
    measured.seconds = now - start
    for connection in connections:
        connection.socket.close()
    return measured


if __name__ == "__main__":
    found = asdict(post(Orders(**json.load(sys.stdin))))
    json.dump(found, sys.stdout)
