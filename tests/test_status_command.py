"""`status` tells at a glance, and by its exit status, how the gateway is."""

import argparse
import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from agent.clock import Stamp
from agent.commands import status, status_file
from agent.commands.screen import ASCII, UNICODE, Signs, signs_for
from agent.commands.status_screen import Fitted, Screen
from agent.commands.status_table import Picture, size_words
from agent.language import ENGLISH, Language, language
from agent.settings import Board, Platform, Recordings, Settings
from agent.text import width

NOW = 1_700_000_000.0
CHINESE = language("zh_CN", {})

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


def show(
    path: Path,
    *options: str,
    clock: TurnedClock | None = None,
    pause: Any = None,
    language: Language = ENGLISH,
) -> int:
    parser = argparse.ArgumentParser()
    status.add_arguments(parser)
    settings = Settings(
        platform=Platform(url="http://h/"),
        boards=(Board(port="a"),),
        recordings=Recordings(directory="b"),
        status_file=str(path),
    )
    return status.run(parser.parse_args(options), settings, language, clock or TurnedClock(), pause)


@pytest.fixture(autouse=True)
def locale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that shows signs."""
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")


def test_when_all_is_well_the_exit_status_is_0(path: Path, capsys: Captured) -> None:
    path.write_text(json.dumps(content()))
    assert show(path) == 0
    out = capsys.readouterr().out
    for words in (
        "● all is well\n  smarttel-agent 1.0.0   00:00:00:00:00:01   up 2 h   as of 3 s ago",
        "platform   reached  https://platform.example/voip/api/upload_record",
        "last good answer 12 s ago, its clock +0.2 s from ours",
        "queue      nothing waits",
        "12 recordings, 4.8 MiB",
        "5 % used, 28 GiB of 29 GiB free",
        "3 placed",
        "● board 1  up  native  /dev/ttyS1",
        "  heard 1 s ago, 120 lines, 2 bad",
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
    assert lines[0] == "● degraded: something waits or is down, nothing is being lost"
    assert "1 problem" in lines[3]
    assert lines[4].startswith("│ platform-unreachable  for 5 min")
    assert lines[5].startswith("│ connection refused by 192.0.2.1:8080")
    assert lines[6].startswith("│ → Check the network and platform.url")


def test_a_problem_of_a_later_agent_is_shown_with_its_own_hint(
    path: Path, capsys: Captured
) -> None:
    later = {"code": "moon-phase", "message": "it wanes", "hint": "wait a fortnight"}
    path.write_text(json.dumps(content(health="odd", problems=[later])))
    assert show(path) == 1
    out = capsys.readouterr().out
    for words in ("● odd", "moon-phase", "it wanes", "→ wait a fortnight"):
        assert words in out


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
    assert "2 records, 3 recordings (2.0 KiB) wait, the oldest since 2 h ago" in out
    assert "1 needs attention: smarttel-agent queue list" in out


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
    out = capsys.readouterr().out
    assert out.count("smarttel-agent 1.0.0") == 2
    assert "platform-unreachable" in out


def test_nothing_is_coloured_where_no_terminal_reads(path: Path, capsys: Captured) -> None:
    path.write_text(json.dumps(content(problems=[PROBLEM])))
    show(path)
    assert "\x1b" not in capsys.readouterr().out


def drawn(
    columns: int = 80, language: Language = ENGLISH, signs: Signs = UNICODE, **changes: Any
) -> str:
    out = io.StringIO()
    console = Console(file=out, width=columns, markup=False, highlight=False, emoji=False)
    seen = msgspec.convert(content(**changes), status_file.Status)
    console.print(Picture(seen, "", NOW, language, signs).whole())
    return out.getvalue()


def test_the_picture_fits_eighty_columns() -> None:
    long = {**PROBLEM, "message": "m" * 300, "hint": "a hint of many words " * 20}
    platform = {"url": "https://" + "h" * 200, "last_error": "e" * 200}
    board = {"serial": 1, "port": "/dev/" + "p" * 100, "channels": [{"ch": 1, "phone": "1" * 90}]}
    text = drawn(problems=[long], platform=platform, boards=[board])
    assert max(len(line) for line in text.splitlines()) <= 80


BUSY: dict[str, Any] = {
    "health": "failing",
    "problems": [
        {
            **PROBLEM,
            "template": "board {serial} on {port}: {trouble}",
            "values": {
                "serial": 1,
                "port": "/dev/serial/by-id/usb-Prolific-if00-port0",
                "trouble": {"template": "nothing is heard"},
            },
        },
    ],
    "queue": {"records_waiting": 2, "files_waiting": 3, "attention": 2, "oldest_waiting": NOW - 90},
    "platform": {"url": "https://platform.example/", "reachable": False, "clock_offset": -2},
    "boards": [
        {
            "serial": number,
            "driver": "native",
            "port": f"/dev/ttyS{number}",
            "link": link,
            "channels": [
                {"ch": ch, "state": state, "name": name, "peer": 1, "since": NOW - 10}
                for ch, (state, name) in enumerate(
                    (
                        (0, "not known yet"),
                        (0, "not connected"),
                        (1, "idle"),
                        (2, "in call"),
                        (3, "ringing"),
                        (4, "answered"),
                        (5, "line fault"),
                    ),
                    start=1,
                )
            ],
        }
        for number, link in ((1, "up"), (2, "down"))
    ],
}


def test_in_chinese_every_word_is_and_every_edge_stands_straight() -> None:
    for columns in (80, 120):
        text = drawn(columns, CHINESE, **BUSY)
        assert all(width(line) <= columns for line in text.splitlines())
        frame = [line for line in text.splitlines() if line.startswith(("╭", "│", "╰"))]
        assert {width(line) for line in frame} == {columns}
        # What stays: names that are typed, or stand on the box.
        names = r"smarttel-agent|queue list|https?://\S+|/dev/\S+|native|MiB|GiB|platform\S*"
        assert not re.findall(r"[A-Za-z]{2,}", re.sub(rf"{names}| [KMG]?i?B\b", "", text))


def test_a_problem_is_told_in_the_readers_language_whatever_the_agents_is() -> None:
    problem = {**BUSY["problems"][0], "message": "板卡 1……", "hint": "请检查网络"}
    assert "board 1 on /dev/serial" in drawn(problems=[problem])
    assert "Check the network and platform.url" in " ".join(drawn(problems=[problem]).split())
    assert "收不到数据" in drawn(language=CHINESE, **BUSY)


@pytest.mark.parametrize(
    "forged",
    [
        {"template": "{message.__class__}", "values": {"message": "x"}},
        {"template": "{message:1000000000}", "values": {"message": "x"}},
        {"template": "{message!r:>99999999}", "values": {"message": "x"}},
        {"template": "{missing}", "values": {}},
        {"template": "{unbalanced", "values": {}},
        {"template": "{}", "values": {}},
        {"template": "{number} a", "plural": "{number:999999999}", "values": {"number": 2}},
    ],
)
def test_a_forged_template_is_not_filled_in(forged: dict[str, Any]) -> None:
    for speaking in (ENGLISH, CHINESE):
        text = drawn(language=speaking, problems=[{**PROBLEM, **forged}])
        assert "connection refused by 192.0.2.1:8080" in text


def test_where_no_locale_is_set_the_picture_is_plain_ascii() -> None:
    text = drawn(signs=ASCII, **BUSY)
    assert text.isascii()
    assert "-> Check the network" in text
    assert re.search(r"\+- 1 problem -+\+", text)


@pytest.mark.parametrize(
    ("encoding", "environment", "signs"),
    [
        ("utf-8", {"LANG": "en_US.UTF-8"}, UNICODE),
        ("utf-8", {"LC_ALL": "C", "LANG": "en_US.UTF-8"}, ASCII),
        ("utf-8", {}, ASCII),
        ("utf-8", {"LC_CTYPE": "C.UTF-8"}, ASCII),
        ("utf-8", {"LC_CTYPE": "UTF-8"}, UNICODE),
        ("utf-8", {"LANG": "C.UTF-8"}, UNICODE),
        ("ascii", {"LANG": "en_US.UTF-8"}, ASCII),
        ("iso8859-1", {"LANG": "de_DE"}, ASCII),
    ],
)
def test_signs_are_those_that_the_terminal_shows(
    encoding: str, environment: dict[str, str], signs: Signs
) -> None:
    assert signs_for(encoding, ENGLISH, environment) == signs


def test_whoever_wants_chinese_has_a_terminal_that_shows_signs() -> None:
    assert signs_for("utf-8", CHINESE, {}) == UNICODE


def test_the_command_on_a_dumb_terminal_without_a_locale_writes_ascii(
    path: Path, tmp_path: Path
) -> None:
    path.write_text(json.dumps({**content(**BUSY), "updated": time.time()}))
    config = tmp_path / "config.yaml"
    config.write_text(
        f"platform: {{url: 'http://h/'}}\nboards: [{{port: a}}]\n"
        f"recordings: {{directory: b}}\nstatus_file: {path}\n"
    )
    bare = {name: value for name, value in os.environ.items() if not name.startswith("LC_")}
    done = subprocess.run(
        [sys.executable, "-m", "agent", "--config", str(config), "status"],
        env={**bare, "TERM": "dumb", "LANG": "C"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, b"")
    assert done.stdout.isascii()
    assert b"\x1b" not in done.stdout


def test_a_terminal_that_lacks_the_characters_gets_question_marks_and_no_crash(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(json.dumps(content(**BUSY)))
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert show(path, language=CHINESE) == 1
    sys.stdout.flush()
    assert b"MiB" in raw.getvalue() or b"?" in raw.getvalue()


# Watching on a terminal.


def watched(looks: Sequence[Any], height: int = 50) -> tuple[int, str]:
    """What a terminal is sent while so many looks are taken, Ctrl-C after the last."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=80,
        height=height,
        force_terminal=True,
        color_system=None,
        legacy_windows=False,
        markup=False,
        _environ={"TERM": "xterm"},
    )
    rest = list(looks)

    def pause(_seconds: float) -> None:
        if not rest:
            raise KeyboardInterrupt

    screen = Screen(ENGLISH, console, {"LANG": "en_US.UTF-8"})
    return screen.watch(lambda: rest.pop(0), lambda: NOW, pause), out.getvalue()


