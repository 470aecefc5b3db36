"""Connections are kept, and replaced where that can double nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import xxhash

from agent.platform.client import PlatformClient, record_body
from agent.platform.failures import FailureKind, PlatformFailure
from tests.platform_clients import (
    BOOKED,
    RECORD,
    SOON,
    after_an_answer,
    client_of,
    failing,
    large_in,
    recording_in,
    send_file,
    serving,
)
from tests.raw_server import Peer, RawServer, Script, answering, for_ever, http, length_of


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return recording_in(tmp_path)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return large_in(tmp_path)


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


def requests_of(url_path: str, *sendings: Callable[[PlatformClient], object]) -> list[bytes]:
    """The heads of requests on one connection."""
    seen: list[tuple[bytes, bytes]] = []
    with RawServer(for_ever(http(BOOKED), seen)) as server:
        client = client_of(url=f"http://127.0.0.1:{server.port}{url_path}")
        for send in sendings:
            send(client)
        client.close()
        assert server.connections == 1
    return [head for head, _body in seen]


def without_what_varies(head: bytes) -> list[bytes]:
    varying = (b"Content-Type:", b"Content-Length:")
    return [line for line in head.split(b"\r\n") if not line.startswith(varying)]


def test_a_kept_connection_hears_what_a_fresh_one_hears() -> None:
    first, second = requests_of("/a%20b?c=%25&d=100%", *2 * [lambda one: one.calls()])
    assert second == first
    assert first.startswith(b"POST /a%20b?c=%25&d=100%")


def test_only_kind_and_length_of_the_body_tell_requests_apart(recording: Path) -> None:
    first, second, third = requests_of(
        "/voip",
        lambda one: one.calls(),
        lambda one: send_file(one, recording),
        lambda one: one.calls(),
    )
    assert b"Content-Type: multipart/form-data; boundary=" in second
    assert without_what_varies(first) == without_what_varies(second)
    assert third == first


def test_a_small_request_leaves_a_kept_connection_in_one_packet() -> None:
    arrived: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(http())
        arrived.append(peer.connection.recv(64 * 1024))
        peer.send(http())

    with serving(script) as (_server, client):
        client.calls()
        client.calls()
    head, _, body = arrived[0].partition(b"\r\n\r\n")
    assert len(body) == length_of(head)


def test_a_recording_that_may_not_be_sent_yet_is_not_begun(recording: Path) -> None:
    heard: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(http())
        heard.append(peer.connection.recv(1))

    def stop(_count: int) -> None:
        raise PlatformFailure(FailureKind.ABANDONED, "stopped")

    with serving(script) as (_server, client):
        client.calls()
        with failing():
            send_file(client, recording, stop)
    assert heard == [b""]


def test_what_nobody_asked_for_is_not_taken_for_an_answer() -> None:
    more_sent = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(http())
        if peer.number == 1:
            heard.wait(SOON)
            peer.send(http(b'{"status": 3001}'))
            more_sent.set()
            peer.pause(SOON)

    heard = threading.Event()
    with serving(script) as (server, client):
        client.calls()
        heard.set()
        assert more_sent.wait(SOON)
        client.calls()
        assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (http(b"", "413 Too Large"), FailureKind.HTTP_ERROR),
        (http(), FailureKind.CONNECTION_CUT),
    ],
    ids=["refusal", "success"],
)
def test_before_a_kept_connection_took_all_a_refusal_is_believed_and_success_is_not(
    large: Path, answer: bytes, kind: FailureKind
) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(answer)
        peer.pause(SOON)

    with serving(after_an_answer(script), read=0.5) as (server, client):
        client.calls()
        with failing() as caught:
            send_file(client, large)
        assert server.connections == 1
    assert caught[0].kind is kind
