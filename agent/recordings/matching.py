"""Which call a recording belongs to: by port and overlap in time. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from agent.calls import Direction
from agent.recordings.judging import FinishedFile
from agent.recordings.names import LONGEST_DURATION, NameFacts

SLACK = 2.0
"""Seconds a recording may lie beside a call, where it overlaps none: names carry whole seconds,
and a recorder starts and stops a little late."""
NEAR_ITS_END = 600.0
"""Seconds between a recording's end and its file's last change that still tell which reading of its
name is meant: the hour that a clock repeats in autumn is an hour away."""
SUBSTANTIAL = 0.5
"""Part of the shorter of call and recording that must overlap, where the port is not sure."""
SHORTEST_SPAN = 1.0
"""Seconds; a recording of unknown length is taken to last this long."""
LIKE_DIGITS = 7
"""Digits from the end in which two spellings of a number (with or without area code) agree."""
CHANNEL_UNSAID = 1
"""The port of a record whose recording does not say one. The platform wants a port (PROTOCOL.md
2.2 `channel`: from 1), and most gateways that have only one leave it out of their names."""


class CallSpan(Struct, frozen=True):
    """A call, as far as matching needs it."""

    call_id: int
    board: int
    channel: int
    direction: Direction
    phone: str
    started: float
    """UNIX seconds."""
    ended: float | None
    """UNIX seconds; None: it still goes on."""
    over: float | None = None
    """UNIX seconds: nobody heard its end, and here it was found over; None: its end was heard."""


class Recorded(Struct, frozen=True):
    """A recording, as far as matching needs it."""

    facts: NameFacts
    duration: float | None
    """Seconds, as the audio says."""
    modified: float
    """UNIX seconds, as the file system says."""

    @classmethod
    def of(cls, file: FinishedFile) -> Recorded:
        """Take what counts of a finished file."""
        return cls(file.facts, file.audio.duration, file.modified_ns / 1_000_000_000)

    def spans(self) -> tuple[tuple[float, float], ...]:
        """Start and end in UNIX seconds, in all readings of the start; the likeliest first."""
        starts = self.facts.starts or ((self.facts.start,) if self.facts.start is not None else ())
        if starts:
            spans = [(start, start + self._length(start)) for start in starts]
            return tuple(sorted(spans, key=lambda span: not self._agrees(span)))
        end = self.facts.end if self.facts.end is not None else self.modified
        start = end - self._length(None)
        return ((start, end),)

    def span_near(self, moment: float) -> tuple[float, float]:
        """The reading of start and end that begins nearest to a moment in UNIX seconds."""
        return min(self.spans(), key=lambda span: abs(span[0] - moment))

    def likely(self) -> Recorded:
        """The same in that reading alone which its file's last change agrees with, if one does."""
        agreed = [span[0] for span in self.spans() if self._agrees(span)]
        if not agreed or len(self.facts.starts) < 2:
            return self
        return replace(self, facts=replace(self.facts, starts=tuple(agreed)))

    def _agrees(self, span: tuple[float, float]) -> bool:
        return abs(span[1] - self.modified) <= NEAR_ITS_END

    def _length(self, start: float | None) -> float:
        for known in (self.duration, self.facts.duration):
            if known is not None:
                return known
        if start is None:
            return 0.0
        # Neither audio nor name tell: it ended when it was written to last.
        end = self.facts.end if self.facts.end is not None else self.modified
        return end - start if 0 <= end - start <= LONGEST_DURATION else 0.0


class OwnCall(Struct, frozen=True):
    """The record of a recording that belongs to no known call."""

    board: int | None
    """None where the name does not say."""
    channel: int
    direction: Direction
    phone: str
    start: float
    """UNIX seconds."""
    end: float
    duration: float
    """Seconds."""


class _Fit(Struct, frozen=True):
    call: CallSpan
    overlap: float
    """Seconds; below 0: the gap between the two."""
    part: float
    """Overlap as a part of the shorter of the two."""
    distance: float
    """Seconds between the two starts."""
    same_phone: bool

    @property
    def order(self) -> tuple[float, float, bool]:
        # Milliseconds are below what any of the clocks means.
        return (-round(self.overlap, 3), round(self.distance, 3), not self.same_phone)


