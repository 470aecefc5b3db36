"""What the client sends: each request's fields, and what it never sends."""

from __future__ import annotations

import logging
import tracemalloc
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from agent.platform.client import record_body
from agent.platform.failures import FailureKind
from agent.platform.listing import CallToPlace
from agent.platform.wire import form
from tests.platform_clients import (
    BOOKED,
    MAC,
    PASSWORD,
    RECORD,
    TOKEN,
    USER,
    client_of,
    failing,
    large_in,
    recording_in,
    send_file,
    serving,
)
from tests.raw_server import OK, Peer, RawServer, answering, for_ever, http


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return recording_in(tmp_path)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return large_in(tmp_path)


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


@given(st.text() | st.integers() | st.sampled_from(["", "a b", "~._-", "٣", "\ud800", "通话"]))
def test_a_form_is_spelt_as_the_standard_library_spells_it(value: str | int) -> None:
    fields = (("cmd", value), ("start_time_secs", 7))
    assert form(fields).decode() == urlencode(fields, errors="replace")


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


def test_a_poll_names_the_gateway_as_it_is_named_by_then() -> None:
    seen: list[tuple[bytes, bytes]] = []
    names = iter(["00:00:00:00:00:01", "00:00:00:00:00:01", "00:00:00:00:00:02"])
    with serving(for_ever(http(), seen), satellite=lambda: next(names)) as (_server, client):
        for _ in range(3):
            client.calls()
    satellites = [dict(parse_qsl(body.decode()))["satellite"][-1] for _head, body in seen]
    assert satellites == ["1", "1", "2"]


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
        transport = client._transport
        assert transport is not None
        assert len(transport._session.cookies) == 0
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
