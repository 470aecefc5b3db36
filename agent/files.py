"""Files that other programs read while they are written."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, text: str) -> None:
    """Write a file for everybody to read: a reader sees the old one or the new one, never half.

    Raises OSError.
    """
    fresh = path.with_name(f".{path.name}.new")
    # Not through a link that somebody left there: the folder may be open to others.
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with open(descriptor, "w", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        os.fchmod(descriptor, 0o644)
        file.write(text)
    fresh.replace(path)
