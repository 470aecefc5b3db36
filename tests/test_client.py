from __future__ import annotations

import gzip
import logging
import os
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import trustme
import xxhash

from agent.clock import SystemClock
from agent.platform.answers import Answer
from agent.platform.client import PlatformClient, RecordFields, record_body
from agent.platform.failures import FailureKind, PlatformFailure
from agent.platform.listing import CallToPlace
from agent.settings import Account, Platform
from tests.raw_server import OK, Peer, RawServer, Script, answering, for_ever, http

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


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "20190724-163111_1_in_138.wav"
    path.write_bytes(os.urandom(2 * BLOCK + 7))
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """More than the system's socket buffers take unread."""
    path = tmp_path / "large.wav"
    with path.open("wb") as file:
        file.truncate(32 * 1024 * 1024)
    return path


# What is sent


def test_a_report_is_what_the_protocol_says() -> None:
    seen: list[tuple[bytes, bytes]] = []
    with serving(for_ever(http(), seen)) as (_server, client):
        answer = client.report(7, 1563957071000, '{"diskStatus": 0}')
    assert (answer.status, answer.time) == (0, 1563957071.0)
    head, body = seen[0]
    assert parse_qsl(body.decode()) == [
        ("cmd", "channelstatus"),
        ("satellite", MAC),
        ("id", "7"),
        ("time", "1563957071000"),
        ("status", '{"diskStatus": 0}'),
    ]
    line, *headers = head.decode().split("\r\n")
    assert line == (
        "POST /voip/api/upload?method=upload_record&token=a-secret-token"
        f"&sa_user={USER}&sa_password={PASSWORD.upper()} HTTP/1.1"
    )
    assert "User-Agent: smarttel-agent/1.0.0" in headers
    assert "Accept-Encoding: identity" in headers


def test_a_record_is_what_the_protocol_says() -> None:
    assert record_body(RECORD).decode() == (
        "cmd=upload&satellite=00%3A1A%3A2B%3A3C%3A4D%3A5E&channel=1"
        "&start_time_secs=1563957000&start_time_hangup=1563957071&direction=in"
        "&callid_dialed=13800138000&duration_secs=71&id=42&recorded=1"
    )


def test_a_record_that_is_sent_again_is_the_same_bytes() -> None:
    seen: list[tuple[bytes, bytes]] = []
    with serving(for_ever(http(BOOKED), seen)) as (_server, client):
        assert client.record(record_body(RECORD)).callid == "7687658987667780097"
        client.record(record_body(RECORD))
    assert seen[0] == seen[1]


def test_a_recording_arrives_byte_for_byte(recording: Path) -> None:
    seen: list[tuple[bytes, bytes]] = []
    with serving(for_ever(http(), seen)) as (_server, client):
        answer, digest = send_file(client, recording)
    head, body = seen[0]
    data = recording.read_bytes()
    assert answer.status == 0
    assert digest == xxhash.xxh3_128(data).hexdigest()
    assert data in body
    assert b"multipart/form-data; boundary=" in head
    assert b"Transfer-Encoding" not in head


def test_memory_does_not_grow_with_the_recording(large: Path) -> None:
    def script(peer: Peer) -> None:
        peer.drop_body(peer.head())
        peer.send(http())

    with serving(script) as (_server, client):
        client.close()
        tracemalloc.start()
        try:
            send_file(client, large)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < large.stat().st_size / 10


def test_lists_are_fetched_by_their_commands() -> None:
    seen: list[tuple[bytes, bytes]] = []
    data = b'{"status": 0, "data": [{"status": "0", "mdcWan": "1", "phone": "112"}]}'
    with serving(for_ever(http(data), seen)) as (_server, client):
        assert client.messages().entries == (CallToPlace(1, None, "112"),)
        assert client.calls().entries == (CallToPlace(1, None, "112"),)
    commands = [dict(parse_qsl(body.decode()))["cmd"] for _head, body in seen]
    assert commands == ["getMessageList", "getCallList"]


