"""Eight boards on which something changes all the time, as a process of its own.

Every port has one call after another, in turn one that comes in (ringing, its number, in call, on
hook) and one that goes out (off hook, its number digit by digit, on hook). Told by its arguments:
the folder for the ports, boards, ports of each, changes a second over all, seconds. It begins once
all boards were asked for everything, and prints in the end, as JSON, what it did.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from agent.boards.events import LineState
from agent.simulation.board import SimulatedBoard
from agent.simulation.command import say

SYNC_WITHIN = 30.0
DIGITS = 8
"""Of a number that is dialled: a call out is ten changes, a call in is four."""


def main(arguments: Sequence[str]) -> int:
    """Be an exchange for a while."""
    folder, boards, ports, rate, seconds = Path(arguments[0]), *map(float, arguments[1:])
    with contextlib.ExitStack() as stack:
        made = [
            stack.enter_context(SimulatedBoard(folder / f"board{serial}", int(ports), serial))
            for serial in range(1, int(boards) + 1)
        ]
        say("plugged in")
        for board in made:
            if not board.wait_for_sync(SYNC_WITHIN):
                raise TimeoutError("nobody asks a board for its ports")
        changes = _run(made, int(ports), rate, seconds)
        lost = sum(board.lost_bytes for board in made)
        calls = sum(len(board.calls) for board in made)
        say(json.dumps({"changes": changes, "calls": calls, "lost_bytes": lost}))
        sys.stdin.read()
    return 0


def _run(boards: Sequence[SimulatedBoard], ports: int, rate: float, seconds: float) -> int:
    numbers = itertools.count(1)
    lives = [
        _life(board, channel, numbers)
        # One port of each board in turn.
        for channel in range(1, ports + 1)
        for board in boards
    ]
    begun = time.monotonic()
    for done in range(int(rate * seconds)):
        wait = begun + done / rate - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        next(lives[done % len(lives)])
    # Each call goes on to its end.
    left = sum(_finish(life, board, channel) for life, board, channel in _places(lives, boards))
    return int(rate * seconds) + left


def _life(board: SimulatedBoard, channel: int, numbers: Iterator[int]) -> Iterator[None]:
    while True:
        board.ring(channel)
        yield
        board.number(channel, f"138{next(numbers):08}")
        yield
        board.answer(channel)
        yield
        board.hang_up(channel)
        yield
        board.off_hook(channel)
        yield
        for digit in f"{next(numbers):0{DIGITS}}":
            board.digits(channel, digit)
            yield
        board.hang_up(channel)
        yield


def _places(
    lives: Sequence[Iterator[None]], boards: Sequence[SimulatedBoard]
) -> Iterator[tuple[Iterator[None], SimulatedBoard, int]]:
    for index, life in enumerate(lives):
        yield life, boards[index % len(boards)], index // len(boards) + 1


def _finish(life: Iterator[None], board: SimulatedBoard, channel: int) -> int:
    changes = 0
    while board.look(channel).state is not LineState.ON_HOOK:
        next(life)
        changes += 1
    return changes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
