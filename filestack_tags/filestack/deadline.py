"""One deadline for a whole HTTP exchange: name, connection, TLS, request, headers and body.

The timeouts of the HTTP library apply to a single step, such as one ``recv``: a server that sends
one byte every half second never exceeds them. No Django here.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, Self

import httpcore2
import httpx2

CHUNK = 64 * 1024
"""Bytes sent in one step, so that the deadline also ends an exchange with a slow receiver."""


class Deadline(float):
    """Seconds within which an exchange must end, counted from the creation of this object.

    It is a float, so a transport that is not :func:`bounded` uses it as the timeout of a step.
    """

    _until: float

    def __new__(cls, seconds: float) -> Self:
        made = super().__new__(cls, seconds)
        made._until = monotonic() + seconds
        return made

    def left(self) -> float:
        """Return the remaining seconds.

        Raises:
            TimeoutError: when the deadline has passed.
        """
        left = self._until - monotonic()
        if left <= 0:
            raise TimeoutError("The deadline has passed.")
        return left


def bounded(client: httpx2.Client) -> httpx2.Client:
    """Make every network step of ``client`` end at the deadline of its request.

    Transports that use no network, such as one for WSGI, are left unchanged.
    """
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx2.HTTPTransport):
            # The library has no public way to set the backend of a client's transports.
            transport._pool._network_backend = _Backend()
    return client


def timeouts(deadline: Deadline, connect: Deadline | None = None) -> dict[str, Any]:
    """Return the ``extensions`` of a request that must end at ``deadline``.

    Args:
        deadline: for the whole exchange.
        connect: for resolving the name, connecting and TLS; defaults to ``deadline``.
    """
    first = deadline if connect is None else connect
    return {"timeout": {"connect": first, "read": deadline, "write": deadline, "pool": None}}


def resolve(host: str, port: int, deadline: Deadline) -> list[str]:
    """Return the addresses of ``host``, in the order in which they should be tried.

    Raises:
        TimeoutError: when the resolver did not answer in time.
        OSError: when the host has no address.
    """
    try:
        return [str(ip_address(host))]
    except ValueError:
        pass
    answers: SimpleQueue[list[str] | OSError] = SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:  # a label that is too long for a name
            answers.put(OSError("The host has no valid name."))
        except OSError as error:
            answers.put(error)
        else:
            answers.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))

    # The system's resolver has no timeout that a caller could set.
    Thread(target=ask, name="filestack_tags-resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.left())
    except Empty:
        raise TimeoutError("The host's name was not resolved in time.") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def _left(timeout: float | None, late: type[httpcore2.TimeoutException]) -> float | None:
    """Return the timeout of one step.

    Raises:
        httpcore2.TimeoutException: as ``late``, when the deadline has passed.
    """
    if not isinstance(timeout, Deadline):
        return timeout
    try:
        return timeout.left()
    except TimeoutError as error:
        raise late(str(error)) from error


class _Backend(httpcore2.NetworkBackend):
    """The blocking backend of the HTTP library, with each step bounded by a :class:`Deadline`."""

    def __init__(self) -> None:
        self._backend = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        addresses = [host]
        if isinstance(timeout, Deadline):
            try:
                addresses = resolve(host, port, timeout)
            except TimeoutError as error:
                raise httpcore2.ConnectTimeout(str(error)) from error
            except OSError as error:
                raise httpcore2.ConnectError(str(error)) from error
        failures: list[Exception] = []
        for address in addresses:  # otherwise each of them would get the whole timeout
            try:
                left = _left(timeout, httpcore2.ConnectTimeout)
                stream = self._backend.connect_tcp(
                    address, port, left, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failures.append(error)
            else:
                return _Stream(stream, timeout)
        raise failures[0]


class _Stream(httpcore2.NetworkStream):
    """A connection whose steps end at the deadline of the request, or of connecting."""

    def __init__(self, stream: httpcore2.NetworkStream, timeout: float | None) -> None:
        self._stream = stream
        self._timeout = timeout

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = _left(self._latest(timeout), httpcore2.ReadTimeout)
        return self._stream.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        latest = self._latest(timeout)
        view = memoryview(buffer)
        for start in range(0, len(view), CHUNK):
            left = _left(latest, httpcore2.WriteTimeout)
            self._stream.write(bytes(view[start : start + CHUNK]), left)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        left = _left(self._latest(timeout), httpcore2.ConnectTimeout)
        return _Stream(
            self._stream.start_tls(ssl_context, server_hostname, left), self._timeout
        )

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _latest(self, timeout: float | None) -> float | None:
        # Some steps with a proxy have no timeout.
        self._timeout = self._timeout if timeout is None else timeout
        return self._timeout
