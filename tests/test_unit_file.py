"""The unit starts the agent, feeds its watchdog, and never stops trying."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import fields

from agent.config import INSTALLED_PATH
from agent.settings import Settings

UNIT = Path(__file__).parent.parent / "systemd" / "smarttel-agent.service"


def options() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text("utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("WatchdogSec", "180"),
        ("Restart", "always"),
        ("RestartSec", "5"),
        ("StartLimitIntervalSec", "0"),
        ("TimeoutStartSec", "infinity"),
        ("TimeoutStopSec", "15"),
        ("User", "smarttel"),
        ("ExecReload", '/bin/sh -c "kill -HUP $MAINPID"'),
    ],
)
def test_the_unit_keeps_the_agent_running(option: str, value: str) -> None:
    assert options()[option] == [value]


def test_the_units_directories_are_the_configurations_defaults() -> None:
    defaults = {each.name: each.default for each in fields(Settings)}
    assert defaults["state_directory"] == f"/var/lib/{options()['StateDirectory'][0]}"
    runtime_directory = f"/run/{options()['RuntimeDirectory'][0].split()[0]}"
    assert str(Path(str(defaults["status_file"])).parent) == runtime_directory


def test_the_unit_starts_the_installed_command_with_the_installed_configuration() -> None:
    command = options()["ExecStart"][0].split()
    assert command[1:] == ["run", "--wait", "--config", str(INSTALLED_PATH)]
    assert Path(command[0]).name == "smarttel-agent"


def test_adapters_whose_driver_is_loaded_later_are_allowed_by_number() -> None:
    # systemd looks names up in /proc/devices as the unit starts: one that comes later is lost.
    allowed = {line.split()[0] for line in options()["DeviceAllow"]}
    assert {"char-188", "char-166"} <= allowed
    assert options()["DevicePolicy"] == ["closed"]
    assert "PrivateDevices" not in options()


def test_the_user_is_put_into_the_group_that_owns_serial_ports() -> None:
    assert options()["User"] == ["smarttel"]
    lines = (UNIT.parent / "smarttel-agent.sysusers").read_text("utf-8").splitlines()
    assert "m smarttel dialout" in lines


def test_the_units_memory_fits_a_small_box_and_holds_the_agent() -> None:
    high, most = (int(options()[name][0].removesuffix("M")) for name in ("MemoryHigh", "MemoryMax"))
    assert 2 * 40 <= high < most <= 256 / 2


def test_systemd_finds_little_left_to_confine() -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed here")
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze can't judge a file (it takes 250)")
    score = re.search(r"exposure level for .*: ([0-9.]+)", done.stdout)
    assert score is not None, done.stderr
    assert float(score[1]) <= 1.2
    # Each point that is left is explained in the file.
    explained = UNIT.read_text("utf-8").partition("still counts")[2]
    for name in re.findall(r"^✗ (\w+)", done.stdout, re.M):
        assert name in explained, name


def test_systemd_accepts_every_line_of_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed here")
    # The command need not be installed on the machine that runs the tests.
    text = UNIT.read_text("utf-8").replace("/usr/bin/smarttel-agent", "/bin/true")
    copy = tmp_path / UNIT.name
    copy.write_text(text, "utf-8")
    done = subprocess.run(
        [analyze, "verify", str(copy)], capture_output=True, text=True, check=False, timeout=50
    )
    complaints = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert complaints == []
