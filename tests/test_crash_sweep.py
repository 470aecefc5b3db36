"""Power fails at every step of a gateway's work, and nothing is lost, doubled or made up."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.call_writing import CallWriter, Written
from agent.calls import Ended
from agent.delivery.lane import Outcome
from agent.delivery.recordings import RecordingLane
from agent.ledger.deliveries import DeliveryBook
from agent.ledger.errands import ErrandBook
from agent.ledger.rows import ErrandState, RecordingToSend
from agent.ledger.store import Store
from agent.parts import Alive
from agent.platform.client import PlatformClient
from tests.sweep import Run
from tests.sweep_truth import faults
from tests.sweep_world import MoodyPlatform

FEWEST_STEPS = 240
"""Steps of the script without a cut: with fewer, something is not swept any more."""
FEWEST_SOFT = 60
"""Steps among them at which something was written that no disk was waited for."""
PARTS = 4
"""Tests that share the steps, so that they can run side by side."""
SHORT, LONG = 1.0, 7.0
"""Seconds without power: nothing happens meanwhile, or a whole call may."""


class Sweep:
    """Runs of one script at one platform, each a gateway of its own."""

    def __init__(self, folder: Path, platform: MoodyPlatform) -> None:
        self._folder = folder
        self._platform = platform
        self._runs = 0
        self.steps: list[str] = []
        """What each step was in the run without a cut."""
        self.soft: set[int] = set()
        """Those of them at which a cut may undo something that was written."""

    def run(
        self,
        *cuts_at: int,
        outage: float = SHORT,
        reboots: bool = False,
        forgets: bool = False,
    ) -> tuple[list[str], list[str]]:
        """Play the script with cuts at some steps; return what each step was, and all faults."""
        self._runs += 1
        satellite = "02:00:00:00:{:02X}:{:02X}".format(*divmod(self._runs, 256))
        platform = self._platform
        bodies, violations = len(platform.bodies), len(platform.violations)
        folder = self._folder / str(self._runs)
        run = Run(
            folder, platform, satellite, cuts_at, outage=outage, reboots=reboots, forgets=forgets
        )
        try:
            run.play()
            found = faults(run, platform.bodies[bodies:])
            assert bool(run.gaps) == bool(cuts_at), "power was not cut as it was meant to be"
        except Exception as error:
            found = [f"the gateway failed: {error!r}"]
        found += platform.violations[violations:]
        shutil.rmtree(folder)
        if not cuts_at:
            self.steps, self.soft = run.cuts.steps, run.cuts.soft
        return run.cuts.steps, found

    def first_faults(self, label: str, *, forgets: bool = False) -> str:
        """Cut at each step of one kind until something goes wrong, and tell what."""
        steps, found = self.run()
        for step in [number for number, one in enumerate(steps, start=1) if one == label]:
            if found:
                break
            found = self.run(step, outage=LONG, forgets=forgets)[1]
        return "\n".join(found)

    def at(self, step: int) -> list[str]:
        """Cut at a step; every third time again soon after, while the gateway begins anew.

        What the ledger did not wait for is there after a cut that follows its commit, and gone
        after any other.
        """
        cuts = [step, step + 1 + step % 23] if step % 3 == 0 else [step]
        outage, reboots = (SHORT, LONG)[step // PARTS % 2], step // (2 * PARTS) % 2 == 1
        forgets = self.steps[step - 1] != "after commit"
        _, found = self.run(*cuts, outage=outage, reboots=reboots, forgets=forgets)
        how = f"cut {cuts} ({self.steps[step - 1]}), {outage:g} s"
        how += ", new boot" * reboots + ", forgetful" * forgets
        return [f"{how}: {what}" for what in found]


@contextmanager
def a_sweep() -> Iterator[Sweep]:
    # In memory where that is to be had: each run waits for the disk hundreds of times.
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
    logging.disable(logging.CRITICAL)
    try:
        with MoodyPlatform(folder / "platform") as platform:
            yield Sweep(folder, platform)
    finally:
        logging.disable(logging.NOTSET)
        shutil.rmtree(folder)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_power_cut_at_any_step_loses_nothing_and_doubles_nothing(part: int) -> None:
    with a_sweep() as sweep:
        steps, found = sweep.run()
        assert not found
        assert len(steps) >= FEWEST_STEPS
        assert len(sweep.soft) >= FEWEST_SOFT
        mine = [step for step in range(1, len(steps) + 1) if step % PARTS == part]
        for step in mine:
            found += sweep.at(step)
    print(f"power was cut at {len(mine)} of {len(steps)} steps")
    assert not found, "\n".join(found)


# The sweep bites: what the rules forbid is found out.


def test_a_record_that_leaves_before_its_bytes_are_kept_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DeliveryBook, "freeze", lambda *_: None)
    with a_sweep() as sweep:
        assert "came again with other bytes" in sweep.first_faults("after record")


def test_a_ledger_that_waits_for_no_disk_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything soft, as what is found anew may be."""
    wait = Store._wait_for_disk
    monkeypatch.setattr(Store, "_wait_for_disk", lambda store, _: wait(store, False))
    with a_sweep() as sweep:
        found = sweep.first_faults("after record", forgets=True)
    assert "was sent and forgotten" in found


def test_an_order_to_dial_that_leaves_before_it_is_marked_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    move = ErrandBook.move

    def without_the_mark(
        book: ErrandBook, number: int, state: ErrandState, outcome: str = ""
    ) -> None:
        if state is not ErrandState.ORDERED:
            move(book, number, state, outcome)

    monkeypatch.setattr(ErrandBook, "move", without_the_mark)
    with a_sweep() as sweep:
        assert "the dial was done 2 times" in sweep.first_faults("after order to dial")


def test_a_file_that_goes_before_its_delivery_is_written_down_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send = RecordingLane.send

    def gone_too_soon(
        lane: RecordingLane, item: RecordingToSend, client: PlatformClient, alive: Alive
    ) -> Outcome:
        written = send(lane, item, client, alive)
        lane._after(item)
        return written

    monkeypatch.setattr(RecordingLane, "send", gone_too_soon)
    with a_sweep() as sweep:
        assert "deleted undelivered" in sweep.first_faults("after unlink")


def test_a_call_that_is_not_in_the_ledger_when_the_board_goes_on_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Written only when it is over, as a simpler agent would."""
    write = CallWriter.write

    def ends_only(writer: CallWriter) -> Written:
        over = any(isinstance(one.step, Ended) for one in writer.unwritten)
        return write(writer) if over else Written.NOTHING

    monkeypatch.setattr(CallWriter, "write", ends_only)
    with a_sweep() as sweep:
        assert "it began at" in sweep.first_faults("after commit")
