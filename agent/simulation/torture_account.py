"""The storm's account: what truly happened against what the platform holds, judged fairly.

Strict: every call of which anything could be heard, or which was recorded, has one record; every
recording is at the platform once, byte for byte, under its own call's record; direction, number,
start, hang-up and duration are true.

What no gateway can know is not held against it (see torture_hearing):

- A call that rang and was given up in one silence is *unheard*: nothing on the box tells of it.
- A call that was answered and ended in one silence is told by its recording alone. It begins
  with the talk, for that is when its recording does.
- A moment that fell into a silence may be booked anywhere up to the end of that silence. But a call
  that was recorded lasts no shorter than its recording.
- Where one call ended unanswered and the next rang on the same port in one silence, so shortly
  before its end that the board did not count a second yet, both look like one. Booked as one, the
  other counts as unheard.
- A number of which the end fell into the silence in which its call ended, unanswered, may be
  booked as far as it was heard.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from agent.simulation.booking import BookedRecord
from agent.simulation.demo_account import (
    TOLERANCE,
    Account,
    HeldFile,
    MadeRecording,
    compare_flags,
    compare_recordings,
    named,
)
from agent.simulation.torture_hearing import Heard, Span
from agent.simulation.truth import TrueCall
from agent.text import masked_phone

HALF = 0.5
"""Seconds: a record that says a whole second most likely means the middle of it."""


class StormAccount(Account):
    """An account with what could not be known."""

    unheard: int = 0
    """Calls of which nothing on the box tells: they rang and ended in one silence."""


class _Due(Struct, frozen=True):
    """What a call's record may say."""

    heard: Heard
    start: Span
    hang_up: Span
    duration: Span

    @property
    def call(self) -> TrueCall:
        return self.heard.call


def judge(
    calls: Sequence[Heard],
    recordings: Sequence[MadeRecording],
    records: Sequence[BookedRecord],
    files: Sequence[HeldFile],
) -> StormAccount:
    """Compare call by call and recording by recording."""
    account = StormAccount(len(calls), len(records), len(recordings), len(files))
    booked = _compare_calls(account, [_due(heard) for heard in calls], records)
    compare_recordings(account, recordings, files, booked)
    compare_flags(account, records, files)
    return account


def _due(heard: Heard) -> _Due:
    call = heard.call
    start = Span(call.started, call.started)
    if heard.unheard and call.answered is not None:
        start = Span(call.started, call.answered)
    earliest = call.started if call.answered is None else call.ended
    end = Span(call.ended, call.ended) if heard.end is None else Span(earliest, heard.end.end)
    duration = Span(0.0, 0.0)
    if call.answered is not None:
        answer = Span(call.answered, call.answered)
        if heard.answer is not None:
            answer = Span(call.started, min(heard.answer.end, call.ended))
        duration = Span(end.begin - answer.end, end.end - answer.begin)
    return _Due(heard, start.wider(TOLERANCE), end.wider(TOLERANCE), duration.wider(TOLERANCE))


def _compare_calls(
    account: StormAccount, dues: Sequence[_Due], records: Sequence[BookedRecord]
) -> dict[str, TrueCall]:
    """Note differences; return the call of each record, by callid."""
    of_call: dict[int, list[BookedRecord]] = {index: [] for index in range(len(dues))}
    booked: dict[str, TrueCall] = {}
    told: set[int] = set()
    """Calls that a record of the call before tells of."""
    for record in records:
        index = _nearest(dues, record)
        if index is None:
            account.doubled.append(
                f"record {record.callid} on port {record.channel} belongs to no call"
            )
        else:
            of_call[index].append(record)
            booked[record.callid] = dues[index].call
    for index, own in of_call.items():
        due = dues[index]
        if not own and (index in told or (due.heard.unheard and due.call.answered is None)):
            account.unheard += 1
        elif not own:
            account.lost.append(f"no record of {named(due.call)}, begun {due.call.started:.1f}")
        elif len(own) > 1:
            numbers = " ".join(record.callid for record in own)
            account.doubled.append(f"{len(own)} records of {named(due.call)}: {numbers}")
        for record in own:
            changes = _changes(due, record)
            if changes and due.heard.follower and not of_call[index + 1]:
                due = _as_one(due.heard, dues[index + 1].heard)
                changes = _changes(due, record)
                booked[record.callid] = due.call
                told.add(index + 1)
            account.altered += changes
    return booked


def _as_one(heard: Heard, follower: Heard) -> _Due:
    """What a record may say in which two calls look like one."""
    call = replace(follower.call, started=heard.call.started)
    return _due(replace(follower, call=call, start=heard.start))


def _nearest(dues: Sequence[_Due], record: BookedRecord) -> int | None:
    # What a record tells says more than its whole second: two calls may begin within one.
    fitting = [
        (len(_changes(due, record)), abs(due.call.started - record.started - HALF), index)
        for index, due in enumerate(dues)
        if due.call.channel == record.channel and record.started in due.start
    ]
    return min(fitting)[2] if fitting else None


def _changes(due: _Due, record: BookedRecord) -> list[str]:
    call = due.call
    changes = []
    if record.direction != call.direction:
        changes.append(f"direction {record.direction}")
    if record.phone != call.phone and not _as_far_as_heard(due.heard, record.phone):
        changes.append(f"number {masked_phone(record.phone) or 'missing'}")
    for what, said, allowed in (
        ("hang-up", record.ended, due.hang_up),
        ("duration", record.duration, due.duration),
    ):
        if said not in allowed:
            changes.append(f"{what} {said}, not {allowed.begin:.1f} to {allowed.end:.1f}")
    return [f"{change} of {named(call)}, record {record.callid}" for change in changes]


def _as_far_as_heard(heard: Heard, phone: str) -> bool:
    cut = heard.end is not None and heard.number == heard.end and heard.call.answered is None
    return cut and heard.call.phone.startswith(phone)
