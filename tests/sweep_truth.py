"""What must hold after a crash sweep's run, whenever power failed.

The records are held against the truth. A few fields can't be known after a power cut, and each of
these stands here by itself; whatever else differs from the truth is a fault of the gateway.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from urllib.parse import parse_qs

from agent.ledger import FILE_NAME
from agent.simulation.booking import BookedRecord
from tests.sweep import Gap, Run
from tests.sweep_script import DIALLED
from tests.sweep_world import TrueCall

WHOLE = 1.0
"""Seconds: records carry whole ones, and so does a board's TIMELEN."""
INSTANT = 0.05
"""Seconds by which what happens is heard later."""


def faults(run: Run, bodies: list[str]) -> list[str]:
    """Hold a run that came to rest against the truth; return all that is wrong, in words.

    `bodies` of the records that this gateway sent, each as often as it was sent.
    """
    return [
        *_faults_of_calls(run),
        *_faults_of_files(run),
        *_faults_of_numbers(run, bodies),
        *_faults_of_errands(run),
    ]


def _faults_of_calls(run: Run) -> list[str]:
    found = []
    left = [one for one in run.world.platform.records if one.satellite == run.world.satellite]
    for call in run.world.calls:
        booked = [record for record in left if _is_of(record, call)]
        left = [record for record in left if record not in booked]
        if len(booked) == 1:
            found += [f"{_shown(booked[0], run)}: {what}" for what in _wrong(booked[0], call, run)]
        elif booked or call.recorded + call.late or not _unheard(call, run.gaps):
            found.append(f"{call} is booked {len(booked)} times")
    return found + [f"{_shown(record, run)} is of no call that there was" for record in left]


def _is_of(record: BookedRecord, call: TrueCall) -> bool:
    assert call.ended is not None
    same_port = record.channel == call.channel
    return same_port and record.started <= call.ended and record.ended >= int(call.started)


def _unheard(call: TrueCall, gaps: list[Gap]) -> bool:
    """There was no power from its beginning to its end: a recording alone can tell of it.

    The ends of a gap are the moments of a cut and of the new start, and what happens in them may
    have been heard or not.
    """
    assert call.ended is not None
    return call.on_a_port and any(
        gap.begin - INSTANT <= call.started and call.ended <= gap.end for gap in gaps
    )


def _wrong(record: BookedRecord, call: TrueCall, run: Run) -> list[str]:
    assert call.ended is not None
    heard_answer = call.answered is None or _is_remembered(call.answered, call, run.gaps)
    heard_end = _heard(call.ended, call, run.gaps)
    wrong = []
    told_by_file = _unheard(call, run.gaps)
    # Such a record may begin with its recording, which begins with the talk.
    recorded = call.recorded + (call.late if told_by_file else [])
    starts = [call.started, *(begin for begin, _ in recorded if told_by_file)]
    if all(abs(record.started - start) > WHOLE for start in starts):
        wrong.append(f"it began at {call.started - run.world.began:g}")
    if record.phone != call.phone:
        wrong.append(f"it was with {call.phone}")
    if record.direction != call.direction and (heard_answer or recorded):
        wrong.append(f"its direction was {call.direction}")
    earliest, latest = call.ended - WHOLE, call.ended + WHOLE
    if not heard_end:
        # The end of a recording tells it, and else the last that was heard of the call.
        known = [end for _, end in call.recorded] or [_last_heard(call, run.gaps)]
        # Of several recordings the first makes the record, and those that follow belong to it.
        earliest = (min(known) if told_by_file else max(known)) - WHOLE
    if not earliest <= record.ended <= latest:
        wrong.append(f"it ended at {call.ended - run.world.began:g}")
    shortest = longest = call.ended - call.answered if call.answered is not None else 0.0
    if call.answered is not None and not (heard_answer and heard_end):
        # An answer not heard lies somewhere between the first ring and the next word about it.
        longest = record.ended - record.started
        begin = min((begin for begin, _ in call.recorded), default=call.ended)
        shortest = min(longest, max(0.0, earliest - begin))
    if not shortest - WHOLE <= record.duration <= longest + WHOLE:
        wrong.append(f"it lasted from {shortest:g} to {longest:g}")
    return wrong


