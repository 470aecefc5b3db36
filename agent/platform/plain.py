"""The usual answer's head, understood at a glance; all others are http.client's to understand.

That one reads a head as it would a letter's, which takes as long as all else in a poll. What a
platform sends all day long needs none of that: 200, plain headers, a length.
"""

from __future__ import annotations

import re

from msgspec import Struct

_HEAD = re.compile(rb"HTTP/1\.1 200 [\t -~]*\r\n(?:[!#-'*+.0-9A-Z^-z|~-]+:[\t -~]*\r\n)+\r\n")
"""RFC 9112, 2 to 5, without what it lets pass only for old peers' sake."""
_MATTERS = re.compile(
    rb"\r\n(?:transfer-encoding|content-encoding|retry-after"
    rb"|connection(?!:[ \t]*keep-alive[ \t]*\r))"
)
"""What asks for more than reading the body and going on."""
_LENGTH = re.compile(rb"\r\ncontent-length:([^\r]*)")
_DIGITS = re.compile(rb"[0-9]{1,9}")


class PlainHead(Struct, frozen=True):
    """How many bytes such a head has, and how many the body behind it."""

    size: int
    length: int


def plain_head(seen: bytes) -> PlainHead | None:
    """Understand the head that `seen` begins with; None where it is not all there, or not plain."""
    found = _HEAD.match(seen)
    if found is None:
        return None
    head = found[0].lower()
    lengths = _LENGTH.findall(head)
    if len(lengths) != 1 or _MATTERS.search(head):
        return None
    length = lengths[0].strip(b" \t")
    return PlainHead(len(head), int(length)) if _DIGITS.fullmatch(length) else None
