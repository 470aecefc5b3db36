"""The demo's account: what truly happened against what the platform holds."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from agent.simulation.booking import BookedFile, BookedRecord
from agent.simulation.truth import TrueCall
from agent.text import masked_phone

TOLERANCE = 2.0
"""Seconds by which start and length may differ: both ends round to whole seconds."""

SAME_MOMENT = 0.5
"""Seconds between the answer and its recording's beginning, both by the board's journal."""


class MadeRecording(Struct, frozen=True):
    """A recording as it lies in the gateway's directory."""

    name: str
    channel: int
    started: float
    """UNIX seconds at which the recording began."""
    seconds: float
    sha256: str


class HeldFile(Struct, frozen=True):
    """A recording as it lies at the platform."""

    booked: BookedFile
    sha256: str
    """Of the bytes on the platform's disk."""


class Account(Struct):
    """Figures, and each difference as a sentence."""

    calls: int = 0
    records: int = 0
    recordings: int = 0
    files: int = 0
    equal: int = 0
    """Recordings whose digest is the same at both ends."""
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)
    """Each recording's digest at both ends, a line each."""

    @property
    def agrees(self) -> bool:
        """Whether nothing is lost, doubled or altered, and there was anything at all."""
        return self.calls > 0 and not (self.lost or self.doubled or self.altered)

    @property
    def differences(self) -> list[str]:
        """All differences."""
        return [
            *(f"lost: {line}" for line in self.lost),
            *(f"doubled: {line}" for line in self.doubled),
            *(f"altered: {line}" for line in self.altered),
        ]

    def table(self) -> str:
        """Return the closing table."""
        rows = [
            ("calls made", self.calls),
            ("records booked", self.records),
            ("recordings made", self.recordings),
            ("files delivered", self.files),
            ("digests equal at both ends", self.equal),
            ("lost", len(self.lost)),
            ("doubled", len(self.doubled)),
            ("altered", len(self.altered)),
        ]
        line = "+" + "-" * 30 + "+" + "-" * 8 + "+"
        return "\n".join([line, *(f"| {name:<28} | {count:>6} |" for name, count in rows), line])


def settle(
    calls: Sequence[TrueCall],
    recordings: Sequence[MadeRecording],
    records: Sequence[BookedRecord],
    files: Sequence[HeldFile],
) -> Account:
    """Compare call by call and recording by recording."""
    account = Account(len(calls), len(records), len(recordings), len(files))
    booked = _compare_calls(account, calls, records)
    compare_recordings(account, recordings, files, booked)
    compare_flags(account, records, files)
    return account


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def made_recordings(directory: Path, lines: Iterable[dict[str, Any]]) -> list[MadeRecording]:
    """Return what the recorder's journal names, with digests taken from the disk now."""
    return [
        MadeRecording(
            name=line["file"],
            channel=line["channel"],
            started=line["started"],
            seconds=line["seconds"],
            sha256=digest(directory / line["file"]) if (directory / line["file"]).exists() else "",
        )
        for line in lines
        if line.get("event") == "recorded"
    ]


def _compare_calls(
    account: Account, calls: Sequence[TrueCall], records: Sequence[BookedRecord]
) -> dict[str, TrueCall]:
    """Note differences; return the call of each record, by callid."""
    booked: dict[str, TrueCall] = {}
    for call in calls:
        own = [record for record in records if _same_call(call, record)]
        if not own:
            account.lost.append(f"no record of {named(call)}")
        if len(own) > 1:
            account.doubled.append(f"{len(own)} records of {named(call)}")
        for record in own:
            booked[record.callid] = call
            account.altered += _changes(call, record)
    for record in records:
        if record.callid not in booked:
            account.doubled.append(
                f"record {record.callid} on port {record.channel} belongs to no call"
            )
    return booked


def compare_recordings(
    account: Account,
    recordings: Sequence[MadeRecording],
    files: Sequence[HeldFile],
    booked: dict[str, TrueCall],
) -> None:
    """Note what differs between both ends; `booked` is the call of each record, by callid."""
    arrived = Counter(held.sha256 for held in files)
    made = {recording.sha256: recording for recording in recordings}
    for recording in recordings:
        count = arrived[recording.sha256]
        account.equal += count > 0
        account.compared.append(
            f"port {recording.channel}  {recording.seconds:5.1f} s  here {_short(recording.sha256)}"
            f"  there {_short(recording.sha256) + '  equal' if count else 'none'}"
        )
        if count == 0:
            account.lost.append(f"recording of port {recording.channel}, {recording.seconds:.0f} s")
        if count > 1:
            account.doubled.append(f"recording of port {recording.channel} came {count} times")
    for held in files:
        file = held.booked
        source = made.get(held.sha256)
        call = booked.get(file.callid)
        if source is None:
            account.altered.append(f"file {file.stored}: its bytes are no recording's")
        elif call is None or not _recorded(call, source):
            account.altered.append(f"file {file.stored} went to another call's record")
        if held.sha256 != file.sha256:
            account.altered.append(f"file {file.stored} changed on the platform's disk")


def compare_flags(
    account: Account, records: Sequence[BookedRecord], files: Sequence[HeldFile]
) -> None:
    """Note records whose `recorded` is not borne out by a file."""
    delivered = {held.booked.callid for held in files}
    for record in records:
        if record.recorded != (record.callid in delivered):
            account.altered.append(
                f"record {record.callid} says recorded={record.recorded}, but"
                f" {'a' if record.callid in delivered else 'no'} file came"
            )


def _short(sha256: str) -> str:
    return sha256[:16] or "gone"


def _same_call(call: TrueCall, record: BookedRecord) -> bool:
    return call.channel == record.channel and abs(call.started - record.started) <= TOLERANCE


def _recorded(call: TrueCall, recording: MadeRecording) -> bool:
    """Tell whether it is the call's recording, which begins with the talk."""
    return (
        call.channel == recording.channel
        and call.answered is not None
        and abs(recording.started - call.answered) <= SAME_MOMENT
    )


def _changes(call: TrueCall, record: BookedRecord) -> list[str]:
    changes = []
    if record.direction != call.direction:
        changes.append(f"direction {record.direction} of {named(call)}")
    if record.phone != call.phone:
        changes.append(f"number {masked_phone(record.phone) or 'missing'} of {named(call)}")
    if abs(record.duration - call.duration) > TOLERANCE:
        changes.append(f"duration {record.duration} s, not {call.duration:.1f}, of {named(call)}")
    return changes


def named(call: TrueCall) -> str:
    """Name a call for people, its number masked."""
    phone = masked_phone(call.phone) or "no number"
    return f"the {call.direction} call on port {call.channel} with {phone}"
