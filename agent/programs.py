"""Runs one program to its end: without a shell, bounded in time and output, alone in its session.

The only room that starts a process. What it may be is decided elsewhere (`program_files.py`); here
stands how: a fixed environment, parameters as JSON, no terminal, no descriptor of the agent's.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from msgspec import Struct

from agent.clock import Clock
from agent.excerpts import Excerpt
from agent.program_files import reopened

KILL_AFTER = 1.5
"""Seconds from SIGTERM to SIGKILL; the agent itself ends within 5 when it is told to."""
GIVE_UP_AFTER = 1.0
"""Seconds after SIGKILL in which a process is gone, unless it hangs in the kernel."""
MOST_OUTPUT = 4 * 1024 * 1024
"""Bytes that a program may print before it is ended: reading on would cost a core until its time
limit, and nobody would see what it says."""
MOST_PARAMETERS = 32 * 1024
"""Bytes of the parameters as JSON; Linux takes 128 KiB in one variable, and what a message may
carry is at most 17 KiB."""
NICENESS = 10
"""Calls and deliveries go first on a slow core."""
_BLOCK = 64 * 1024
_LAST_BLOCKS = 16
"""Blocks read after a program's end: a pipe holds one, root's at most sixteen."""
_LOOK_AGAIN = 0.1
"""Seconds between two looks whether the program has ended, on a kernel before 5.3 that does not
tell."""
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
_NOT_STARTED = {
    errno.ENOEXEC: "it is neither a program of this machine nor a script that begins with #!",
    errno.ENOENT: "its interpreter, or a library loader, is missing",
}


class Ending(Enum):
    """Why a program was ended by the agent, in words."""

    ITSELF = ""
    TIME = "its time was over"
    OUTPUT = "it printed too much"
    AGENT = "the agent was stopped or configured anew"


class NotStarted(Exception):
    """A program could not be started; says why, in words."""


class Command(Struct, frozen=True):
    """What to run."""

    words: Sequence[str]
    """The program's name, as it finds it itself, and its arguments."""
    descriptor: int | None = None
    """The opened program; None: the first word is its path."""
    parameters: Mapping[str, str] | None = None
    """Handed over as a JSON object, on standard input and in SMARTTEL_PARAMETERS."""
    variables: Mapping[str, str] | None = None
    """Further variables of its environment."""


class Ended(Struct, frozen=True):
    """How a program ended."""

    status: int | None
    """Its exit status; negative: the signal that ended it; None: not even SIGKILL did."""
    ending: Ending
    seconds: float
    output: str
    """The beginning and the end of what it printed, as it printed it."""

    @property
    def well(self) -> bool:
        """Whether it did what it was asked for."""
        return self.status == 0 and self.ending is Ending.ITSELF

    @property
    def words(self) -> str:
        """How it ended, for people."""
        after = f"after {self.seconds:.1f} s"
        if self.status is None:
            return f"could not be killed {after}: {self.ending.value}; it is left alone"
        if self.ending is not Ending.ITSELF:
            return f"killed {after}: {self.ending.value}"
        if self.status < 0:
            return f"ended by signal {-self.status} {after}"
        return f"exit status {self.status} {after}"


class Runner:
    """Runs one program at a time, in the thread that asks."""

    def __init__(self, clock: Clock, time_limit: float) -> None:
        """`time_limit`: seconds."""
        self._clock = clock
        self._time_limit = time_limit
        self._lock = threading.Lock()
        self._wake: int | None = None

    @property
    def longest(self) -> float:
        """Seconds that a run takes at the longest."""
        return self._time_limit + KILL_AFTER + GIVE_UP_AFTER

    def run(self, command: Command, stop: threading.Event) -> Ended:
        """Run a program until it ends, its time is over, or `stop` is set and `wake` called.

        Raises NotStarted.
        """
        with contextlib.ExitStack() as stack:
            wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            stack.callback(os.close, wake)
            self._set_wake(wake)
            stack.callback(self._set_wake, None)
            begun = self._clock.monotonic()
            process = _started(command)
            watch = stack.enter_context(_Watch(process, wake))
            ending = self._attend(watch, begun, stop)
            status = watch.finish()
            seconds = self._clock.monotonic() - begun
            return Ended(status, ending, seconds, watch.excerpt.text())

    def wake(self) -> None:
        """Have a run look at its `stop` at once; from any thread."""
        with self._lock:
            if self._wake is not None:
                os.eventfd_write(self._wake, 1)

    def _set_wake(self, wake: int | None) -> None:
        with self._lock:
            self._wake = wake

    def _attend(self, watch: _Watch, begun: float, stop: threading.Event) -> Ending:
        ending = Ending.ITSELF
        deadline = begun + self._time_limit
        killing = False
        while not watch.ended():
            now = self._clock.monotonic()
            if ending is Ending.ITSELF:
                ending = self._reason(watch, now >= deadline, stop)
                if ending is not Ending.ITSELF:
                    watch.signal(signal.SIGTERM)
                    deadline = now + KILL_AFTER
            elif now >= deadline:
                if killing:
                    break
                killing = True
                watch.signal(signal.SIGKILL)
                deadline = now + GIVE_UP_AFTER
            watch.wait(deadline - self._clock.monotonic())
        return ending

    def _reason(self, watch: _Watch, late: bool, stop: threading.Event) -> Ending:
        if stop.is_set():
            return Ending.AGENT
        if watch.excerpt.total > MOST_OUTPUT:
            return Ending.OUTPUT
        return Ending.TIME if late else Ending.ITSELF


