"""The support bundle's file: members of bounded size in a .tar.gz, for its maker's eyes only."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

MOST_MEMBER = 1024 * 1024
"""Bytes of one member: what is longer is cut. All of them together fit into the box's memory."""
MODE = 0o600
"""Of the file and its members: whoever made the bundle decides who reads it."""
LATEST = 2**32 - 1
"""UNIX seconds that gzip can write, up to the year 2106; a clock may show more."""
CUT_END = "\n[cut: the rest does not fit into this bundle]\n"
CUT_BEGINNING = "[cut: what was before does not fit into this bundle]\n"


class Member(Struct, frozen=True):
    """One file of the bundle."""

    name: str
    text: str
    missing: str = ""
    """Why there is nothing in it, and what helps, not scrubbed yet; empty: there is."""

    @property
    def content(self) -> bytes:
        """Return the member's bytes, cut where they are too many."""
        content = self.text.encode("utf-8", "backslashreplace")
        if len(content) <= MOST_MEMBER:
            return content
        kept = content[: MOST_MEMBER - len(CUT_END)].decode("utf-8", "ignore")
        return (kept + CUT_END).encode()


def packed(folder: str, members: Sequence[Member], wall: float) -> bytes:
    """Return a .tar.gz with the members in one folder, all of UNIX time `wall`."""
    buffer = io.BytesIO()
    moment = min(max(int(wall), 0), LATEST)
    # By name neither of the gzip stream nor of an owner: it says nothing of who made it.
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=moment) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for member in members:
            content = member.content
            header = tarfile.TarInfo(f"{folder}/{member.name}")
            header.size, header.mtime, header.mode = len(content), moment, MODE
            archive.addfile(header, io.BytesIO(content))
    return buffer.getvalue()


def write(path: Path, content: bytes) -> None:
    """Put the bundle at `path`, whole or not at all, in place of a file that is there.

    Raises OSError, also where something stands there that is no regular file.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise FileExistsError(0, "something stands there that is no regular file", str(path))
    except FileNotFoundError:
        pass
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
