r"""What a modem sends, cut into pieces: lines of text, and DLE codes between or within them.

::

    \r\n R I N G \r\n        a line: a result code, RING, an item of a caller ID, an echo
    0x10 H                   a DLE code: 0x10 and one character, wherever it stands (BOARDS.md 2)

No input or output: bytes in, pieces out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

MOST_LINE = 600
"""Bytes of a line: a whole MDMF packet in hexadecimal digits has 516."""
DLE = 0x10
_LINE_ENDS = b"\r\n"


class Line(Struct, frozen=True):
    """One line, not empty."""

    text: str
    """Without blanks around it; bytes that are no UTF-8 are replaced."""
    raw: bytes


class Code(Struct, frozen=True):
    """One DLE code."""

    letter: str


class ModemReader:
    """Cuts bytes that come in any pieces; damage goes to `on_bad` and is skipped.

    ==========================  ==================================================================
    control bytes within        the whole line is bad
    a line over MOST_LINE       bad once it is too long, then skipped to its end
    0x10 before a control byte  bad; a line's end still ends the line. Twice 0x10 is nothing
    ==========================  ==================================================================

    At most MOST_LINE bytes are kept between two calls.
    """

    def __init__(self, on_bad: Callable[[bytes, str], None]) -> None:
        """`on_bad` gets each damaged piece (at most MOST_LINE of it) and why it is bad."""
        self._on_bad = on_bad
        self._kept = bytearray()
        self._escaped = False
        self._skipping = False

    def reset(self) -> None:
        """Forget a half line: the port was opened anew, and its rest never comes."""
        self._kept.clear()
        self._escaped = self._skipping = False

    def feed(self, data: bytes) -> Iterator[Line | Code]:
        """Take bytes as they came; yield the pieces that became whole, damage told in between."""
        for byte in data:
            if self._escaped:
                self._escaped = False
                if 0x20 < byte < 0x7F:
                    yield Code(chr(byte))
                    continue
                if byte == DLE:
                    continue
                self._on_bad(bytes((DLE, byte)), "0x10 that no letter follows")
            if byte == DLE:
                self._escaped = True
            elif byte in _LINE_ENDS:
                yield from self._end()
            elif not self._skipping:
                self._take(byte)

    def _take(self, byte: int) -> None:
        if len(self._kept) < MOST_LINE:
            self._kept.append(byte)
            return
        self._on_bad(bytes(self._kept), f"a line of more than {MOST_LINE} bytes")
        self._kept.clear()
        self._skipping = True

    def _end(self) -> list[Line | Code]:
        raw = bytes(self._kept)
        skipped = self._skipping
        self.reset()
        if skipped or not raw.strip():
            return []
        if any(byte < 0x20 or byte == 0x7F for byte in raw):
            self._on_bad(raw, "control bytes within a line")
            return []
        return [Line(raw.decode("utf-8", "replace").strip(), raw)]
