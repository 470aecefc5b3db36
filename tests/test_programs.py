"""How a program is run: no shell, nothing inherited, bounded time and output, alone."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from agent.clock import SystemClock
from agent.excerpts import MOST_HEAD, MOST_LINES, MOST_TAIL, Excerpt, first_and_last
from agent.program_files import agents_own
from agent.programs import (
    KILL_AFTER,
    MOST_OUTPUT,
    MOST_PARAMETERS,
    NICENESS,
    Command,
    Ended,
    Ending,
    NotStarted,
    Runner,
)
from tests.gateway import wait_until
from tests.programs import functions_directory, script

AMPLE = 30.0
"""Seconds for what takes a fraction of one."""
DUMP = 'import json, os, sys; print(json.dumps([dict(os.environ), sys.stdin.read(), os.getcwd(), \
os.getsid(0) == os.getpid(), os.umask(0), sorted(map(int, os.listdir("/proc/self/fd")))]))'


class Bench:
    """A folder of programs, and a runner for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = functions_directory(folder)
        self.mark = folder / "mark"
        self.stop = threading.Event()

    def run(
        self,
        body: str,
        parameters: Mapping[str, str] | None = None,
        time_limit: float = AMPLE,
        interpreter: str = "/bin/sh",
    ) -> Ended:
        script(self.folder, "program", body, interpreter)
        return self.start(Runner(SystemClock(), time_limit), parameters)

    def start(self, runner: Runner, parameters: Mapping[str, str] | None = None) -> Ended:
        with agents_own(self.folder).opened("program") as descriptor:
            variables = {"SMARTTEL_FUNCTION": "program"}
            command = Command(["program"], descriptor, parameters, variables)
            return runner.run(command, self.stop)

    def stop_when_marked(self, body: str) -> Ended:
        """Run a program, and have the agent stop as soon as it noted something."""
        runner = Runner(SystemClock(), AMPLE)
        script(self.folder, "program", body)
        ends: list[Ended] = []
        thread = threading.Thread(target=lambda: ends.append(self.start(runner)))
        thread.start()
        wait_until(lambda: bool(self.marked()), "it runs")
        self.stop.set()
        runner.wake()
        thread.join(AMPLE)
        (ended,) = ends
        return ended

    def marked(self) -> list[str]:
        """What programs noted."""
        return self.mark.read_text("utf-8").split() if self.mark.exists() else []


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for number in made.marked():
        with suppress(ProcessLookupError, ValueError):
            os.kill(int(number), signal.SIGKILL)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def gone(number: str) -> bool:
    """Whether a process has ended; whoever inherited it may not have collected it yet."""
    try:
        return psutil.Process(int(number)).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_program_that_ends_with_0_did_well_and_what_it_said_is_kept(bench: Bench) -> None:
    ended = bench.run("echo out; echo err >&2")
    assert ended.well
    assert (ended.status, ended.output) == (0, "out\nerr\n")
    assert ended.words.startswith("exit status 0 after ")


def test_any_other_exit_status_is_a_failure(bench: Bench) -> None:
    ended = bench.run("exit 7")
    assert not ended.well
    assert ended.words.startswith("exit status 7 after ")


def test_a_program_that_dies_of_a_signal_says_which(bench: Bench) -> None:
    ended = bench.run("kill -SEGV $$")
    assert ended.words.startswith(f"ended by signal {signal.SIGSEGV.value} ")


def test_a_program_gets_its_parameters_and_nothing_of_the_agents(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "5EC4E7")
    monkeypatch.setenv("LD_PRELOAD", "")
    parameters = {"a": "1", "名": '"quoted" $(reboot)\n`id`'}
    ours = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(ours, True)
    try:
        ended = bench.run(DUMP, parameters, interpreter="/usr/bin/env python3")
    finally:
        os.close(ours)
    variables, text, folder, leads, umask, inherited = json.loads(ended.output)
    assert json.loads(text) == json.loads(variables["SMARTTEL_PARAMETERS"]) == parameters
    assert set(variables) - {"LC_CTYPE"} == {
        *("PATH", "LANG", "SMARTTEL_PARAMETERS", "SMARTTEL_FUNCTION")
    }
    assert (folder, leads, umask) == ("/", True, 0o027)
    # Beside the three: the program itself, and the folder that the program is listing.
    assert len(inherited) <= 5
    assert ours not in inherited


def test_a_program_that_reads_nothing_holds_nobody_up(bench: Bench) -> None:
    assert bench.run("exec 0<&-; exit 0", {"text": "x" * 16_000}).well


