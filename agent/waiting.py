"""`run --wait`: a configuration that can't be used is waited out.

It takes a person to mend it. A service that ends instead is started again every few seconds, fails
again, and fills the log. So it says what is wrong where `systemctl status` shows it, and goes on by
itself once the file can be used.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from agent.config import ConfigError, load
from agent.logs import goes_to_journal, set_up
from agent.parts import Nudge
from agent.settings import Settings
from agent.systemd import Systemd

LOOK_AGAIN = 5.0
"""Seconds between two looks at the file; SIGHUP makes for one at once."""

log = logging.getLogger(__name__)


def wait_for_settings(path: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings as soon as the file at `path` holds usable ones. SIGTERM ends it."""
    try:
        return load(path, environment)
    except ConfigError as error:
        complaint = str(error)
    set_up("info", "masked", sys.stderr, goes_to_journal(sys.stderr, os.environ))
    look = Nudge()
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda _number, _frame: look.set())
    return _wait(path, environment, complaint, look, Systemd().tell)


def _wait(
    path: Path,
    environment: Mapping[str, str],
    complaint: str,
    look: Nudge,
    tell_systemd: Callable[[str], None],
) -> Settings:
    told = ""
    # Ready, though not to work: what is ordered after this unit must not wait for a person.
    tell_systemd("READY=1")
    while True:
        if complaint != told:
            told = complaint
            log.error("the agent waits, as its configuration can't be used: %s", complaint)
            tell_systemd(f"STATUS=waiting for a usable configuration: {complaint}")
        tell_systemd("WATCHDOG=1")
        look.wait(LOOK_AGAIN)
        look.clear()
        try:
            settings = load(path, environment)
        except ConfigError as error:
            complaint = str(error)
        else:
            tell_systemd("STATUS=")
            return settings
