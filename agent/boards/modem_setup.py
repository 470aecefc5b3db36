"""The set-up of a voice modem: which command comes next, given what the last one was answered.

No clock: a command that was not answered in its time is answered None.
"""

from __future__ import annotations

from enum import Enum, auto

from agent.boards.driver import advised
from agent.boards.modem_results import OK
from agent.language import said

RESET = "ATZ"
MANNERS = "ATE0V1Q0S0=0"
"""No echo, results in words, all of them, and never answer a call."""
CALLER_ID = (
    "AT+VCID=1",
    "AT#CID=1",
    "AT+FCLASS=8;+VCID=1",
    "AT%CCID=1",
    "AT#CC1",
    "AT*ID1",
)
"""Each maker has its own; the first that is answered OK is the modem's (BOARDS.md 2)."""
RAW_CALLER_ID = "AT+VCID=2"
VOICE = ("AT+FCLASS=8", "AT+VLS=0")
"""Voice mode with the line left to the telephone: only so are DLE codes sent."""


_LOOKS_MISSED = said(
    "so a call that is answered on a telephone in parallel looks like one that nobody answered"
)


class Progress(Enum):
    """How far a set-up has come."""

    GOES_ON = auto()
    DONE = auto()
    FAILED = auto()
    """It did not answer MANNERS with OK, or answered nothing at all after it."""


class SetUp:
    """One set-up from ATZ to its end."""

    def __init__(self, *, raw: bool, handset: bool) -> None:
        """`raw`: ask for caller ID in hexadecimal digits first; `handset`: go into voice mode."""
        self.caller_id = ""
        """The command that turned caller ID on; empty while none did."""
        self.reports_handset = False
        """Whether the modem went into voice mode."""
        self._caller_id = [RAW_CALLER_ID, *CALLER_ID] if raw else list(CALLER_ID)
        self._voice = list(VOICE) if handset else []
        self._wants_voice = handset
        self._first = [RESET, MANNERS]
        self._speaks = False
        self.progress = Progress.GOES_ON

    @property
    def mannered(self) -> bool:
        """Whether the echo was turned off, as far as the modem's OK goes."""
        return not self._first

    @property
    def complete(self) -> bool:
        """Whether all was had that was asked for; else the modem can't, or a bad wire was why."""
        return bool(self.caller_id) and self.reports_handset == self._wants_voice

    def shortcomings(self) -> list[str]:
        """Say, once it is over, what this modem does not tell; an arrow leads to what to do."""
        found: list[str] = []
        if not self.caller_id:
            found.append(
                advised(
                    said(
                        "takes none of the commands that turn caller ID on, so calls come without"
                        " numbers"
                    ),
                    said("use a modem with caller ID where the numbers are wanted"),
                )
            )
        if not self._wants_voice:
            found.append(
                said("is not asked for its handset, {looks} (options.handset)", looks=_LOOKS_MISSED)
            )
        elif not self.reports_handset:
            found.append(
                advised(
                    said(
                        "does not go into voice mode and reports no handset, {looks}",
                        looks=_LOOKS_MISSED,
                    ),
                    said("use a modem that reports it, or set options.handset to no"),
                )
            )
        return found

    def command(self) -> str:
        """Return the command to send now."""
        return (self._first or self._caller_id or self._voice)[0]

    def answered(self, result: str | None) -> None:
        """Take the answer to `command`: a result code, None for none in its time."""
        if self._first:
            self._first_answered(result)
        elif self._caller_id:
            self._caller_id_answered(result)
        else:
            self._voice_answered(result)
        if self.progress is Progress.GOES_ON and not (
            self._first or self._caller_id or self._voice
        ):
            self.progress = Progress.DONE

    def _first_answered(self, result: str | None) -> None:
        # A modem that was told to be quiet answers ATZ with nothing at all.
        if self._first.pop(0) == MANNERS and result != OK:
            self.progress = Progress.FAILED

    def _caller_id_answered(self, result: str | None) -> None:
        command = self._caller_id.pop(0)
        self._speaks = self._speaks or result is not None
        if result == OK:
            self.caller_id = command
            self._caller_id.clear()
        elif not self._caller_id and not self._speaks:
            self.progress = Progress.FAILED

    def _voice_answered(self, result: str | None) -> None:
        self._voice.pop(0)
        if result != OK:
            self._voice.clear()
        elif not self._voice:
            self.reports_handset = True