def test_parameters_beyond_the_limit_start_nothing(bench: Bench) -> None:
    with pytest.raises(NotStarted, match="longer than"):
        bench.run(f"echo $$ >>{bench.mark}", {"text": "x" * MOST_PARAMETERS})
    assert bench.marked() == []


def test_the_program_that_was_checked_is_run_and_not_what_took_its_place(bench: Bench) -> None:
    script(bench.folder, "program", "echo checked")
    evil = script(bench.folder, "evil", "echo evil")
    with agents_own(bench.folder).opened("program") as descriptor:
        evil.replace(bench.folder / "program")
        ended = Runner(SystemClock(), AMPLE).run(Command(["program"], descriptor), bench.stop)
    assert ended.output == "checked\n"


def test_a_binary_is_run_as_well_as_a_script(bench: Bench) -> None:
    program = bench.folder / "program"
    program.write_bytes(Path("/bin/echo").read_bytes())
    program.chmod(0o755)
    assert bench.start(Runner(SystemClock(), AMPLE)).output == "\n"


@pytest.mark.parametrize("content", [b"", b"echo no; id", b"\x7fELF garbage", b"\0" * 100])
def test_what_is_no_program_is_not_handed_to_a_shell(bench: Bench, content: bytes) -> None:
    program = bench.folder / "program"
    program.write_bytes(content)
    program.chmod(0o755)
    with pytest.raises(NotStarted, match="neither a program of this machine nor a script"):
        bench.start(Runner(SystemClock(), AMPLE))


def test_an_interpreter_that_is_missing_is_named_as_the_reason(bench: Bench) -> None:
    with pytest.raises(NotStarted, match="interpreter"):
        bench.run("", interpreter="/no/such/interpreter")


def test_a_command_that_is_missing_is_not_started(bench: Bench) -> None:
    with pytest.raises(NotStarted):
        Runner(SystemClock(), AMPLE).run(Command(["/no/such/command"]), bench.stop)


# Time.


def test_a_program_that_hangs_is_ended_when_its_time_is_over(bench: Bench) -> None:
    ended = bench.run("exec sleep 1000", time_limit=0.2)
    assert not ended.well
    assert (ended.status, ended.ending) == (-signal.SIGTERM, Ending.TIME)
    assert ended.words.startswith("killed after ")
    assert ended.words.endswith("its time was over")


def test_a_program_may_clean_up_when_it_is_ended(bench: Bench) -> None:
    ended = bench.stop_when_marked(
        f"trap 'echo cleaned; exit 0' TERM\necho $$ >>{bench.mark}\nwhile :; do sleep 0.05; done"
    )
    assert ended.output.endswith("cleaned\n")
    assert not ended.well, "it was ended all the same"


def test_a_program_that_ignores_sigterm_is_killed(bench: Bench) -> None:
    ended = bench.stop_when_marked(f"trap '' TERM\necho $$ >>{bench.mark}\nsleep 1000")
    assert ended.status == -signal.SIGKILL
    assert ended.seconds >= KILL_AFTER
    assert gone(bench.marked()[0])


def test_what_a_program_started_ends_with_it(bench: Bench) -> None:
    bench.stop_when_marked(f"sleep 1000 & echo $! >>{bench.mark}\nsleep 1000")
    wait_until(lambda: gone(bench.marked()[0]), "the child is gone")


def test_a_child_that_keeps_the_output_open_does_not_hold_up_the_end(bench: Bench) -> None:
    ended = bench.run(f"sleep 1000 & echo $! >>{bench.mark}\necho done")
    assert ended.well
    assert ended.output == "done\n"
    assert ended.seconds < AMPLE / 3
    wait_until(lambda: gone(bench.marked()[0]), "the child is gone")


def test_a_child_that_gets_away_with_the_output_open_does_not_hold_up_the_end(
    bench: Bench,
) -> None:
    ended = bench.run(
        f"setsid sh -c 'echo $$ >>{bench.mark}; while :; do echo more; sleep 0.01; done' &\n"
        f"while [ ! -s {bench.mark} ]; do sleep 0.01; done\necho done"
    )
    assert ended.well
    assert ended.seconds < AMPLE / 3
    wait_until(lambda: gone(bench.marked()[0]), "printing on, it got SIGPIPE")


def test_a_program_that_closes_its_output_is_waited_for(bench: Bench) -> None:
    ended = bench.run(f"exec >&- 2>&-\nsleep 0.3\necho $$ >>{bench.mark}")
    assert ended.well
    assert len(bench.marked()) == 1


