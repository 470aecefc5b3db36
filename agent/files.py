"""Files that other programs read while they are written."""

from __future__ import annotations

import functools
import os
from pathlib import Path

# Not through a link that somebody left there: the folder may be open to others.
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def replace_file(path: str | Path, content: str | bytes) -> None:
    """Write a file for everybody to read: a reader sees the old one or the new one, never half.

    Raises OSError; its folder must be there.
    """
    # Every few seconds, so in as few calls as it takes.
    name = os.fspath(path)
    fresh = _beside(name)
    left = content.encode("utf-8", "replace") if isinstance(content, str) else content
    try:
        descriptor = os.open(fresh, NEW_FILE, 0o644)
    except FileExistsError:
        os.unlink(fresh)  # noqa: PTH108 - of strings, as all of this
        descriptor = os.open(fresh, NEW_FILE, 0o644)
    try:
        os.fchmod(descriptor, 0o644)
        while left:
            left = left[os.write(descriptor, left) :]
    finally:
        os.close(descriptor)
    os.replace(fresh, name)  # noqa: PTH105


@functools.lru_cache(maxsize=8)
def _beside(name: str) -> str:
    """Where a file's new content is written; the status, its page and its history are files."""
    folder, last = os.path.split(name)
    return os.path.join(folder, f".{last}.new")  # noqa: PTH118
