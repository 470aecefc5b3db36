"""What the tests of trust share: a platform that answers anything, and what nothing may show."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tests.gateway import PATIENCE, Box
from tests.raw_server import Peer, RawServer, http

CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ufeff\ud800-\udfff]")
"""Everything but the line feed that can move a cursor, end a line or turn text about."""
SANE = b'{"status": 0, "time": null, "callid": "77", "data": []}'

_SPY = """
import os, sys
def watch(event, arguments):
    if event in {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty",
                 "os.posix_spawn", "os.spawn", "pty.spawn"}:
        with open(os.environ["SPY"], "a") as file:
            file.write(f"{event} {arguments!r}\\n")
sys.addaudithook(watch)
"""


class HostilePlatform:
    """Answers each request as `answer` says; keeps what it got, command by command."""

    def __init__(self) -> None:
        self.answer: Callable[[str, bytes], bytes] = lambda _command, _head: http(SANE)
        self.requests: list[tuple[str, bytes]] = []
        """Command and body, as they came."""
        self._changed = threading.Condition()
        self._server = RawServer(self._serve)

    def __enter__(self) -> HostilePlatform:
        self._server.__enter__()
        return self

    def __exit__(self, *reason: Any) -> None:
        self._server.__exit__(*reason)

    @property
    def port(self) -> int:
        return self._server.port

    def wait_for(self, predicate: Callable[[], bool], what: str) -> None:
        with self._changed:
            assert self._changed.wait_for(predicate, PATIENCE), f"never came: {what}"

    def wait_for_more(self, count: int) -> None:
        """Wait for so many requests from now on."""
        wanted = len(self.requests) + count
        self.wait_for(lambda: len(self.requests) >= wanted, f"{count} more requests")

    def bodies(self, command: str) -> list[bytes]:
        return [body for name, body in self.requests if name == command]

    def _serve(self, peer: Peer) -> None:
        while True:
            head, body = peer.request()
            command = _command(head, body)
            peer.send(self.answer(command, head))
            with self._changed:
                self.requests.append((command, body))
                self._changed.notify_all()


def _command(head: bytes, body: bytes) -> str:
    if b"multipart/form-data" in head:
        return "file"
    form = parse_qs(body.decode())
    return "record" if "start_time_secs" in form else form["cmd"][0]


def spied(box: Box) -> Path:
    """Have the daemon note each process that it starts."""
    site = box.folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_SPY, "utf-8")
    noted = box.folder / "spy"
    box.environment.update({"PYTHONPATH": str(site), "SPY": str(noted)})
    return noted


def written(box: Box) -> dict[str, bytes]:
    """All that the daemon wrote for people: its log, its status file and what stands beside it."""
    beside = [box.status_file.with_suffix(ending) for ending in (".json", ".txt", ".html")]
    return {path.name: path.read_bytes() for path in (box.folder / "log", *beside)}


def assert_clean(box: Box) -> None:
    """Nothing that came from outside reaches a terminal, or breaks a line or a parser."""
    wait_for_a_status(box)
    for name, content in written(box).items():
        found = CONTROLS.search(content.decode("utf-8"))
        assert found is None, f"{name}: {content[max(0, found.start() - 80) :][:160]!r}"
    assert isinstance(json.loads(box.status_file.read_text("utf-8")), dict)
    level = "debug|info |warning|error|critical"
    line = re.compile(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d ({level}) +[\w.]+: .*")
    for each in box.log.split("\n")[:-1]:
        assert line.fullmatch(each), each


def wait_for_a_status(box: Box) -> None:
    """Wait until the status was written after now."""
    now, deadline = time.time(), time.monotonic() + PATIENCE
    box.signal(signal.SIGUSR1)
    while box.status.get("updated", 0.0) <= now:
        assert time.monotonic() < deadline, "no new status"
        time.sleep(0.02)
