"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from agent.boards.driver import BoardOptions, Driver
from agent.boards.events import ChannelState, LineState
from agent.health import KINDS

ROOT = Path(__file__).parents[1]


def test_every_problem_stands_in_the_readme_in_its_order() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| [A-Z]", (ROOT / "README.md").read_text("utf-8"), re.M)
    assert rows == list(KINDS)


def test_the_driver_of_the_documents_is_one() -> None:
    text = (ROOT / "docs" / "drivers.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
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
