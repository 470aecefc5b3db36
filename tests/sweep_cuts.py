"""Power cuts at chosen steps of a gateway that runs in one thread, and what they are made with.

A step is a moment at which something becomes true outside the process: a commit, a request at the
platform, an order at the board, a file gone from the disk. Each has a point before and one after.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from unittest.mock import patch

from agent.clock import Clock
from agent.platform.client import PlatformClient
from agent.platform.listing import Listing
from agent.platform.multipart import Container
from agent.platform.wire import Answer
from agent.settings import Platform


class PowerCut(BaseException):
    """The power fails here. No handler of the agent may take it for an error of its own."""


class Cuts:
    """Counts steps, and fails the power at those numbered `at`, counted from 1."""

    def __init__(
        self,
        at: Sequence[int],
        on_cut: Callable[[], None],
        log: Path,
        wall: Callable[[], float],
    ) -> None:
        """`on_cut` is called at the moment of a cut, before anything is tidied.

        `log`: the ledger's, which a cut leaves at least as long as it was when last waited for.
        """
        self._at = frozenset(at)
        self._on_cut = on_cut
        self._log = log
        self._wall = wall
        self._dead = False
        self.durable = 0
        """Bytes of the ledger's log that are on the disk."""
        self.steps: list[str] = []
        """What each step so far was."""
        self.soft: set[int] = set()
        """Steps at which the log's end was not on the disk."""
        self.soft_since: float | None = None
        """Wall time from which it is not on the disk; None: all is."""

    @property
    def dead(self) -> bool:
        """True from a cut on until power is back: nothing may be done any more."""
        return self._dead

    def power_is_back(self) -> None:
        self._dead = False
        self.log_is_durable()

    def log_is_durable(self) -> None:
        """All that the ledger's log holds is on the disk."""
        size = self._log.stat().st_size if self._log.exists() else 0
        assert size >= self.durable or not self.durable, "the log was begun anew: a longer script"
        self.durable = size
        self.soft_since = None

    def log_may_have_grown(self) -> None:
        """Something was written into the log, and nobody waited for the disk."""
        if self.soft_since is None and self._log.stat().st_size > self.durable:
            self.soft_since = self._wall()

    def point(self, what: str) -> None:
        """One step. Raises PowerCut."""
        if not self._dead:
            self.steps.append(what)
            if self.soft_since is not None:
                self.soft.add(len(self.steps))
            if len(self.steps) in self._at:
                self._dead = True
                self._on_cut()
        if self._dead:
            raise PowerCut(what)

    @contextmanager
    def around(self, what: str) -> Iterator[None]:
        """What is done within has a point before it and one after, even where it fails."""
        self.point(f"before {what}")
        try:
            yield
        except Exception:
            self.point(f"after {what}")
            raise
        self.point(f"after {what}")


class CuttableConnection(sqlite3.Connection):
    """SQLite as it is, but that power may fail around a commit, and nothing is done after that."""

    def __init__(self, *arguments: Any, cuts: Cuts, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cuts = cuts
        self._waits = True

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql == "COMMIT":
            with self._cuts.around("commit"):
                found = super().execute(sql, *parameters)
                if self._waits:
                    self._cuts.log_is_durable()
                else:
                    self._cuts.log_may_have_grown()
                return found
        if sql.startswith("PRAGMA synchronous"):
            self._waits = sql.endswith("FULL")
        # A power cut undoes what is not committed, so this may still be said.
        if self._cuts.dead and sql != "ROLLBACK":
            raise PowerCut(sql)
        return super().execute(sql, *parameters)


@contextmanager
def cuttable_ledgers(cuts: Cuts) -> Iterator[None]:
    """Ledgers opened within have a CuttableConnection."""
    factory = partial(CuttableConnection, cuts=cuts)
    with patch.object(sqlite3, "connect", partial(sqlite3.connect, factory=factory)):
        yield


class CuttableClient(PlatformClient):
    """The real client, but that power may fail around each request and in the middle of a file."""

    def __init__(
        self,
        settings: Platform,
        satellite: Callable[[], str],
        clock: Clock,
        on_answer: Callable[[Answer], None],
        cuts: Cuts,
    ) -> None:
        super().__init__(settings, satellite, clock, on_answer)
        self._cuts = cuts

    def record(self, body: bytes) -> Answer:
        with self._cuts.around("record"):
            return super().record(body)

    def recording(
        self,
        callid: str,
        file: BinaryIO,
        size: int,
        modified_ns: int,
        name: str,
        container: Container,
        before_block: Callable[[int], None],
    ) -> tuple[Answer, str]:
        first = True

        def cuttable_block(count: int) -> None:
            nonlocal first
            if not first:
                self._cuts.point("within a file")
            first = False
            before_block(count)

        with self._cuts.around("file"):
            return super().recording(
                callid, file, size, modified_ns, name, container, cuttable_block
            )

    def messages(self) -> Listing:
        with self._cuts.around("poll for messages"):
            return super().messages()

    def calls(self) -> Listing:
        with self._cuts.around("poll for calls"):
            return super().calls()
