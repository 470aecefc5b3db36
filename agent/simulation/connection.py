"""One connection to the simulated platform: bodies read, answers sent, both as badly as wished."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from agent.simulation.answers import Answer
from agent.simulation.faults import Fault
from agent.simulation.fields import BAD_PARAMETER, Refusal
from agent.simulation.multipart import BLOCK, CutOff
from agent.simulation.receiving import MOST_FORM_BYTES

IDLE_TIMEOUT = 120
"""Seconds that a connection may say nothing; so a forgotten one does not hold a thread for ever."""
TRICKLE = 0.05
"""Seconds between two bytes of a trickling answer."""


class Connection(BaseHTTPRequestHandler):
    """What every request needs, whatever it asks for."""

    stopping: threading.Event
    """Set when the platform stops: no fault waits on."""
    protocol_version = "HTTP/1.1"
    timeout = IDLE_TIMEOUT
    disable_nagle_algorithm = True
    wbufsize = -1
    """Buffered: an answer leaves in one piece, as a web server's does, but where faults part it."""

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Say nothing: the desk announces what matters."""

    def target(self) -> tuple[str, dict[str, str]]:
        """Return the path and the query."""
        parts = urlsplit(self.path)
        return parts.path, dict(parse_qsl(parts.query, keep_blank_values=True))

    def length(self) -> int | None:
        """Return Content-Length; None where it is missing or no number."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None

    def body(self, length: int) -> bytes:
        """Read a form's body; too long a one is read to its end and refused.

        Raises Refusal, and CutOff where the sender went away: it gets no answer.
        """
        kept = b""
        left = length
        while left and (block := self.rfile.read(min(BLOCK, left))):
            left -= len(block)
            if len(kept) <= MOST_FORM_BYTES:
                kept += block
        if left:
            raise CutOff("a form broke off")
        if len(kept) > MOST_FORM_BYTES:
            raise Refusal(BAD_PARAMETER, f"a form of more than {MOST_FORM_BYTES} bytes")
        return kept

    def reader(self, length: int, faults: Mapping[str, Fault]) -> Callable[[int], bytes]:
        """Return how a file's body is read: slowly, or only half of it, where a fault says so."""
        half = length // 2 if "reset-inside" in faults else None
        pace = float(faults["slow-body"].value) * 1024 if "slow-body" in faults else None
        taken = 0

        def read(count: int) -> bytes:
            nonlocal taken
            if half is not None and taken >= half:
                raise CutOff("as switched on")
            if pace is not None:
                count = min(count, 4096)
                self.stopping.wait(count / pace)
            data = self.rfile.read(count)
            taken += len(data)
            return data

        return read

    def send(self, answer: Answer, faults: Mapping[str, Fault] | None = None) -> None:
        """Send an answer, whole and at once but for the faults."""
        faults = faults or {}
        self.send_response(answer.status)
        for name, value in {"Content-Type": answer.content_type, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        half = len(answer.body) // 2
        if "cut" in faults:
            self.wfile.write(answer.body[:half])
            self.wfile.flush()
            self.close_connection = True
        elif fault := faults.get("stall-inside"):
            self.wfile.write(answer.body[:half])
            self.wfile.flush()
            self.stopping.wait(float(fault.value))
            self.wfile.write(answer.body[half:])
        elif fault := faults.get("trickle"):
            for byte in answer.body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                self.stopping.wait(float(fault.value or TRICKLE))
        else:
            self.wfile.write(answer.body)
        self.wfile.flush()

    def reset(self) -> None:
        """Break the connection so that the other end gets a reset, not an end."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # The handler's own files on the socket would keep a plain close() waiting.
            os.close(self.connection.detach())
