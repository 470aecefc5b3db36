"""`run --wait`: what takes a person is waited out, said where systemd shows it."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.ledger import FILE_NAME, open_ledger
from tests.gateway import PATIENCE, Box, box, wait_until


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Box]:
    with box(tmp_path) as made:
        yield made


@pytest.fixture
def systemd(gateway: Box) -> Iterator[socket.socket]:
    """What systemd would hear."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(gateway.folder / "notify"))
        notified.settimeout(PATIENCE)
        yield notified


def serve(gateway: Box) -> None:
    """Start the daemon as the unit does."""
    with (gateway.folder / "log").open("ab") as log:
        gateway.process = subprocess.Popen(
            [sys.executable, "-m", "agent", "run", "--wait", "--config", str(gateway.config)],
            stderr=log,
            env={**os.environ, "NOTIFY_SOCKET": str(gateway.folder / "notify")},
        )


def hear(systemd: socket.socket, words: str) -> str:
    """Wait for a message that contains the words."""
    while True:
        heard = systemd.recv(4096).decode()
        if words in heard:
            return heard


def test_a_configuration_that_cannot_be_used_is_said_to_systemd_and_waited_out(
    gateway: Box, systemd: socket.socket
) -> None:
    gateway.config.write_text("platform: {url: FILL-IN}\n", "utf-8")
    serve(gateway)
    assert systemd.recv(4096) == b"READY=1"
    told = hear(systemd, "STATUS=")
    assert "platform.url: found 'FILL-IN'" in told
    hear(systemd, "WATCHDOG=1")
    gateway.configure()
    gateway.signal(signal.SIGHUP)
    assert hear(systemd, "STATUS=") == "STATUS="
    wait_until(lambda: gateway.status.get("pid") == gateway.pid, "it goes on by itself")
    assert gateway.stop() == 0


def test_the_same_complaint_is_logged_once(gateway: Box, systemd: socket.socket) -> None:
    gateway.config.write_text("platform: {url: FILL-IN}\n", "utf-8")
    serve(gateway)
    for _ in range(3):
        hear(systemd, "WATCHDOG=1")
        gateway.signal(signal.SIGHUP)
    # In one step: half a file would be a complaint of its own.
    other = gateway.config.with_name("other.yaml")
    other.write_text("platform: 3\n", "utf-8")
    other.replace(gateway.config)
    gateway.signal(signal.SIGHUP)
    hear(systemd, "STATUS=")
    wait_until(lambda: gateway.log.count("can't be used") == 2, "each complaint once")


def test_a_service_that_waits_for_its_configuration_ends_when_told_to(
    gateway: Box, systemd: socket.socket
) -> None:
    serve(gateway)
    assert "config.yaml" in hear(systemd, "STATUS=")
    assert gateway.stop() == -signal.SIGTERM


def test_a_ledger_of_a_newer_agent_is_waited_out(gateway: Box, systemd: socket.socket) -> None:
    ledger = begin_ledger(gateway)
    known = stamp(ledger, 999)
    gateway.configure()
    serve(gateway)
    assert "has format 999" in hear(systemd, "STATUS=")
    wait_until(lambda: "state-unusable" in gateway.problems(), "the status says so as well")
    stamp(ledger, known)
    wait_until(lambda: gateway.problems() == set(), "it goes on by itself")
    assert gateway.stop() == 0


def test_without_wait_a_ledger_of_a_newer_agent_ends_it(gateway: Box) -> None:
    stamp(begin_ledger(gateway), 999)
    gateway.launch()
    assert gateway.process is not None
    assert gateway.process.wait(PATIENCE) == 1
    assert "install the newer agent again" in gateway.log


def begin_ledger(gateway: Box) -> Path:
    """Make a ledger as an earlier run leaves it; return its file."""
    directory = gateway.folder / "state"
    directory.mkdir()
    open_ledger(directory, SystemClock()).close()
    return directory / FILE_NAME


def stamp(ledger: Path, version: int) -> int:
    """Write a format into the ledger; return what it was."""
    connection = sqlite3.connect(ledger)
    try:
        known = int(connection.execute("PRAGMA user_version").fetchone()[0])
        connection.execute(f"PRAGMA user_version = {version}")
    finally:
        connection.close()
    return known
