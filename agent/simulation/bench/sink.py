"""A platform that costs next to nothing: it answers as the protocol wants and keeps no byte.

Where the agent is measured against its peers, the platform must not be what limits both. Bodies of
recordings are thrown away by the kernel, unread; what is in them the simulated platform checks.
The same server takes `curl -F` as it takes the agent, and speaks as much WebDAV as `rclone copy`
needs. It is a process of its own: what it uses is not taken for somebody else's.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import parse_qsl

from msgspec import Struct
from msgspec.structs import asdict

from agent.simulation.command import say, signals_held, wait_for_signal

PIECE = 256 * 1024
"""Bytes thrown away at once."""
COUNTED_AT = 64 * 1024
"""Bytes that may have come and are not counted yet."""
LONGEST_BURST = 0.02
"""Seconds of a limited line's time that a pause does not lose: as much as buffers on it hold."""
MOST_HEAD = 64 * 1024
MOST_FORM = 64 * 1024
"""Bytes of a body that is read, and not thrown away: only a record's or a report's."""
PAGE = "/voip/api/upload_record"
ARRIVALS = "/arrivals"
MOST_ARRIVALS = 20_000
"""Records, and files, whose arrival is remembered: more than any row looks at."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect: *100-continue", re.IGNORECASE)
_LAST = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_FOLDER = (
    '<?xml version="1.0"?><d:multistatus xmlns:d="DAV:"><d:response><d:href>{href}</d:href>'
    "<d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype></d:prop>"
    "<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>"
)
_FILE = (
    '<?xml version="1.0"?><d:multistatus xmlns:d="DAV:"><d:response><d:href>{href}</d:href>'
    "<d:propstat><d:prop><d:getcontentlength>{size}</d:getcontentlength><d:resourcetype/>"
    "</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>"
)


class Counts(Struct):
    """What arrived."""

    requests: int = 0
    """All of them, but for those that ask for this."""
    records: int = 0
    """Call records, and other short forms that say `cmd=upload`."""
    files: int = 0
    """Recordings, and files that were PUT."""
    file_bytes: int = 0
    """Bytes of their bodies, as they come."""
    latest_began: float = 0.0
    """UNIX time at which the latest of them began to come; 0: none did."""
    latest_ended: float = 0.0
    """UNIX time at which the latest of them was there."""
    connections: int = 0


class Arrivals(Struct, frozen=True):
    """When something arrived: seconds of CLOCK_MONOTONIC, which all processes share."""

    records: list[tuple[float, dict[str, str]]]
    """Each with its fields (PROTOCOL.md 2.2)."""
    files: list[float]
    """When the first byte of each was there."""


class Sink:
    """Takes connections, a thread each, until the process ends."""

    def __init__(self, rate: float = 0.0) -> None:
        """`rate`: bytes a second that all bodies together may come with; 0: as they can."""
        self._rate = rate
        self._free_at = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._counts = Counts()
        self._lock = threading.Lock()
        self._records: deque[tuple[float, str]] = deque(maxlen=MOST_ARRIVALS)
        self._files: deque[float] = deque(maxlen=MOST_ARRIVALS)
        self._put: dict[bytes, int] = {}
        """Sizes by path: rclone looks at what it has sent."""

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def accept(self) -> None:
        """Take connections; does not return."""
        while True:
            connection, _ = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._counts.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        buffer = bytearray()
        scratch = bytearray(PIECE)
        with connection, contextlib.suppress(OSError):
            while (head := _head(connection, buffer)) is not None:
                if _EXPECTS.search(head):
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                connection.sendall(self._answer(connection, head, buffer, scratch))
                if _LAST.search(head):
                    return

    def _answer(
        self, connection: socket.socket, head: bytes, buffer: bytearray, scratch: bytearray
    ) -> bytes:
        method, path = head.split(b" ", 2)[:2]
        found = _LENGTH.search(head)
        length = int(found[1]) if found else 0
        if method == b"GET" and path == ARRIVALS.encode():
            with self._lock:
                told = json.dumps({"records": list(self._records), "files": list(self._files)})
            return _http("200 OK", told, "application/json")
        if method == b"GET":
            return _http("200 OK", json.dumps(asdict(self._counts)), "application/json")
        if method == b"POST" and length <= MOST_FORM and b"multipart/" not in head:
            return self._form(_exactly(connection, buffer, length))
        self._throw_away(connection, buffer, length, scratch, file=method in {b"POST", b"PUT"})
        with self._lock:
            self._counts.requests += 1
            if method in {b"POST", b"PUT"}:
                self._counts.files += 1
                self._counts.latest_ended = time.time()
            if method == b"PUT":
                self._put[path] = length
        if method == b"POST":
            return self._taken()
        return self._dav(method, path)

    def _form(self, body: bytes) -> bytes:
        with self._lock:
            self._counts.requests += 1
            if b"cmd=upload" in body:
                self._counts.records += 1
                self._records.append((time.monotonic(), body.decode("ascii", "replace")))
        return self._taken()

    def _taken(self) -> bytes:
        """One answer to every command: lists are empty, and whatever was asked is done."""
        told = (
            f'{{"time":"{int(time.time())}","status":0,"callid":"7687658987667780097","data":[]}}'
        )
        return _http("200 OK", told, "application/json")

    def _dav(self, method: bytes, path: bytes) -> bytes:
        if method != b"PROPFIND":
            return _http("201 Created", "", "text/plain")
        href = path.decode("ascii", "replace")
        size = self._put.get(path)
        if size is not None:
            return _http("207 Multi-Status", _FILE.format(href=href, size=size), "text/xml")
        if path.endswith(b"/"):
            return _http("207 Multi-Status", _FOLDER.format(href=href), "text/xml")
        return _http("404 Not Found", "", "text/plain")

    def _throw_away(
        self,
        connection: socket.socket,
        buffer: bytearray,
        length: int,
        scratch: bytearray,
        *,
        file: bool,
    ) -> None:
        if file:
            with self._lock:
                self._counts.latest_began = time.time()
                self._files.append(time.monotonic())
        here = min(len(buffer), length)
        del buffer[:here]
        counted = here
        left = length - here
        while left:
            count = connection.recv_into(scratch, min(left, PIECE), socket.MSG_TRUNC)
            if not count:
                raise ConnectionError("cut off in a body")
            left -= count
            counted += count
            if self._rate:
                time.sleep(self._turn(count))
            if file and counted >= COUNTED_AT:
                counted = self._count(counted)
        if file:
            self._count(counted)

    def _turn(self, count: int) -> float:
        """Book the time that so many bytes take on the line; the seconds until that is over."""
        now = time.monotonic()
        with self._lock:
            self._free_at = max(self._free_at, now - LONGEST_BURST) + count / self._rate
            return max(0.0, self._free_at - now)

    def _count(self, arrived: int) -> int:
        with self._lock:
            self._counts.file_bytes += arrived
        return 0


def _head(connection: socket.socket, buffer: bytearray) -> bytes | None:
    """Take a request's head out of the buffer; None where the other side has closed."""
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        if len(buffer) > MOST_HEAD or not _more(connection, buffer):
            return None
    head = bytes(buffer[: end + 2])
    del buffer[: end + 4]
    return head


