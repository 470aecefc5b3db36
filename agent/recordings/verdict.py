"""What was found out about a recording's audio."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from msgspec import Struct

from agent.language import marked


class Verdict(StrEnum):
    """Whether a file can go as a recording."""

    GOOD = marked("good")
    CUT_OFF = marked("cut off")
    """There is audio, and its recorder did not finish the file; it goes, untouched."""
    EMPTY = marked("empty")
    FOREIGN = marked("not audio")


class Audio(Struct, frozen=True):
    """The finding on one file."""

    verdict: Verdict
    container: Literal["wav", "mp3"] | None
    """What the content is, whatever the name's ending says."""
    codec: str
    """In words, such as "mu-law"; empty where there is no audio."""
    duration: float | None
    """Seconds; None where there is no audio, or its header does not tell."""
    reason: str
    """Why the verdict is not "good" or the duration not known; empty otherwise."""


def empty(container: Literal["wav", "mp3"] | None, reason: str) -> Audio:
    """Judge a file that holds no audio yet."""
    return Audio(Verdict.EMPTY, container, "", None, reason)


def foreign(reason: str) -> Audio:
    """Judge a file that is no recording."""
    return Audio(Verdict.FOREIGN, None, "", None, reason)
