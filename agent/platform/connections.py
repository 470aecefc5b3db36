"""Connections that wait for the right time and tell what they were at when they failed.

urllib3 sends a body under the connect time-out and gives each read of an answer a time-out of
its own: a slow uplink fails though it makes progress, and a server that trickles a byte at a
time never fails. Here each block sent has `read_timeout`, and so has an answer as a whole.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import io
import select
import socket
import ssl
from enum import IntEnum
from functools import partial
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from agent.clock import Clock
from agent.platform.multipart import RecordingBody
from agent.platform.plain import plain_head

MOST_ANSWER = 1024 * 1024
"""Bytes of an answer's body; room for thousands of entries, and no more memory than that."""
EARLY_ANSWER = 1.0
"""Seconds to look for the answer of a platform that took no more: it is there already or never."""

SEND_BUFFER = 256 * 1024
"""Bytes that the system may hold unsent, which it doubles. By itself it takes megabytes, and on a
slow uplink the time for the answer would be over before it had sent them."""
SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER),
]
_CUT_WHILE_SENDING = (ConnectionError, TimeoutError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
_VARYING = {b"content-type": b"%(type)b", b"content-length": b"%(length)d"}
"""The headers in which one request on a connection differs from another."""


class Phase(IntEnum):
    """How far an exchange came."""

    BEFORE = 0
    CONNECTING = 1
    SENDING = 2
    AWAITING = 3
    """Sent; nothing heard."""
    ANSWERING = 4
    """Some of the answer was heard."""


class Line:
    """What the transport and its one connection tell each other about the exchange under way."""

    def __init__(self, query: str, read_timeout: float, clock: Clock) -> None:
        self.query = query
        self.read_timeout = read_timeout
        self.clock = clock
        self.abandoned = False
        self._socket: socket.socket | None = None
        self._connection: _WatchedConnection | None = None
        self._events = select.poll()
        """Of the connection's socket; between exchanges any event is its end."""
        self.begin()

    def begin(self) -> None:
        """Forget the last exchange."""
        self.phase = Phase.BEFORE
        self.fresh = False
        """True: the connection was made for this exchange."""
        self.sent = False
        """True: the whole request left."""
        self.send_error: Exception | None = None
        self.deadline = 0.0
        """Monotonic seconds by which the answer must be there."""

    @property
    def stands(self) -> bool:
        """Tell whether the connection of the last exchange can be used again as it is."""
        connection = self._connection
        return (
            connection is not None
            and connection.sock is not None
            and bool(connection.again)
            and not self._events.poll(0)
        )

    def post_again(
        self, body: bytes | RecordingBody, content_type: str
    ) -> http.client.HTTPResponse | bytes:
        """Send a request on the connection that stands; return the answer with its body unread.

        Of a plain answer, which is a success, the body as it came.

        requests and urllib3 have nothing to add here, and http.client nothing but a head that it
        wrote before. Each of them makes and takes apart a dozen objects for every request, and
        between two polls of an idle gateway the processor forgets all their code.
        """
        assert self._connection is not None
        return self._connection.post_again(body, content_type)

    def drop(self) -> None:
        """Close the connection; the next exchange makes another."""
        if self._connection is not None:
            self._connection.close()

    def connected(self, connection: _WatchedConnection) -> None:
        """A connection stands; from now on its time-out is that of a block."""
        connection.sock.settimeout(self.read_timeout)
        self._connection = connection
        self._socket = connection.sock
        self._events = select.poll()
        self._events.register(connection.sock, select.POLLIN)
        self.fresh = True
        self.phase = Phase.SENDING
        if self.abandoned:
            self._shut_down()

    def await_answer(self) -> None:
        """The answer's time begins."""
        patience = self.read_timeout if self.sent else min(self.read_timeout, EARLY_ANSWER)
        self.deadline = self.clock.monotonic() + patience
        self.phase = Phase.AWAITING

    def abandon(self) -> None:
        """End the exchange under way at once, and refuse others; from any thread."""
        self.abandoned = True
        self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            # The plain socket's: that of a TLS socket takes its state from under the other thread.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _AnswerFile(io.RawIOBase):
    """Reads a socket under a time-out that shrinks to the answer's deadline."""

    def __init__(self, connection: socket.socket, line: Line) -> None:
        self._connection = connection
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._line.deadline - self._line.clock.monotonic()
        if left <= 0:
            raise TimeoutError("the answer's time is over")
        self._connection.settimeout(left)
        count = self._connection.recv_into(buffer)
        if count:
            self._line.phase = Phase.ANSWERING
        return count


class _BegunAnswer:
    """Stands in for the socket where some of the answer was read already."""

    def __init__(self, reader: io.BufferedReader[Any]) -> None:
        self._reader = reader

    def makefile(self, _mode: str) -> io.BufferedReader[Any]:
        return self._reader


class _HeldAnswerFile(_AnswerFile):
    """The same, where http.client may close the connection before its answer was read.

    For http.client it stands in for the socket, of which that wants no more than a file.
    """

    def __init__(self, connection: socket.socket, line: Line) -> None:
        super().__init__(connection, line)
        # A socket stays open as long as a file that was made of it.
        self._held = connection.makefile("rb", buffering=0)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def close(self) -> None:
        self._held.close()
        super().close()


class _WatchedConnection(HTTPConnection):
    """A connection that keeps its `Line` informed."""

    def __init__(self, *arguments: Any, line: Line, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._line = line
        self._head_due = False
        """True: what is sent next is the head of a request."""
        self.again = b""
        """That head for another request, to be filled in; empty before there was one."""

    def connect(self) -> None:
        self._line.phase = Phase.CONNECTING
        super().connect()
        self._line.connected(self)

    def post_again(
        self, body: bytes | RecordingBody, content_type: str
    ) -> http.client.HTTPResponse | bytes:
        """See `Line.post_again`."""
        line, connection = self._line, self.sock
        line.phase = Phase.SENDING
        connection.settimeout(line.read_timeout)
        head = self.again % {b"type": content_type.encode("ascii"), b"length": len(body)}
        try:
            # Head and body leave together, as far as they fit: a packet instead of two.
            if isinstance(body, bytes):
                connection.sendall(head + body)
            else:
                for piece in body.pieces(head):
                    connection.sendall(piece)
        except _CUT_WHILE_SENDING as error:
            # The answer may be there all the same.
            line.send_error = error
        else:
            line.sent = True
        line.await_answer()
        reader = io.BufferedReader(_AnswerFile(connection, line))
        plain = plain_head(reader.peek()) if line.sent else None
        if plain is not None and plain.length <= MOST_ANSWER:
            reader.read(plain.size)
            answer = reader.read(plain.length)
            if len(answer) < plain.length:
                raise http.client.IncompleteRead(answer, plain.length - len(answer))
            return answer
        source: Any = _BegunAnswer(reader)
        response = http.client.HTTPResponse(source, method="POST")
        try:
            response.begin()
        except BaseException:
            response.close()
            raise
        return response

    def putrequest(self, method: str, url: str, *arguments: Any, **options: Any) -> None:
        self._line.phase = Phase.SENDING
        if self.sock is not None:
            self.sock.settimeout(self._line.read_timeout)
        self._head_due = True
        # Added down here, beneath all that quotes URLs in logs and errors: it holds the account.
        super().putrequest(method, url + self._line.query, *arguments, **options)

    def request(self, *arguments: Any, **options: Any) -> None:
        try:
            super().request(*arguments, **options)
        except _CUT_WHILE_SENDING as error:
            self._line.send_error = error
            # The one error after which urllib3 still reads the answer that may be there. (Over
            # TLS a reset may have taken it along; then it is the sending that is told of.)
            raise BrokenPipeError(errno.EPIPE, "the platform took no more") from error
        self._line.sent = True

    def send(self, data: Any) -> None:
        if self._head_due:
            self._head_due = False
            self.again = _to_be_filled_in(data)
        super().send(data)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        self._line.await_answer()
        return super().getresponse()

    def response_class(  # type: ignore[override]
        self, connection: socket.socket, *arguments: Any, **options: Any
    ) -> http.client.HTTPResponse:
        source: Any = _HeldAnswerFile(connection, self._line)
        return http.client.HTTPResponse(source, *arguments, **options)


def _to_be_filled_in(head: bytes) -> bytes:
    """A head as http.client made it, and found to be proper, with room for what varies."""
    lines = []
    for line in head.replace(b"%", b"%%").split(b"\r\n"):
        name = line.partition(b":")[0]
        value = _VARYING.get(name.lower())
        lines.append(line if value is None else name + b": " + value)
    return b"\r\n".join(lines)


class _WatchedSecureConnection(_WatchedConnection, HTTPSConnection):
    """The same over TLS."""


class _WholeAnswers(HTTPConnectionPool):
    """An answer shorter than its Content-Length is an error; urllib3 1.26 has to be told."""

    def urlopen(self, *arguments: Any, **options: Any) -> Any:
        return super().urlopen(*arguments, enforce_content_length=True, **options)


class _Pool(_WholeAnswers):
    ConnectionCls = _WatchedConnection


class _SecurePool(_WholeAnswers, HTTPSConnectionPool):
    ConnectionCls = _WatchedSecureConnection


class LineAdapter(HTTPAdapter):
    """requests' way to the platform: one connection, kept alive, watched by `line`."""

    def __init__(self, line: Line) -> None:
        self._line = line
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """As in HTTPAdapter, with this module's connections."""
        super().init_poolmanager(*arguments, socket_options=SOCKET_OPTIONS, **options)
        pools: Any = self.poolmanager
        pools.pool_classes_by_scheme = {
            "http": partial(_Pool, line=self._line),
            "https": partial(_SecurePool, line=self._line),
        }
