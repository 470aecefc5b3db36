"""`multipart/form-data` read as it comes, so that a file of any size takes a few KiB of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.message import Message

from msgspec import Struct

BLOCK = 64 * 1024
MOST_HEADER_BYTES = 8 * 1024
"""Of one part; a browser needs some 200."""
MOST_PARTS = 32
"""PROTOCOL.md 2.2 names four."""


class BadMultipart(ValueError):
    """The body is not what its Content-Type says."""


class CutOff(ConnectionError):
    """The sender went away before the body's last byte."""


class Part(Struct, frozen=True):
    """One part; its body is to be read before the next part is asked for."""

    name: str
    filename: str | None
    body: Iterator[bytes]


class MultipartReader:
    """Take a body of known length apart.

    `read(n)` returns at most n bytes, b"" where the connection has ended.
    """

    def __init__(self, read: Callable[[int], bytes], length: int, boundary: str) -> None:
        self._read = read
        self._left = length
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        # The first boundary may open the body; with this it looks like all the others.
        self._buffer = b"\r\n"

    def parts(self) -> Iterator[Part]:
        """Yield the parts in their order. Raises BadMultipart and CutOff."""
        for _ in self._until_delimiter():
            pass
        for _ in range(MOST_PARTS):
            mark = self._take(2)
            if mark == b"--":
                self.drain()
                return
            if mark != b"\r\n":
                raise BadMultipart("a boundary is not followed by the end of its line")
            headers = self._headers()
            disposition = Message()
            disposition["Content-Disposition"] = headers.get("content-disposition", "")
            name = disposition.get_param("name", None, "content-disposition")
            filename = disposition.get_param("filename", None, "content-disposition")
            if not isinstance(name, str):
                raise BadMultipart("a part has no name")
            if isinstance(filename, tuple):
                raise BadMultipart("a file name in the extended notation; plain ASCII is expected")
            body = self._until_delimiter()
            yield Part(name, filename, body)
            for _ in body:
                pass
        raise BadMultipart(f"more than {MOST_PARTS} parts")

    def drain(self) -> None:
        """Read the rest of the body and forget it."""
        self._buffer = b""
        while self._left:
            self._fill()
            self._buffer = b""

    def _headers(self) -> dict[str, str]:
        # The line end of the boundary's line may be the headers' only one: a part without headers.
        text = b"\r\n"
        while b"\r\n\r\n" not in text:
            if len(text) > MOST_HEADER_BYTES:
                raise BadMultipart("the headers of a part are too long")
            text += self._take(1)
        found: dict[str, str] = {}
        for line in text.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                found[name.strip().lower()] = value.strip()
        return found

    def _until_delimiter(self) -> Iterator[bytes]:
        keep = len(self._delimiter) - 1
        while (at := self._buffer.find(self._delimiter)) < 0:
            if len(self._buffer) > keep:
                body, self._buffer = self._buffer[:-keep], self._buffer[-keep:]
                yield body
            self._fill()
        body, self._buffer = self._buffer[:at], self._buffer[at + keep + 1 :]
        if body:
            yield body

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _fill(self) -> None:
        if self._left <= 0:
            raise BadMultipart("the body ends before its last boundary")
        data = self._read(min(BLOCK, self._left))
        if not data:
            raise CutOff(f"the sender went away {self._left} bytes before the body's end")
        self._left -= len(data)
        self._buffer += data
