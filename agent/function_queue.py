"""Functions that take their time: programs, and the gateway's reboot. One at a time.

Each is marked in the ledger before it starts, so that none is run a second time whatever ends in
between; they have a thread of their own, so that one which hangs holds up nobody else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from agent.clock import Clock
from agent.excerpts import first_and_last
from agent.journal import Journal
from agent.ledger import Ledger, LedgerError
from agent.ledger.errands import FUNCTION
from agent.ledger.rows import Errand, ErrandState
from agent.parts import Alive, Bell
from agent.program_files import ProgramMissing, ProgramRefused, agents_own, is_program_name
from agent.programs import Command, Ended, Ending, NotStarted, Runner
from agent.settings import Functions as Section

REBOOT = "reboot"
REBOOT_AGAIN = 3600.0
"""Seconds for which a gateway that was started or told to reboot is not rebooted by a message: one
that a list goes on showing, to a gateway that lost its ledger, must not have it reboot for ever."""
LEDGER_AGAIN = 5.0
"""Seconds before a ledger that took nothing is tried again."""
LONGEST_WAIT = 3600.0
"""Seconds for which the thread sleeps where nothing is asked for."""
MARGIN = 60.0
"""Seconds beyond the longest run before the thread counts as hung."""

Outcome = tuple[ErrandState, str]

log = logging.getLogger(__name__)


class FunctionQueue:
    """Runs what waits in the ledger, the oldest first."""

    def __init__(
        self,
        section: Section,
        ledger: Ledger,
        clock: Clock,
        *,
        satellite: Callable[[], str],
        shown: Callable[[str], str],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`satellite` names the gateway; `shown` gives words of a program as the log may show them.

        `on_change` is called when there is something new to show.
        """
        self._section = section
        self._ledger = ledger
        self._clock = clock
        self._satellite = satellite
        self._shown = shown
        self._on_change = on_change
        self._journal = Journal(ledger)
        self._directory = agents_own(Path(section.directory)) if section.directory else None
        self._runner = Runner(clock, section.time_limit)
        self.bell = Bell()
        """Rung when something was queued."""

    @property
    def needed(self) -> bool:
        """Whether anything can be asked for that this runs."""
        return self._directory is not None or self._section.reboot

    def place(self, name: str) -> Outcome:
        """What a message for a function begins with: to wait, or the reason why it never runs.

        Whether there is such a program is found out in its turn: disks may be slow.
        """
        if name == REBOOT and not self._section.reboot:
            return ErrandState.FAILED, "switched off: functions.reboot is false"
        if name == REBOOT or (self._directory is not None and is_program_name(name)):
            return ErrandState.WAITING, ""
        return ErrandState.UNKNOWN, "there is no such function"

    def is_reboot(self, name: str) -> bool:
        """Tell whether a message's function is the reboot."""
        return self._meant(name) == REBOOT

    def wake(self) -> None:
        """End a wait, and have a program that runs ended where the agent is to stop."""
        self._runner.wake()
        self.bell.ring()

    def run(self, stop: threading.Event, alive: Alive) -> None:
        """Run functions as they come until told to stop."""
        while not stop.is_set():
            heard = self.bell.rings
            alive(self._runner.longest + MARGIN)
            try:
                self._journal.write()
                wait = 0.0 if self._run_next(stop) else LONGEST_WAIT
            except LedgerError as error:
                log.error("functions wait, the ledger can't be used: %s", error)
                wait = LEDGER_AGAIN
            if wait and not stop.is_set():
                alive(wait + MARGIN)
                self.bell.wait(heard, wait)

    def _run_next(self, stop: threading.Event) -> bool:
        for errand in self._ledger.errands.unfinished(FUNCTION):
            if errand.state is ErrandState.WAITING:
                self._obey(errand, stop)
                return True
        return False

    def _obey(self, errand: Errand, stop: threading.Event) -> None:
        """Mark one, run it, write down what became of it. Raises LedgerError; then it waits on."""
        reboots = self.is_reboot(errand.name)
        if self._clock.monotonic() >= errand.expires:
            refusal = "its turn did not come in time"
            self._ledger.errands.move(errand.id, ErrandState.EXPIRED, refusal)
            self._say(errand, ErrandState.EXPIRED, refusal)
            return
        if reboots and (refusal := self._too_soon()):
            self._ledger.errands.move(errand.id, ErrandState.FAILED, refusal)
            self._say(errand, ErrandState.FAILED, refusal)
            return
        with self._ledger.transaction():
            self._ledger.errands.move(errand.id, ErrandState.ORDERED)
            if reboots:
                self._ledger.errands.mark_reboot()
        log.info("function %s begins; its number is %d", errand.name, errand.id)
        self._on_change()
        try:
            outcome = self._reboot(errand, stop) if reboots else self._program(errand, stop)
        except Exception as error:  # whatever it is, the next ones go on
            outcome = ErrandState.FAILED, f"{type(error).__name__}: {error}"
        if outcome is not None:
            self._journal.move(errand.id, *outcome)
            self._say(errand, *outcome)

    def _program(self, errand: Errand, stop: threading.Event) -> Outcome:
        name = self._meant(errand.name)
        assert self._directory is not None
        try:
            with self._directory.opened(name) as descriptor:
                command = Command(
                    [name], descriptor, dict(errand.parameters), self._variables(errand, name)
                )
                ended = self._runner.run(command, stop)
        except ProgramMissing as refusal:
            return ErrandState.UNKNOWN, str(refusal)
        except ProgramRefused as refusal:
            return ErrandState.FAILED, f"not run: {refusal}"
        except NotStarted as refusal:
            return ErrandState.FAILED, f"not started: {refusal}"
        return self._judged(errand, ended)

    def _reboot(self, errand: Errand, stop: threading.Event) -> Outcome | None:
        try:
            ended = self._runner.run(Command(self._section.reboot_command), stop)
        except NotStarted as refusal:
            return ErrandState.FAILED, f"functions.reboot_command not started: {refusal}"
        if ended.ending is Ending.AGENT:
            # As a reboot does; whether it was one is known at the next start.
            return None
        state, outcome = self._judged(errand, ended)
        return (state, "the reboot was asked for") if ended.well else (state, outcome)

    def _judged(self, errand: Errand, ended: Ended) -> Outcome:
        lines = [line for line in self._shown(ended.output).splitlines() if line.strip()]
        for line in first_and_last(lines):
            log.info("function %s says: %s", errand.name, line)
        last = f": {lines[-1].strip()}" if lines else ""
        return ErrandState.DONE if ended.well else ErrandState.FAILED, ended.words + last

    def _too_soon(self) -> str:
        """Why the gateway is not rebooted now; empty where it may be.

        No clock is trusted alone: after a boot the wall clock may stand anywhere, and in a
        container the monotonic one counts the host's time.
        """
        now, last = self._clock.stamp(), self._ledger.errands.last_reboot()
        passed = now.monotonic
        if last is not None and last[1] == self._clock.boot:
            passed = now.monotonic - last[0].monotonic
        elif last is not None and now.wall >= last[0].wall:
            passed = min(passed, now.wall - last[0].wall)
        if passed >= REBOOT_AGAIN:
            return ""
        return (
            f"refused: the gateway was started or rebooted {passed / 60:.0f} min ago; a message"
            f" reboots it at most once in {REBOOT_AGAIN / 60:.0f} min"
        )

    def _variables(self, errand: Errand, name: str) -> Mapping[str, str]:
        told = {
            "FUNCTION": name,
            "MESSAGE": errand.id,
            "SATELLITE": self._satellite(),
            "SERIAL": errand.board,
            "CHANNEL": errand.channel,
            "PHONE": errand.phone,
        }
        return {f"SMARTTEL_{key}": "" if said is None else str(said) for key, said in told.items()}

    def _meant(self, name: str) -> str:
        return self._section.aliases.get(name, name)

    def _say(self, errand: Errand, state: ErrandState, outcome: str) -> None:
        level = logging.INFO if state is ErrandState.DONE else logging.WARNING
        log.log(level, "function %s (%d): %s, %s", errand.name, errand.id, state, outcome)
        self._on_change()
