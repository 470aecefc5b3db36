"""The serial row: the agent beside the barest Python, which hears the same lines."""

from __future__ import annotations

import ast
from pathlib import Path

from agent.simulation.bench import bare_serial
from agent.simulation.bench.serial import _measure_barest, barest
from agent.simulation.board import SimulatedBoard
from agent.simulation.platform import SimulatedPlatform
from tests.gateway import wait_until


def test_the_barest_python_books_each_call_that_it_hears(tmp_path: Path) -> None:
    with (
        SimulatedPlatform(tmp_path / "platform") as platform,
        SimulatedBoard(tmp_path / "board", 8) as board,
        barest(tmp_path, platform.url, [str(tmp_path / "board")]),
    ):
        assert board.wait_for_sync(20)
        board.ring(1, "13800138000")
        board.answer(1)
        board.off_hook(2)
        board.hang_up(1)
        board.digits(2, "110")
        board.hang_up(2)
        wait_until(lambda: len(platform.records) == 2, "both calls")
    assert platform.violations == []
    told = [(one.channel, one.direction, one.phone) for one in platform.records]
    assert told == [(1, "in", "13800138000"), (2, "out", "110")]


def test_none_of_a_busy_exchanges_calls_is_lost_by_it(tmp_path: Path) -> None:
    assert _measure_barest(tmp_path / "barest", 160.0, 2.0) > 0


def test_it_is_a_program_of_its_own() -> None:
    source = ast.parse(Path(bare_serial.__file__ or "").read_text("utf-8"))
    imported = {node.module for node in ast.walk(source) if isinstance(node, ast.ImportFrom)}
    assert {name for name in imported if name and name.startswith("agent")} == {
        "agent.simulation.bench.bare_idle"
    }
