"""The platform over TLS: whose certificate is believed, and how each failure is named."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
import xxhash

from agent.platform.failures import FailureKind
from tests.platform_clients import (
    SOON,
    client_of,
    failing,
    failure_at,
    large_in,
    recording_in,
    send_file,
)
from tests.raw_server import Peer, RawServer, Script, answering, for_ever, http


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return recording_in(tmp_path)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return large_in(tmp_path)


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
