"""A recorder that follows the simulated board's journal and writes real audio while calls last."""

from __future__ import annotations

import argparse
import hashlib
import re
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct

from agent.boards.events import LineState, Peer
from agent.clock import Clock, SystemClock
from agent.simulation.command import say, signals_held, wait_for_signal
from agent.simulation.journal import Journal, JournalFollower
from agent.simulation.sound import FORMATS, Voice, find_format, write_wav
from agent.text import masked_phone

__all__ = ["SimulatedRecorder", "add_arguments", "run", "write_wav"]

DEFAULT_PATTERN = "{start:%Y%m%d-%H%M%S}_{channel}_{direction}_{phone}"
TURN = 0.1
"""Seconds between two looks at the journal and two blocks of audio."""

_TALKING = (LineState.IN_CALL, LineState.ANSWERED)


class Recorded(Struct, frozen=True):
    """A finished recording."""

    path: Path
    channel: int
    phone: str
    started: float
    """UNIX seconds: the answer, or going off hook."""
    seconds: float
    size: int
    sha256: str


class _Open(Struct):
    """A recording that goes on."""

    file: BinaryIO
    path: Path
    voice: Voice
    channel: int
    direction: str
    phone: str
    started: float
    monotonic: float
    in_place: bool
    """The file has its final name from the start."""
    audio_bytes: int = 0


