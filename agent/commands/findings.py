"""What `smarttel-agent check` finds: one line each, with what to do."""

from __future__ import annotations

from msgspec import Struct

from agent.clock import Clock
from agent.commands.status_file import Seen
from agent.language import ENGLISH, Language
from agent.settings import Settings
from agent.text import printable

MOST_TEXT = 600
"""Characters of a finding; a path, a reason and a sentence fit."""


class Finding(Struct, frozen=True):
    """One thing looked at."""

    text: str
    """What is so; a `Said` where it can be told in another language."""
    advice: str = ""
    """What to do about it; empty where all is well."""

    @property
    def well(self) -> bool:
        """Whether there is nothing to do."""
        return not self.advice

    def told(self, language: Language) -> tuple[str, str]:
        """Return what is so and what to do, fit for a terminal."""
        words = (language.tell(text) for text in (self.text, self.advice))
        text, advice = (printable(each, MOST_TEXT) for each in words)
        return text, advice

    def line(self, language: Language = ENGLISH) -> str:
        """Return the finding as it is printed where no terminal reads."""
        text, advice = self.told(language)
        return f"ok  {text}" if self.well else f"!!  {text} → {advice}"


class Device(Struct, frozen=True):
    """What the checks look at."""

    settings: Settings
    clock: Clock
    daemon: str | None
    """Who holds the state directory, such as `pid 812`; None: no daemon runs."""
    pid: int | None = None
    """The daemon's process, where it can be told."""
    seen: Seen | None = None
    """The running daemon's status, where there is one."""
