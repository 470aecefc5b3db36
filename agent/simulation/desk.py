"""The simulated platform without its network: what it knows, and what each command does."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from msgspec.structs import asdict

from agent.simulation import fields
from agent.simulation.booking import BookedFile, BookedRecord, Bookings
from agent.simulation.faults import Faults
from agent.simulation.fields import BAD_PARAMETER, Refusal
from agent.simulation.receiving import Upload
from agent.text import masked_phone, printable

MOST_KEPT = 10_000
"""Reports and violations that are remembered; a test looks at the last few."""
MOST_PENDING = 50_000
"""Messages and calls that wait for one gateway: room for a list that is meant to be too long."""

Work = Callable[[], dict[str, Any]]
"""What a valid request asks for: done under the desk's lock, returns what the answer adds."""


class Desk:
    """Bookings, reports, what waits for gateways; safe to use from all threads."""

    def __init__(
        self, directory: Path, faults: Faults, announce: Callable[[str], None] = lambda line: None
    ) -> None:
        self.faults = faults
        self.changed = threading.Condition(threading.RLock())
        """Notified after each change; its lock guards everything here."""
        self.bookings = Bookings(directory)
        self.reports: deque[dict[str, Any]] = deque(maxlen=MOST_KEPT)
        self.violations: deque[str] = deque(maxlen=MOST_KEPT)
        self.requests: Counter[str] = Counter()
        self.connections = 0
        self.cut_uploads = 0
        self.uploading = 0
        """Files whose bodies are being read now."""
        self.calls: dict[str, deque[dict[str, Any]]] = defaultdict(
            lambda: deque(maxlen=MOST_PENDING)
        )
        self.messages: dict[str, deque[Any]] = defaultdict(lambda: deque(maxlen=MOST_PENDING))
        self._last_reports: dict[str, dict[str, Any]] = {}
        self._announce = announce

    def command_of(self, form: Mapping[str, str]) -> str:
        """Name the command of a URL-encoded request, as faults and counters call it."""
        command = form.get("cmd", "")
        if command.startswith("getMessageList"):
            return "messages"
        return {"channelstatus": "report", "upload": "record", "getCallList": "calls"}.get(
            command, "unknown"
        )

    def prepare(self, command: str, form: Mapping[str, str], body: str) -> Work:
        """Check a form and return the work that it asks for. Raises Refusal."""
        if command == "record":
            fields.check_record(form)
            return lambda: self._book_record(form, body)
        if command == "report":
            status = fields.check_report(form)
            return lambda: self._take_report(form, status)
        if command in ("messages", "calls"):
            fields.check_form(form, fields.QUESTION)
            return lambda: {"data": self._hand_out(form["cmd"], form["satellite"].upper())}
        raise Refusal(BAD_PARAMETER, f"cmd is {form.get('cmd')!a}, which is no command")

    def prepare_file(self, upload: Upload) -> Work:
        """Check a file's fields and return the work of booking it. Raises Refusal."""
        fields.check_form(upload.form, fields.FILE)
        return lambda: self._book_file(upload)

    def perform(self, work: Work) -> dict[str, Any]:
        """Do the work and wake who waits for it. Raises Refusal."""
        with self.changed:
            try:
                return work()
            finally:
                self.changed.notify_all()

    def count(self, **more: int | str) -> None:
        """Count a request (`command="record"`), a connection, an upload begun or broken."""
        with self.changed:
            if "command" in more:
                self.requests[str(more["command"])] += 1
            self.connections += int(more.get("connections", 0))
            self.cut_uploads += int(more.get("cut_uploads", 0))
            self.uploading += int(more.get("uploading", 0))
            self.changed.notify_all()

    def object_to(self, command: str, refusal: Refusal) -> None:
        """Note that a gateway broke the protocol."""
        if not refusal.violation:
            return
        line = printable(f"{command}: {refusal.message}", most=1000)
        with self.changed:
            self.violations.append(line)
            self.changed.notify_all()
        print(f"violation: {line}", file=sys.stderr, flush=True)

    def send_call(self, mac: str, channel: int | str, phone: str, serial: int | str = 1) -> None:
        """Let a call come out of the gateway's next `getCallList` (PROTOCOL.md 3)."""
        entry = {"status": "0", "mdcWan": str(channel), "mdcCode": str(serial), "phone": phone}
        with self.changed:
            self.calls[mac.upper()].append(entry)
            self.changed.notify_all()
        self._announce(f"call to place: port {channel}, {masked_phone(phone)}")

    def send_message(self, mac: str, entry: object) -> None:
        """Let an entry come out of the gateway's next `getMessageList`, whatever it is."""
        with self.changed:
            self.messages[mac.upper()].append(entry)
            self.changed.notify_all()

    def send_function(
        self, mac: str, name: str, parameters: Mapping[str, str], port: int | str = 1
    ) -> None:
        """Let a message that names a function come out of the gateway's next `getMessageList`."""
        memo = {"functionname": name, "paramvalue": urlencode(parameters)}
        entry = {"status": "51", "mdcWan": str(port), "mdcCode": "1", "phone": "", "memo": memo}
        self.send_message(mac, entry)
        self._announce(f"message: function {printable(name)}")

    def forget(self, callid: str) -> None:
        """Lose a record."""
        with self.changed:
            self.bookings.forget(callid)
            self.changed.notify_all()

    def wait_for(self, predicate: Callable[[], bool], seconds: float) -> bool:
        """Wait until the predicate holds, looking after each change; False: it did not in time."""
        with self.changed:
            return self.changed.wait_for(predicate, seconds)

    def state(self) -> dict[str, Any]:
        """Return everything for `/simulation/state`."""
        with self.changed:
            return {
                "records": [asdict(record) for record in self.bookings.records.values()],
                "files": [asdict(file) for file in self.bookings.files],
                "reports": dict(self._last_reports),
                "violations": list(self.violations),
                "repeats": self.bookings.repeats,
                "repeated_files": self.bookings.repeated_files,
                "cut_uploads": self.cut_uploads,
                "uploading": self.uploading,
                "connections": self.connections,
                "requests": dict(self.requests),
                "pending_calls": {mac: list(calls) for mac, calls in self.calls.items() if calls},
                "pending_messages": {mac: len(left) for mac, left in self.messages.items() if left},
                "faults": self.faults.shown(),
            }

    def _book_record(self, form: Mapping[str, str], body: str) -> dict[str, Any]:
        record, repeated = self.bookings.book_record(form, body)
        if not repeated:
            self._announce(_record_line(record))
            return {"callid": record.callid}
        for fault in self.faults.draw("record", {"duplicate"}).values():
            callid = {} if "silent" in fault.options else {"callid": record.callid}
            return {"status": fault.code, "message": "this record is already here", **callid}
        return {"callid": record.callid}

    def _book_file(self, upload: Upload) -> dict[str, Any]:
        if upload.file is None:
            raise Refusal(BAD_PARAMETER, "file is missing")
        record = self.bookings.record_of(upload.form)
        before = len(self.bookings.files)
        file = self.bookings.book_file(record, upload.file)
        if len(self.bookings.files) > before:
            self._announce(_file_line(file, record))
        return {}

    def _take_report(self, form: Mapping[str, str], status: dict[str, Any]) -> dict[str, Any]:
        satellite = form["satellite"].upper()
        report = {
            "satellite": satellite,
            "id": int(form["id"]),
            "time": int(form["time"]),
            "status": status,
            "received": time.time(),
        }
        self.reports.append(report)
        self._last_reports[satellite] = report
        return {}

    def _hand_out(self, command: str, satellite: str) -> list[Any]:
        handed: list[Any] = []
        if command.startswith("getMessageList"):
            handed += self.messages.pop(satellite, ())
        # The longer spelling carries the calls as well (PROTOCOL.md 2.3).
        if command != "getMessageList":
            handed += self.calls.pop(satellite, ())
        return handed


def _record_line(record: BookedRecord) -> str:
    direction = {"in": "incoming", "out": "outgoing"}.get(record.direction, "unanswered")
    return (
        f"record booked: port {record.channel}, {direction}, {masked_phone(record.phone)},"
        f" {record.duration} s, callid {record.callid}"
    )


def _file_line(file: BookedFile, record: BookedRecord) -> str:
    return (
        f"file booked: port {record.channel}, {file.size} bytes, SHA-256 {file.sha256[:12]}…,"
        f" callid {file.callid}"
    )
