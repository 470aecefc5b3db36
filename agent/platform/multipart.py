"""A recording as `multipart/form-data`, streamed from disk (PROTOCOL.md 2.2, step 2).

`requests` with `files=` would hold the whole recording in memory; this body holds one block, in a
buffer that serves one recording after another.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Literal

from agent.digest import new_digest
from agent.platform.failures import FailureKind, PlatformFailure

Container = Literal["wav", "mp3"]

BLOCK = 256 * 1024
"""Bytes read, hashed and sent at a time: as fast as larger ones, and little beside the rest."""
MARGIN = 4096
"""Bytes before and behind a block, for what leaves together with it. A page, so that the block
begins on one: some processors copy from the kernel three times slower to just behind that."""
MOST_NAME = 100
"""Characters of a file name on the wire; servers' columns are often not much wider."""
CONTENT_TYPES: dict[Container, str] = {"wav": "audio/wav", "mp3": "audio/mpeg"}

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def wire_name(name: str, container: Container) -> str:
    """A file name with exactly one dot, plain ASCII: the family's servers cut names at dots."""
    base = name.rpartition("/")[2]
    # What begins with its only dot, or ends with a dot, has no suffix.
    dot = base.rfind(".", 1, -1)
    stem = _UNSAFE.sub("_", base if dot < 0 else base[:dot])
    ending = f".{container}"
    return (stem or "recording")[: MOST_NAME - len(ending)] + ending


def block_buffer() -> memoryview:
    """Memory of its own for a block and its margins; it is given back with the last view of it."""
    return memoryview(mmap.mmap(-1, MARGIN + BLOCK + MARGIN))


class RecordingBody:
    """The sized body of one attempt; reads the file once, a block at a time.

    `file` is an open regular file, read from its start; `size` and `modified_ns` are what it had
    when it was found. `before_block` is called with the bytes about to be read and sent: it may
    wait (a rate limit), and may raise PlatformFailure ABANDONED. `buffer` is a `block_buffer()`
    that nobody else uses meanwhile: a piece given out is part of it, and holds until the next.

    Iterating raises PlatformFailure FILE_CHANGED where the file is no longer what it was, before
    its last block is given out, so that the platform never has a whole body of a changed file;
    and FILE_UNREADABLE. Iterating again needs `rewind()`: nobody re-sends it unasked.
    """

    def __init__(
        self,
        fields: Iterable[tuple[str, str]],
        file: BinaryIO,
        size: int,
        modified_ns: int,
        filename: str,
        content_type: str,
        before_block: Callable[[int], None],
        buffer: memoryview,
    ) -> None:
        self._boundary = os.urandom(16).hex()
        self._head = self._parts(fields, filename, content_type)
        self._tail = f"\r\n--{self._boundary}--\r\n".encode("ascii")
        self._file = file
        self._size = size
        self._modified_ns = modified_ns
        self._before_block = before_block
        self._buffer = buffer
        self.rewind()

    @property
    def content_type(self) -> str:
        """The value of the request's Content-Type."""
        return f"multipart/form-data; boundary={self._boundary}"

    @property
    def digest(self) -> str:
        """Hex digest of the file as it was sent; RuntimeError before it was read to its end."""
        if not self._complete:
            raise RuntimeError("the digest is known once the recording was read to its end")
        return self._digest.hexdigest()

    def rewind(self) -> None:
        """Make ready for another attempt, from the start of the file."""
        self._started = False
        self._complete = False
        self._digest = new_digest()

    def __len__(self) -> int:
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        return self.pieces()

    def pieces(self, before: bytes = b"") -> Iterator[bytes | memoryview]:
        """Give out the body with `before` in front of it, in as few pieces as blocks allow."""
        if self._started:
            raise RuntimeError("a body is one attempt; rewind() it for another")
        self._started = True
        self._require_unchanged()
        lead = before + self._head
        if len(lead) > MARGIN:
            yield lead
            lead = b""
        begin = MARGIN - len(lead)
        end = MARGIN
        self._buffer[begin:end] = lead
        sent = 0
        while sent < self._size:
            if end > MARGIN:
                yield self._buffer[begin:end]
                begin = MARGIN
            count = self._read(min(BLOCK, self._size - sent), sent)
            sent += count
            end = MARGIN + count
        self._require_unchanged()
        self._complete = True
        self._buffer[end : end + len(self._tail)] = self._tail
        yield self._buffer[begin : end + len(self._tail)]

    def _read(self, wanted: int, start: int) -> int:
        self._before_block(wanted)
        block = self._buffer[MARGIN : MARGIN + wanted]
        try:
            count = os.preadv(self._file.fileno(), [block], start)
        except OSError as error:
            raise _unreadable(error) from None
        if not count:
            raise _changed("is shorter than when it was found")
        self._digest.update(block[:count])
        return count

    def _require_unchanged(self) -> None:
        try:
            now = os.fstat(self._file.fileno())
        except OSError as error:
            raise _unreadable(error) from None
        if now.st_size != self._size:
            raise _changed(f"has {now.st_size} bytes and had {self._size} when it was found")
        if now.st_mtime_ns != self._modified_ns:
            raise _changed("was written to after it was found")

    def _parts(self, fields: Iterable[tuple[str, str]], filename: str, content_type: str) -> bytes:
        parts = [
            f"--{self._boundary}\r\n"
            f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields
        ]
        parts.append(
            f"--{self._boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\n'
            f"Content-Type: {content_type}\r\n\r\n"
        )
        return "".join(parts).encode("utf-8", errors="replace")


Body = bytes | RecordingBody
"""What a request carries: a form, or a recording."""


def _changed(what: str) -> PlatformFailure:
    return PlatformFailure(
        FailureKind.FILE_CHANGED, f"the recording {what}; it is looked at anew before it is sent"
    )


def _unreadable(error: OSError) -> PlatformFailure:
    why = error.strerror or type(error).__name__
    return PlatformFailure(FailureKind.FILE_UNREADABLE, f"the recording cannot be read: {why}")
