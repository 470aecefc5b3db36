"""`smarttel-agent queue`, run as a technician does, beside a ledger that is in use."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from agent.cli import main
from agent.clock import SystemClock
from agent.instance import InstanceLock
from agent.ledger import FILE_NAME, Ledger, open_ledger
from tests.ledgers import a_call, a_recording, add_call, add_recording, next_recording, state_of

PHONE = "13800138000"
CALLID = "7687658987667780097"
NAME = f"20260921-120000_1_in_{PHONE}.wav"


class Technician:
    """Types commands; the ledger stays open beside them, as the daemon's does."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        self.config = folder / "config.yaml"
        self._capsys = capsys
        self.out = self.err = ""
        self.configure()
        self.ledger: Ledger = open_ledger(self.state, SystemClock())

    def configure(self, **more: object) -> None:
        settings = {
            "platform": {"url": "http://127.0.0.1:1/voip/api/upload_record"},
            "boards": [{"port": "/dev/ttyS1"}],
            "recordings": {"directory": "/nowhere"},
            "state_directory": str(self.state),
            **more,
        }
        self.config.write_text(yaml.safe_dump(settings), "utf-8")

    def types(self, *words: str) -> int:
        """Run the command; return its exit status, keep what it printed."""
        status = main(["queue", "--config", str(self.config), *words])
        self.out, self.err = self._capsys.readouterr()
        return status


@pytest.fixture
def technician(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Technician]:
    made = Technician(tmp_path, capsys)
    yield made
    made.ledger.close()


@pytest.fixture
def queue(technician: Technician) -> dict[str, int]:
    """A refused record with its recording, a kept file, and a call that is delivered."""
    ledger = technician.ledger
    refused = add_call(ledger, a_call(phone=PHONE))
    waiting = add_recording(ledger, refused, NAME)
    kept = ledger.recordings.add(
        a_recording("empty.wav", kept="an empty file", verdict="empty"), None, call_due=0.0
    )
    trouble = f"it matches nothing: no record of {PHONE}\x1b[2J"
    for _ in range(3):
        ledger.deliveries.refused(refused, trouble, SystemClock().monotonic() + 600)
    done = add_call(ledger, a_call(channel=2))
    sent = add_recording(ledger, done, "sent.wav")
    ledger.deliveries.booked(done, CALLID)
    ledger.deliveries.delivered(next_recording(ledger), "ab" * 32)
    return {"refused": refused, "waiting": waiting, "kept": kept, "done": done, "sent": sent}


def line_of(text: str, number: int) -> str:
    """The line of an item in the list."""
    (line,) = [one for one in text.splitlines() if one.startswith(f"{number} ")]
    return line


# list


def test_the_list_has_a_line_for_each_item_with_state_and_reason(
    technician: Technician, queue: dict[str, int]
) -> None:
    assert technician.types("list") == 0
    assert len(technician.out.splitlines()) == 3
    line = line_of(technician.out, queue["refused"])
    assert "record to be sent" in line
    assert "port 1" in line
    assert "it matches nothing" in line
    assert "(3 refusals)" in line
    assert "waiting for its record" in line_of(technician.out, queue["waiting"])
    assert "kept, not sent" in line_of(technician.out, queue["kept"])
    assert "an empty file" in line_of(technician.out, queue["kept"])


def test_an_empty_queue_says_so(technician: Technician) -> None:
    assert technician.types("list") == 0
    assert technician.out == "nothing waits\n"


