"""What systemd is told of the service (sd_notify(3)); without systemd, nobody hears it."""

from __future__ import annotations

import sdnotify


class Systemd:
    """The way to systemd."""

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()

    def tell(self, words: str) -> None:
        """Send an assignment, such as `READY=1`."""
        # systemd reads UTF-8, and sdnotify encodes Latin-1 and drops what that has no sign for.
        self._notifier.notify(words.encode("utf-8", "replace").decode("latin-1"))
