"""One agent for one state directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.instance import FILE_NAME, AnotherInstance, Holder, InstanceLock, holder

HOLD = """
import sys
from pathlib import Path
from agent.instance import InstanceLock
lock = InstanceLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def holding(directory: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_agent_is_refused_and_told_which_process_runs(tmp_path: Path) -> None:
    with holding(tmp_path) as process:
        with pytest.raises(AnotherInstance) as refusal:
            InstanceLock(tmp_path)
        assert refusal.value.pid == process.pid
        assert f"process {process.pid} runs on {tmp_path} already" in str(refusal.value)
        assert holder(tmp_path) == Holder(process.pid)
        process.kill()


def test_the_lock_of_an_agent_that_was_killed_is_free(tmp_path: Path) -> None:
    with holding(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert holder(tmp_path) is None
        lock = InstanceLock(tmp_path)
        assert holder(tmp_path) == Holder(os.getpid())
        lock.close()


def test_a_lock_that_was_let_go_can_be_taken_again(tmp_path: Path) -> None:
    InstanceLock(tmp_path).close()
    assert holder(tmp_path) is None
    lock = InstanceLock(tmp_path)
    assert (tmp_path / FILE_NAME).read_text() == f"{os.getpid()}\n"
    lock.close()


def test_a_longer_number_of_an_earlier_process_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("99999999999999\n")
    lock = InstanceLock(tmp_path)
    assert holder(tmp_path) == Holder(os.getpid())
    lock.close()


def test_a_refused_agent_leaves_the_lock_as_it_was(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path)
    for _ in range(3):
        with pytest.raises(AnotherInstance):
            InstanceLock(tmp_path)
    assert holder(tmp_path) == Holder(os.getpid())
    lock.close()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"12 34", b"-5"])
def test_a_lock_that_names_no_process_is_held_all_the_same(tmp_path: Path, content: bytes) -> None:
    lock = InstanceLock(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(AnotherInstance, match="another process runs"):
        InstanceLock(tmp_path)
    assert holder(tmp_path) == Holder(None)
    lock.close()


def test_nobody_holds_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert holder(tmp_path / "nowhere") is None


def test_a_directory_that_is_not_there_is_said_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        InstanceLock(tmp_path / "nowhere")


def test_a_program_that_the_agent_starts_does_not_inherit_its_lock(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", "print(); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    )
    assert child.stdout is not None
    child.stdout.readline()  # it runs, so what is closed on exec is closed
    lock.close()
    assert holder(tmp_path) is None
    child.communicate(b"\n")