class SimulatedRecorder:
    """The recorder in this process: `start()`, `stop()`, and what it `finished`."""

    def __init__(
        self,
        follow: Path,
        directory: Path,
        *,
        form: str = "wav",
        pattern: str = DEFAULT_PATTERN,
        late: float = 0.0,
        journal: Path | None = None,
        clock: Clock | None = None,
        announce: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`form` is one of FORMATS; `late`: seconds after hang-up that a file takes its name."""
        self._follower = JournalFollower(follow)
        self._directory = directory
        self._format = find_format(form)
        self._pattern = pattern
        self._late = late
        self._journal = Journal(journal) if journal is not None else None
        self._clock = clock or SystemClock()
        self._announce = announce
        self._open: dict[int, _Open] = {}
        self._named_later: list[tuple[float, Path, Path, Recorded]] = []
        self._condition = threading.Condition()
        self._finished: list[Recorded] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to follow; the directory is made where it is missing. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="recorder")
        self._thread.start()

    def stop(self) -> None:
        """Close what is open, as if all had hung up, and end."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None

    def __enter__(self) -> SimulatedRecorder:
        self.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    @property
    def finished(self) -> list[Recorded]:
        """Recordings that have their final name."""
        with self._condition:
            return list(self._finished)

    def wait_for(self, predicate: Callable[[], bool], seconds: float) -> bool:
        """Wait until the predicate holds, looking after each recording; False: not in time."""
        with self._condition:
            return self._condition.wait_for(predicate, seconds)

    def _run(self) -> None:
        while not self._stop.wait(TURN):
            self._turn()
        self._turn()
        for channel in list(self._open):
            self._hang_up(channel, self._clock.wall())
        self._name(float("inf"))

    def _turn(self) -> None:
        for line in self._follower.lines():
            if line.get("event") == "state":
                self._hear(line)
        for recording in self._open.values():
            self._write(recording, self._clock.monotonic() - recording.monotonic)
        self._name(self._clock.monotonic())

    def _hear(self, line: dict[str, Any]) -> None:
        channel = int(line["channel"])
        talking = line["state"] in _TALKING
        recording = self._open.get(channel)
        if recording is None and talking:
            self._begin(channel, line)
        elif recording is not None and talking:
            recording.phone = str(line["phone"])
        elif recording is not None:
            self._hang_up(channel, float(line["at"]))

    def _begin(self, channel: int, line: dict[str, Any]) -> None:
        direction = "in" if line["peer"] == Peer.INCOMING else "out"
        started, phone = float(line["at"]), str(line["phone"])
        final = self._directory / self._file_name(started, channel, direction, phone)
        # An outgoing call's number is not known yet: its file gets its name at the end.
        in_place = direction == "in" and not self._late
        path = final if in_place else _unfinished(final)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb")
        file.write(self._format.header(None))
        self._open[channel] = _Open(
            file,
            path,
            Voice(f"{started}-{channel}"),
            channel,
            direction,
            phone,
            started,
            self._clock.monotonic() - max(0.0, self._clock.wall() - started),
            in_place,
        )

    def _write(self, recording: _Open, until: float) -> None:
        missing = until - recording.audio_bytes / self._format.bytes_a_second
        audio = self._format.block(recording.voice, max(0.0, missing))
        recording.audio_bytes += len(audio)
        recording.file.write(audio)
        recording.file.flush()

    def _hang_up(self, channel: int, at: float) -> None:
        recording = self._open.pop(channel)
        seconds = at - recording.started
        self._write(recording, seconds)
        with recording.file as file:
            header = self._format.header(recording.audio_bytes)
            if header and recording.audio_bytes % 2:
                file.write(b"\0")
            file.seek(0)
            file.write(header)
        data = recording.path.read_bytes()
        final = recording.path
        if not recording.in_place:
            final = self._directory / self._file_name(
                recording.started, channel, recording.direction, recording.phone
            )
        done = Recorded(
            path=final,
            channel=channel,
            phone=recording.phone,
            started=recording.started,
            seconds=seconds,
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        self._named_later.append(
            (self._clock.monotonic() + self._late, recording.path, final, done)
        )

    def _name(self, now: float) -> None:
        due = [entry for entry in self._named_later if entry[0] <= now]
        self._named_later = [entry for entry in self._named_later if entry[0] > now]
        for _, path, final, done in due:
            if path != final:
                path.rename(final)
            if self._journal is not None:
                self._journal.write(
                    {
                        "event": "recorded",
                        "file": str(final.relative_to(self._directory)),
                        "channel": done.channel,
                        "phone": done.phone,
                        "started": done.started,
                        "seconds": done.seconds,
                        "size": done.size,
                        "sha256": done.sha256,
                    }
                )
            self._announce(
                f"port {done.channel}: recorded {done.seconds:.0f} s,"
                f" {masked_phone(done.phone) or 'no number'}"
            )
            with self._condition:
                self._finished.append(done)
                self._condition.notify_all()

    def _file_name(self, started: float, channel: int, direction: str, phone: str) -> str:
        stem = self._pattern.format(
            start=datetime.fromtimestamp(started),
            channel=channel,
            direction=direction,
            phone=re.sub(r"[^0-9*#+]", "", phone),
            serial=1,
        )
        return stem + self._format.ending


def _unfinished(final: Path) -> Path:
    return final.with_name(f".{final.name}.part")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line of `simulate recorder`."""
    parser.add_argument("--follow", required=True, type=Path, help="the board's --journal")
    parser.add_argument("--directory", required=True, type=Path, help="where recordings go")
    parser.add_argument("--format", choices=FORMATS, default="wav")
    parser.add_argument("--pattern", default=DEFAULT_PATTERN, help="of names, without the ending")
    parser.add_argument("--late", type=float, default=0.0, help="seconds from hang-up to the name")
    parser.add_argument("--journal", type=Path, help="JSON lines: what was recorded")


def run(arguments: argparse.Namespace) -> int:
    """Record until SIGINT or SIGTERM."""
    recorder = SimulatedRecorder(
        arguments.follow,
        arguments.directory,
        form=arguments.format,
        pattern=arguments.pattern,
        late=arguments.late,
        journal=arguments.journal,
        announce=say,
    )
    with signals_held():
        try:
            recorder.start()
        except OSError as error:
            say(f"The recorder cannot write to {arguments.directory}: {error}")
            return 1
        try:
            say(f"recording to {arguments.directory}")
            wait_for_signal()
        finally:
            recorder.stop()
    return 0
