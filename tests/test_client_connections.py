"""Connections are kept, and replaced where that can double nothing."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
import xxhash

from agent.platform.client import record_body
from agent.platform.failures import FailureKind
from tests.platform_clients import (
    BOOKED,
    RECORD,
    SOON,
    failing,
    large_in,
    recording_in,
    send_file,
    serving,
)
from tests.raw_server import Peer, Script, answering, for_ever, http


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
