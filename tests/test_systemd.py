"""What systemd is told arrives, whatever the words."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agent.systemd import Systemd


@pytest.mark.parametrize("words", ["READY=1", "STATUS=état … 状态", "STATUS=half a pair \ud800"])
def test_systemd_hears_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        systemd = Systemd()
        systemd.tell(words)
        assert notified.recv(256) == words.encode("utf-8", "replace")
        del systemd
