"""`check` says of each program, alias and reboot why a message would not have it run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.commands.check import CHECKS, findings
from agent.commands.findings import Device, Finding
from agent.settings import Board, Functions, Platform, Recordings, Settings
from tests.programs import functions_directory, script

NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return functions_directory(tmp_path)


def found(folder: Path, **section: Any) -> list[Finding]:
    settings = Settings(
        platform=Platform(url="http://127.0.0.1:1/"),
        boards=(Board(port="/dev/none"),),
        recordings=Recordings(directory=str(folder)),
        functions=Functions(**{"directory": str(folder), **section}),
        state_directory=str(folder.parent / "state"),
    )
    device = Device(settings, SystemClock(), None)
    return list(findings(device, {"functions": CHECKS["functions"]}))


def faults(folder: Path, **section: Any) -> list[str]:
    return [finding.text for finding in found(folder, **section) if not finding.well]


def test_programs_that_may_be_run_are_named_in_one_line(folder: Path) -> None:
    script(folder, "b", "")
    script(folder, "a", "")
    (finding,) = found(folder)
    assert finding.well
    assert finding.text == f"functions.directory: {folder} holds a, b"


def test_each_program_that_would_be_refused_is_a_finding_with_its_reason(folder: Path) -> None:
    script(folder, "open", "").chmod(0o777)
    script(folder, "text", "").chmod(0o644)
    script(folder, "two words", "")
    script(folder, "backup~", "")
    script(folder, "retry", "")
    (folder / "link").symlink_to("/bin/true")
    script(folder, "well", "")
    assert faults(folder) == [
        "functions: 'backup~' can't be named by a message",
        "functions: link is a link",
        "functions: open can be written by others than its owner",
        "functions: retry is never run, the built-in function has its name",
        "functions: text is not executable",
        "functions: 'two words' can't be named by a message",
    ]
    assert found(folder)[-1].text.endswith("holds well")


def test_a_directory_that_others_may_write_is_one_finding(folder: Path) -> None:
    script(folder, "well", "")
    folder.chmod(0o777)
    assert faults(folder) == [
        f"functions.directory: {folder} can be written by others than its owner"
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_programs_of_the_agents_user_are_well_also_where_root_checks(folder: Path) -> None:
    os.chown(script(folder, "hello", ""), NOBODY, NOBODY)
    assert faults(folder) == ["functions: hello belongs neither to root nor to the agent's user"]
    os.chown(folder.parent / "state", NOBODY, NOBODY)
    assert faults(folder) == []


def test_an_alias_of_nothing_is_a_finding_that_names_what_there_is(folder: Path) -> None:
    script(folder, "hello", "")
    aliases = {"list": "rescan", "greet": "hello", "lost": "nowhere", "boot": "reboot"}
    assert faults(folder, aliases=aliases) == [
        "functions.aliases.lost: there is no function nowhere",
        "functions.aliases.boot: reboot is switched off",
    ]
    (lost, *_) = (one for one in found(folder, aliases=aliases) if not one.well)
    assert "report, rescan, retry, reboot, hello" in lost.advice
    assert (
        faults(folder, aliases={"boot": "reboot"}, reboot=True, reboot_command=("/bin/sh",)) == []
    )


def test_an_alias_without_programs_may_name_what_is_built_in(folder: Path) -> None:
    assert found(folder, directory=None, aliases={"list": "rescan"}) == []
    assert len(faults(folder, directory=None, aliases={"list": "hello"})) == 1


def test_a_reboot_command_that_is_not_there_is_a_finding(folder: Path) -> None:
    assert faults(folder, reboot=True, reboot_command=("/no/systemctl", "reboot")) == [
        "functions.reboot_command: /no/systemctl can't be run"
    ]
    assert faults(folder, reboot=False, reboot_command=("/no/systemctl", "reboot")) == []
