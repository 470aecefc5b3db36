"""The programs in `functions.directory`: which may be run, opened so that none is swapped.

A message names a program, and whoever can change that program decides what the gateway runs. So
only root and the agent's own user may be able to: they own the file, its folder and every folder
above, and nobody else may write there. What was checked is kept open, and it is this that is run:
another file under the same name comes too late.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from agent.language import said
from agent.settings import FUNCTION_NAME
from agent.system_words import known

MOST_LISTED = 1000
"""Entries of the directory that a check looks at; a gateway has a handful of programs."""
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
"""An access list's further writers show in the group's bits, which are its mask (acl(5))."""
# O_PATH opens a name without touching what it stands for: no pipe blocks, no device answers, and a
# program need not be readable. O_NOFOLLOW: a link is opened as the link that it is.
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class ProgramRefused(Exception):
    """A program is not run; says why, in words."""


class ProgramMissing(ProgramRefused):
    """There is no program of that name."""


def is_program_name(name: str) -> bool:
    """Tell whether a name may be a program's: plain characters, no path, nothing hidden."""
    return FUNCTION_NAME.fullmatch(name) is not None


class ProgramDirectory(Struct, frozen=True):
    """The folder that holds the programs."""

    path: Path
    owners: frozenset[int]
    """User ids that may own programs and folders: root's and the agent's own."""

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[int]:
        """Open a program that may be run; yield its descriptor. Raises ProgramRefused."""
        if not is_program_name(name):
            raise ProgramMissing("no function has such a name")
        with self._folder() as folder:
            descriptor = self._open_program(folder, name)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def names(self) -> list[str]:
        """Names in the directory, sorted, hidden ones left out. Raises ProgramRefused."""
        with self._folder() as folder:
            try:
                found = [path.name for path in Path(reopened(folder)).iterdir()]
            except OSError as error:
                raise _refused_by_system(str(self.path), error) from None
        return sorted(name for name in found if not name.startswith("."))[:MOST_LISTED]

    @contextlib.contextmanager
    def _folder(self) -> Iterator[int]:
        """Open the directory, each folder on the way to it checked and kept until the next."""
        walked = Path("/")
        descriptor = _open(walked, "/", None)
        try:
            for part in [None, *self.path.parts[1:]]:
                if part is not None:
                    walked /= part
                    inner = _open(walked, part, descriptor)
                    os.close(descriptor)
                    descriptor = inner
                self._require_folder(os.fstat(descriptor), walked)
            yield descriptor
        finally:
            os.close(descriptor)

    def _require_folder(self, found: os.stat_result, path: Path) -> None:
        if stat.S_ISLNK(found.st_mode):
            raise ProgramRefused(
                said("{path} is a link; functions.directory must be a path without", path=str(path))
            )
        if not stat.S_ISDIR(found.st_mode):
            raise ProgramRefused(said("{path} is not a directory", path=str(path)))
        self._require_owner(found, str(path))
        # In a folder like /tmp nobody can rename what others own, and so not what lies on the way.
        # In the directory itself a hard link would give any program of root's a name here.
        sticky = found.st_mode & stat.S_ISVTX and path != self.path
        if found.st_mode & _OTHERS_WRITE and not sticky:
            raise ProgramRefused(
                said("{path} can be written by others than its owner", path=str(path))
            )

    def _open_program(self, folder: int, name: str) -> int:
        try:
            descriptor = os.open(name, _LOOK, dir_fd=folder)
        except FileNotFoundError:
            raise ProgramMissing("no function and no program has this name") from None
        except OSError as error:
            raise _refused_by_system(name, error) from None
        try:
            self._require_program(os.fstat(descriptor), name)
            # Says no as well where the file system is mounted with noexec.
            if not os.access(reopened(descriptor), os.X_OK):
                raise ProgramRefused(said("{name} may not be run by the agent's user", name=name))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _require_program(self, found: os.stat_result, name: str) -> None:
        if stat.S_ISLNK(found.st_mode):
            raise ProgramRefused(said("{name} is a link", name=name))
        if not stat.S_ISREG(found.st_mode):
            raise ProgramRefused(said("{name} is not a file", name=name))
        self._require_owner(found, name)
        if found.st_mode & _OTHERS_WRITE:
            raise ProgramRefused(said("{path} can be written by others than its owner", path=name))
        if not found.st_mode & 0o111:
            raise ProgramRefused(said("{name} is not executable", name=name))

    def _require_owner(self, found: os.stat_result, shown: str) -> None:
        if found.st_uid not in self.owners:
            raise ProgramRefused(
                said("{path} belongs neither to root nor to the agent's user", path=shown)
            )


def agents_own(path: Path) -> ProgramDirectory:
    """The directory as the running agent sees it."""
    return ProgramDirectory(path, frozenset({0, os.geteuid()}))


def reopened(descriptor: int) -> str:
    """The path under which whoever holds a descriptor finds its very file, whatever its name."""
    return f"/proc/self/fd/{descriptor}"


def _open(path: Path, part: str, folder: int | None) -> int:
    try:
        return os.open(part, _LOOK, dir_fd=folder)
    except OSError as error:
        raise _refused_by_system(str(path), error) from None


def _refused_by_system(name: str, error: OSError) -> ProgramRefused:
    return ProgramRefused(said("{path}: {why}", path=name, why=known(error.strerror or str(error))))