def test_the_agents_stop_ends_a_program_at_once(bench: Bench) -> None:
    ended = bench.stop_when_marked(f"echo $$ >>{bench.mark}\nexec sleep 1000")
    assert ended.ending is Ending.AGENT
    assert ended.words.endswith("the agent was stopped or configured anew")
    assert ended.seconds < AMPLE / 3
    assert gone(bench.marked()[0])


def test_a_program_that_is_asked_for_as_the_agent_stops_ends_at_once(bench: Bench) -> None:
    bench.stop.set()
    ended = bench.run("exec sleep 1000")
    assert ended.ending is Ending.AGENT
    assert ended.seconds < AMPLE / 3


def test_to_wake_where_nothing_runs_harms_nothing(bench: Bench) -> None:
    runner = Runner(SystemClock(), AMPLE)
    runner.wake()
    script(bench.folder, "program", "echo well")
    assert bench.start(runner).output == "well\n"
    runner.wake()


def test_a_kernel_that_does_not_tell_of_an_end_is_looked_after(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_process: int, _flags: int = 0) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", missing)
    ended = bench.run("exec >&- 2>&-\nsleep 0.1\nexit 3")
    assert ended.status == 3


def test_a_program_that_says_nothing_wakes_nobody_until_its_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[object] = []
    look = os.waitid

    def counted(*arguments: int) -> object:
        looks.append(look(*arguments))
        return looks[-1]

    monkeypatch.setattr(os, "waitid", counted)
    assert bench.run("exec sleep 1").well
    assert looks.count(None) <= 3


# Output.


def test_a_program_that_prints_without_end_is_ended_and_little_is_kept(bench: Bench) -> None:
    ended = bench.run("exec cat /dev/zero")
    assert ended.ending is Ending.OUTPUT
    assert ended.seconds < AMPLE / 3
    assert len(ended.output) < MOST_HEAD + MOST_TAIL + 100


def test_a_long_output_within_the_limit_is_read_to_its_end(bench: Bench) -> None:
    ended = bench.run(f"echo first; head -c {MOST_OUTPUT // 2} /dev/zero; echo last")
    assert ended.well
    assert ended.output.startswith("first\n")
    assert ended.output.endswith("last\n")
    assert "bytes left out" in ended.output


def test_what_is_no_text_is_shown_as_such(bench: Bench) -> None:
    assert bench.run(r"printf '\377\376ok'").output == "\ufffd\ufffdok"


def test_an_excerpt_keeps_both_ends_whatever_the_blocks() -> None:
    whole = bytes(number % 251 for number in range(10_000))
    for size in (1, 7, 2048, 9999, 20_000):
        excerpt = Excerpt()
        for start in range(0, len(whole), size):
            excerpt.take(whole[start : start + size])
        assert excerpt.total == len(whole)
        shown = excerpt.text()
        assert shown.startswith(whole[:MOST_HEAD].decode("utf-8", "replace")[:-1])
        assert shown.endswith(whole[-MOST_TAIL:].decode("utf-8", "replace")[1:])
        assert f"{10_000 - MOST_HEAD - MOST_TAIL} bytes left out" in shown


def test_a_short_output_is_kept_whole() -> None:
    excerpt = Excerpt()
    excerpt.take(b"a" * MOST_HEAD)
    excerpt.take(b"b" * MOST_TAIL)
    assert excerpt.text() == "a" * MOST_HEAD + "b" * MOST_TAIL


def test_of_many_lines_the_first_and_the_last_are_shown() -> None:
    lines = [str(number) for number in range(MOST_LINES + 10)]
    shown = first_and_last(lines)
    assert len(shown) == MOST_LINES + 1
    assert (shown[0], shown[-1]) == (lines[0], lines[-1])
    assert shown[MOST_LINES // 2] == "… 10 lines left out …"
    assert first_and_last(lines[:MOST_LINES]) == lines[:MOST_LINES]


def test_nothing_is_left_behind(bench: Bench) -> None:
    before = descriptors()
    bench.run("echo hello")
    bench.run("exec sleep 1000", time_limit=0.1)
    with pytest.raises(NotStarted):
        bench.run("", interpreter="/no/such/interpreter")
    assert descriptors() == before
    assert psutil.Process().children() == []


def test_a_program_gives_way_to_calls(bench: Bench) -> None:
    ended = bench.run(f"while [ $(nice) -lt {NICENESS} ]; do sleep 0.01; done; nice")
    assert int(ended.output) >= NICENESS
