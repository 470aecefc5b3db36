"""The idle row: the agent beside the barest Python, which keeps the same appointments."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.simulation.bench import bare_idle
from agent.simulation.bench.figures import Verdict
from agent.simulation.bench.idle import Spent, barest, figures, sleeper
from agent.simulation.board import SimulatedBoard
from agent.simulation.platform import SimulatedPlatform
from tests.gateway import wait_until

PATIENCE = 30.0
SLEEPER = Spent(0.12, 2.0)
"""A Python that only wakes up: 0.12 s in ten minutes, at 1,200 wake-ups."""


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[SimulatedPlatform]:
    with SimulatedPlatform(tmp_path / "platform") as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path


def test_the_barest_python_asks_reports_and_writes_as_a_gateway_does(
    folder: Path, platform: SimulatedPlatform
) -> None:
    with (
        SimulatedBoard(folder / "board", 8) as board,
        barest(folder, platform.url, folder / "board"),
    ):
        wanted = ("calls", "messages", "report")
        wait_until(lambda: all(platform.requests[one] for one in wanted), "each request")
        board.ring(1, "13800138000")
        status = folder / "run" / "barest.json"
        wait_until(lambda: json.loads(status.read_text("utf-8"))["last_heard"] > 0, "the board")
    assert platform.violations == []


def test_the_barest_python_ends_with_its_board(folder: Path, platform: SimulatedPlatform) -> None:
    words = [platform.url, "02:00:00:00:00:01", str(folder / "board"), str(folder / "status.json")]
    with SimulatedBoard(folder / "board", 8):
        process = subprocess.Popen([sys.executable, "-m", bare_idle.__name__, *words])
        wait_until(lambda: platform.requests["calls"] > 0, "the first poll")
    assert process.wait(PATIENCE) == 0


def test_one_that_ended_is_no_measure(folder: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="ended with status 1"),
        barest(folder, "http://127.0.0.1:9/", folder / "no board"),
    ):
        pass


def test_the_barest_python_is_a_program_of_its_own() -> None:
    found = [
        getattr(node, "module", None) or name.name
        for node in ast.walk(ast.parse(Path(bare_idle.__file__).read_text("utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    ]
    assert found
    assert not [name for name in found if name.partition(".")[0] not in sys.stdlib_module_names]


def test_the_agent_has_targets_and_the_barest_python_stands_beside_it() -> None:
    cpu, wakeups, bare, _, ratio, *_ = figures(Spent(0.28, 1.4), Spent(0.14, 0.9), SLEEPER)
    assert (cpu.verdict, wakeups.verdict) == (Verdict.REACHED, Verdict.REACHED)
    assert (bare.verdict, bare.measured) == (Verdict.TOLD, 0.14)
    assert (ratio.verdict, ratio.measured) == (Verdict.TOLD, 2.0)
    assert figures(Spent(0.31, 1.4), Spent(0.3, 1.3), SLEEPER)[0].verdict is Verdict.MISSED


def test_what_waking_up_alone_takes_stands_beside_them() -> None:
    *_, one, as_many = figures(Spent(0.28, 1.5), Spent(0.14, 0.9), SLEEPER)
    assert (one.verdict, as_many.verdict) == (Verdict.TOLD, Verdict.TOLD)
    assert one.measured == pytest.approx(0.1)
    assert as_many.measured == pytest.approx(0.09)


def test_the_sleeper_wakes_up_every_second(folder: Path) -> None:
    with sleeper(folder) as running:
        wait_until(lambda: running.use().wakeups >= 2, "it has begun to sleep")
        before = running.use().wakeups
        time.sleep(4.0)
        assert 1 <= running.use().wakeups - before <= 8, "four, and not four hundred"
