"""`status` tells at a glance, and by its exit status, how the gateway is."""

import argparse
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rich.console import Console

from agent.clock import Stamp
from agent.commands import status, status_table
from agent.settings import Board, Platform, Recordings, Settings

NOW = 1_700_000_000.0

Captured = pytest.CaptureFixture[str]


class TurnedClock:
    """Wall time that is turned by hand."""

    boot = "test"

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def stamp(self) -> Stamp:
        return Stamp(self.now, self.now)


def content(**changes: Any) -> dict[str, Any]:
    """A status file as INTERFACES.md shows it, of this very process."""
    channel = {
        "ch": 1,
        "state": 2,
        "name": "in call",
        "phone": "138****8000",
        "peer": 2,
        "since": NOW - 65,
    }
    return {
        "version": 1,
        "agent": "1.0.0",
        "satellite": "00:00:00:00:00:01",
        "pid": os.getpid(),
        "started": NOW - 7200,
        "updated": NOW - 3,
        "health": "ok",
        "problems": [],
        "platform": {
            "url": "https://platform.example/voip/api/upload_record",
            "reachable": True,
            "last_ok": NOW - 12,
            "last_error": None,
            "clock_offset": 0.2,
        },
        "boards": [
            {
                "serial": 1,
                "driver": "native",
                "port": "/dev/ttyS1",
                "link": "up",
                "last_heard": NOW - 1,
                "frames": 120,
                "bad_frames": 2,
                "channels": [channel],
            }
        ],
        "disk": {"percent": 5, "size_mib": 30000, "free_mib": 28500, "status": 0},
        "queue": {
            "records_waiting": 0,
            "files_waiting": 0,
            "bytes_waiting": 0,
            "oldest_waiting": None,
            "attention": 0,
            "delivered": 12,
            "delivered_bytes": 5_000_000,
        },
        "dial": {"waiting": 0, "placed": 3, "expired": 0, "failed": 0},
        **changes,
    }


