"""A server that does to a connection whatever a test says: stall, cut, trickle, answer early."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType

OK = b'{"status": 0, "time": "1563957071"}'
LONGEST = 20.0
"""Seconds after which a connection's script is torn down, should a test go wrong."""


def http(body: bytes = OK, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def length_of(head: bytes) -> int:
    lines = [line.split(b":") for line in head.split(b"\r\n")]
    return next(int(line[1]) for line in lines if line[0].lower() == b"content-length")


class Peer:
    """One accepted connection."""

    def __init__(self, connection: socket.socket, number: int, stop: threading.Event) -> None:
        self.connection = connection
        self._stop = stop
        self.number = number
        """Counted from 1, in the order in which they came."""
        self._buffer = bytearray()

    def _more(self, most: int = 65536) -> None:
        data = self.connection.recv(most)
        if not data:
            raise ConnectionError("the client closed")
        self._buffer += data

    def head(self) -> bytes:
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        return bytes(head)

    def request(self) -> tuple[bytes, bytes]:
        """Head and body of the next request."""
        head = self.head()
        length = length_of(head)
        while len(self._buffer) < length:
            self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return head, bytes(body)

    def drop_body(self, head: bytes) -> None:
        """Read the body that follows `head`, and keep nothing of it."""
        left = length_of(head) - len(self._buffer)
        self._buffer.clear()
        while left > 0:
            left -= len(self.connection.recv(256 * 1024))

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def pause(self, seconds: float) -> None:
        """Do nothing, or end the script where the test is over."""
        if self._stop.wait(seconds):
            raise ConnectionError("the test is over")

    def reset(self) -> None:
        """Close so that the other side gets a reset and no orderly end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


Script = Callable[[Peer], None]


class RawServer:
    """Runs `script` for each connection; closes the connection when the script returns."""

    def __init__(
        self, script: Script, context: ssl.SSLContext | None = None, buffered: int | None = None
    ) -> None:
        """`buffered`: bytes that the system takes in before the script reads them."""
        self._script = script
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        if buffered is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffered)
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.connections = 0
        self.stop = threading.Event()
        """Set when the test is over."""

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> RawServer:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LONGEST)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._start(self._serve, connection, self.connections)

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.settimeout(LONGEST)
        with contextlib.suppress(OSError), connection:
            if self._context is None:
                self._script(Peer(connection, number, self.stop))
                return
            with self._context.wrap_socket(connection, server_side=True) as secure:
                self._script(Peer(secure, number, self.stop))


def answering(*answers: bytes) -> Script:
    """Each connection is answered so, one request after the other, then closed."""

    def script(peer: Peer) -> None:
        for answer in answers:
            peer.request()
            peer.send(answer)

    return script


def for_ever(answer: bytes, seen: list[tuple[bytes, bytes]] | None = None) -> Script:
    """Every request is answered so, and kept in `seen`."""

    def script(peer: Peer) -> None:
        while True:
            request = peer.request()
            if seen is not None:
                seen.append(request)
            peer.send(answer)

    return script