def look(path: Path, **changes: Any) -> status_file.Seen:
    path.write_text(json.dumps(content(**changes)))
    return status_file.look(path, NOW)


def gone(path: Path) -> status_file.NoStatus:
    path.unlink(missing_ok=True)
    with pytest.raises(status_file.NoStatus) as caught:
        status_file.look(path, NOW)
    return caught.value


ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


def test_a_watch_draws_in_place_and_leaves_the_last_picture(path: Path) -> None:
    exit_status, sent = watched([look(path), look(path, health="degraded", problems=[PROBLEM])])
    inside, after = sent.partition(ENTER)[2].split(LEAVE)
    assert exit_status == 1
    assert inside.count("smarttel-agent 1.0.0") == 2
    assert after.count("smarttel-agent 1.0.0") == 1
    assert "platform-unreachable" in after
    assert sent.rindex("\x1b[?25h") > sent.rindex("\x1b[?25l")


def test_a_watch_outlives_the_files_absence_and_says_so(path: Path) -> None:
    exit_status, sent = watched([look(path), gone(path), look(path)])
    inside, after = sent.partition(ENTER)[2].split(LEAVE)
    assert exit_status == 0
    assert "there is no such file; it is looked for again and again" in " ".join(
        inside.replace("│", " ").split()
    )
    assert inside.count("board 1") == 3
    assert "not running" not in after


