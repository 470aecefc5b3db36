"""What docs/functions.md and the README say of functions is what happens."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.function_queue import REBOOT
from agent.functions import BUILT_IN
from agent.ledger.rows import ErrandState
from agent.program_files import agents_own
from agent.programs import Command, Ended, Runner
from tests.clocks import HandClock
from tests.programs import functions_directory, script
from tests.test_functions import Office, message

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "functions.md").read_text("utf-8")


def example(folder: Path) -> Path:
    """The documents' program, with a recorder that takes any volume."""
    directory = functions_directory(folder)
    lines = re.search(r"    #!/bin/sh\n((?:    .*\n)+)", TEXT)
    assert lines is not None
    body = re.sub("^    ", "", lines[1], flags=re.M).replace("/usr/local/bin/recorder-volume", ":")
    script(directory, "volume", body)
    return directory


@pytest.mark.parametrize(
    ("parameters", "status", "says"),
    [
        ({"port": "3", "level": "7"}, 0, "port 3 plays at 7\n"),
        ({"port": "3", "level": "7; reboot"}, 2, "port and level are numbers\n"),
    ],
)
def test_the_example_does_what_it_says(
    tmp_path: Path, parameters: dict[str, str], status: int, says: str
) -> None:
    with agents_own(example(tmp_path)).opened("volume") as descriptor:
        command = Command(["volume"], descriptor, parameters)
        ended: Ended = Runner(SystemClock(), 30).run(command, threading.Event())
    assert (ended.status, ended.output) == (status, says)


def test_every_variable_of_a_program_stands_in_its_table(tmp_path: Path) -> None:
    office = Office(tmp_path, HandClock())
    script(office.programs, "hello", f"env | cut -d= -f1 >{office.mark}")
    office.take(message("hello"))
    office.turns()
    office.ledger.close()
    table = TEXT.partition("| variable |")[2].partition("\n\n")[0]
    told = {name for row in table.splitlines() for name in re.findall(r"`([A-Z_]+)`", row[:80])}
    # The shell adds its own.
    assert set(office.marked) - {"PWD", "OLDPWD", "SHLVL", "_"} == told


@pytest.mark.parametrize("document", ["README.md", "docs/functions.md"])
def test_every_built_in_function_stands_in_the_table_of_functions(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    table = text.partition("| function |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ((?:`[a-z]+`(?:, )?)+) \|", table, re.M)
    names = [name for row in rows for name in re.findall(r"`([a-z]+)`", row)]
    assert names == [*BUILT_IN, REBOOT]


def test_the_states_of_the_table_are_those_that_the_status_shows() -> None:
    table = TEXT.partition("| `state` in")[2].partition("\n\n")[0]
    states = set(re.findall(r"^\| `([a-z ]+)` \|", table, re.M))
    of_calls = {ErrandState.WAITING, ErrandState.ORDERED, ErrandState.PLACED}
    assert states == {"waiting for its turn", "running"} | {*ErrandState} - of_calls
