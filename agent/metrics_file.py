"""Writes the metrics file: seldom, whole, and never so that it stops the agent."""

from __future__ import annotations

import logging
from pathlib import Path

from agent.clock import Clock
from agent.files import replace_file
from agent.metrics import metrics_text
from agent.status import Status
from agent.text import printable

INTERVAL = 15.0
"""Seconds between two writings at least: monitoring looks every 15 to 60, and flash wears."""

ENDING = ".prom"
"""Of the names that the textfile collector reads."""

log = logging.getLogger(__name__)


class MetricsFile:
    """Writes the file so that a reader sees an old one or a new one, never half of one.

    It stays where it is when the agent ends, however that is: its age tells.
    """

    def __init__(self, path: str | None, clock: Clock) -> None:
        """`path`: None writes nothing."""
        self.path = path
        self._clock = clock
        self._due = clock.monotonic()
        self._trouble = ""
        self._unread = path is not None and not path.endswith(ENDING)

    def write(self, status: Status) -> None:
        """Write what is so, unless that was done a moment ago; say once that it can't be."""
        now = self._clock.monotonic()
        if self.path is None or now < self._due:
            return
        self._due = now + INTERVAL
        if self._unread:
            self._unread = False
            log.warning(
                "metrics_file: %s does not end in %s, and node_exporter reads no other name",
                printable(self.path),
                ENDING,
            )
        path = Path(self.path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Under a name that does not end in .prom, or the collector would read half a file.
            replace_file(path, metrics_text(status))
        except OSError as error:
            trouble = f"{printable(self.path)}: {error.strerror or error}"
            if trouble != self._trouble:
                log.error(
                    "the metrics can't be written, the rest goes on: %s; correct metrics_file, or"
                    " let the agent's user write there",
                    trouble,
                )
            self._trouble = trouble
        else:
            self._trouble = ""

    def remove(self) -> None:
        """Take the file away: the configuration names another, or none."""
        if self.path is not None:
            try:
                Path(self.path).unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s stays, and grows old: %s", printable(self.path), error)