def _heard(moment: float, call: TrueCall, gaps: list[Gap]) -> bool:
    return not call.on_a_port or not any(gap.begin - INSTANT <= moment <= gap.end for gap in gaps)


def _is_remembered(answered: float, call: TrueCall, gaps: list[Gap]) -> bool:
    """Tell whether an answer was heard, and waited for the disk as power failed during the call."""
    forgotten = any(
        gap.known - INSTANT <= answered <= gap.begin and call.ended and gap.begin <= call.ended
        for gap in gaps
    )
    return _heard(answered, call, gaps) and not forgotten


def _last_heard(call: TrueCall, gaps: list[Gap]) -> float:
    """The last moment before the call's end of which the gateway surely knew."""
    answered = call.answered
    if answered is not None and _is_remembered(answered, call, gaps):
        return answered
    return call.started


def _shown(record: BookedRecord, run: Run) -> str:
    times = f"{record.started - run.world.began:g} to {record.ended - run.world.began:g}"
    words = (record.direction, record.phone, f"port {record.channel}", f"{record.duration} s")
    return f"record {record.id} ({times}, {', '.join(words)})"


def _faults_of_files(run: Run) -> list[str]:
    world = run.world
    callids = {one.callid for one in world.platform.records if one.satellite == world.satellite}
    arrived = Counter(file.sha256 for file in world.platform.files if file.callid in callids)
    found = [
        f"a file is at the platform {arrived[one]} times" for one in arrived if arrived[one] > 1
    ]
    found += [f"file {one[:8]} did not arrive" for one in world.digests if not arrived[one]]
    found += [
        f"file {one[:8]} is none that there was" for one in arrived.keys() - set(world.digests)
    ]
    found += [f"{name} was deleted undelivered" for name in run.undelivered_unlinked]
    here = {path.name for path in world.recordings.iterdir()}
    # All others are delivered, and a delivered file goes.
    found += [f"{name} is gone" for name in set(world.kept) - here]
    found += [f"{name} was left" for name in here - set(world.kept)]
    return found


def _faults_of_numbers(run: Run, bodies: list[str]) -> list[str]:
    found = []
    sent = defaultdict(set)
    for body in (one for one in bodies if one.startswith("cmd=upload")):
        sent[parse_qs(body)["id"][0]].add(body)
    found += [f"record {number} was sent in two forms" for number in sent if len(sent[number]) > 1]
    with closing(sqlite3.connect(run.world.state / FILE_NAME)) as ledger:
        given = ledger.execute(
            "SELECT id FROM calls UNION ALL SELECT id FROM recordings"
            " UNION ALL SELECT id FROM errands"
        ).fetchall()
    twice = [number for number, count in Counter(given).items() if count > 1]
    found += [f"number {number[0]} was given out twice" for number in twice]
    unknown = {int(number) for number in sent} - {number for (number,) in given}
    return found + [f"number {number} was sent and forgotten" for number in unknown]


def _faults_of_errands(run: Run) -> list[str]:
    """Each is obeyed once; not at all where power failed between its fetching and its obeying.

    Then it may have been obeyed, for all that the gateway can know.
    """
    world, found = run.world, []
    for errand, done in (("dial", len(world.dialled)), ("function", world.functions_run)):
        if done != 1 and not (done == 0 and errand in run.may_be_undone):
            found.append(f"the {errand} was done {done} times")
    if set(world.dialled) - {DIALLED}:
        found.append(f"{world.dialled} were dialled")
    with closing(sqlite3.connect(world.state / FILE_NAME)) as ledger:
        journal = ledger.execute("SELECT kind, state FROM errands").fetchall()
    found += [f"the {kind} is still {state}" for kind, state in journal if state == "ordered"]
    counts = Counter(kind for kind, _ in journal)
    return found + [f"{counts[one]} errands of kind {one}" for one in counts if counts[one] > 1]
