"""The last lines of the agent's log, out of the systemd journal.

The only place of the agent that starts a program, and only for the command `report`: by its whole
path, without a shell, with a fixed list of arguments, bounded in time and size.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Mapping
from typing import IO

from agent.language import joined, said
from agent.system_words import system_words

UNIT = "smarttel-agent"
LINES = 2000
MOST_BYTES = 4 * 1024 * 1024
"""Bytes of its newest output that are kept: lines of the greatest length."""
MOST_COMPLAINT = 2000
"""Bytes of what it complains of."""
LONGEST = 20.0
"""Seconds: a journal of many files on slow flash takes several."""
_CHUNK = 64 * 1024
_PLACES = "/usr/bin:/bin:/usr/local/bin"
"""Where the program may lie where the environment names no PATH."""


class NoLog(Exception):
    """The log can't be had; the message says why and what helps."""


def journal(environment: Mapping[str, str]) -> str:
    """Return the agent's last lines, oldest first. Raises NoLog."""
    program = shutil.which("journalctl", path=environment.get("PATH") or _PLACES)
    if program is None:
        raise NoLog(_instead(said("there is no systemd journal on this machine")))
    arguments = [program, f"--unit={UNIT}", f"--lines={LINES}", "--no-pager", "--output=short-iso"]
    try:
        text, complaint, in_time = _output(arguments)
    except OSError as error:
        raise NoLog(
            _instead(said("journalctl can't be run: {why}", why=system_words(error)))
        ) from error
    lines = [line for line in text.splitlines() if not line.startswith("-- ")]
    if not in_time:
        lines.append(f"[cut: journalctl took longer than {LONGEST:g} s]")
    elif not lines:
        raise NoLog(
            _instead(
                joined([said("the journal has no line of {unit}", unit=UNIT), complaint.strip()])
            )
        )
    return "\n".join(lines) + "\n"


def _output(arguments: list[str]) -> tuple[str, str, bool]:
    """Run a program; return the end of its output, the beginning of its complaints, and whether
    it ended in time."""
    with subprocess.Popen(  # noqa: S603 - a fixed list; the program is journalctl
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Nothing of ours is handed over: the environment may hold secrets.
        env={"PATH": _PLACES, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"},
    ) as process:
        complaints: list[bytes] = []
        reader = threading.Thread(target=lambda: complaints.append(_end_of(process.stderr)))
        reader.start()
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(LONGEST, end)
        timer.start()
        try:
            text = _end_of(process.stdout)
        finally:
            timer.cancel()
            process.kill()
            reader.join()
    complaint = b"".join(complaints)[:MOST_COMPLAINT]
    return text.decode("utf-8", "replace"), complaint.decode("utf-8", "replace"), not late.is_set()


def _end_of(stream: IO[bytes] | None) -> bytes:
    """Read a stream to its end and keep the last MOST_BYTES."""
    chunks: deque[bytes] = deque(maxlen=MOST_BYTES // _CHUNK)
    while stream is not None and (chunk := stream.read(_CHUNK)):
        chunks.append(chunk)
    return b"".join(chunks)


def _instead(why: str) -> str:
    return said(
        "{why}. Where the log goes elsewhere, send it along: by hand with `smarttel-agent run 2>"
        " FILE`, or from the journal with `sudo journalctl -u {unit} -n {lines} > FILE`. Read it"
        " first: what the agent masks is masked, what others write is not.",
        why=why,
        unit=UNIT,
        lines=LINES,
    )
