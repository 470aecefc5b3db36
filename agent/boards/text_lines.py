"""Lines of text out of bytes that come in any pieces, for boards whose lines carry no check."""

from __future__ import annotations

import re
from collections.abc import Callable

MOST_BYTES = 160
"""Bytes of a line kept: over twice the longest record of any box; more is noise."""

_PIECES = re.compile(rb"([\r\n])")


class LineReader:
    """Splits at CR or LF, either alone or both; empty lines are nothing.

    A line over MOST_BYTES is bad: it is told once and skipped up to its end. At most MOST_BYTES
    are kept between two calls.
    """

    def __init__(self, on_bad: Callable[[bytes, str], None], answers: bytes = b"") -> None:
        """`answers`: bytes that are a line of their own, without an end, where a line begins."""
        self._on_bad = on_bad
        self._answers = answers
        self._kept = b""
        self._skipping = False

    def reset(self) -> None:
        """Forget a half line: the port was opened anew, and its rest never comes."""
        self._kept, self._skipping = b"", False

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they came; return the lines that became whole, without their ends."""
        lines: list[bytes] = []
        for piece in _PIECES.split(data):
            if piece in {b"\r", b"\n"}:
                if self._kept:
                    lines.append(self._kept)
                self.reset()
            elif piece and not self._skipping:
                lines += self._take(piece)
        return lines

    def _take(self, piece: bytes) -> list[bytes]:
        rest = piece if self._kept else piece.lstrip(self._answers)
        alone = [bytes((byte,)) for byte in piece[: len(piece) - len(rest)]]
        self._kept += rest
        if len(self._kept) > MOST_BYTES:
            self._on_bad(self._kept[:MOST_BYTES], f"a line of more than {MOST_BYTES} bytes")
            self._kept, self._skipping = b"", True
        return alone
