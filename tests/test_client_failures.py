"""A platform that is not there, slow, stalled, cut, or ahead of its request."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from agent.platform.failures import FailureKind, PlatformFailure
from tests.platform_clients import (
    SOON,
    client_of,
    failing,
    failure,
    failure_at,
    large_in,
    recording_in,
    send_file,
    serving,
)
from tests.raw_server import Peer, RawServer, Script, answering, for_ever, http


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return recording_in(tmp_path)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return large_in(tmp_path)


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


def test_what_is_ended_before_its_first_command_sends_none() -> None:
    with serving(for_ever(http())) as (server, client):
        client.abandon()
        with failing() as caught:
            client.calls()
        assert caught[0].kind is FailureKind.ABANDONED
        assert server.connections == 0


def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


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
