"""By what a file's content is known again: is a delivered file that was touched still the same?

XXH3 with 128 bits. It need not withstand an attacker, for who may write into the recording
directory may delete as well; it must tell any other content apart, and be cheap: on a core without
instructions for SHA-256 that takes longer than all else that sending does.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import xxhash

_SHA256_DIGITS = 64


class Digest(Protocol):
    """A digest that grows block by block."""

    def update(self, block: bytes | memoryview, /) -> None:
        """Take the next block."""

    def hexdigest(self) -> str:
        """What all blocks so far come to."""


def new_digest() -> Digest:
    """Begin a digest as it is written down with a delivery."""
    return xxhash.xxh3_128()


def digest_like(known: str) -> Digest:
    """Begin one that can be compared with `known`, which may be of a ledger that has SHA-256."""
    return hashlib.sha256() if len(known) == _SHA256_DIGITS else new_digest()
