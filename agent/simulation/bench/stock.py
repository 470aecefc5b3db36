"""Recordings for the bench, and what a gateway is configured with that delivers them.

All are G.711 mu-law as WAV. Many names may stand for one file (hard links), so that gigabytes of
recordings cost little disk; the agent and its peers know files by their names and read each of
them. They are moved into the recording directory, which every watcher takes for a finished file.
No board heard of their calls, so each gets a record of its own: two requests and a booked call for
each recording, where a peer makes one request.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.simulation.board import SimulatedBoard
from agent.simulation.sound import find_format

SATELLITE = "02:00:00:00:00:01"
PORTS = 8
A_MINUTE = 480_000
"""Bytes of audio: one minute of telephone."""
APART = 300
"""Seconds between two calls on one port, so that no recording is taken for the call beside it."""
AGE = 60.0
"""Seconds since a file's last change: it rests."""
MOST_LINKS = 10_000
"""Names for one file; ext4 allows 65,000."""
BLOCK = 1024 * 1024


class Stock:
    """Makes recordings in a folder beside the recording directory, and moves them into it."""

    def __init__(self, folder: Path) -> None:
        self.directory = folder / "recordings"
        self._store = folder / "stock"
        self._made = 0
        self._began = int(time.time()) - 3600
        for place in (self.directory, self._store):
            place.mkdir(exist_ok=True)

    def make(self, count: int, audio_bytes: int = A_MINUTE) -> list[Path]:
        """Make recordings whose audio has so many bytes; not yet in the directory."""
        made: list[Path] = []
        original = self._store / "original"
        for index in range(count):
            if index % MOST_LINKS == 0:
                original.unlink(missing_ok=True)
                _write(original, audio_bytes)
            path = self._store / self._name()
            path.hardlink_to(original)
            made.append(path)
        original.unlink(missing_ok=True)
        return made

    def make_empty(self, audio_bytes: int) -> Path:
        """Make a recording that is a hole in its file system: read as zeros, and no bytes of
        disk."""
        path = self._store / self._name()
        header = find_format("mulaw").header(audio_bytes)
        path.write_bytes(header)
        os.truncate(path, len(header) + audio_bytes)
        _let_rest(path)
        return path

    def put(self, recordings: list[Path]) -> None:
        """Move recordings into the directory."""
        for path in recordings:
            path.rename(self.directory / path.name)

    def _name(self) -> str:
        slot, port = divmod(self._made, PORTS)
        self._made += 1
        began = datetime.fromtimestamp(self._began - slot * APART, UTC)
        return f"{began:%Y%m%d-%H%M%S}_{port + 1}_in_1{self._made:010}.wav"


def _write(path: Path, audio_bytes: int) -> None:
    block = os.urandom(min(BLOCK, audio_bytes))
    with path.open("wb") as file:
        file.write(find_format("mulaw").header(audio_bytes))
        for _ in range(audio_bytes // len(block)):
            file.write(block)
        file.write(block[: audio_bytes % len(block)])
    _let_rest(path)


def _let_rest(path: Path) -> None:
    then = time.time() - AGE
    os.utime(path, (then, then))


@contextmanager
def gateway_settings(
    folder: Path, url: str, **changes: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Settings for the daemon and a board whose ports stay on hook; `changes` a section deep."""
    with SimulatedBoard(folder / "board") as board:
        settings: dict[str, dict[str, Any]] = {
            "identity": {"satellite": SATELLITE},
            "platform": {"url": url},
            "recordings": {
                "directory": str(folder / "recordings"),
                "timezone": "UTC",
                # No call is known that they might belong to, so there is none to wait for.
                "attach_window": 0,
                "keep_free_percent": 0,
            },
        }
        for section, change in changes.items():
            settings[section] = {**settings.get(section, {}), **change}
        yield {**settings, "boards": [{"port": board.port, "channels": PORTS}]}
