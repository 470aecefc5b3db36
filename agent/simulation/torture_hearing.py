"""What the agent could hear: for each port, the times in which no line about it got through.

A line does not get through while the daemon is dead, or where the cable damaged it. Then only the
next good line about the port tells how it stands: what was between, no gateway can know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from agent.simulation.truth import TrueCall

WRITING = 1.0
"""Seconds that a line may take from the board into the ledger on a loaded machine. What was said
this short a time before a kill may not have been written down."""


SAYING = 0.05
"""Seconds at most between a change and the moment at which its line goes out, or is damaged."""
COUNTED = 1.0
"""Seconds of ringing of which the board's TIMELEN says nothing yet, as it counts whole ones."""


class Span(Struct, frozen=True):
    """From one moment (UNIX seconds) or length (seconds) to another."""

    begin: float
    end: float

    def __contains__(self, moment: float) -> bool:
        return self.begin <= moment <= self.end

    def wider(self, by: float) -> Span:
        """Return it with so much more at either end."""
        return Span(self.begin - by, self.end + by)


class Heard(Struct, frozen=True):
    """A true call, and what of it could not be heard."""

    call: TrueCall
    start: Span | None
    """The silence in which it began; None: its beginning could be heard. So the others."""
    answer: Span | None
    end: Span | None
    number: Span | None
    """The silence in which its number became known as a whole."""
    follower: TrueCall | None = None
    """A call with which it may look like one: this one ended unanswered, and the other began, in
    one silence, after which the other had rung too short a time for the board to count, and no
    number that was heard told them apart."""

    @property
    def unheard(self) -> bool:
        """Whether it began and ended in one silence, so that no line told of it."""
        return self.end is not None and self.end == self.start


def listen(
    lines: Sequence[dict[str, Any]], kills: Sequence[float], calls: Iterable[TrueCall]
) -> list[Heard]:
    """Tell what could be heard of each call; `lines` are the board's journal."""
    calls = sorted(calls, key=lambda call: (call.channel, call.started))
    silences = _silences(lines, kills, {call.channel for call in calls})
    heard = [_heard(call, silences[call.channel], lines) for call in calls]
    syncs = [line["at"] for line in lines if line["event"] == "sync"]
    return [
        replace(one, follower=other.call if other and _look_like_one(one, other, syncs) else None)
        for one, other in zip_longest(heard, heard[1:])
    ]


def _heard(call: TrueCall, silences: Sequence[Span], lines: Sequence[dict[str, Any]]) -> Heard:
    def around(moment: float | None) -> Span | None:
        if moment is None:
            return None
        return next((span for span in silences if moment in span), None)

    numbered = next(
        (
            line["at"]
            for line in lines
            if line["event"] == "state"
            and line["channel"] == call.channel
            and call.started <= line["at"] <= call.ended
            and line["phone"] == call.phone
        ),
        call.started,
    )
    return Heard(
        call, around(call.started), around(call.answered), around(call.ended), around(numbered)
    )


def _look_like_one(one: Heard, other: Heard, syncs: Sequence[float]) -> bool:
    return (
        one.call.channel == other.call.channel
        and one.call.answered is None
        and one.end is not None
        and one.end == other.start
        and any(0 <= sync - other.call.started < COUNTED for sync in syncs)
        and (one.number == one.end or other.number != one.end)
    )


def _silences(
    lines: Sequence[dict[str, Any]], kills: Sequence[float], channels: Iterable[int]
) -> dict[int, list[Span]]:
    """Return each port's silences in order, none touching another."""
    # A kill sorts before what the board wrote in the same moment.
    story = sorted(
        [({"event": "kill"}, at) for at in kills] + [(line, _moment(line)) for line in lines],
        key=lambda entry: entry[1],
    )
    return {channel: _joined(_of_channel(story, channel)) for channel in channels}


def _of_channel(story: Sequence[tuple[dict[str, Any], float]], channel: int) -> Iterable[Span]:
    dead = False
    silent_since: float | None = None
    for line, at in story:
        event = line["event"]
        dead = event == "kill" or (dead and event != "sync")
        here = line.get("channel") == channel
        if event == "kill" and silent_since is None:
            silent_since = at - WRITING
        elif event == "damaged" and here and silent_since is None:
            silent_since = at - SAYING
        elif event == "sync" or (event == "state" and here and not dead):
            # The board says everything anew; or the port's next line gets through, unless the
            # journal goes on to say that it was damaged.
            if silent_since is not None:
                yield Span(silent_since, at)
            silent_since = None
    if silent_since is not None:
        yield Span(silent_since, float("inf"))


def _joined(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in spans:
        if joined and span.begin <= joined[-1].end + WRITING:
            joined[-1] = Span(joined[-1].begin, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def _moment(line: dict[str, Any]) -> float:
    return float(line["ended"] if line["event"] == "call" else line["at"])
