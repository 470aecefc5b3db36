"""The real daemon tells its state in the technician's language, and its log stays English."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.gateway import Box, box, wait_until


def command(gateway: Box, *words: str, **environment: str) -> str:
    """What a technician with such an environment reads."""
    return subprocess.run(
        [sys.executable, "-m", "agent", *words, "--config", str(gateway.config)],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    ).stdout


def message(gateway: Box) -> str:
    problems = gateway.status.get("problems", [])
    return str(problems[0]["message"]) if problems else ""


def test_a_daemon_of_one_language_and_a_technician_of_another(tmp_path: Path) -> None:
    with box(tmp_path) as gateway:
        gateway.environment = {"LC_ALL": "zh_CN.UTF-8"}
        gateway.start()
        gateway.platform.faults.set("report:status", -2)
        wait_until(lambda: gateway.problems() == {"platform-refuses"}, "the platform refuses")

        assert message(gateway).startswith("平台不接受该账号（状态码 -2）")
        beside = gateway.status_file.with_suffix(".txt")
        # It is written just after the file that was looked at so far.
        wait_until(lambda: "platform-refuses" in beside.read_text("utf-8"), "the words follow")
        words = beside.read_text("utf-8")
        assert "!! platform-refuses（自 " in words
        assert "请检查 platform.account" in words
        log = gateway.log
        assert "problem platform-refuses: the platform does not accept the account" in log
        assert not re.search("[\u4e00-\u9fff]", log)

        english = command(gateway, "status", LC_ALL="en_US.UTF-8")
        assert "the platform does not accept the account (status -2)" in english
        assert "Check platform.account" in english
        chinese = command(gateway, "status", LC_ALL="zh_CN.UTF-8")
        assert "平台不接受该账号（状态码 -2）" in chinese
        checked = command(gateway, "check", LC_ALL="zh_CN.UTF-8")
        assert "平台：正在运行的代理程序报告不可达：平台不接受该账号（状态码 -2）" in checked


def test_a_reload_changes_the_daemons_language(tmp_path: Path) -> None:
    with box(tmp_path) as gateway:
        gateway.start(platform={"url": "http://127.0.0.1:1/"}, language="en")
        wait_until(lambda: "refuses the connection" in message(gateway), "it speaks English")
        gateway.configure(platform={"url": "http://127.0.0.1:1/"}, language="zh")
        gateway.signal(signal.SIGHUP)
        wait_until(lambda: "拒绝连接" in message(gateway), "it speaks Chinese")