def test_a_watch_that_begins_before_the_agent_waits_for_it(path: Path) -> None:
    exit_status, sent = watched([gone(path), look(path)])
    inside = sent.partition(ENTER)[2]
    assert exit_status == 0
    assert "systemctl start smarttel-agent" in " ".join(inside.split())
    assert "all is well" in inside


def test_a_watch_that_ends_without_an_agent_has_exit_status_3(path: Path) -> None:
    assert watched([look(path), gone(path)])[0] == 3


def test_a_picture_higher_than_the_terminal_is_cut_and_says_how_much_is_missing() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, height=10, force_terminal=True, color_system=None)
    console.print(Fitted(Text("\n".join("abcdefghijkl")), ENGLISH))
    assert out.getvalue().splitlines() == [*"abcdefghi", "3 more lines"]
    out.truncate(0)
    console.print(Fitted(Text("\n".join("abcdefghij")), ENGLISH))
    assert out.getvalue().strip("\0").splitlines() == [*"abcdefghij"]


def test_a_real_terminal_is_left_as_it_was_found_after_ctrl_c(path: Path, tmp_path: Path) -> None:
    path.write_text(json.dumps({**content(), "updated": time.time() + 60}))
    config = tmp_path / "config.yaml"
    config.write_text(
        f"platform: {{url: 'http://h/'}}\nboards: [{{port: a}}]\n"
        f"recordings: {{directory: b}}\nstatus_file: {path}\n"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", LANG="en_US.UTF-8")
        os.execv(
            sys.executable,
            [sys.executable, "-m", "agent", "--config", str(config), "status", "--watch"],
        )
    sent = b""
    while b"as of" not in sent:
        sent += os.read(terminal, 65536)
    os.kill(pid, signal.SIGINT)
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 65536):
            sent += piece
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert sent.decode().count(ENTER) == sent.decode().count(LEAVE) == 1
    assert "all is well" in sent.decode().partition(LEAVE)[2]


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
    assert status_file.duration(seconds) == words


def test_a_size_is_told_by_its_unit() -> None:
    sizes = (0, 1023, 1024, 1536, 10 * 1024**2, 9.5e9)
    assert [size_words(each) for each in sizes] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 KiB",
        "10 MiB",
        "8.8 GiB",
    ]


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