def best_call(recorded: Recorded, calls: Sequence[CallSpan], now: float) -> CallSpan | None:
    """Choose the call that was recorded; None where there is none, or it is not certain.

    `now`, in UNIX seconds, ends the calls that still go on. Port and box must agree where the name
    says them. Where the port is not certain, only one call with a substantial overlap counts.
    """
    likely = recorded.likely()
    found = _best(likely, calls, now)
    return _best(recorded, calls, now) if found is None and likely is not recorded else found


def _best(recorded: Recorded, calls: Sequence[CallSpan], now: float) -> CallSpan | None:
    here = [call for call in calls if _same_place(recorded.facts, call)]
    fits = [_fit(recorded, _lasting(call, recorded.facts, calls), now) for call in here]
    fits = [fit for fit in fits if fit.overlap >= -SLACK and not _is_of_another(recorded, fit)]
    fits = [fit for fit in fits if fit.overlap > 0] or fits
    if any(fit.same_phone for fit in fits):
        fits = [fit for fit in fits if not _numbers_differ(recorded.facts, fit.call)]
    certain = recorded.facts.channel is not None and len({fit.call.board for fit in fits}) == 1
    if not certain:
        fits = _only_one(recorded.facts, fits)
    return min(fits, key=lambda fit: fit.order).call if fits else None


def call_of_its_own(recorded: Recorded) -> OwnCall:
    """Make a record of what the recording's name and header say."""
    facts = recorded.facts
    start, end = recorded.spans()[0]
    return OwnCall(
        board=facts.serial,
        channel=facts.channel if facts.channel is not None else CHANNEL_UNSAID,
        direction=facts.direction if facts.direction is not None else Direction.UNKNOWN,
        phone=facts.phone or "",
        start=start,
        end=end,
        duration=end - start,
    )


def same_phone(one: str, other: str) -> bool:
    """Tell whether two spellings mean one number; an unknown number is like no other."""
    if not one or not other:
        return False
    shorter = min(len(one), len(other))
    return one == other or (shorter >= LIKE_DIGITS and one[-shorter:] == other[-shorter:])


def _same_place(facts: NameFacts, call: CallSpan) -> bool:
    return facts.channel in {None, call.channel} and facts.serial in {None, call.board}


def _lasting(call: CallSpan, facts: NameFacts, calls: Sequence[CallSpan]) -> CallSpan:
    """Let a call whose end nobody heard last as long as it can have."""
    if call.over is None or call.ended is None or _numbers_differ(facts, call):
        return call
    following = [
        other.started
        for other in calls
        if (other.board, other.channel) == (call.board, call.channel)
        and other.started > call.started
    ]
    return replace(call, ended=max(call.ended, min([call.over, *following])))


def _is_of_another(recorded: Recorded, fit: _Fit) -> bool:
    """A little in common is what the names' whole seconds make: the number counts for more."""
    return fit.part < SUBSTANTIAL and _numbers_differ(recorded.facts, fit.call)


def _numbers_differ(facts: NameFacts, call: CallSpan) -> bool:
    said = facts.phone or ""
    # One that was heard in part, while it was dialled, is no other number.
    return bool(call.phone and said) and not (
        same_phone(said, call.phone) or said.startswith(call.phone)
    )


def _fit(recorded: Recorded, call: CallSpan, now: float) -> _Fit:
    ended = max(call.ended if call.ended is not None else now, call.started)
    same = same_phone(recorded.facts.phone or "", call.phone)
    fits = []
    for start, end in recorded.spans():
        last = max(end, start + SHORTEST_SPAN)
        overlap = min(last, ended) - max(start, call.started)
        shorter = min(last - start, max(ended - call.started, SHORTEST_SPAN))
        fits.append(_Fit(call, overlap, overlap / shorter, abs(start - call.started), same))
    return min(fits, key=lambda fit: fit.order)


def _only_one(facts: NameFacts, fits: list[_Fit]) -> list[_Fit]:
    """Leave the one call that it must be, or none."""
    likely = [fit for fit in fits if fit.part >= SUBSTANTIAL]
    if facts.phone:
        # A number that differs speaks against a call; one that the board did not hear does not.
        likely = [fit for fit in likely if fit.same_phone or not fit.call.phone]
        likely = [fit for fit in likely if fit.same_phone] or likely
    return likely if len(likely) == 1 else []