def test_a_query_in_the_url_itself_is_kept() -> None:
    seen: list[tuple[bytes, bytes]] = []
    with RawServer(for_ever(http(), seen)) as server:
        client = client_of(url=f"http://127.0.0.1:{server.port}?a=b#part")
        client.calls()
        client.close()
    assert seen[0][0].startswith(b"POST /?a=b&method=upload_record&")


def test_without_a_mac_address_nothing_is_sent() -> None:
    with (
        serving(for_ever(http()), satellite=lambda: "") as (server, client),
        failing() as caught,
    ):
        client.calls()
    assert caught[0].kind is FailureKind.IDENTITY_UNKNOWN
    assert server.connections == 0


def test_cookies_are_neither_kept_nor_sent_back() -> None:
    seen: list[tuple[bytes, bytes]] = []
    with serving(for_ever(http(OK, "200 OK", "Set-Cookie: a=b"), seen)) as (_server, client):
        for _ in range(2):
            client.calls()
        assert len(client._transport._session.cookies) == 0
    assert b"ookie" not in seen[1][0]


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serving(for_ever(http())) as (_server, client):
        assert client.calls().entries == ()


def test_the_log_shows_no_account_even_at_its_most_talkative(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(answering(http(), b"HTTP/1.1 200 OK\r\n: x\r\n\r\n{}")) as (_server, client):
        client.calls()
        with failing():
            client.calls()
    assert "/voip/api/upload" in caplog.text
    for secret in (USER, PASSWORD.upper(), TOKEN):
        assert secret not in caplog.text


# The connection


def test_one_connection_is_kept_for_all_commands(recording: Path) -> None:
    with serving(for_ever(http(BOOKED))) as (server, client):
        client.calls()
        client.record(record_body(RECORD))
        send_file(client, recording)
        client.messages()
        assert server.connections == 1


def test_a_refusal_keeps_the_connection() -> None:
    with serving(for_ever(http(b'{"status": 3001}'))) as (server, client):
        for _ in range(2):
            with failing():
                client.calls()
        assert server.connections == 1


@pytest.mark.parametrize("answer", [http(b"{}", "500 No"), http(b"<html>")])
def test_after_an_http_failure_the_connection_is_not_used_again(answer: bytes) -> None:
    with serving(for_ever(answer)) as (server, client):
        for _ in range(2):
            with failing():
                client.calls()
        assert server.connections == 2


def test_a_kept_connection_that_the_platform_closed_is_replaced_unnoticed() -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(http())
        if peer.number == 1:
            peer.connection.shutdown(socket.SHUT_RDWR)
            closed.set()

    with serving(script) as (server, client):
        client.calls()
        assert closed.wait(SOON)
        client.calls()
        assert server.connections == 2


def cut_on_second(peer: Peer) -> None:
    """The first connection dies, orderly or not, as its second request comes in."""
    peer.request()
    peer.send(http(BOOKED))
    peer.head()
    if peer.number > 1:
        peer.send(http(BOOKED))


def reset_on_second(peer: Peer) -> None:
    peer.request()
    peer.send(http(BOOKED))
    peer.head()
    peer.reset()


@pytest.mark.parametrize("script", [cut_on_second, reset_on_second])
def test_a_kept_connection_that_dies_as_it_is_used_gets_one_fresh_one(script: Script) -> None:
    with serving(script) as (server, client):
        client.record(record_body(RECORD))
        client.record(record_body(RECORD))
        assert server.connections == 2


def test_a_recording_begins_anew_on_the_fresh_connection(large: Path) -> None:
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        if peer.number == 1:
            reset_on_second(peer)
        else:
            seen.append(peer.request()[1])
            peer.send(http())

    with serving(script) as (server, client):
        client.calls()
        _answer, digest = send_file(client, large)
        assert server.connections == 2
    data = large.read_bytes()
    assert digest == xxhash.xxh3_128(data).hexdigest()
    assert seen[0].partition(b"audio/wav\r\n\r\n")[2].startswith(data)


def test_a_fresh_connection_that_dies_is_not_tried_again() -> None:
    with serving(answering()) as (server, client), failing() as caught:
        client.record(record_body(RECORD))
    assert caught[0].kind is FailureKind.CONNECTION_CUT
    assert server.connections == 1


def test_a_kept_connection_that_dies_in_the_answer_is_not_tried_again() -> None:
    with (
        serving(answering(http(BOOKED), http(BOOKED)[:-5])) as (server, client),
        failing() as caught,
    ):
        client.record(record_body(RECORD))
        client.record(record_body(RECORD))
    assert caught[0].kind is FailureKind.CONNECTION_CUT
    assert server.connections == 1


# Slow, cut, stalled


def test_a_slow_uplink_is_no_failure_while_it_makes_progress(large: Path) -> None:
    def script(peer: Peer) -> None:
        head = peer.head()
        peer.pause(0.5)
        peer.drop_body(head)
        peer.send(http())

    with serving(script, connect=0.1, read=5.0) as (_server, client):
        answer, _digest = send_file(client, large)
    assert answer.status == 0


def test_an_answer_is_not_late_for_what_the_system_has_still_to_send(large: Path) -> None:
    received, handed_over, unsent = [0], [0], [0]

    def script(peer: Peer) -> None:
        peer.head()
        while received[0] < 8 * 1024 * 1024:
            received[0] += len(peer.connection.recv(64 * 1024))
            peer.pause(0.001)  # slower than the loopback, as any uplink is
        peer.reset()

    def before_block(count: int) -> None:
        unsent[0] = max(unsent[0], handed_over[0] - received[0])
        handed_over[0] += count

    with RawServer(script, buffered=64 * 1024) as server, failing():
        client = client_of(server)
        try:
            send_file(client, large, before_block)
        finally:
            client.close()
    assert unsent[0] <= 1024 * 1024


def test_a_platform_that_takes_no_more_ends_in_a_time_out(large: Path) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.pause(SOON)

    with serving(script, read=0.3) as (_server, client), failing() as caught:
        send_file(client, large)
    assert caught[0].kind is FailureKind.ANSWER_TIMEOUT
    assert "took no more" in caught[0].message


def trickling(start: bytes, piece: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(start)
        while True:
            peer.send(piece)
            peer.pause(0.02)

    return script


@pytest.mark.parametrize(
    "script",
    [
        lambda peer: peer.request() and peer.pause(SOON),
        trickling(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
        trickling(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        trickling(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x"),
        trickling(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        trickling(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    ],
    ids=["silence", "headers", "100 for ever", "body", "chunks", "body without end"],
)
def test_an_answer_that_is_not_whole_in_time_ends_in_a_time_out(script: Script) -> None:
    assert failure(script, read=0.3).kind is FailureKind.ANSWER_TIMEOUT


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
    ids=["nothing", "half a body", "half a chunk"],
)
def test_a_cut_connection_is_named(answer: bytes) -> None:
    assert failure(answering(answer)).kind is FailureKind.CONNECTION_CUT


def test_a_reset_connection_is_named() -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.reset()

    assert failure(script).kind is FailureKind.CONNECTION_CUT


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"],
    ids=["not http", "endless header"],
)
def test_what_is_not_http_is_unusable(answer: bytes) -> None:
    assert failure(answering(answer)).kind is FailureKind.UNUSABLE


@pytest.mark.parametrize("status", ["413 Too Large", "401 Who are you"])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_an_answer_given_before_the_body_was_read_is_heard(
    large: Path, status: str, reset: bool
) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(http(b'{"status": -1, "message": "no"}', status))
        if reset:
            peer.connection.recv(1)  # what is left unread makes the close a reset
            peer.connection.close()
        else:
            peer.connection.shutdown(socket.SHUT_WR)

    with serving(script, read=0.5) as (_server, client), failing() as caught:
        send_file(client, large)
    assert caught[0].http_status == int(status[:3])
    assert caught[0].message.endswith(": no")


def test_an_answer_of_a_platform_that_reads_no_further_is_heard(large: Path) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(http(b"", "403 Not here"))
        peer.pause(SOON)

    with serving(script, read=0.3) as (_server, client), failing() as caught:
        send_file(client, large)
    assert caught[0].kind is FailureKind.AUTHENTICATION


def test_success_said_before_the_recording_was_there_is_not_believed(large: Path) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(http())

    with serving(script) as (_server, client), failing() as caught:
        send_file(client, large)
    assert caught[0].kind is FailureKind.CONNECTION_CUT


def test_a_file_that_changes_is_named_and_its_connection_closed(recording: Path) -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        try:
            peer.request()
        except ConnectionError:
            closed.set()

    with serving(script) as (_server, client):
        with failing() as caught:
            send_file(client, recording, lambda _count: os.utime(recording, ns=(0, 1)))
        assert caught[0].kind is FailureKind.FILE_CHANGED
        assert closed.wait(SOON)


def test_a_caller_may_stop_an_upload(recording: Path) -> None:
    def stop(_count: int) -> None:
        raise PlatformFailure(FailureKind.ABANDONED, "stopped")

    with serving(for_ever(http())) as (server, client):
        with failing() as caught:
            send_file(client, recording, stop)
        assert caught[0].kind is FailureKind.ABANDONED
        client.calls()
        assert server.connections == 2


def test_another_thread_may_end_a_wait_for_an_answer() -> None:
    waiting = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        waiting.set()
        peer.connection.recv(1)

    def stop() -> None:
        waiting.wait(SOON)
        client.abandon()

    with serving(script, read=60.0) as (_server, client):
        stopper = threading.Thread(target=stop)
        stopper.start()
        with failing() as caught:
            client.calls()
        stopper.join()
        assert caught[0].kind is FailureKind.ABANDONED
        with failing() as caught:
            client.calls()
        assert caught[0].kind is FailureKind.ABANDONED


# No connection


def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def failure_at(url: str, **options: object) -> PlatformFailure:
    client = client_of(url=url, **options)  # type: ignore[arg-type]
    with failing() as caught:
        client.calls()
    client.close()
    return caught[0]


def test_a_port_that_nobody_listens_on_is_named() -> None:
    kind = failure_at(f"http://127.0.0.1:{refused_port()}/").kind
    assert kind is FailureKind.CONNECTION_REFUSED


@pytest.mark.parametrize(
    "host", ["no-such-host.invalid", "a" * 70 + ".example", "*.example", "a..b"]
)
def test_a_host_that_does_not_exist_is_named(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # Some networks answer for every name, and some take long not to.
    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    assert failure_at(f"http://{host}/").kind is FailureKind.NO_SUCH_HOST


def test_a_host_that_does_not_take_the_connection_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(address)
        failed = failure_at(f"http://127.0.0.1:{address[1]}/", connect=0.3)
        for connection in waiting:
            connection.close()
    assert failed.kind is FailureKind.CONNECT_TIMEOUT


# TLS


@contextmanager
def secure(script: Script, authority: trustme.CA, host: str = "127.0.0.1") -> Iterator[RawServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    with RawServer(script, context) as server:
        yield server


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def test_an_own_authority_is_accepted(
    authority: trustme.CA, ca_file: Path, recording: Path
) -> None:
    with secure(for_ever(http()), authority) as server:
        client = client_of(url=f"https://127.0.0.1:{server.port}/", ca_file=ca_file)
        _answer, digest = send_file(client, recording)
        client.calls()
        client.close()
        assert server.connections == 1
    assert digest == xxhash.xxh3_128(recording.read_bytes()).hexdigest()


def test_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    with secure(for_ever(http()), authority) as server:
        failed = failure_at(f"https://127.0.0.1:{server.port}/")
    assert failed.kind is FailureKind.TLS
    assert "unknown authority" in failed.message


def test_a_certificate_for_another_host_is_refused(authority: trustme.CA, ca_file: Path) -> None:
    with secure(for_ever(http()), authority, "elsewhere.example") as server:
        failed = failure_at(f"https://127.0.0.1:{server.port}/", ca_file=ca_file)
    assert failed.kind is FailureKind.TLS
    assert "another" in failed.message


def test_a_platform_without_tls_is_named() -> None:
    with RawServer(lambda peer: peer.send(b"HTTP/1.1 400 Bad\r\n\r\n")) as server:
        failed = failure_at(f"https://127.0.0.1:{server.port}/")
    assert failed.kind is FailureKind.TLS
    assert "does not speak TLS" in failed.message


def test_a_handshake_that_does_not_end_is_a_connect_time_out() -> None:
    with RawServer(lambda peer: peer.pause(SOON)) as server:
        failed = failure_at(f"https://127.0.0.1:{server.port}/", connect=0.3)
    assert failed.kind is FailureKind.CONNECT_TIMEOUT


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with RawServer(answering()) as server:
        failed = failure_at(f"https://127.0.0.1:{server.port}/", ca_file=path)
    assert failed.kind is FailureKind.TLS
    assert "ca_file" in failed.message


def test_an_early_answer_is_heard_over_tls_too(
    authority: trustme.CA, ca_file: Path, large: Path
) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(http(b"{}", "413 Too Large"))
        peer.pause(SOON)

    with secure(script, authority) as server:
        client = client_of(url=f"https://127.0.0.1:{server.port}/", ca_file=ca_file, read=0.3)
        with failing() as caught:
            send_file(client, large)
        client.close()
    assert caught[0].http_status == 413


def test_a_cut_in_the_middle_of_an_upload_is_no_matter_of_tls(
    authority: trustme.CA, ca_file: Path, large: Path
) -> None:
    def script(peer: Peer) -> None:
        peer.head()

    with secure(script, authority) as server:
        client = client_of(url=f"https://127.0.0.1:{server.port}/", ca_file=ca_file)
        with failing() as caught:
            send_file(client, large)
        client.close()
    assert caught[0].kind is FailureKind.CONNECTION_CUT


# What an answer means


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    seen: list[tuple[bytes, bytes]] = []
    answer = http(OK, f"{status} Elsewhere", "Location: /other")
    with serving(for_ever(answer, seen)) as (_server, client), failing() as caught:
        client.calls()
    assert (caught[0].kind, caught[0].http_status) == (FailureKind.REDIRECT, status)
    assert len(seen) == 1


def test_a_redirect_with_an_endless_body_is_not_read() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 302 Elsewhere\r\nLocation: /\r\n\r\n")
        while True:
            peer.send(b"x" * 65536)

    assert failure(script).kind is FailureKind.REDIRECT


@pytest.mark.parametrize("status", [401, 403, 407])
def test_http_says_that_the_account_is_wrong(status: int) -> None:
    failed = failure_of_answer(http(b"", f"{status} No"))
    assert (failed.kind, failed.http_status) == (FailureKind.AUTHENTICATION, status)


@pytest.mark.parametrize(
    "body",
    [
        b'{"status": -2}',
        b'{"code": "-5"}',
        b'{"code": -10}',
        b'{"code": -14}',
        b'{"status": 7, "message": "Authentication Failed"}',
    ],
)
@pytest.mark.parametrize("http_status", ["200 OK", "500 Error"])
def test_an_answer_says_that_the_account_is_wrong(body: bytes, http_status: str) -> None:
    assert failure_of_answer(http(body, http_status)).kind is FailureKind.AUTHENTICATION


@pytest.mark.parametrize("status", [3001, 3002, 3003, -1, 99])
def test_a_refusal_tells_its_status(status: int) -> None:
    failed = failure_of_answer(http(b'{"status": "%d"}' % status))
    assert (failed.kind, failed.status) == (FailureKind.REFUSED, status)


def test_the_callid_of_a_refused_repeat_is_not_lost() -> None:
    failed = failure_of_answer(http(b'{"status": 1, "message": "repeat", "callid": 17}'))
    assert failed.answer is not None
    assert failed.answer.callid == "17"


def test_a_record_that_is_accepted_without_a_callid_is_not_believed() -> None:
    with serving(for_ever(http())) as (_server, client), failing() as caught:
        client.record(record_body(RECORD))
    assert caught[0].kind is FailureKind.UNUSABLE


def test_any_other_http_status_is_told() -> None:
    failed = failure_of_answer(http(b"<html>", "502 Bad Gateway"))
    assert (failed.kind, failed.http_status) == (FailureKind.HTTP_ERROR, 502)


def test_an_http_error_is_told_though_its_body_is_cut() -> None:
    failed = failure(answering(b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nx"))
    assert failed.http_status == 500


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (["Retry-After: 7"], 7.0),
        (["Retry-After: -7"], 0.0),
        (["Retry-After: " + "9" * 30], 86_400.0),
        (["Retry-After: soon"], None),
        ([], None),
        (
            ["Date: Wed, 24 Jul 2019 08:31:11 GMT", "Retry-After: Wed, 24 Jul 2019 08:32:11 GMT"],
            60.0,
        ),
        (["Retry-After: Wed, 24 Jul 2019 08:32:11 GMT"], 0.0),
    ],
)
def test_a_platform_may_say_when_to_come_again(headers: list[str], seconds: float | None) -> None:
    failed = failure_of_answer(http(b"", "429 Slow down", *headers))
    assert (failed.kind, failed.retry_after) == (FailureKind.TOO_MANY, seconds)


@pytest.mark.parametrize("body", [b"", b"<html>Welcome to our hotel", b"[]", b"{}"])
def test_what_is_no_answer_of_the_protocol_is_unusable(body: bytes) -> None:
    assert failure_of_answer(http(body)).kind is FailureKind.UNUSABLE


def test_an_answer_of_just_the_limit_is_read_and_one_byte_more_is_not() -> None:
    whole = OK + b" " * (1024 * 1024 - len(OK))
    with serving(for_ever(http(whole))) as (_server, client):
        assert client.report(1, 1, "{}").status == 0
    failed = failure_of_answer(http(whole + b" "))
    assert failed.kind is FailureKind.UNUSABLE
    assert "1 MiB" in failed.message


def test_an_answer_without_end_is_not_read_to_it() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.send(b" " * 65536)

    assert failure(script).kind is FailureKind.UNUSABLE


def test_an_answer_compressed_unasked_is_understood() -> None:
    answer = http(gzip.compress(OK), "200 OK", "Content-Encoding: gzip")
    with serving(for_ever(answer)) as (server, client):
        assert client.report(1, 1, "{}").status == 0
        assert client.report(2, 1, "{}").status == 0
        assert server.connections == 1


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b" " * 50_000_000)),
        ("gzip", b"not gzip"),
        ("br", OK),
    ],
    ids=["bomb", "not gzip", "unknown"],
)
def test_a_compressed_answer_that_could_do_harm_is_unusable(encoding: str, body: bytes) -> None:
    answer = http(body, "200 OK", f"Content-Encoding: {encoding}")
    assert failure_of_answer(answer).kind is FailureKind.UNUSABLE


def test_a_secret_is_not_shown_as_it_went_over_the_wire_either() -> None:
    quoted = b'{"status": -1, "message": "bad token=open+sesame%2F1%2B1, open%20sesame%2F1%2b1"}'
    with RawServer(for_ever(http(quoted))) as server:
        url = f"http://127.0.0.1:{server.port}/voip"
        settings = Platform(url=url, query={"token": "open sesame/1+1"})
        client = PlatformClient(settings, lambda: MAC, SystemClock())
        with failing() as caught:
            client.report(1, 1563957071000, "{}")
        client.close()
    assert "bad token=…" in caught[0].message
    assert "sesame" not in caught[0].message


@pytest.mark.parametrize("value", ["--5", "+-7", "-" * 30 + "5", "+", "5.5", "5 6", "٣"])
def test_a_retry_after_that_is_no_number_is_none(value: str) -> None:
    failed = failure_of_answer(http(b"", "503 Later", f"Retry-After: {value}").replace(b"\0", b""))
    assert (failed.http_status, failed.retry_after) == (503, None)


def test_a_platform_that_quotes_the_account_does_not_get_it_into_the_log() -> None:
    quote = f"bad sa={USER} {PASSWORD.lower()} {TOKEN}".encode()
    failed = failure_of_answer(http(b'{"status": -1, "message": "' + quote + b'"}'))
    assert "bad sa=… … …" in failed.message


def test_each_answer_is_heard_of_refused_or_not() -> None:
    heard: list[Answer] = []
    script = answering(http(b'{"status": 3001, "time": 1563957071}'), http(OK), http(OK, "500 No"))
    with serving(script, on_answer=heard.append) as (_server, client):
        with failing():
            client.calls()
        client.calls()
        with failing():
            client.calls()
    assert [(answer.status, answer.time) for answer in heard] == [
        (3001, 1563957071.0),
        (0, 1563957071.0),
    ]
