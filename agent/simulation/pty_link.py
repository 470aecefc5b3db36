"""A pseudo-terminal that looks like a serial adapter: it can be pulled out and put back."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import tty
from pathlib import Path


class PtyLink:
    """A pty whose slave end stands under a fixed name, a symbolic link."""

    def __init__(self, path: Path, *, keeps_open: bool = True) -> None:
        """`keeps_open`: the line stays up whoever comes and goes; else `has_host` tells."""
        self.path = path
        self._keeps_open = keeps_open
        self.lost_bytes = 0
        """Bytes that found the host's buffer full, as nobody read them."""
        self._master: int | None = None
        self._slave: int | None = None
        self._name = ""

    @property
    def descriptor(self) -> int | None:
        """The board's end; None while it is unplugged."""
        return self._master

    def plug_in(self) -> None:
        """Make a new pty and point the link at it. Raises OSError."""
        if self._master is not None:
            return
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        new.unlink(missing_ok=True)
        new.symlink_to(os.ttyname(self._slave))
        new.replace(self.path)
        # While it is open here, a host that comes and goes does not hang up the line.
        self._name = os.ttyname(self._slave)
        if not self._keeps_open:
            os.close(self._slave)
            self._slave = None

    @property
    def has_host(self) -> bool:
        """Whether a host has the port open, where it is not kept open here."""
        if self._master is None:
            return False
        poll = select.poll()
        poll.register(self._master, 0)
        return not any(events & select.POLLHUP for _, events in poll.poll(0))

    def unplug(self) -> None:
        """Hang up and take the link away; a host that holds it gets an error."""
        if self._master is None:
            return
        with contextlib.suppress(OSError):
            if str(self.path.readlink()) == self._name:
                self.path.unlink()
        os.close(self._master)
        if self._slave is not None:
            os.close(self._slave)
        self._master = self._slave = None

    def read(self) -> bytes:
        """Return what the host wrote, b"" where nothing waits."""
        if self._master is None:
            return b""
        try:
            return os.read(self._master, 4096)
        except OSError:
            return b""

    def write_some(self, data: bytes, within: float) -> int:
        """Send what the host's buffer takes within so many seconds; return how many bytes."""
        if self._master is None:
            return 0
        poll = select.poll()
        poll.register(self._master, select.POLLOUT)
        if not any(events & select.POLLOUT for _, events in poll.poll(within * 1000)):
            return 0
        try:
            return os.write(self._master, data)
        except OSError:
            return 0

    def write(self, data: bytes) -> None:
        """Send bytes; a wire without flow control loses what nobody takes."""
        if self._master is None or not data:
            return
        try:
            written = os.write(self._master, data)
        except OSError:
            written = 0
        self.lost_bytes += len(data) - written
