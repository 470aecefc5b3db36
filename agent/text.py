"""Text from outside, made fit for a log line, a terminal or the status file."""

from __future__ import annotations

import re
import unicodedata

MOST_SHOWN = 200
"""Characters of foreign text that are shown; more would let a sender flood the log."""
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
