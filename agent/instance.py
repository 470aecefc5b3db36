"""One agent for one state directory: a lock that the kernel lets go when its holder ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from msgspec import Struct

FILE_NAME = "lock"


class AnotherInstance(Exception):
    """Another agent runs on the same state directory."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        self.pid = pid
        who = f"process {pid}" if pid else "another process"
        super().__init__(
            f"{who} runs on {directory} already; stop it first, or give this agent a"
            " state_directory of its own"
        )


class InstanceLock:
    """Holds the lock until it is closed or the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        """Take the lock. Raises AnotherInstance, or OSError where the directory is unusable."""
        path = directory / FILE_NAME
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            pid = _pid(self._descriptor)
            os.close(self._descriptor)
            raise AnotherInstance(directory, pid) from None
        except OSError:
            os.close(self._descriptor)
            raise

    def close(self) -> None:
        """Let go of the lock."""
        os.close(self._descriptor)


class Holder(Struct, frozen=True):
    """Who holds a state directory."""

    pid: int | None
    """None: it can't be told."""

    def __str__(self) -> str:
        return f"pid {self.pid}" if self.pid else "pid not known"


def holder(directory: Path) -> Holder | None:
    """Tell who holds a state directory; None: nobody does."""
    try:
        descriptor = os.open(directory / FILE_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Shared, and let go at once, so that two who look do not see each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Holder(_pid(descriptor))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def _pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None
