"""What an answer means, and what is not believed."""

from __future__ import annotations

import gzip

import pytest

from agent.clock import SystemClock
from agent.platform.answers import Answer
from agent.platform.client import PlatformClient, record_body
from agent.platform.failures import FailureKind
from agent.settings import Platform
from tests.platform_clients import (
    MAC,
    PASSWORD,
    RECORD,
    TOKEN,
    USER,
    failing,
    failure,
    failure_of_answer,
    serving,
)
from tests.raw_server import OK, Peer, RawServer, answering, for_ever, http


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
