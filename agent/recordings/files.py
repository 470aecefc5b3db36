"""Opening a recording without being led astray.

The recording directory is written by others, so between looking and opening any part of a path may
become a link to somewhere else, or a pipe that blocks whoever opens it. Each component is
opened relative to the one before, never through a link, and what is no plain file is refused.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

Identity = tuple[int, int]
"""Device and inode: one file for as long as it exists, whatever its name."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotARecording(OSError):
    """The path leads out of the recording directory, through a link, or to no plain file."""


@contextmanager
def folder_of(directory: Path, relative: str) -> Iterator[tuple[int, str]]:
    """Open the folder that holds `relative`; yield its descriptor and the last component.

    The directory itself may be a link, as its owner configured it; nothing below may. Raises
    NotARecording for a path with `..`, an absolute one or one through a link, OSError else.
    """
    components = relative.split("/")
    if relative.startswith("/") or any(part in {"", ".", ".."} for part in components):
        raise NotARecording(f"{relative!r} is no path inside the recording directory")
    descriptor = os.open(directory, _FOLDER)
    try:
        for component in components[:-1]:
            inner = open_folder(component, descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor, components[-1]
    finally:
        os.close(descriptor)


def open_folder(name: str, within: int) -> int:
    """Open a folder inside an open one. Raises NotARecording for a link or a file, OSError else."""
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=within)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise NotARecording(f"{name!r} is no folder") from None
        raise


def is_gone(directory: Path, relative: str) -> bool:
    """Tell whether nothing stands at `relative` any more; False where that can't be told."""
    try:
        with folder_of(directory, relative) as (folder, name):
            os.stat(name, dir_fd=folder, follow_symlinks=False)
    except (FileNotFoundError, NotARecording):
        return True
    except OSError:
        return False
    return False


def open_recording(directory: Path, relative: str) -> BinaryIO:
    """Open a plain file inside `directory` for reading; the caller closes it.

    Raises NotARecording where `relative` leads elsewhere or to a link, pipe, device or folder, and
    OSError where it can't be opened.
    """
    with folder_of(directory, relative) as (folder, name):
        # Looked at before it is opened: opening a device can already do something.
        _require_plain(os.stat(name, dir_fd=folder, follow_symlinks=False), relative)
        descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        _require_plain(os.fstat(descriptor), relative)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _require_plain(found: os.stat_result, relative: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = "a link" if stat.S_ISLNK(found.st_mode) else "no plain file"
        raise NotARecording(f"{relative!r} is {kind}")
