"""The process: its lock, its ledger, its signals, what it tells systemd. No logic of its own."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from agent import __version__
from agent.call_writing import Unwritten
from agent.clock import Clock, ClockView, SystemClock
from agent.config import ConfigError, load
from agent.delivery.gate import GateView
from agent.gateway import Gateway
from agent.health import ProblemBook
from agent.instance import AnotherInstance, InstanceLock
from agent.kept import Kept
from agent.language import language, said, text_of
from agent.ledger import Ledger, LedgerError, LedgerTooNew, open_ledger, suspect
from agent.ledger.rows import DialCounts, QueueCounts
from agent.logs import Log, goes_to_journal, set_up
from agent.metrics_file import MetricsFile
from agent.parts import Nudge
from agent.problems import Finding, health_of
from agent.recordings.disk import look, missing_mount
from agent.settings import Settings
from agent.status import Status, StatusFile, as_json
from agent.status_page import StatusPage
from agent.system_words import system_words
from agent.systemd import Systemd

EXIT_STOPPED = 0
EXIT_REFUSED = 1
"""Another instance runs, or the ledger is a newer agent's."""
SHORTEST_TURN = 0.1
"""Seconds between two rounds of housekeeping, however often something changes."""
FEED_AGAIN = 30.0
"""Seconds between two signs of life for systemd, whose watchdog waits for three minutes; and
between two looks whether the log owes a sum of lines that came again and again."""
STATE_AGAIN = 2.0
"""Seconds between attempts to open a state directory that is not there or not writable."""

log = logging.getLogger(__name__)


def run(path: Path, settings: Settings, *, patient: bool = False) -> int:
    """Be the daemon, configured by `settings` from the file at `path`; return the exit status.

    `patient`: a ledger of a newer agent is waited out; it takes a person.
    """
    return Daemon(path, settings, SystemClock(), patient=patient).run()


