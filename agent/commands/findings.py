"""What `smarttel-agent check` finds: one line each, with what to do."""

from __future__ import annotations

import errno
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from agent.clock import Clock
from agent.settings import Settings
from agent.text import printable

LOCK_NAME = "lock"
"""In the state directory: the daemon holds a flock on it, its content is the daemon's pid."""

MOST_TEXT = 600
"""Characters of a finding; a path, a reason and a sentence fit."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    text: str
    """What is so."""
    advice: str = ""
    """What to do about it; empty where all is well."""

    @property
    def well(self) -> bool:
        """Whether there is nothing to do."""
        return not self.advice

    def line(self) -> str:
        """Return the finding as it is printed."""
        if self.well:
            return f"ok  {printable(self.text, MOST_TEXT)}"
        return f"!!  {printable(self.text, MOST_TEXT)} → {printable(self.advice, MOST_TEXT)}"


@dataclass(frozen=True, slots=True)
class Device:
    """What the checks look at."""

    settings: Settings
    clock: Clock
    daemon: str | None
    """Who holds the state directory, such as `pid 812`; None: no daemon runs."""


def running_daemon(state_directory: Path) -> str | None:
    """Name the daemon that holds the state directory, such as `pid 812`; None: none does."""
    try:
        descriptor = os.open(state_directory / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Shared, and let go at once, so that two checks at a time do not see each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in {errno.EAGAIN, errno.EACCES}:
            return None
        content = os.read(descriptor, 32).decode("ascii", "replace").strip()
        return f"pid {content}" if content.isdecimal() else "pid not known"
    finally:
        os.close(descriptor)
    return None
