"""Clients of a platform that does what a script says, and what their requests meet."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.platform.answers import Answer
from agent.platform.client import PlatformClient, RecordFields
from agent.platform.failures import PlatformFailure
from agent.settings import Account, Platform
from tests.raw_server import Peer, RawServer, Script, for_ever, http

MAC = "00:1A:2B:3C:4D:5E"
USER, PASSWORD, TOKEN = "100008800", "0123456789abcdef0123456789ABCDEF", "a-secret-token"
BOOKED = b'{"status": "0", "callid": 7687658987667780097}'
RECORD = RecordFields(MAC, 1, 1563957000, 1563957071, "in", "13800138000", 71, 42, recorded=True)
BLOCK = 256 * 1024
SOON = 5.0
"""Seconds: far more than any time-out of these tests, far less than waiting for ever."""


def client_of(
    server: RawServer | None = None,
    *,
    url: str = "",
    satellite: Callable[[], str] = lambda: MAC,
    on_answer: Callable[[Answer], None] | None = None,
    connect: float = 2.0,
    read: float = 2.0,
    ca_file: Path | None = None,
) -> PlatformClient:
    settings = Platform(
        url=url or f"http://127.0.0.1:{0 if server is None else server.port}/voip/api/upload",
        query={"method": "upload_record", "token": TOKEN},
        account=Account(user=USER, password_md5=PASSWORD),
        ca_file=None if ca_file is None else str(ca_file),
        connect_timeout=connect,
        read_timeout=read,
    )
    return PlatformClient(settings, satellite, SystemClock(), on_answer)


@contextmanager
def serving(script: Script, **options: object) -> Iterator[tuple[RawServer, PlatformClient]]:
    with RawServer(script) as server:
        client = client_of(server, **options)  # type: ignore[arg-type]
        try:
            yield server, client
        finally:
            client.close()


@contextmanager
def failing() -> Iterator[list[PlatformFailure]]:
    """Give out the failure; whatever it was, it shows nothing that is nobody's business."""
    caught: list[PlatformFailure] = []
    started = time.monotonic()
    with pytest.raises(PlatformFailure) as info:
        yield caught
    caught.append(info.value)
    assert time.monotonic() - started < SOON
    shown = f"{info.value.message} {info.value} {info.value!r}".casefold()
    for secret in (USER, PASSWORD, TOKEN, "sa_user", "sa_password", "http://", "/voip"):
        assert secret.casefold() not in shown
    assert len(info.value.message.splitlines()) == 1
    assert info.value.__cause__ is None


def after_an_answer(script: Script) -> Script:
    """The first connection answers one request as it should before the script goes on."""

    def greeting(peer: Peer) -> None:
        if peer.number == 1:
            peer.request()
            peer.send(http())
        script(peer)

    return greeting


def failure(script: Script, **options: object) -> PlatformFailure:
    """What a request meets, the same on a fresh connection and on one that stands."""
    with serving(script, **options) as (_server, client), failing() as caught:
        client.report(1, 1563957071000, "{}")
    with serving(after_an_answer(script), **options) as (_server, client):
        client.report(1, 1563957071000, "{}")
        with failing() as again:
            client.report(2, 1563957072000, "{}")
    for name in ("kind", "status", "http_status", "retry_after"):
        assert getattr(again[0], name) == getattr(caught[0], name)
    return caught[0]


def failure_of_answer(answer: bytes) -> PlatformFailure:
    return failure(for_ever(answer))


def send_file(
    client: PlatformClient, path: Path, before_block: Callable[[int], None] = lambda _count: None
) -> tuple[Answer, str]:
    facts = path.stat()
    with path.open("rb") as file:
        return client.recording(
            "7687658987667780097",
            file,
            facts.st_size,
            facts.st_mtime_ns,
            path.name,
            "wav",
            before_block,
        )


def recording_in(folder: Path) -> Path:
    """A recording of two blocks and a bit."""
    path = folder / "20190724-163111_1_in_138.wav"
    path.write_bytes(os.urandom(2 * BLOCK + 7))
    return path


def large_in(folder: Path) -> Path:
    """More than the system's socket buffers take unread."""
    path = folder / "large.wav"
    with path.open("wb") as file:
        file.truncate(32 * 1024 * 1024)
    return path


def failure_at(url: str, **options: object) -> PlatformFailure:
    client = client_of(url=url, **options)  # type: ignore[arg-type]
    with failing() as caught:
        client.calls()
    client.close()
    return caught[0]
