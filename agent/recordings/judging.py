"""Looking at files that may be finished: are they there, did they rest, what are they?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct, field

from agent.language import said
from agent.recordings.audio import Audio, inspect
from agent.recordings.candidates import Candidate
from agent.recordings.files import NotARecording, folder_of, open_recording
from agent.recordings.finished import Seen, is_finished, open_for_writing
from agent.recordings.names import NameFacts, display_name
from agent.recordings.scanning import SeenFile, seen_file
from agent.system_words import system_words

LONGEST_WAIT = 30.0
"""Seconds between looks at a file that keeps growing; its close is an event, so this is a net."""


class FinishedFile(Struct, frozen=True):
    """A file that no one writes to any more."""

    relative: str
    size: int
    modified_ns: int
    audio: Audio
    facts: NameFacts


class Judgement(Struct):
    """What became of the candidates that were looked at."""

    finished: list[tuple[Candidate, FinishedFile]] = field(default_factory=list)
    waiting: list[Candidate] = field(default_factory=list)
    """Not finished; `due` says when to look again."""
    gone: list[str] = field(default_factory=list)
    """Vanished, or no plain file any more."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Path, and what stands in the way, in words."""


class Judge:
    """Looks at files below one directory; a file is unchanged when size and time are."""

    def __init__(self, directory: Path, settle: float) -> None:
        self._directory = directory
        self._settle = settle

    def see(self, relative: str) -> SeenFile | None:
        """Look at a path, following no link; None where there is no plain file to be seen."""
        try:
            with folder_of(self._directory, relative) as (folder, name):
                return seen_file(relative, os.stat(name, dir_fd=folder, follow_symlinks=False))
        except OSError:
            return None

    def refresh(self, candidate: Candidate, file: SeenFile, now: float) -> bool:
        """Note how the file is now; True where it changed since the last look."""
        if file == candidate.file:
            return False
        candidate.file = file
        candidate.unchanged_since = now
        candidate.closed = False
        return True

    def rested(self, candidate: Candidate, now: float) -> bool:
        """Tell whether it was unchanged for long enough."""
        return now - candidate.unchanged_since >= self._settle

    def put_off(self, candidate: Candidate, now: float, growing: bool) -> None:
        """Set the next look: when it may have rested, or later and later while it keeps growing.

        The latter only where its close will be an event.
        """
        if growing:
            candidate.looks += 1
            candidate.due = now + self._patience(candidate.looks)
        else:
            candidate.due = max(candidate.unchanged_since + self._settle, now)

    def judge(self, candidates: Sequence[Candidate], now: float) -> Judgement:
        """Open and judge files that were closed or have rested; one look at /proc for all."""
        judgement = Judgement()
        judged: list[tuple[Candidate, FinishedFile]] = []
        for one in candidates:
            self._open(one, now, judged, judgement)
        possible = [
            one.file.identity for one, file in judged if is_finished(self._seen(one, file, now))
        ]
        held = open_for_writing(frozenset(possible))
        for one, file in judged:
            is_held = one.file.identity in held
            if is_finished(self._seen(one, file, now, is_held)):
                judgement.finished.append((one, file))
            else:
                self.put_off(one, now, growing=is_held)
                judgement.waiting.append(one)
        return judgement

    def _open(
        self,
        candidate: Candidate,
        now: float,
        judged: list[tuple[Candidate, FinishedFile]],
        judgement: Judgement,
    ) -> None:
        relative = candidate.file.relative
        try:
            with open_recording(self._directory, relative) as file:
                audio = inspect(file, candidate.file.size, relative)
                after = seen_file(relative, os.fstat(file.fileno()))
        except (FileNotFoundError, NotARecording):
            judgement.gone.append(relative)
            return
        except OSError as error:
            shown = display_name(relative, candidate.facts.places, masked=True)
            why = system_words(error)
            judgement.unreadable[relative] = said("{path}: {why}", path=shown, why=why)
            return
        if after is None or self.refresh(candidate, after, now):
            self.put_off(candidate, now, growing=True)
            judgement.waiting.append(candidate)
            return
        found = candidate.file
        judged.append(
            (
                candidate,
                FinishedFile(relative, found.size, found.modified_ns, audio, candidate.facts),
            )
        )

    def _seen(
        self, candidate: Candidate, file: FinishedFile, now: float, held: bool = False
    ) -> Seen:
        rested = self.rested(candidate, now)
        return Seen(file.audio.verdict, candidate.closed, rested, held)

    def _patience(self, looks: int) -> float:
        return max(self._settle, min(self._settle * 2.0 ** min(looks - 1, 16), LONGEST_WAIT))
