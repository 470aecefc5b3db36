"""The simulated platform's HTTP server: one thread a connection, kept alive, faults included."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from agent.simulation.answers import Styles, as_json, distorted, instead
from agent.simulation.connection import IDLE_TIMEOUT, Connection
from agent.simulation.desk import Desk, Work
from agent.simulation.faults import BadFault, Fault
from agent.simulation.fields import BAD_PARAMETER, Refusal
from agent.simulation.multipart import BLOCK, CutOff
from agent.simulation.receiving import (
    Upload,
    discard,
    media_type,
    parse_form,
    receive_upload,
)


class PlatformServer(ThreadingHTTPServer):
    """Listens, and knows its open connections so that it can end them all."""

    daemon_threads = False
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        desk: Desk,
        account: tuple[str, str] | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.desk = desk
        self.account = account
        self.styles = Styles()
        self.stopping = threading.Event()
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, PlatformHandler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection to its end, in its own thread."""
        self.desk.count(connections=1)
        request.settimeout(IDLE_TIMEOUT)
        with self._tracked(request):
            connection = request
            if self._tls is not None:
                connection = self._tls.wrap_socket(request, server_side=True)
            with contextlib.closing(connection), self._tracked(connection):
                PlatformHandler(connection, client_address, self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet where the other end went away; show anything else."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def end(self) -> None:
        """Stop listening, break every open connection, wait for the threads."""
        self.stopping.set()
        self.shutdown()
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    @contextlib.contextmanager
    def _tracked(self, connection: socket.socket) -> Any:
        with self._open_lock:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._open_lock:
                self._open.discard(connection)


class PlatformHandler(Connection):
    """Answers the requests of one connection."""

    server: PlatformServer

    def setup(self) -> None:
        """Join the connection to the server's end."""
        super().setup()
        self.stopping = self.server.stopping

    def do_POST(self) -> None:  # noqa: N802
        """Answer `upload_record`, `sendTelCall` and the simulation's own switches."""
        path, query = self.target()
        if path.startswith("/simulation/"):
            self._switch(path)
        elif query.get("method") == "sendTelCall":
            self._send_tel_call(query)
        elif path.endswith("upload_record") or path.endswith("/jsondata.html"):
            self._upload_record(query)
        else:
            self.send(as_json({"code": -3, "message": "no such page"}, 404))

    def do_GET(self) -> None:  # noqa: N802
        """Answer `sendTelCall`, the state and the downloads; `upload_record` is POST only."""
        path, query = self.target()
        if path == "/simulation/state":
            self.send(as_json(self.server.desk.state()))
        elif path.startswith("/voip/record/"):
            self._download(unquote(path.removeprefix("/voip/record/")))
        elif query.get("method") == "sendTelCall":
            self._send_tel_call(query)
        elif path.endswith("upload_record") or query.get("method") == "upload_record":
            refusal = Refusal(-5, "upload_record takes POST only")
            self.server.desk.object_to("GET", refusal)
            self.send(as_json(self._result(refusal.status, refusal.message), 405, Allow="POST"))
        else:
            self.send(as_json({"code": -3, "message": "no such page"}, 404))

    # upload_record

    def _upload_record(self, query: Mapping[str, str]) -> None:
        desk = self.server.desk
        kind, parameter = media_type(self.headers.get("Content-Type", ""))
        length = self.length()
        if length is None:
            desk.object_to("unknown", Refusal(BAD_PARAMETER, "no Content-Length"))
            self.close_connection = True
            self.send(as_json(self._result(BAD_PARAMETER, "a Content-Length is expected"), 411))
        elif kind == "multipart/form-data":
            self._file(query, length, parameter)
        else:
            self._form(query, length, kind, parameter)

    def _form(self, query: Mapping[str, str], length: int, kind: str, charset: str) -> None:
        desk = self.server.desk
        command = "unknown"
        work: Work | Refusal
        try:
            body = self.body(length)
            if kind != "application/x-www-form-urlencoded":
                raise Refusal(BAD_PARAMETER, f"Content-Type {kind!a} is not one of upload_record's")
            form = parse_form(body, charset)
            command = desk.command_of(form)
            work = desk.prepare(command, form, body.decode("ascii"))
        except Refusal as refusal:
            work = refusal
        self._conclude(command, query, work, desk.faults.draw(command))

    def _file(self, query: Mapping[str, str], length: int, boundary: str) -> None:
        desk = self.server.desk
        faults = desk.faults.draw("file")
        if "down" in faults:
            self.reset()
            return
        upload = Upload()
        work: Work | Refusal
        desk.count(uploading=1)
        try:
            if not boundary.isascii() or not 0 < len(boundary) <= 70:
                self.body(length)
                raise Refusal(BAD_PARAMETER, "Content-Type has no usable boundary")
            read = self.reader(length, faults)
            upload = receive_upload(read, length, boundary, desk.bookings.directory)
            work = desk.prepare_file(upload)
        except Refusal as refusal:
            work = refusal
        except (CutOff, OSError):
            desk.count(command="file", cut_uploads=1)
            self.reset()
            return
        finally:
            desk.count(uploading=-1)
        try:
            self._conclude("file", query, work, faults)
        finally:
            discard(upload)

    def _conclude(
        self,
        command: str,
        query: Mapping[str, str],
        work: Work | Refusal,
        faults: Mapping[str, Fault],
    ) -> None:
        """Let the faults have their way, do the work, answer."""
        desk = self.server.desk
        desk.count(command=command)
        if isinstance(work, Refusal):
            desk.object_to(command, work)
        fault = faults.get("stall-before")
        stopped = fault is not None and self.server.stopping.wait(float(fault.value))
        if stopped or "down" in faults or "reset-before" in faults:
            self.reset()
        elif answer := instead(faults):
            self.send(answer)
        else:
            result = self._performed(command, query, work, faults)
            if "reset-after" in faults:
                self.reset()
            else:
                self.send(as_json(distorted(result, faults)), faults)

    def _performed(
        self,
        command: str,
        query: Mapping[str, str],
        work: Work | Refusal,
        faults: Mapping[str, Fault],
    ) -> dict[str, Any]:
        offset = float(faults["time"].value) if "time" in faults else 0.0
        if fault := faults.get("status"):
            silent = "silent" in fault.options
            return self._result(fault.code, None if silent else "as switched on", offset=offset)
        try:
            if query.get("method", "upload_record") != "upload_record":
                raise Refusal(-3, f"no method {query['method']!a}", violation=False)
            account = self.server.account
            if account and (query.get("sa_user"), query.get("sa_password")) != account:
                raise Refusal(-2, "authentication failed", violation=False)
            if isinstance(work, Refusal):
                return self._result(work.status, work.message, offset=offset)
            more = self.server.desk.perform(work)
        except Refusal as refusal:
            self.server.desk.object_to(command, refusal)
            return self._result(refusal.status, refusal.message, offset=offset)
        return self._result(0, None, more, offset)

    def _result(
        self,
        status: int,
        message: str | None,
        more: Mapping[str, Any] | None = None,
        offset: float = 0.0,
    ) -> dict[str, Any]:
        with self.server.desk.changed:
            return self.server.styles.result(time.time() + offset, status, message, more or {})

    # What a business system and a test ask

    def _send_tel_call(self, query: Mapping[str, str]) -> None:
        try:
            body = self.body(self.length() or 0)
            form = {**query, **(parse_form(body, "") if body else {})}
        except Refusal as refusal:
            self.send(as_json({"code": refusal.status, "message": refusal.message}))
            return
        if not form.get("mac") or not form.get("phone"):
            self.send(as_json({"code": BAD_PARAMETER, "message": "mac and phone are required"}))
            return
        self.server.desk.send_call(form["mac"], form.get("channel", "1"), form["phone"])
        self.send(as_json({"code": 0, "message": "the call waits for the gateway"}))

    def _switch(self, path: str) -> None:
        switches: dict[str, Callable[[dict[str, Any]], None]] = {
            "/simulation/faults": self.server.desk.faults.set_all,
            "/simulation/messages": self._message,
            "/simulation/functions": self._function,
            "/simulation/forget": lambda wanted: self.server.desk.forget(str(wanted["callid"])),
        }
        try:
            switch = switches[path]
            switch(_object(self.body(self.length() or 0)))
        except (Refusal, BadFault, KeyError, TypeError, ValueError) as error:
            self.send(as_json({"code": BAD_PARAMETER, "message": f"not understood: {error}"}, 400))
        else:
            self.send(as_json({"code": 0, "faults": self.server.desk.faults.shown()}))

    def _message(self, wanted: dict[str, Any]) -> None:
        self.server.desk.send_message(str(wanted["mac"]), wanted["entry"])

    def _function(self, wanted: dict[str, Any]) -> None:
        given = dict(wanted.get("parameters", {}))
        parameters = {str(name): str(value) for name, value in given.items()}
        name, port = str(wanted["function"]), str(wanted.get("channel", 1))
        self.server.desk.send_function(str(wanted["mac"]), name, parameters, port)

    def _download(self, name: str) -> None:
        desk = self.server.desk
        with desk.changed:
            stored = {file.stored for file in desk.bookings.files}
        if name not in stored:
            self.send(as_json({"code": -1, "message": "no such recording"}, 404))
            return
        path: Path = desk.bookings.directory / name
        with path.open("rb") as file:
            self.send_response(200)
            kind = "audio/mpeg" if name.endswith(".mp3") else "audio/wav"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            while block := file.read(BLOCK):
                self.wfile.write(block)


def _object(body: bytes) -> dict[str, Any]:
    value = json.loads(body)
    if not isinstance(value, dict):
        raise ValueError("a JSON object is expected")
    return value
