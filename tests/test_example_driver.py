"""A driver of somebody else, in a distribution of its own, is found, used, and tests itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.simulation.pty_link import PtyLink
from tests.gateway import Box, box

EXAMPLE = Path(__file__).parents[1] / "docs" / "letters-driver"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the example installed as pip would: its module and its metadata."""
    folder = tmp_path / "site-packages"
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))
    name, version = project["project"]["name"], project["project"]["version"]
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8"
    )
    groups = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        for group, entries in project["project"]["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(groups), "utf-8")
    for module in project["tool"]["setuptools"]["py-modules"]:
        shutil.copy(EXAMPLE / f"{module}.py", folder)
    return folder


@pytest.fixture
def gateway(tmp_path: Path, installed: Path) -> Iterator[tuple[Box, PtyLink]]:
    """A gateway whose only board speaks in letters."""
    port = PtyLink(tmp_path / "letters")
    port.plug_in()
    with box(tmp_path, boards=0) as made:
        made.environment["PYTHONPATH"] = str(installed)
        made.settings["boards"] = [{"driver": "letters", "port": str(port.path), "channels": 2}]
        yield made, port
    port.unplug()


def test_the_daemon_finds_it_by_its_entry_point_and_books_its_calls(
    gateway: tuple[Box, PtyLink],
) -> None:
    agent, port = gateway
    agent.start()
    for said, state in ((b"2H\n", "idle"), (b"2R\n", "ringing"), (b"2T\n", "in call")):
        port.write(said)
        agent.wait_for_state(2, state)
    assert port.read() == b"?"
    port.write(b"2H\n")
    agent.wait_for_records(1)
    (record,) = agent.platform.records
    assert (record.channel, record.direction) == (2, "in")
    assert agent.status["boards"][0]["driver"] == "letters"


def run_contract(installed: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """The example's own tests, with the example as it is installed."""
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("--rootdir", str(tmp_path), "-c", "/dev/null", str(tmp_path / "tests")),
        ],
        env={"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def test_it_runs_the_contract_against_itself(installed: Path, tmp_path: Path) -> None:
    ended = run_contract(installed, tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " passed" in ended.stdout


def test_a_driver_that_breaks_the_contract_is_told_where(installed: Path, tmp_path: Path) -> None:
    module = installed / "letters_driver.py"
    text = module.read_text("utf-8")
    assert "rest[-MOST_BYTES:]" in text
    module.write_text(text.replace("rest[-MOST_BYTES:]", "rest"), "utf-8")
    ended = run_contract(installed, tmp_path)
    assert ended.returncode == 1
    assert "test_a_line_without_end_is_not_kept" in ended.stdout
    assert "1 failed" in ended.stdout
