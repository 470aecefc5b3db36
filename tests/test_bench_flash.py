"""The bench's row about the flash reads what strace tells, and counts the state directory alone."""

from __future__ import annotations

from pathlib import Path

from agent.clock import SystemClock
from agent.ledger import open_ledger
from agent.simulation.bench.flash import Written, fill, read_trace

STATE = Path("/box/state")
LOG = "/box/state/ledger.sqlite-wal"


def read(*lines: str) -> Written:
    return read_trace(lines, STATE)


def test_writes_and_synchronisations_below_the_folder_are_summed() -> None:
    written = read(
        f'10 pwrite64(5<{LOG}>, ""..., 24, 32) = 24',
        f'10 pwrite64(5<{LOG}>, ""..., 512, 56) = 512',
        f"1111  fdatasync(5<{LOG}>)       = 0",
        "11    fsync(6</box/state>)       = 0",
    )
    assert written == Written(writes=2, size=536, synchronisations=2)


def test_what_lies_elsewhere_and_what_failed_counts_nothing() -> None:
    written = read(
        '10 write(2</box/log>, ""..., 100) = 100',
        '10 write(7</box/state-of-others/file>, ""..., 100) = 100',
        '10 write(8<socket:[123]>, ""..., 100) = 100',
        f'10 pwrite64(5<{LOG}>, ""..., 512, 0) = -1 ENOSPC (No space left on device)',
        f"10 fdatasync(5<{LOG}>)      = -1 EIO (Input/output error)",
        "10 +++ exited with 0 +++",
    )
    assert written == Written()


def test_a_call_that_another_thread_interrupts_counts_once() -> None:
    written = read(
        f"10 fdatasync(5<{LOG}> <unfinished ...>",
        '11 write(2</box/log>, ""..., 9) = 9',
        f'11 pwrite64(5<{LOG}>, ""..., 512, 0 <unfinished ...>',
        "10    <... fdatasync resumed>) = 0",
        "11 <... pwrite64 resumed>) = 512",
        "12 <... fsync resumed>) = 0",
    )
    assert written == Written(writes=1, size=512, synchronisations=1)


def test_a_ledger_with_a_history_has_nothing_left_to_send(tmp_path: Path) -> None:
    fill(tmp_path / "state", 7)
    ledger = open_ledger(tmp_path / "state", SystemClock())
    try:
        counts = ledger.queue.counts(1)
        assert (counts.delivered, counts.records_waiting, counts.files_waiting) == (7, 0, 0)
    finally:
        ledger.close()
