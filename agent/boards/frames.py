"""The frames of the native board: lines as NMEA 0183 has them, with a stronger check (SERIAL.md 1).

No input or output: bytes in, frames out, and back.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from collections.abc import Callable

from msgspec import Struct

MOST_BYTES = 128
"""Length of the longest line, from `$` to the line feed (SERIAL.md 1)."""

_CHECK_START = 0xFFFF
_MARKS = re.compile(rb"([$\r\n])")
_LINE = re.compile(rb"([^*]+)\*([0-9A-F]{4})")
_PRINTABLE = re.compile(rb"[\x20-\x7e]*")
_USUAL = re.compile(
    rb"\$([\x20-\x23\x25-\x29\x2b\x2d-\x7e][\x20-\x23\x25-\x29\x2b-\x7e]{0,%d})"
    rb"\*([0-9A-F]{4})\r?\n" % (MOST_BYTES - len(b"$x*CCCC\r\n"))
)
"""A whole line with a type and nothing that the reader refuses, its check apart."""
_FIELD = re.compile(r"[\x20-\x7e]*")
_RESERVED = frozenset("$*,")


class Frame(Struct, frozen=True):
    """One good line: what kind it is and what its fields hold."""

    type: str
    fields: tuple[str, ...] = ()


def check(body: bytes) -> int:
    """CRC-16/CCITT-FALSE of what stands between `$` and `*`; `123456789` gives 0x29B1."""
    return crc_hqx(body, _CHECK_START)


def frame(*fields: str | int) -> bytes:
    """Build the line `$TYPE,field,…*CCCC` with its line end.

    Raises ValueError where a field holds `$`, `*`, `,` or anything but printable ASCII, where the
    type is empty, or where the line would be longer than MOST_BYTES.
    """
    texts = [str(field) for field in fields]
    if not texts or not texts[0]:
        raise ValueError("a frame needs a type")
    for text in texts:
        if _RESERVED.intersection(text) or not _FIELD.fullmatch(text):
            raise ValueError(f"a field holds printable ASCII without $ * and comma, not {text!r}")
    body = ",".join(texts).encode("ascii")
    line = b"$%b*%04X\r\n" % (body, check(body))
    if len(line) > MOST_BYTES:
        raise ValueError(f"a line has at most {MOST_BYTES} bytes, this one {len(line)}")
    return line


class FrameReader:
    r"""Finds the good frames in bytes that come in any pieces.

    A frame::

        $ H E L L O , 1 , 7 , 8 , 2 . 0 * 1 2 3 4 \r \n
        | `------------- body ------------' `---'  `---' either one alone ends a line too
        |                                     `-- check of the body, four upper-case hex digits
        `-- begins a line, wherever it stands

    Damage that it survives, each counted in `bad` exactly once, however the bytes are cut up:

    ==========================  ==================================================================
    bytes between lines         skipped up to the next `$`; a run of them counts once
    a line without `$`          the same: it is a run of bytes between lines
    `$` within a line           what stood before it is bad, a new line begins there
    a line over MOST_BYTES      bad as soon as it is too long, then skipped up to its end or a `$`
    no check, or a short one    bad at its end; lower-case hex digits are no check
    a check that does not fit   bad at its end
    NUL, controls, non-ASCII    bad at the line's end, even where the check fits
    ==========================  ==================================================================

    Empty lines are nothing: not even bad. At most MOST_BYTES are kept between two calls.
    """

    def __init__(self, on_bad: Callable[[bytes, str], None] | None = None) -> None:
        """`on_bad` gets each bad piece (at most MOST_BYTES of it) and why it is bad, in words."""
        self.good = 0
        self.bad = 0
        self._on_bad = on_bad
        self._kept = bytearray()
        self._inside = False
        self._skipping = False

    def reset(self) -> None:
        """Forget a half line, uncounted: the port was opened anew, and its rest never comes."""
        self._kept.clear()
        self._inside = self._skipping = False

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes as they came; return the frames that became whole."""
        frames: list[Frame] = []
        if not self._kept and not self._inside:
            data = data[self._take_usual(data, frames) :]
            if not data:
                return frames
        for piece in _MARKS.split(data):
            if piece == b"$":
                self._begin()
            elif piece in {b"\r", b"\n"}:
                frames.extend(self._end())
            elif piece:
                self._take(piece)
        return frames

    def _take_usual(self, data: bytes, frames: list[Frame]) -> int:
        """Take the whole good lines at the beginning, in one step each; return where they end."""
        end = 0
        while (line := _USUAL.match(data, end)) is not None:
            body = line[1]
            if int(line[2], 16) != crc_hqx(body, _CHECK_START):
                break
            kind, *fields = body.decode("ascii").split(",")
            frames.append(Frame(kind, tuple(fields)))
            self.good += 1
            self._skipping = False
            end = line.end()
        return end

    def _begin(self) -> None:
        if self._inside and not self._skipping:
            self._reject(b"$" + self._kept, "a new line began before this one ended")
        elif self._kept and not self._skipping:
            self._reject(bytes(self._kept), "bytes between lines")
        self.reset()
        self._inside = True

    def _take(self, piece: bytes) -> None:
        if self._skipping:
            return
        # Of a line, `$` and one byte of line end count too.
        room = (MOST_BYTES - 2 if self._inside else MOST_BYTES) - len(self._kept)
        self._kept += piece[: max(0, room)]
        if len(piece) > room:
            self._skipping = True
            if self._inside:
                self._reject(b"$" + self._kept, f"a line of more than {MOST_BYTES} bytes")
            else:
                self._reject(bytes(self._kept), "bytes between lines")

    def _end(self) -> list[Frame]:
        body, inside, skipping = bytes(self._kept), self._inside, self._skipping
        self.reset()
        if skipping or (not inside and not body):
            return []
        if not inside:
            self._reject(body, "a line without $")
            return []
        found = self._parse(body)
        return [found] if found else []

    def _parse(self, line: bytes) -> Frame | None:
        parts = _LINE.fullmatch(line)
        if parts is None:
            self._reject(b"$" + line, "a line without a check of four upper-case hex digits")
            return None
        body, said = parts[1], int(parts[2], 16)
        if said != check(body):
            self._reject(b"$" + line, f"check {said:04X}, but the bytes give {check(body):04X}")
            return None
        if not _PRINTABLE.fullmatch(body):
            self._reject(b"$" + line, "bytes that are not printable ASCII")
            return None
        kind, *fields = body.decode("ascii").split(",")
        if not kind:
            self._reject(b"$" + line, "a line without a type")
            return None
        self.good += 1
        return Frame(kind, tuple(fields))

    def _reject(self, piece: bytes, reason: str) -> None:
        self.bad += 1
        if self._on_bad is not None:
            self._on_bad(piece, reason)