PROBLEM = {
    "code": "platform-unreachable",
    "since": NOW - 300,
    "message": "connection refused by 192.0.2.1:8080",
    "hint": "see that platform.url is right and the network is there",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "status.json"


def show(path: Path, *options: str, clock: TurnedClock | None = None, pause: Any = None) -> int:
    parser = argparse.ArgumentParser()
    status.add_arguments(parser)
    settings = Settings(
        platform=Platform(url="http://h/"),
        boards=(Board(port="a"),),
        recordings=Recordings(directory="b"),
        status_file=str(path),
    )
    return status.run(parser.parse_args(options), settings, clock or TurnedClock(), pause)


def test_when_all_is_well_the_exit_status_is_0(path: Path, capsys: Captured) -> None:
    path.write_text(json.dumps(content()))
    assert show(path) == 0
    out = capsys.readouterr().out
    for words in (
        "smarttel-agent 1.0.0  00:00:00:00:00:01  ok",
        "https://platform.example/voip/api/upload_record, reachable",
        "nothing waits",
        "12, 5 MiB",
        "5 % used, 28 GiB of 29 GiB free, in order",
        "board 1  native on /dev/ttyS1, link up, heard 1 s ago, 120 frames, 2 bad",
        "138****8000",
    ):
        assert words in out
    (row,) = [line.split() for line in out.splitlines() if "138****8000" in line]
    assert row == ["1", "in", "call", "138****8000", "in", "65", "s", "ago"]


def test_a_problem_comes_first_with_what_to_do_and_exit_status_1(
    path: Path, capsys: Captured
) -> None:
    path.write_text(json.dumps(content(health="degraded", problems=[PROBLEM])))
    assert show(path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("!! platform-unreachable for 5 min: connection refused by")
    assert any(line.startswith("   → see that platform.url") for line in lines[2:4])


def test_health_other_than_ok_is_exit_status_1(path: Path) -> None:
    path.write_text(json.dumps(content(health="failing")))
    assert show(path) == 1


def test_what_waits_is_shown_with_its_age(path: Path, capsys: Captured) -> None:
    queue = {
        "records_waiting": 2,
        "files_waiting": 3,
        "bytes_waiting": 2048,
        "oldest_waiting": NOW - 7200,
        "attention": 1,
    }
    path.write_text(json.dumps(content(queue=queue)))
    show(path)
    out = " ".join(capsys.readouterr().out.split())
    assert "2 records, 3 recordings (2 KiB) wait, the oldest since 2 h ago" in out
    assert "1 need attention: smarttel-agent queue list" in out


def test_without_a_file_no_daemon_runs(path: Path, capsys: Captured) -> None:
    assert show(path) == 3
    error = capsys.readouterr().err
    assert "there is no such file" in error
    assert "systemctl start smarttel-agent" in error


def test_the_status_of_a_process_that_has_ended_is_no_daemon(path: Path, capsys: Captured) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    path.write_text(json.dumps(content(pid=ended.pid)))
    assert show(path) == 3
    assert f"its process {ended.pid} has ended; its status is 3 s old" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_status_that_is_not_renewed_is_no_daemon_and_says_how_old(
    path: Path, capsys: Captured
) -> None:
    path.write_text(json.dumps(content(updated=NOW - 31)))
    assert show(path) == 3
    assert "has not written its status for 31 s" in capsys.readouterr().out


def test_a_status_of_just_thirty_seconds_still_counts(path: Path) -> None:
    path.write_text(json.dumps(content(updated=NOW - 30)))
    assert show(path) == 0


@pytest.mark.parametrize(
    "broken",
    [b"", b"{", b"[]", b'{"updated": "now"}', b"\xff", b"[" * 100_000, b'{"pid": 1e400}'],
)
def test_a_broken_file_is_a_sentence_and_exit_status_3(
    path: Path, capsys: Captured, broken: bytes
) -> None:
    path.write_bytes(broken)
    assert show(path) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "is not a status file of this agent" in captured.err
    assert len(captured.err.splitlines()) == 1


def test_json_prints_the_file_as_it_is(path: Path, capsys: Captured) -> None:
    text = json.dumps(content(health="degraded", later={"key": 1}), indent=3)
    path.write_text(text)
    assert show(path, "--json") == 1
    assert capsys.readouterr().out == text


def test_json_of_an_old_file_still_says_that_no_daemon_runs(path: Path, capsys: Captured) -> None:
    path.write_text(json.dumps(content(updated=NOW - 60)))
    assert show(path, "--json") == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["health"] == "ok"
    assert "has not written its status for 60 s" in captured.err


def test_watch_looks_again_until_it_is_interrupted(path: Path, capsys: Captured) -> None:
    path.write_text(json.dumps(content()))
    clock = TurnedClock()
    paused: list[float] = []

    def pause(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == 2:
            raise KeyboardInterrupt
        path.write_text(json.dumps(content(health="degraded", problems=[PROBLEM])))

    assert show(path, "--watch", clock=clock, pause=pause) == 1
    assert paused == [2.0, 2.0]
    assert capsys.readouterr().out.count("smarttel-agent 1.0.0") == 2


def test_nothing_is_coloured_where_no_terminal_reads(path: Path, capsys: Captured) -> None:
    path.write_text(json.dumps(content(problems=[PROBLEM])))
    show(path)
    assert "\x1b" not in capsys.readouterr().out


def drawn(**changes: Any) -> str:
    out = io.StringIO()
    console = Console(file=out, width=80, markup=False, highlight=False, emoji=False)
    seen = msgspec.convert(content(**changes), status.Status)
    status_table.draw(seen, "", NOW, False, console)
    return out.getvalue()


def test_the_picture_fits_eighty_columns() -> None:
    long = {**PROBLEM, "message": "m" * 300, "hint": "a hint of many words " * 20}
    platform = {"url": "https://" + "h" * 200, "last_error": "e" * 200}
    board = {"serial": 1, "port": "/dev/" + "p" * 100, "channels": [{"ch": 1, "phone": "1" * 90}]}
    text = drawn(problems=[long], platform=platform, boards=[board])
    assert max(len(line) for line in text.splitlines()) <= 80


def test_text_from_outside_reaches_no_terminal_as_an_escape() -> None:
    hostile = "\x1b[2J[bold]x[/bold]\n"
    text = drawn(
        satellite=hostile,
        problems=[{"code": hostile, "message": hostile, "hint": hostile}],
        platform={"url": hostile, "last_error": hostile},
        boards=[
            {
                "serial": 1,
                "driver": hostile,
                "port": hostile,
                "link": hostile,
                "channels": [{"ch": 1, "name": hostile, "phone": hostile}],
            }
        ],
    )
    assert "\x1b" not in text
    assert "[bold]x[/bold]" in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (0, "0 s"), (59, "59 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h")],
)
def test_a_duration_is_told_by_its_largest_unit(seconds: float, words: str) -> None:
    assert status.duration_words(seconds) == words


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(content())), JSON))
def test_whatever_stands_in_the_file_there_is_an_answer(
    path: Path, capsys: Captured, changes: dict[str, Any]
) -> None:
    path.write_text(json.dumps({**content(), **changes}), "utf-8", "surrogatepass")
    assert show(path) in {0, 1, 3}
    capsys.readouterr()
