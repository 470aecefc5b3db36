"""The beginning and the end of what a program prints, whatever lies between."""

from __future__ import annotations

MOST_HEAD = MOST_TAIL = 2048
"""Bytes of an output that are kept, of its beginning and of its end."""
MOST_LINES = 40
"""Lines of an output in the log: half of them its first, half its last."""


class Excerpt:
    """Takes an output of any length, and keeps its ends."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self.total = 0
        """Bytes taken."""

    def take(self, data: bytes) -> None:
        """Go on with the output."""
        self.total += len(data)
        room = MOST_HEAD - len(self._head)
        self._head += data[:room]
        self._tail = (self._tail + data[room:])[-MOST_TAIL:]

    def text(self) -> str:
        """What is kept; where something is left out, a line says how much."""
        left_out = self.total - len(self._head) - len(self._tail)
        between = f"\n… {left_out} bytes left out …\n".encode() if left_out else b""
        return (self._head + between + self._tail).decode("utf-8", "replace")


def first_and_last(lines: list[str]) -> list[str]:
    """Of many lines the first and the last; one between them says how many are left out."""
    if len(lines) <= MOST_LINES:
        return lines
    half = MOST_LINES // 2
    return [*lines[:half], f"… {len(lines) - 2 * half} lines left out …", *lines[-half:]]
