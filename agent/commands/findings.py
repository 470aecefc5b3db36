"""What `smarttel-agent check` finds: one line each, with what to do."""

from __future__ import annotations

from dataclasses import dataclass

from agent.clock import Clock
from agent.settings import Settings
from agent.text import printable

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