def _exactly(connection: socket.socket, buffer: bytearray, length: int) -> bytes:
    while len(buffer) < length:
        if not _more(connection, buffer):
            raise ConnectionError("cut off in a form")
    body = bytes(buffer[:length])
    del buffer[:length]
    return body


def _more(connection: socket.socket, buffer: bytearray) -> bool:
    data = connection.recv(4096)
    buffer += data
    return bool(data)


def _http(status: str, body: str, kind: str) -> bytes:
    coded = body.encode()
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(coded)}\r\n\r\n"
    ).encode() + coded


class SinkProcess:
    """A sink as a process of its own, as the bench sees it."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.url = origin + PAGE
        """What a gateway's `platform.url` must be."""

    def arrivals(self) -> Arrivals:
        """The latest records and files, MOST_ARRIVALS of each."""
        with urllib.request.urlopen(self.origin + ARRIVALS, timeout=30) as answer:  # noqa: S310
            told = json.load(answer)
        records = [(moment, dict(parse_qsl(body))) for moment, body in told["records"]]
        return Arrivals(records, told["files"])

    def counts(self) -> Counts:
        """What has arrived so far."""
        with urllib.request.urlopen(self.origin, timeout=30) as answer:  # noqa: S310 - our own
            return Counts(**json.load(answer))


@contextmanager
def sink(rate: float = 0.0) -> Iterator[SinkProcess]:
    """Run a sink, on a line of so many bytes a second, or an unlimited one."""
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "agent.simulation.bench.sink", str(rate)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            yield SinkProcess(process.stdout.readline().strip().removeprefix("listening on "))
        finally:
            process.send_signal(signal.SIGTERM)


def main(arguments: Sequence[str]) -> int:
    """Listen until told to stop; the first line says where. `arguments`: the rate, if any."""
    with signals_held():
        server = Sink(*map(float, arguments))
        threading.Thread(target=server.accept, daemon=True).start()
        say(f"listening on {server.origin}")
        wait_for_signal()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
