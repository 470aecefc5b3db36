"""Functions from the platform's message to the status file, with the real daemon between."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent.clock import Stamp, SystemClock
from agent.function_queue import REBOOT_AGAIN
from agent.ledger import open_existing, open_ledger
from agent.platform.listing import MOST_PARAMETER_TEXT
from tests.gateway import SATELLITE, Box, box, wait_until
from tests.hostile import assert_clean, spied
from tests.programs import functions_directory, script

PHONE = "13800138000"


class Programs:
    """The folder of programs, and a file in which they note that they ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = functions_directory(folder)
        self.mark = folder / "mark"

    def add(self, name: str, body: str) -> Path:
        """Make a program that notes its number, then does as told."""
        return script(self.folder, name, f"echo $$ >>{self.mark}\n{body}")

    @property
    def ran(self) -> list[int]:
        """Numbers of the processes, one for each run."""
        return [int(line) for line in self.mark.read_text().split()] if self.mark.exists() else []


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    made = Programs(tmp_path)
    yield made
    for number in made.ran:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


@pytest.fixture
def gateway(tmp_path: Path, programs: Programs) -> Iterator[Box]:
    with box(tmp_path) as made:
        made.settings["functions"] = {"directory": str(programs.folder)}
        yield made


def errand(gateway: Box, function: str, count: int = 1, *, finished: bool = True) -> dict[str, Any]:
    """The latest errand of a function, once there are so many and it is finished or runs."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        errands = gateway.status.get("errands", [])
        found[:] = [one for one in errands if one["function"] == function]
        under_way = {"running", "waiting for its turn"}
        return len(found) >= count and finished != (found[0]["state"] in under_way)

    wait_until(look, f"{function} is {'finished' if finished else 'under way'}\n{gateway.log}")
    return found[0]


def restarted(gateway: Box) -> list[int]:
    """How many parts each reload began anew."""
    return [int(count) for count in re.findall(r"; (\d+) parts were started anew", gateway.log)]


def post(gateway: Box, page: str, **wanted: object) -> None:
    """Ask the simulated platform as a person does with curl."""
    url = f"{gateway.platform.url.partition('/voip')[0]}/simulation/{page}"
    with urllib.request.urlopen(url, json.dumps(wanted).encode(), 10) as answer:
        assert answer.status == 200


def test_a_message_runs_a_program_and_the_status_tells_how_it_went(
    gateway: Box, programs: Programs
) -> None:
    noted = spied(gateway)
    programs.add("greet", f"cat; echo greeted {PHONE}")
    programs.add("unsafe", "").chmod(0o777)
    gateway.start()
    for name in ("../greet", ".", "/bin/sh", "", "greet\0", "ɡreet", "g" * 2**19, "greet;id"):
        memo = {"functionname": name, "paramvalue": "a=b"}
        gateway.platform.send_message(SATELLITE, {"status": "51", "memo": memo})
    values: list[object] = ["x" * (MOST_PARAMETER_TEXT + 1), "a=%00", [[[["a"]]]], {"a": {}}]
    for value in values:
        hostile: dict[str, object] = {"functionname": "greet", "paramvalue": value}
        gateway.platform.send_message(SATELLITE, {"status": "51", "memo": hostile})
    gateway.platform.send_function(SATELLITE, "unsafe")
    post(gateway, "functions", mac=SATELLITE, function="greet", parameters={"a": "名 & b"})
    told = errand(gateway, "greet")
    assert told["state"] == "done"
    assert told["outcome"].startswith("exit status 0 after ")
    assert told["outcome"].endswith("s: greeted 138****8000")
    assert errand(gateway, "unsafe")["outcome"].startswith("not run: unsafe can be written")
    assert len(programs.ran) == 1
    assert 'function greet says: {"a": "名 & b"}' in gateway.log
    assert PHONE not in gateway.log
    assert_clean(gateway)
    starts = [line for line in noted.read_text("utf-8").splitlines() if "Popen" in line]
    assert len(starts) == 1, starts


def test_a_program_that_runs_as_the_agent_is_killed_is_not_run_a_second_time(
    gateway: Box, programs: Programs
) -> None:
    programs.add("slow", "exec sleep 1000")
    gateway.start()
    entry = {"status": "51", "memo": {"functionname": "slow", "paramvalue": ""}}
    gateway.platform.send_message(SATELLITE, entry)
    wait_until(lambda: len(programs.ran) == 1, "it runs")
    gateway.kill()
    # The platform lists it still: its answer may have been lost.
    gateway.platform.send_message(SATELLITE, entry)
    gateway.start()
    told = errand(gateway, "slow")
    assert told["state"] == "failed"
    assert told["outcome"] == "interrupted as the agent ended; not repeated"
    polls = gateway.platform.requests["messages"]
    gateway.wait_for(lambda: gateway.platform.requests["messages"] > polls + 2, "more polls")
    assert len(programs.ran) == 1


def test_a_program_that_hangs_holds_up_nothing_and_is_killed_in_time(
    gateway: Box, programs: Programs
) -> None:
    programs.add("hang", "trap '' TERM\nwhile :; do sleep 1; done")
    programs.add("next", "")
    gateway.start(functions={"directory": str(programs.folder), "time_limit": 3})
    gateway.platform.send_function(SATELLITE, "hang")
    gateway.platform.send_function(SATELLITE, "next")
    wait_until(lambda: len(programs.ran) == 1, "it hangs")
    gateway.platform.send_call(SATELLITE, 2, "10086")
    gateway.platform.send_function(SATELLITE, "report")
    gateway.board.off_hook(1)
    gateway.board.hang_up(1)
    gateway.wait_for_records(1)
    wait_until(lambda: bool(gateway.board.dials), "it is dialled")
    assert errand(gateway, "report")["outcome"] == "a report is on its way"
    assert errand(gateway, "hang", finished=False)["state"] == "running"
    told = errand(gateway, "hang")
    assert told["state"] == "failed"
    assert told["outcome"].startswith("killed after ")
    assert told["outcome"].endswith("its time was over")
    assert errand(gateway, "next")["state"] == "done"
    assert not psutil.pid_exists(programs.ran[0])


def test_the_agent_ends_in_time_while_a_program_runs_that_ignores_it(
    gateway: Box, programs: Programs
) -> None:
    programs.add("hang", "trap '' TERM\nwhile :; do sleep 1; done")
    gateway.start()
    gateway.platform.send_function(SATELLITE, "hang")
    wait_until(lambda: len(programs.ran) == 1, "it hangs")
    begun = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - begun < 5, "as SIGTERM promises"
    assert not psutil.pid_exists(programs.ran[0])
    with closing(open_existing(gateway.folder / "state", SystemClock())) as ledger:
        (told,) = ledger.errands.recent(10)
    assert told.outcome.endswith("the agent was stopped or configured anew")


def test_programs_have_a_thread_only_where_they_are_configured_and_a_reload_ends_them(
    gateway: Box, programs: Programs
) -> None:
    programs.add("slow", "exec sleep 1000")
    gateway.start(functions={"directory": None})
    gateway.platform.send_function(SATELLITE, "slow")
    assert errand(gateway, "slow")["state"] == "unknown function"
    gateway.configure(functions={"directory": str(programs.folder)})
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: len(restarted(gateway)) == 1, "it is read anew")
    gateway.platform.send_function(SATELLITE, "slow", now="yes")
    wait_until(lambda: len(programs.ran) == 1, "it runs")
    gateway.configure(functions={"directory": None})
    gateway.signal(signal.SIGHUP)
    assert errand(gateway, "slow", 2)["outcome"].endswith("stopped or configured anew")
    wait_until(lambda: len(restarted(gateway)) == 2, "it is read anew")
    with_programs, without = restarted(gateway)
    assert with_programs == without + 1
    assert not psutil.pid_exists(programs.ran[0])


def test_a_message_has_tried_again_what_waits(gateway: Box) -> None:
    gateway.platform.faults.set("record:status", 3001)
    gateway.start(retry={"first": 3600, "longest": 3600})
    gateway.board.off_hook(1)
    gateway.board.hang_up(1)
    wait_until(lambda: gateway.status["queue"]["records_waiting"] == 1, "it waits")
    gateway.wait_for(lambda: gateway.platform.requests["record"] == 1, "it is refused")
    gateway.platform.faults.clear()
    gateway.platform.send_function(SATELLITE, "retry", item="7687658987667780097")
    assert errand(gateway, "retry")["outcome"] == "768****0097: there is no such item"
    gateway.platform.send_function(SATELLITE, "retry", item="all")
    gateway.wait_for_records(1)
    assert errand(gateway, "retry", 2)["outcome"] == "1 item is tried again now"


def test_a_reboot_happens_once_also_where_the_platform_lists_it_again_afterwards(
    gateway: Box, programs: Programs
) -> None:
    command = programs.add("restart", "")
    reboot = {"reboot": True, "reboot_command": [str(command)]}
    clock = SystemClock()
    state = gateway.folder / "state"
    state.mkdir()
    with closing(open_ledger(state, _Earlier(clock))) as ledger:
        ledger.errands.mark_reboot()
    gateway.start(functions=reboot)
    gateway.platform.send_function(SATELLITE, "reboot")
    assert errand(gateway, "reboot")["outcome"] == "the reboot was asked for"
    assert gateway.stop() == 0
    gateway.platform.send_function(SATELLITE, "reboot")
    gateway.platform.send_function(SATELLITE, "reboot", why="it hangs")
    gateway.start(functions=reboot)
    told = errand(gateway, "reboot", 2)
    assert told["outcome"].startswith("refused: the gateway was started or rebooted")
    assert len(programs.ran) == 1


class _Earlier(SystemClock):
    """A clock two hours ago, in this boot: a machine that tests may have been started just now."""

    def __init__(self, clock: SystemClock) -> None:
        super().__init__()
        self._clock = clock

    def stamp(self) -> Stamp:
        now = self._clock.stamp()
        return Stamp(now.wall - 2 * REBOOT_AGAIN, now.monotonic - 2 * REBOOT_AGAIN)
