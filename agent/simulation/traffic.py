"""Calls as an office has them, from a seed: each a small script that tells how long to wait."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from agent.boards.events import LineState

GAP = 2.0
"""Seconds that a port rests between two calls, so that no two begin in the same second."""
START = 0.5
"""Seconds before the first call."""
SHORTEST_TALK = 1.5
"""Seconds; less is no call that anybody makes."""

Script = Iterator[float]
"""Does something to the lines, yields the seconds to wait, goes on."""


class Lines(Protocol):
    """What a script does to the board's ports."""

    def ring(self, channel: int, phone: str = "") -> None:
        """An incoming call rings."""

    def number(self, channel: int, phone: str) -> None:
        """The number of the call becomes known."""

    def answer(self, channel: int, state: LineState = LineState.IN_CALL) -> None:
        """The handset is taken off a ringing line, or the call changes between 2 and 4."""

    def off_hook(self, channel: int) -> None:
        """The handset is taken off an idle line."""

    def digits(self, channel: int, more: str) -> None:
        """More of the number is dialled."""

    def hang_up(self, channel: int) -> None:
        """The handset is put back, or the caller gives up."""

    def idle(self, channel: int) -> bool:
        """Whether the port is on hook."""

    def together(self) -> AbstractContextManager[None]:
        """What is done inside goes out in one write."""


class Traffic:
    """Begins calls at random moments and drives them. All times are monotonic seconds."""

    def __init__(
        self,
        lines: Lines,
        channels: int,
        *,
        calls_per_minute: float,
        seed: int,
        now: float,
        seconds: float | None = None,
        longest: float = 30.0,
        answered: float = 0.75,
        rest: float = GAP,
    ) -> None:
        """`seconds`: how long calls begin; `longest`: of a talk; `answered`: share of incoming.

        `rest`: seconds between two calls on one port.
        """
        self._lines = lines
        self._random = random.Random(seed)
        self._mean_pause = 60.0 / calls_per_minute if calls_per_minute > 0 else 0.0
        self._longest = max(longest, SHORTEST_TALK)
        self._answered = answered
        self._rest = rest
        self._until = float("inf") if seconds is None else now + seconds
        self._now = now
        self._order = itertools.count()
        self._scripts: list[tuple[float, int, Script]] = []
        self._free_at = dict.fromkeys(range(1, channels + 1), now)
        if self._mean_pause:
            self._add(now + START, self._beginnings())

    def due(self) -> float | None:
        """Return when `act` is to be called next; None: nothing goes on, and nothing will."""
        return self._scripts[0][0] if self._scripts else None

    def act(self, now: float) -> None:
        """Do what is due."""
        while self._scripts and self._scripts[0][0] <= now:
            self._now = now
            _, _, script = heapq.heappop(self._scripts)
            pause = next(script, None)
            if pause is not None:
                self._add(now + pause, script)

    def finish(self) -> None:
        """Begin no more calls; those that go on take their course."""
        self._until = self._now

    def dialled(self, channel: int, now: float) -> None:
        """The board obeyed an order to dial: a call follows, and ends some time."""
        self._free_at[channel] = float("inf")
        self._add(now + self._talk(), self._end(channel))

    def _add(self, at: float, script: Script) -> None:
        heapq.heappush(self._scripts, (at, next(self._order), script))

    def _beginnings(self) -> Script:
        kinds: list[Callable[[list[int]], Script]] = [
            lambda ports: self._incoming(ports[0]),
            lambda ports: self._outgoing(ports[0]),
            lambda ports: self._missed(ports[0]),
            self._two_at_once,
            lambda ports: self._call_waiting(ports[0]),
        ]
        # Each kind comes once before chance takes over, so that a short run has seen them all.
        for turn in itertools.count():
            free = self._free()
            if self._now >= self._until:
                return
            if free:
                kind = kinds[turn] if turn < len(kinds) else self._random.choice(kinds)
                self._add(self._now, kind(free))
            pause = self._random.expovariate(1 / self._mean_pause)
            yield min(max(pause, self._mean_pause / 4), self._mean_pause * 2)

    def _free(self) -> list[int]:
        free = [
            channel
            for channel, at in self._free_at.items()
            if at <= self._now and self._lines.idle(channel)
        ]
        self._random.shuffle(free)
        return free

    def _incoming(self, channel: int) -> Script:
        self._free_at[channel] = float("inf")
        self._lines.ring(channel)
        return self._rings(channel, self._random.random() < self._answered)

    def _missed(self, channel: int) -> Script:
        self._free_at[channel] = float("inf")
        self._lines.ring(channel)
        return self._rings(channel, answered=False)

    def _rings(self, channel: int, answered: bool) -> Script:
        yield self._random.uniform(0.3, 0.8)
        # The number comes between the first and the second ring.
        self._lines.number(channel, self._phone())
        yield self._random.uniform(0.5, 2.5)
        if answered:
            self._lines.answer(
                channel, self._random.choice((LineState.IN_CALL, LineState.ANSWERED))
            )
            yield self._talk()
        yield from self._end(channel)

    def _two_at_once(self, ports: list[int]) -> Script:
        with self._lines.together():
            scripts = [self._incoming(channel) for channel in ports[:2]]
        for script in scripts:
            self._add(self._now, script)
        return iter(())

    def _outgoing(self, channel: int) -> Script:
        self._free_at[channel] = float("inf")
        self._lines.off_hook(channel)
        return self._dials(channel)

    def _dials(self, channel: int) -> Script:
        yield self._random.uniform(0.2, 0.6)
        for digit in self._dialled_number():
            self._lines.digits(channel, digit)
            yield self._random.uniform(0.05, 0.15)
        yield self._talk()
        yield from self._end(channel)

    def _call_waiting(self, channel: int) -> Script:
        self._free_at[channel] = float("inf")
        self._lines.ring(channel, self._phone())
        return self._waits(channel)

    def _waits(self, channel: int) -> Script:
        yield self._random.uniform(0.5, 1.5)
        for state in (LineState.IN_CALL, LineState.ANSWERED, LineState.IN_CALL):
            self._lines.answer(channel, state)
            yield self._talk() / 2
        yield from self._end(channel)

    def _end(self, channel: int) -> Script:
        self._lines.hang_up(channel)
        self._free_at[channel] = self._now + self._rest
        yield from ()

    def _talk(self) -> float:
        return self._random.uniform(SHORTEST_TALK, self._longest)

    def _phone(self) -> str:
        if self._random.random() < 0.2:
            return f"010{self._random.randrange(10**7, 10**8)}"
        return f"1{self._random.randrange(3, 10)}{self._random.randrange(10**9):09}"

    def _dialled_number(self) -> str:
        service = self._random.random() < 0.25
        return self._random.choice(("95588#1", "*21#", "10086")) if service else self._phone()
