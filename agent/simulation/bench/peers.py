"""What a user would pick instead: curl, a shell loop around it, rclone; and what they use.

None of them writes down what was delivered, books a call, or knows after a power cut where it was.
The barest Python, which no user has, writes down what was delivered and does nothing else.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from msgspec import Struct

from agent.simulation.bench.daemon import wait_until
from agent.simulation.bench.figures import Unmeasurable
from agent.simulation.bench.sink import SinkProcess
from agent.simulation.bench.stock import SATELLITE

PACKAGES = {"curl": "curl", "inotifywait": "inotify-tools", "rclone": "rclone"}
"""Debian's packages by program."""
FIELDS = ("cmd=upload", f"satellite={SATELLITE}", "callid=7687658987667780097")
"""What goes with each file, as in PROTOCOL.md 2.2, step 2."""
LOOP = """
trap : TERM
inotifywait --monitor --event close_write,moved_to --format '%w%f' "$1" |
while read -r file; do
    curl --silent --output /dev/null -F "$3" -F "$4" -F "$5" -F "file=@$file" "$2"
done
"""
WATCHES = "Watches established"
PACER = "--webdav-pacer-min-sleep"
"""rclone's flag for its rest before each request by WebDAV, 10 ms without it; releases before 1.63
have no such flag, and rest all the same."""


class Spent(Struct, frozen=True):
    """What a peer used, all its processes together."""

    processor: float
    """Seconds of user and system time."""
    kernel: float
    """Of these, system time."""
    seconds: float
    """From its begin to its end."""


class PeerFailed(Exception):
    """A peer ended with an error; says which."""


def find(program: str) -> str:
    """Give a program's path. Raises Unmeasurable."""
    found = shutil.which(program)
    if found is None:
        raise Unmeasurable(f"{program} is missing; on Debian: apt-get install {PACKAGES[program]}")
    return found


def version(program: str) -> str:
    """What a program says of itself; empty where it is missing."""
    path = shutil.which(program)
    if path is None:
        return ""
    word = "--help" if program == "inotifywait" else "--version"
    told = subprocess.run(  # noqa: S603 - found above
        [path, word], capture_output=True, text=True, check=False
    ).stdout
    return " ".join(told.partition("\n")[0].split()[:2])


def curl_one(file: Path, server: SinkProcess) -> Spent:
    """`curl -F` of one file."""
    fields = [word for field in (*FIELDS, f"file=@{file}") for word in ("-F", field)]
    return _run(find("curl"), "--silent", "--output", os.devnull, *fields, server.url)


def curl_all(files: Sequence[Path], server: SinkProcess, folder: Path, workers: int = 1) -> Spent:
    """One curl for all files: on one kept-alive connection, or on as many as `workers`."""
    config = folder / "curl.config"
    lines = [f'url = "{server.url}"', f'output = "{os.devnull}"', "silent"]
    lines += [f'form = "{field}"' for field in FIELDS]
    each = "\n".join(lines)
    config.write_text(
        "\nnext\n".join(f'{each}\nform = "file=@{file}"' for file in files), encoding="utf-8"
    )
    parallel = ("--parallel", "--parallel-max", str(workers), "--no-progress-meter")
    return _run(find("curl"), "--config", str(config), *(parallel if workers > 1 else ()))


def bare_python(files: Sequence[Path], server: SinkProcess, folder: Path, workers: int) -> Spent:
    """The least that Python does for each file: see `agent.simulation.bench.bare`.

    `folder` is on the disk to which it writes what was delivered.
    """
    with tempfile.TemporaryDirectory(dir=folder) as own:
        names = Path(own) / "files"
        names.write_text("".join(f"{file}\n" for file in files), encoding="utf-8")
        with names.open("rb") as listed:
            return _run(
                *(sys.executable, "-m", "agent.simulation.bench.bare", server.url),
                *(f"{own}/delivered.db", str(workers), *FIELDS),
                stdin=listed,
            )


def rclone_copy(directory: Path, server: SinkProcess, folder: Path, workers: int) -> Spent:
    """`rclone copy` of a folder, by WebDAV: a PUT for each file, and a look whether it is there."""
    rclone = find("rclone")
    return _run(
        *(rclone, "copy", str(directory), ":webdav:recordings", "--webdav-url", server.origin),
        *("--transfers", str(workers), "--config", str(folder / "rclone.conf"), "--quiet"),
        *((f"{PACER}=0",) if _has_flag(rclone, PACER) else ()),
    )


@contextmanager
def shell_loop(directory: Path, server: SinkProcess, folder: Path) -> Iterator[Callable[[], Spent]]:
    """Run inotifywait and a shell that starts a curl for each file.

    Gives what ends it and tells what it used.
    """
    find("inotifywait"), find("curl")
    heard = folder / "inotifywait.log"
    began = time.monotonic()
    words = ["sh", "-c", LOOP, "sh", str(directory), server.url, *FIELDS]
    with heard.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own script
            words, stderr=log, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def end() -> Spent:
        if process.returncode is not None:
            raise PeerFailed("the shell loop was ended before")
        os.killpg(process.pid, signal.SIGTERM)
        return _reap(process, began)

    try:
        wait_until(lambda: WATCHES in heard.read_text("utf-8", "replace"), "inotifywait watches")
        yield end
    finally:
        if process.returncode is None:
            end()


def _has_flag(program: str, flag: str) -> bool:
    told = subprocess.run(  # noqa: S603 - found by `find`
        [program, "help", "flags"], capture_output=True, text=True, check=False
    ).stdout
    return flag in told.split()


def _run(*words: str, stdin: IO[bytes] | None = None) -> Spent:
    began = time.monotonic()
    process = subprocess.Popen(words, stdin=stdin)  # noqa: S603 - found by `find`
    try:
        spent = _reap(process, began)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode != 0:
        raise PeerFailed(f"{Path(words[0]).name} ended with status {process.returncode}")
    return spent


def _reap(process: subprocess.Popen[bytes], began: float) -> Spent:
    """Wait for the end; what it and all that it waited for used."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Spent(used.ru_utime + used.ru_stime, used.ru_stime, time.monotonic() - began)