def test_a_long_queue_is_listed_to_its_end(
    technician: Technician, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.commands.queue.PAGE", 3)
    numbers = [add_call(technician.ledger) for _ in range(10)]
    assert technician.types("list") == 0
    assert [int(line.split()[0]) for line in technician.out.splitlines()] == numbers


def test_numbers_are_masked_everywhere_unless_configured(
    technician: Technician, queue: dict[str, int]
) -> None:
    commands = [("list",), ("show", str(queue["refused"])), ("show", str(queue["waiting"]))]
    for words in commands:
        technician.types(*words)
        assert PHONE not in technician.out
        assert "138****8000" in technician.out
    technician.configure(log={"phones": "full"})
    for words in commands:
        technician.types(*words)
        assert PHONE in technician.out


def test_no_control_character_reaches_the_terminal(
    technician: Technician, queue: dict[str, int]
) -> None:
    add_recording(technician.ledger, None, "evil\x1b[2J\n\udcff.wav")
    for words in (("list",), ("show", str(queue["refused"]))):
        assert technician.types(*words) == 0
        assert all(line.isprintable() for line in technician.out.splitlines())


# show


def test_a_call_is_shown_with_its_record_and_recordings(
    technician: Technician, queue: dict[str, int]
) -> None:
    assert technician.types("show", str(queue["refused"])) == 0
    text = technician.out
    assert f"record {queue['refused']}\n" in text
    assert f"recording {queue['waiting']}\n" in text
    assert re.search(r"refusals +3\n", text)
    assert re.search(r"callid +none yet\n", text)
    assert re.search(r"tried again +in (59\d|600) s\n", text)
    assert re.search(r"size +1000 bytes\n", text)
    assert re.search(r"audio +good\n", text)


def test_a_recording_is_shown_alone(technician: Technician, queue: dict[str, int]) -> None:
    assert technician.types("show", str(queue["waiting"])) == 0
    assert technician.out.startswith(f"recording {queue['waiting']}\n")
    assert "record " not in technician.out.splitlines()[0]


def test_a_recording_that_waits_for_its_call_is_not_said_to_be_tried_again(
    technician: Technician,
) -> None:
    due = SystemClock().monotonic() + 600
    number = add_recording(technician.ledger, None, "1.wav", call_due=due)
    assert technician.types("show", str(number)) == 0
    assert "waiting for its call" in technician.out
    assert "tried again" not in technician.out


def test_what_was_delivered_is_shown_by_its_callid(
    technician: Technician, queue: dict[str, int]
) -> None:
    assert technician.types("show", CALLID) == 0
    text = technician.out
    assert f"record {queue['done']}\n" in text
    assert f"recording {queue['sent']}\n" in text
    assert text.count(CALLID) == 2
    assert "ab" * 32 in text
    assert "tried again" not in text


@pytest.mark.parametrize("name", ["123", "no-such-callid", "²", "9" * 30, "", "x\x1b[2J"])
def test_an_item_that_is_not_there_is_said_so(
    technician: Technician, queue: dict[str, int], name: str
) -> None:
    assert technician.types("show", name) == 1
    assert technician.out == ""
    assert technician.err.startswith("there is no item")
    assert technician.err.strip().isprintable()


# retry


def test_a_refused_item_is_tried_again_at_once(
    technician: Technician, queue: dict[str, int]
) -> None:
    assert technician.ledger.deliveries.next_record() is None
    assert technician.types("retry", str(queue["refused"])) == 0
    assert technician.out.startswith("1 item is tried again when the agent looks")
    due = technician.ledger.deliveries.next_record()
    assert due is not None
    assert due.stored.id == queue["refused"]


def test_a_recording_that_waits_for_its_record_has_that_one_tried(
    technician: Technician, queue: dict[str, int]
) -> None:
    assert technician.types("retry", str(queue["waiting"])) == 0
    assert technician.out.startswith("1 item is tried again")
    assert technician.ledger.deliveries.next_record() is not None


def test_all_that_waits_is_tried_again(technician: Technician, queue: dict[str, int]) -> None:
    other = add_call(technician.ledger)
    technician.ledger.deliveries.refused(other, "x", SystemClock().monotonic() + 600)
    assert technician.types("retry", "--all") == 0
    assert technician.out.startswith("2 items are tried again")


def test_a_callid_names_what_is_to_be_tried(technician: Technician, queue: dict[str, int]) -> None:
    late = add_recording(technician.ledger, queue["done"], "late.wav")
    technician.ledger.deliveries.refused(late, "x", SystemClock().monotonic() + 600)
    assert technician.types("retry", CALLID) == 0
    assert technician.out.startswith("1 item is tried again")
    assert next_recording(technician.ledger).id == late


@pytest.mark.parametrize("which", ["done", "sent", "kept"])
def test_what_does_not_wait_is_not_tried_and_the_answer_says_how_it_stands(
    technician: Technician, queue: dict[str, int], which: str
) -> None:
    number = queue[which]
    assert technician.types("retry", str(number)) == 1
    assert technician.out == ""
    assert f"{number}: {state_of(technician.ledger, number)}" in technician.err


def test_a_process_that_runs_no_agent_is_not_signalled(
    technician: Technician, queue: dict[str, int]
) -> None:
    InstanceLock(technician.state).close()  # its number stays in the file
    assert technician.types("retry", "--all") == 0
    assert "when the agent looks at its queue next" in technician.out


def test_an_item_that_is_not_there_cannot_be_tried(technician: Technician) -> None:
    assert technician.types("retry", "123") == 1
    assert "there is no such item" in technician.err


@pytest.mark.parametrize("words", [(), ("retry",), ("retry", "1", "--all"), ("show",), ("drop",)])
def test_a_command_that_makes_no_sense_ends_with_2(
    technician: Technician, words: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as end:
        technician.types(*words)
    assert end.value.code == 2


def test_the_running_agent_is_told_to_look_at_once(
    technician: Technician, queue: dict[str, int]
) -> None:
    told: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: told.append(number))
    lock = InstanceLock(technician.state)
    try:
        assert technician.types("retry", "--all") == 0
    finally:
        lock.close()
        signal.signal(signal.SIGUSR1, before)
    assert told == [signal.SIGUSR1]
    assert "tried again now" in technician.out


# The ledger itself.


def test_without_a_ledger_it_says_that_the_agent_has_not_run_here(
    tmp_path: Path, technician: Technician
) -> None:
    technician.configure(state_directory=str(tmp_path / "elsewhere"))
    assert technician.types("list") == 3
    assert "the agent has not run here yet" in technician.err
    assert not (tmp_path / "elsewhere").exists()


def test_a_state_directory_that_cannot_be_looked_at_is_said_so(technician: Technician) -> None:
    technician.configure(state_directory="/" + "x" * 300)
    assert technician.types("list") == 3
    assert "File name too long" in technician.err


def test_a_damaged_ledger_is_said_so_and_left_where_it_is(technician: Technician) -> None:
    path = technician.state / FILE_NAME
    technician.ledger.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(b"not a ledger" * 1000)
    assert technician.types("list") == 3
    assert "the ledger can't be used" in technician.err
    assert path.read_bytes() == b"not a ledger" * 1000
    path.unlink()
    technician.ledger = open_ledger(technician.state, SystemClock())


def test_a_ledger_of_a_newer_agent_is_not_touched(technician: Technician) -> None:
    with closing(sqlite3.connect(technician.state / FILE_NAME)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("PRAGMA user_version = 999")
    assert technician.types("list") == 3
    assert "has format 999" in technician.err
    with closing(sqlite3.connect(technician.state / FILE_NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


def test_as_a_process_of_its_own_it_works_beside_a_ledger_that_is_written(
    technician: Technician, queue: dict[str, int]
) -> None:
    with technician.ledger.transaction():
        add_call(technician.ledger)
        listed = subprocess.run(
            [sys.executable, "-m", "agent", "queue", "--config", technician.config, "list"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    assert listed.returncode == 0, listed.stderr
    # What is not durable yet is not shown.
    assert len(listed.stdout.splitlines()) == 3


def test_an_item_whose_name_is_no_text_at_all_is_not_there(technician: Technician) -> None:
    assert technician.types("show", os.fsdecode(b"\xff")) == 1
    assert technician.err == "there is no item \\udcff\n"


# In the technician's language.


def test_in_chinese_the_queue_is_told_in_chinese(
    technician: Technician, queue: dict[str, int]
) -> None:
    technician.configure(language="zh_CN")
    assert technician.types("list") == 0
    line = line_of(technician.out, queue["refused"])
    assert line.startswith(f"{queue['refused']}  话单       话单待发送  端口 1，138****8000，")
    assert line.endswith("（被拒绝 3 次）")
    assert "录音       等待话单" in line_of(technician.out, queue["waiting"])
    technician.types("show", str(queue["kept"]))
    assert "状态          保留，不上传" in technician.out
    assert "音频          空文件" in technician.out
    technician.types("retry", "--all")
    assert "项将在代理程序下次检查队列时重试" in technician.out
    assert technician.types("show", "9999") == 1
    assert technician.err == "没有项目 9999\n"
