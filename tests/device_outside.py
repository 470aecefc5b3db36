"""What stands outside the container: platform, board, and what must have arrived in the end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agent.simulation.board import SimulatedBoard
from agent.simulation.platform import SimulatedPlatform
from agent.simulation.sound import write_wav
from tests.device_container import Failed
from tests.forgetful import ForgetfulFolder
from tests.fuse import FolderServer

SATELLITE = "02:00:00:00:00:01"
USER = "100008800"
PASSWORD_MD5 = hashlib.md5(b"a password that no journal may show").hexdigest().upper()
ARRIVES_WITHIN = 60.0
"""Seconds for what takes two or three, on a busy machine."""
DIALOUT = 20
"""Debian's number of the group that owns serial ports."""


@dataclass(slots=True)
class Outside:
    """The world around the gateway."""

    folder: Path
    platform: SimulatedPlatform = field(init=False)
    board: SimulatedBoard = field(init=False)
    digests: list[str] = field(default_factory=list)
    """Of the recordings that were made."""
    phones: list[str] = field(default_factory=list)
    """Numbers that called: none of them may stand in the journal."""

    def __post_init__(self) -> None:
        self.platform = SimulatedPlatform(self.folder / "platform", account=(USER, PASSWORD_MD5))
        self.board = SimulatedBoard(self.folder / "ttyRJ11")

    def start(self) -> None:
        """Switch both on."""
        self.platform.start()
        self.board.start()
        os.chown(self.port, 0, DIALOUT)
        self.port.chmod(0o660)

    def stop(self) -> None:
        """Switch both off."""
        self.board.stop()
        self.platform.stop()

    @property
    def port(self) -> Path:
        """The pseudo-terminal's device."""
        return Path(self.board.port).resolve()

    def new_phone(self) -> str:
        """A number that has not called yet."""
        phone = f"1380013{8000 + len(self.phones):04d}"
        self.phones.append(phone)
        return phone

    def sound(self, name: str) -> Path:
        """Make a recording's file, outside yet, and expect it at the platform."""
        path = self.folder / name
        self.digests.append(hashlib.sha256(write_wav(path, 1.0, seed=name)).hexdigest())
        return path

    def wait_for_records(self, count: int) -> None:
        """Wait until so many calls are booked."""
        self._wait(lambda: len(self.platform.records) >= count, f"{count} records")

    def wait_for_files(self, count: int) -> None:
        """Wait until so many recordings have come."""
        self._wait(lambda: len(self.platform.files) >= count, f"{count} recordings")

    def compare(self) -> None:
        """Compare calls and recordings at both ends. Raises Failed."""
        calls = Counter((call.channel, call.phone, call.direction) for call in self.board.calls)
        records = Counter(
            (record.channel, record.phone, record.direction) for record in self.platform.records
        )
        if calls != records:
            raise Failed(f"calls and records differ: {calls - records} and {records - calls}")
        files = Counter(file.sha256 for file in self.platform.files)
        if files != Counter(self.digests):
            raise Failed("the recordings at the platform are not those that were made, each once")
        if self.platform.violations:
            raise Failed(f"the protocol was broken: {self.platform.violations[0]}")

    def _wait(self, predicate: Callable[[], bool], what: str) -> None:
        if not self.platform.wait_for(predicate, ARRIVES_WITHIN):
            raise Failed(
                f"not at the platform within {ARRIVES_WITHIN:g} s: {what};"
                f" {len(self.platform.records)} records and {len(self.platform.files)} files came"
            )


class SilentDisk(FolderServer):
    """A file system that stops answering: whoever asks it for anything waits, as on a dead disk."""

    def __init__(self, at: Path) -> None:
        at.mkdir(parents=True, exist_ok=True)
        self._silent, self._released = threading.Event(), threading.Event()
        super().__init__(at, ForgetfulFolder(), lambda _name: True, lambda _name: True)
        self._place = at

    def fall_silent(self) -> None:
        """Take no request any more."""
        self._silent.set()
        # The server waits for a request already; this one is the last that gets its answer.
        (self._place / "last").exists()

    def close(self) -> None:
        """Give up: who waits gets an error."""
        self._released.set()
        super().close()

    def _serve(self) -> None:
        with contextlib.suppress(_Released):
            super()._serve()

    def _answer(self, unique: int, failure: int, answer: bytes) -> None:
        super()._answer(unique, failure, answer)
        if self._silent.is_set():
            self._released.wait()
            raise _Released


class _Released(Exception):
    """Ends the server, whoever still has its file system mounted."""
