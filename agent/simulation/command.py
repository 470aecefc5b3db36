"""What the simulated parts' commands share: how they speak, and how they wait for their end."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator

ENDING = {signal.SIGINT, signal.SIGTERM}


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Keep SIGINT and SIGTERM back for `wait_for_signal`; to be entered before threads start."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def wait_for_signal(seconds: float | None = None) -> bool:
    """Block until SIGINT or SIGTERM, or for so many seconds; tell whether a signal came."""
    if seconds is None:
        signal.sigwait(ENDING)
        return True
    return signal.sigtimedwait(ENDING, max(0.0, seconds)) is not None


def say(line: str) -> None:
    """Print a line at once; neither a poor terminal nor a reader that left does any harm."""
    encoding = sys.stdout.encoding or "ascii"
    with contextlib.suppress(OSError):
        print(line.encode(encoding, "replace").decode(encoding), flush=True)