class Daemon:
    """From the first signal handler to the last line of the log."""

    def __init__(
        self, path: Path, settings: Settings, clock: Clock, *, patient: bool = False
    ) -> None:
        self._path = path
        self._patient = patient
        self._settings = settings
        self._clock = clock
        self._systemd = Systemd()
        self._language = language(settings.language, os.environ)
        place = Path(settings.status_file)
        page = StatusPage(place, clock) if settings.status_page else None
        self._status_file = StatusFile(place, page)
        self._told = Kept()
        self._metrics_file = MetricsFile(settings.metrics_file, clock)
        self._problems = ProblemBook()
        self._log = self._set_up_log()
        self._wake = Nudge()
        self._stop = False
        self._reload = False
        self._queue = False
        self._complained = False
        self._fed = 0.0
        self._inherited: list[Unwritten] = []
        """What was not written down as the last ledger failed; bounded as it was there."""

    def run(self) -> int:
        """Run until told to stop."""
        self._take_signals()
        send_all_to_the_log()
        log.info("smarttel-agent %s begins, configured by %s", __version__, self._path)
        # What was loaded until here stays to the end: the collector need never look at it again.
        gc.freeze()
        while not self._stop:
            try:
                with self._state() as ledger:
                    self._serve(ledger)
            except (AnotherInstance, LedgerTooNew) as refusal:
                if isinstance(refusal, AnotherInstance) or not self._patient:
                    log.error("%s", refusal)
                    return EXIT_REFUSED
                self._wait_for_state(refusal)
            except (OSError, LedgerError) as error:
                self._wait_for_state(error)
        self._tell_systemd("STOPPING=1")
        log.info("smarttel-agent ends")
        return EXIT_STOPPED

    @contextlib.contextmanager
    def _state(self) -> Iterator[Ledger]:
        """Open what must survive. Raises OSError or LedgerError where it is not to be had yet."""
        directory = Path(self._settings.state_directory)
        with contextlib.ExitStack() as stack:
            absent = missing_mount(directory)
            if absent is not None:
                # A ledger begun below the mount point would know nothing of what was delivered.
                raise LedgerError(absent.reason)
            directory.mkdir(parents=True, exist_ok=True)
            stack.callback(InstanceLock(directory).close)
            ledger = open_ledger(directory, self._clock)
            stack.callback(self._close, ledger, directory)
            if ledger.set_aside is not None:
                log.error(
                    "the ledger was damaged (%s) and lies in %s now; a new one is begun",
                    ledger.damage,
                    ledger.set_aside,
                )
            yield ledger

    def _close(self, ledger: Ledger, directory: Path) -> None:
        damaged = ledger.damaged
        if ledger.displaced:
            try:
                ledger.rescue()
                log.warning("the ledger was removed or replaced while in use; it is opened anew")
            except LedgerError as error:
                log.error("the ledger was removed while in use, and can't be saved: %s", error)
        with contextlib.suppress(LedgerError):
            ledger.close()
        if damaged:
            with contextlib.suppress(OSError):
                suspect(directory)

    def _wait_for_state(self, error: Exception) -> None:
        """Say that the state can't be used, and try again a little later."""
        why = text_of(error)
        if isinstance(error, OSError) and error.strerror:
            place = str(error.filename or self._settings.state_directory)
            why = said("{path}: {why}", path=place, why=system_words(error))
        finding = Finding(
            "state-unusable", "", said("the state directory can't be used: {why}", why=why)
        )
        self._write(self._bare_status(finding))
        # To wait is all that can be done: a process started anew would wait as well.
        self._complained = True
        self._tell_systemd(f"STATUS={finding.message}")
        self._tell_systemd("WATCHDOG=1")
        self._pause(STATE_AGAIN)

    def _serve(self, ledger: Ledger) -> None:
        gateway = Gateway(
            self._settings,
            ledger,
            self._clock,
            self._log.phones,
            on_change=self._wake.set,
            inherited=self._inherited,
        )
        self._inherited = []
        gateway.start()
        self._tell_systemd("READY=1")
        if self._complained:
            self._complained = False
            self._tell_systemd("STATUS=")
        try:
            while not (self._stop or ledger.damaged or ledger.displaced):
                wait = gateway.keep_house()
                self._write_status(gateway)
                self._now_and_then(gateway)
                self._pause(SHORTEST_TURN if ledger.damaged else wait)
                self._obey_signals(gateway)
        finally:
            gateway.stop()
            if not self._stop:
                self._inherited = gateway.handover()
            elif gateway.holds_calls:
                log.error("the agent ends with calls that the ledger did not take; they are lost")

    def _write_status(self, gateway: Gateway) -> None:
        try:
            status = gateway.status()
        except LedgerError as error:
            finding = Finding("state-unusable", "", text_of(error))
            status = self._bare_status(finding)
        else:
            self._problems.update([], self._clock.wall())
        self._write(status)

    def _write(self, status: Status) -> None:
        told = as_json(status, self._language, self._told)
        self._status_file.write(told, self._language)
        self._metrics_file.write(status)

    def _obey_signals(self, gateway: Gateway) -> None:
        if self._queue:
            self._queue = False
            gateway.look_at_queue()
        if self._reload and gateway.holds_calls:
            # Other boards begin with what the ledger says of their calls.
            log.warning("the new configuration waits until the ledger takes the calls in memory")
        elif self._reload:
            self._reload = False
            self._tell_systemd("RELOADING=1")
            self._read_anew(gateway)
            self._tell_systemd("READY=1")

    def _read_anew(self, gateway: Gateway) -> None:
        try:
            settings = load(self._path, os.environ)
        except ConfigError as error:
            log.error("the new configuration is not used, the old one stays: %s", error)
            return
        old, self._settings = self._settings, settings
        if (old.state_directory, old.status_file, old.status_page) != (
            settings.state_directory,
            settings.status_file,
            settings.status_page,
        ):
            log.warning("state_directory, status_file and status_page change only with a restart")
        self._language = language(settings.language, os.environ)
        if old.metrics_file != settings.metrics_file:
            self._metrics_file.remove()
            self._metrics_file = MetricsFile(settings.metrics_file, self._clock)
        self._log = self._set_up_log()
        gateway.reload(settings, self._log.phones)

    def _set_up_log(self) -> Log:
        journal = goes_to_journal(sys.stderr, os.environ)
        said = self._settings.log
        return set_up(said.level, said.phones, sys.stderr, journal, line_format=said.format)

    def _take_signals(self) -> None:
        def flag(name: str, value: bool = True) -> Callable[[int, object], None]:
            def handler(_number: int, _frame: object) -> None:
                setattr(self, name, value)
                self._wake.set()

            return handler

        signal.signal(signal.SIGTERM, flag("_stop"))
        signal.signal(signal.SIGINT, flag("_stop"))
        signal.signal(signal.SIGHUP, flag("_reload"))
        signal.signal(signal.SIGUSR1, flag("_queue"))

    def _pause(self, seconds: float) -> None:
        if not self._wake.wait(max(SHORTEST_TURN, seconds)):
            return
        if not self._stop:
            # Much may change at once; once in a while is enough to show it.
            time.sleep(SHORTEST_TURN)
        self._wake.clear()

    def _now_and_then(self, gateway: Gateway) -> None:
        now = self._clock.monotonic()
        if now - self._fed < FEED_AGAIN:
            return
        self._log.handler.say_sums()
        if gateway.alive:
            self._fed = now
            self._tell_systemd("WATCHDOG=1")

    def _tell_systemd(self, words: str) -> None:
        self._systemd.tell(words)

    def _bare_status(self, finding: Finding) -> Status:
        """The status while there is no ledger: nothing is known but that."""
        problems = self._problems.update([finding], self._clock.wall())
        recordings = self._settings.recordings
        return Status(
            url=self._settings.platform.url,
            satellite=None,
            started=self._clock.wall(),
            updated=self._clock.wall(),
            health=health_of(problems),
            problems=problems,
            gate=GateView(None, 0.0, "", None),
            clock=ClockView(trusted=False, unset=False, platform_ahead=None),
            links=(),
            channels={},
            disk=look(Path(recordings.directory), recordings.mount_point),
            queue=QueueCounts(0, 0, 0, None, 0, 0, 0, 0, 0),
            dial=DialCounts(0, 0, 0, 0),
            errands=(),
            malformed=0,
            watcher=None,
            bare=True,
        )


def send_all_to_the_log() -> None:
    """Have what libraries say past the log written as its lines are: sanitised, and counted."""

    def failed(failure: threading.ExceptHookArgs) -> None:
        name = failure.thread.name if failure.thread else "unknown"
        if failure.exc_value is not None:
            log.error("the thread %s failed", name, exc_info=failure.exc_value)

    threading.excepthook = failed
    logging.captureWarnings(True)
