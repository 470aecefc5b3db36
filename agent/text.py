"""Text from outside, made fit for a log line, a terminal or the status file."""

from __future__ import annotations

import re
import unicodedata

MOST_SHOWN = 200
"""Characters of foreign text that are shown; more would let a sender flood the log."""
_OPENING = "（《「『【“‘"
_CLOSING = "，。；：！？、）》」』】”’…"
_PIECES = (
    # One Chinese character, or a word; with what opens before it, what closes after it, and blanks.
    rf"[{_OPENING}]*(?:[\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff]|[^\s\u2e80-\u9fff\uac00-\ud7a3"
    rf"\uf900-\ufaff{_OPENING}{_CLOSING}]+)?[{_CLOSING}]*\s*"
)
"""Compiled when a text is first made to flow: the daemon makes none."""
_NUMBER = re.compile(r"[0-9*#+]{7,}")


def printable(text: str, most: int = MOST_SHOWN) -> str:
    """Neutralise control characters, line breaks, escapes and surrogates; cut at `most`."""
    if len(text) <= most and text.isascii() and text.isprintable():
        return text
    cut = text[: most + 1]
    if len(cut) <= most and cut.isprintable():
        return cut
    shown = "".join(_shown(character) for character in cut[:most])
    return shown + "…" if len(cut) > most else shown


def _shown(character: str) -> str:
    # Cc, Cf, Cs, Co, Cn: controls, direction overrides, lone surrogates and what has no glyph;
    # Zl and Zp break lines in some viewers.
    category = unicodedata.category(character)
    if category[0] == "C" or category in {"Zl", "Zp"}:
        return f"\\u{ord(character):04x}" if ord(character) > 0xFF else f"\\x{ord(character):02x}"
    return character


def width(text: str) -> int:
    """Columns that a text takes on a terminal: a Chinese character takes two."""
    return sum(_columns(character) for character in text)


def padded(text: str, columns: int) -> str:
    """Fill a text up with blanks to so many columns."""
    return text + " " * max(0, columns - width(text))


def flowed(text: str, columns: int) -> list[str]:
    """Break a text into lines of so many columns: at blanks, and between Chinese characters.

    No line begins with a mark that closes, or ends with one that opens. What has no place to
    break, such as a long path, is broken where the line ends.
    """
    lines, line = [], ""
    for piece in re.findall(_PIECES, text):
        rest = piece
        if line and width(line) + width(rest.rstrip()) > columns:
            lines += [line.rstrip()] if line.strip() else []
            line = ""
        while width(rest.rstrip()) > columns:
            fitting = _fitting(rest, columns)
            lines.append(rest[:fitting])
            rest = rest[fitting:]
        line += rest
    return [*lines, line.rstrip()] if line.rstrip() or not lines else lines


def _fitting(text: str, columns: int) -> int:
    """How many characters of a text fit; one at least."""
    taken = 0
    for index, character in enumerate(text):
        taken += _columns(character)
        if taken > columns:
            return max(1, index)
    return len(text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def masked_phone(phone: str) -> str:
    """Hide the middle of a number: 13800138000 becomes 138****8000, a short one hides more."""
    length = len(phone)
    if length == 0:
        return ""
    first = min(3, max(0, length - 8))
    last = min(4, max(0, length - 4 - first))
    return phone[:first] + "****" + (phone[length - last :] if last else "")


def masked_numbers(text: str) -> str:
    """Hide what may be telephone numbers, runs of seven or more digits, in somebody's words."""
    return _NUMBER.sub(lambda found: masked_phone(found[0]), text)
