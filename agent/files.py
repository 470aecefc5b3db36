"""Files that other programs read while they are written."""

from __future__ import annotations

import functools
import os
from pathlib import Path


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file for everybody to read: a reader sees the old one or the new one, never half.

    Raises OSError; its folder must be there.
    """
    # Every few seconds, so in as few system calls as it takes.
    fresh = _beside(path)
    left = content.encode("utf-8", "replace") if isinstance(content, str) else content
    descriptor = _new_file(fresh)
    try:
        os.fchmod(descriptor, 0o644)
        while left:
            left = left[os.write(descriptor, left) :]
    finally:
        os.close(descriptor)
    os.replace(fresh, path)  # noqa: PTH105 - a Path would be made of the result


@functools.lru_cache(maxsize=8)
def _beside(path: Path) -> Path:
    """Where a file's new content is written; the status, its page and its history are files."""
    return path.with_name(f".{path.name}.new")


def _new_file(fresh: Path) -> int:
    # Not through a link that somebody left there: the folder may be open to others.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(fresh, flags, 0o644)
    except FileExistsError:
        fresh.unlink()
    return os.open(fresh, flags, 0o644)
