"""When the storm kills: at random, and often in the middle of something."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from agent.simulation.board import SimulatedBoard
from agent.simulation.platform import SimulatedPlatform

SOONEST, LATEST = 0.05, 2.5
"""Seconds from a start to its kill: from before the daemon is ready to well after."""
HOT = 0.5
"""Share of kills that wait, after their time, for something to be in the middle of."""
HOT_WITHIN = 2.0
"""Seconds for which such a kill waits."""
ANSWER_TRAVELS = 0.02
"""Seconds in which an answer arrives and is written down: any part of it may be cut off."""


class Moments:
    """Waits for the moment of each kill; the choices come from a seed."""

    def __init__(self, platform: SimulatedPlatform, board: SimulatedBoard, seed: int) -> None:
        self._platform = platform
        self._board = board
        self._random = random.Random(seed)
        self._hot: list[Callable[[], None]] = [
            self._a_record_has_come,
            self._a_file_is_on_its_way,
            self._a_file_was_booked,
            self._a_call_has_ended,
            self._calls_were_listed,
            self._an_order_was_obeyed,
        ]

    def wait(self) -> None:
        """Wait for the next one."""
        time.sleep(self._random.uniform(SOONEST, LATEST))
        if self._random.random() < HOT:
            self._random.choice(self._hot)()
            time.sleep(self._random.uniform(0.0, ANSWER_TRAVELS))

    def _a_record_has_come(self) -> None:
        self._one_more_request("record")

    def _a_file_is_on_its_way(self) -> None:
        self._platform.wait_for(lambda: self._platform.uploading > 0, HOT_WITHIN)

    def _a_file_was_booked(self) -> None:
        before = len(self._platform.files)
        self._platform.wait_for(lambda: len(self._platform.files) > before, HOT_WITHIN)

    def _a_call_has_ended(self) -> None:
        before = len(self._board.calls)
        self._board.wait_for(lambda: len(self._board.calls) > before, HOT_WITHIN)

    def _calls_were_listed(self) -> None:
        self._one_more_request("calls")

    def _an_order_was_obeyed(self) -> None:
        before = len(self._board.dials)
        self._board.wait_for(lambda: len(self._board.dials) > before, HOT_WITHIN)

    def _one_more_request(self, command: str) -> None:
        before = self._platform.requests[command]
        self._platform.wait_for(lambda: self._platform.requests[command] > before, HOT_WITHIN)