class _Watch:
    """One running program: its output, its end, and whoever wakes the one that waits for it."""

    def __init__(self, process: subprocess.Popen[bytes], wake: int) -> None:
        assert process.stdout is not None
        self.excerpt = Excerpt()
        self._process = process
        self._output = process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._on_exit: int | None = None
        self._wake = wake
        self._hushed = False
        os.set_blocking(self._output, False)

    def __enter__(self) -> _Watch:
        with contextlib.suppress(OSError):
            self._on_exit = os.pidfd_open(self._process.pid)
        ready: dict[int | None, Callable[[], object]] = {
            self._output: self._read,
            self._wake: lambda: os.eventfd_read(self._wake),
            self._on_exit: lambda: None,
        }
        for descriptor, action in ready.items():
            if descriptor is not None:
                self._selector.register(descriptor, selectors.EVENT_READ, action)
        return self

    def __exit__(self, *reason: object) -> None:
        self._selector.close()
        if self._on_exit is not None:
            os.close(self._on_exit)
        if self._process.returncode is None:
            self.signal(signal.SIGKILL)
        assert self._process.stdout is not None
        # Whoever got away and prints on gets SIGPIPE.
        self._process.stdout.close()

    def wait(self, seconds: float) -> None:
        """Wait for output, the end or a wake, for so many seconds at most."""
        if self._on_exit is None:
            seconds = min(seconds, _LOOK_AGAIN)
        for key, _ in self._selector.select(max(0.0, seconds)):
            key.data()

    def ended(self) -> bool:
        """Tell whether the program has ended; it is left for `finish` to be collected."""
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, how) is not None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and to all that it started and that stayed with it."""
        # Until the program is collected, nobody else can have its number.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def finish(self) -> int | None:
        """End what the program left running, read the rest, collect it; return its status."""
        self.signal(signal.SIGKILL)
        for _ in range(_LAST_BLOCKS):
            if self._hushed or not self._read():
                break
        return self._process.wait() if self.ended() else None

    def _read(self) -> bool:
        """Take a block of output; tell whether there was one."""
        try:
            data = os.read(self._output, _BLOCK)
        except BlockingIOError:
            return False
        self.excerpt.take(data)
        if not data:
            self._hushed = True
            self._selector.unregister(self._output)
        return bool(data)


def _started(command: Command) -> subprocess.Popen[bytes]:
    text = json.dumps(command.parameters or {}, ensure_ascii=False)
    if len(text.encode("utf-8", "surrogatepass")) > MOST_PARAMETERS:
        raise NotStarted(f"its parameters are longer than {MOST_PARAMETERS} bytes")
    held, executable = command.descriptor, None
    if held is not None:
        # Resolved by the child, whose own descriptor it then is. It stays open beyond exec, and is
        # the one that does: a script's interpreter opens the script by this path.
        executable = reopened(held)
    environment = {**_ENVIRONMENT, **(command.variables or {}), "SMARTTEL_PARAMETERS": text}
    standard_input = os.memfd_create("parameters", os.MFD_CLOEXEC)
    try:
        # Not a pipe: a program that never reads must not hold up the one that writes.
        os.write(standard_input, f"{text}\n".encode())
        os.lseek(standard_input, 0, os.SEEK_SET)
        process = subprocess.Popen(  # noqa: S603 - what may be run is decided by name and owner
            list(command.words),
            executable=executable,
            stdin=standard_input,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            cwd="/",
            env=environment,
            pass_fds=() if held is None else (held,),
            start_new_session=True,
            umask=0o027,
        )
    except (OSError, ValueError) as error:
        raise NotStarted(_why(error)) from None
    finally:
        os.close(standard_input)
    with contextlib.suppress(OSError):
        niceness = max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0))
        os.setpriority(os.PRIO_PGRP, process.pid, niceness)
    return process


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return _NOT_STARTED.get(error.errno or 0, error.strerror or str(error))
    return str(error)
