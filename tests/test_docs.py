"""The documents say what the code does."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

from agent.boards.driver import GROUP, BoardOptions, Driver
from agent.boards.events import ChannelState, LineState
from agent.problems import KINDS
from agent.simulation.models import MODELS, PORTS

ROOT = Path(__file__).parents[1]


def test_every_problem_stands_in_the_readme_in_its_order() -> None:
    assert table_below("## Troubleshooting") == list(KINDS)


def test_every_driver_stands_in_the_table_of_hardware_and_keeps_a_simulated_board() -> None:
    ours = {
        entry.name
        for entry in entry_points(group=GROUP)
        if entry.dist is not None and entry.dist.name == "smarttel-agent"
    }
    assert set(table_below("## Hardware")) == ours == set(MODELS) == set(PORTS)


def table_below(heading: str) -> list[str]:
    """The names that begin the rows of a section's table in the README."""
    section = (ROOT / "README.md").read_text("utf-8").partition(f"{heading}\n")[2]
    return re.findall(r"^\| `([a-z0-9-]+)` \|", section.partition("\n## ")[0], re.M)


def test_the_driver_of_the_documents_is_one() -> None:
    text = (ROOT / "docs" / "drivers.md").read_text("utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.S)[0]
    assert code == (ROOT / "docs/letters-driver/letters_driver.py").read_text("utf-8")
    names: dict[str, type[Driver]] = {}
    exec(code, names)
    driver = names["LetterDriver"](BoardOptions(serial=1, channels=2), lambda: 0.0)
    driver.opened()
    assert driver.feed(b"1") == []
    assert driver.feed(b"R\n\xff\x00\n2T\r\n") == [
        ChannelState(1, LineState.RINGING),
        ChannelState(2, LineState.IN_CALL),
    ]
    assert (driver.frames, driver.bad_frames) == (2, 1)
