"""The last day in figures: how much waited and was delivered, for the chart of the status page.

One sample stands for ten minutes of the wall clock. Samples lie in memory and in a file beside the
status file, which is written with each new one: the agent that starts anew goes on with it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from agent.clock import EARLIEST_TRUE_TIME
from agent.config_text import Unreadable, read_bounded
from agent.files import replace_file

SLOT = 600
"""Seconds that a sample stands for; slots begin at whole multiples of UNIX time."""
DAY = 144
"""Samples that are kept: 24 hours."""
MOST_BYTES = 64 * 1024
"""Size of the file; a day of the largest figures fills 14 KiB."""

_Moment = Annotated[int, Meta(ge=int(EARLIEST_TRUE_TIME), le=2**40, multiple_of=SLOT)]
_Count = Annotated[int, Meta(ge=0, le=2**53)]

log = logging.getLogger(__name__)


class Sample(Struct, frozen=True):
    """The queue as a slot began, or as the agent first saw it within the slot."""

    slot: int
    """UNIX seconds at which the slot begins."""
    records: int
    """Call records that wait."""
    recordings: int
    """Recordings that wait."""
    size: int
    """Bytes of these recordings."""
    delivered: int
    """Recordings delivered since the ledger began."""

    @property
    def waiting(self) -> int:
        """All that waits."""
        return self.records + self.recordings


class _Saved(Struct, frozen=True):
    samples: list[tuple[_Moment, _Count, _Count, _Count, _Count]]
    """In the order of the fields of `Sample`."""


class History:
    """At most a day of samples, in the order of time, each slot once."""

    def __init__(self, path: Path) -> None:
        """`path` is where an earlier agent left its samples; what is no such file is ignored."""
        self._path = path
        self._samples = _read(path)
        self._trouble = ""

    @property
    def samples(self) -> Sequence[Sample]:
        """All of them; those of a clock that was ahead are gone with the next `take`."""
        return self._samples

    def take(self, told: dict[str, Any]) -> None:
        """Take a sample from a status, as `agent.status` tells it, where its slot has none yet.

        A clock that was never set says nothing about when, and an agent without boards in its
        status has no ledger open: neither makes a sample.
        """
        updated = told["updated"]
        if updated < EARLIEST_TRUE_TIME or not told["boards"]:
            return
        if self._samples and self._samples[-1].slot == slot_of(updated):
            return
        now = sample_of(told)
        # Where the clock was set back, the samples of times to come were never true.
        since = now.slot - (DAY - 1) * SLOT
        kept = tuple(one for one in self._samples if since <= one.slot < now.slot)
        self._samples = (*kept, now)
        self._save()

    def _save(self) -> None:
        rows = [
            (one.slot, one.records, one.recordings, one.size, one.delivered)
            for one in self._samples
        ]
        try:
            replace_file(self._path, msgspec.json.encode(_Saved(rows)))
        except OSError as error:
            trouble = f"{self._path}: {error.strerror or error}"
            if trouble != self._trouble:
                log.warning("the last day's figures are in memory only: %s", trouble)
            self._trouble = trouble
        else:
            self._trouble = ""


def sample_of(told: dict[str, Any]) -> Sample:
    """Return the queue of a status as a sample of its slot."""
    queue = told["queue"]
    return Sample(
        slot_of(told["updated"]),
        queue["records_waiting"],
        queue["files_waiting"],
        queue["bytes_waiting"],
        queue["delivered"],
    )


def slot_of(moment: float) -> int:
    """Return the beginning of the slot that a moment falls into; UNIX seconds."""
    return int(moment) // SLOT * SLOT


def _read(path: Path) -> tuple[Sample, ...]:
    try:
        saved = msgspec.json.decode(read_bounded(path, MOST_BYTES), type=_Saved)
    except (Unreadable, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    samples = {row[0]: Sample(*row) for row in saved.samples}
    return tuple(samples[slot] for slot in sorted(samples))[-DAY:]
