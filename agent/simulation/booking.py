"""What the simulated platform has booked: call records and files, on disk before it answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from agent.simulation.fields import BAD_PARAMETER, RECORD_NOT_FOUND, Refusal
from agent.simulation.journal import Journal, read

FIRST_CALLID = 7_687_658_987_667_780_097
"""Beyond 2^53, and counted up by one: who keeps callids as doubles mixes neighbours up."""


class BookedRecord(Struct, frozen=True):
    """A call record (PROTOCOL.md 2.2, step 1)."""

    callid: str
    satellite: str
    channel: int
    direction: str
    phone: str
    started: int
    """UNIX seconds."""
    ended: int
    """UNIX seconds."""
    duration: int
    """Seconds."""
    id: int
    recorded: int
    body: str
    """The request's body as it came."""

    @property
    def key(self) -> tuple[str, int, str, int]:
        """What makes a record the same one, as the sibling server has it (PROTOCOL.md 2.2)."""
        return self.satellite, self.channel, self.direction, self.started


class BookedFile(Struct, frozen=True):
    """A recording (PROTOCOL.md 2.2, step 2)."""

    callid: str
    name: str
    """As the gateway sent it."""
    size: int
    sha256: str
    stored: str
    """Its name in the platform's directory."""


class UploadedFile(Struct, frozen=True):
    """A file that came whole and waits to be booked."""

    path: Path
    name: str
    size: int
    sha256: str


class Bookings:
    """Records and files, kept in `directory`; a later start finds them again. Not thread-safe."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.records: dict[str, BookedRecord] = {}
        self.files: list[BookedFile] = []
        self.repeats = 0
        self.repeated_files = 0
        self._by_key: dict[tuple[str, int, str, int], str] = {}
        self._files_of: dict[str, list[BookedFile]] = {}
        self._callids_given = 0
        path = directory / "platform.jsonl"
        for line in read(path):
            self._remember(line)
        self._journal = Journal(path, durable=True)

    def book_record(self, form: Mapping[str, str], body: str) -> tuple[BookedRecord, bool]:
        """Book a record; return it and whether it was booked before.

        Raises Refusal where the same record came with other bytes.
        """
        record = BookedRecord(
            callid=str(FIRST_CALLID + self._callids_given),
            satellite=form["satellite"].upper(),
            channel=int(form["channel"]),
            direction=form["direction"],
            phone=form["callid_dialed"],
            started=int(form["start_time_secs"]),
            ended=int(form["start_time_hangup"]),
            duration=int(form["duration_secs"]),
            id=int(form["id"]),
            recorded=int(form["recorded"]),
            body=body,
        )
        booked = self.records.get(self._by_key.get(record.key, ""))
        if booked is None:
            self._book({"event": "record", **asdict(record)})
            return record, False
        self.repeats += 1
        if booked.body != body:
            raise Refusal(
                BAD_PARAMETER,
                f"record {booked.callid} came again with other bytes:"
                f" {body!r}, not {booked.body!r}",
            )
        return booked, True

    def record_of(self, form: Mapping[str, str]) -> BookedRecord:
        """Return the record that a file belongs to. Raises Refusal."""
        record = self.records.get(form["callid"])
        if record is None:
            raise Refusal(
                RECORD_NOT_FOUND, f"no record with callid {form['callid']}", violation=False
            )
        if record.satellite != form["satellite"].upper():
            raise Refusal(BAD_PARAMETER, f"callid {record.callid} belongs to another satellite")
        return record

    def book_file(self, record: BookedRecord, uploaded: UploadedFile) -> BookedFile:
        """Book a whole file, durably; the same content for the same record is booked once."""
        known = self._files_of.get(record.callid, [])
        for file in known:
            if file.sha256 == uploaded.sha256:
                self.repeated_files += 1
                uploaded.path.unlink()
                return file
        stored = f"{record.callid}_{len(known) + 1}_{uploaded.name}"
        uploaded.path.rename(self.directory / stored)
        _sync_directory(self.directory)
        booked = BookedFile(record.callid, uploaded.name, uploaded.size, uploaded.sha256, stored)
        self._book({"event": "file", **asdict(booked)})
        return booked

    def forget(self, callid: str) -> None:
        """Lose a record, as a platform restored from a backup does: its file gets 3003 then."""
        if callid in self.records:
            self._book({"event": "forgotten", "callid": callid})

    def _book(self, line: dict[str, Any]) -> None:
        self._journal.write(line)
        self._remember(line)

    def _remember(self, line: dict[str, Any]) -> None:
        event = line.get("event")
        values = {name: value for name, value in line.items() if name != "event"}
        if event == "record":
            record = BookedRecord(**values)
            self.records[record.callid] = record
            self._by_key[record.key] = record.callid
            self._callids_given += 1
        elif event == "file":
            file = BookedFile(**values)
            self.files.append(file)
            self._files_of.setdefault(file.callid, []).append(file)
        elif event == "forgotten":
            forgotten = self.records.pop(line["callid"])
            self._by_key.pop(forgotten.key, None)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
