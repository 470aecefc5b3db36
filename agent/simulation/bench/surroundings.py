"""What the daemon under measure talks to, each in a process of its own: platform and boards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.simulation.bench.daemon import STOPS_WITHIN, wait_until

SATELLITE = "02:00:00:00:00:01"


@contextmanager
def simulated_platform(folder: Path) -> Iterator[str]:
    """Run `simulate platform`, which keeps what it gets in `folder`; give its URL."""
    command = ("platform", "--listen", "127.0.0.1:0", "--directory", str(folder))
    with _simulated(*command) as said:
        yield said.rpartition(" ")[2]


@contextmanager
def quiet_board(link: Path, channels: int) -> Iterator[None]:
    """Run `simulate board`, a native one whose ports stay on hook, on a pty named `link`."""
    channel_words = ("--channels", str(channels), "--calls-per-minute", "0")
    with _simulated("board", "--link", str(link), *channel_words):
        wait_until(link.exists, "the board's port is there")
        yield


def settings_of(
    folder: Path, url: str, boards: Mapping[int, tuple[Path, int]], **more: Any
) -> dict[str, Any]:
    """Settings with all defaults but the places; `boards`: link and ports by number of the box."""
    recordings = folder / "recordings"
    recordings.mkdir(exist_ok=True)
    return {
        "identity": {"satellite": SATELLITE},
        "platform": {"url": url},
        "boards": [
            {"serial": serial, "port": str(link), "channels": channels}
            for serial, (link, channels) in boards.items()
        ],
        "recordings": {"directory": str(recordings)},
        **more,
    }


@contextmanager
def _simulated(*words: str) -> Iterator[str]:
    """Run a simulated part until the end of the block; give the first line that it says."""
    command = [sys.executable, "-m", "agent", "simulate", *words]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            try:
                process.wait(STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
