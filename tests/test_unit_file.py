"""The unit starts the agent, feeds its watchdog, and never stops trying."""

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
        ("SupplementaryGroups", "dialout"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
    ],
)
def test_the_unit_keeps_the_agent_running(option: str, value: str) -> None:
    assert options()[option] == [value]


def test_the_units_directories_are_the_configurations_defaults() -> None:
    defaults = {each.name: each.default for each in fields(Settings)}
    assert defaults["state_directory"] == f"/var/lib/{options()['StateDirectory'][0]}"
    runtime_directory = f"/run/{options()['RuntimeDirectory'][0]}"
    assert str(Path(str(defaults["status_file"])).parent) == runtime_directory


def test_the_unit_starts_the_installed_command_with_the_installed_configuration() -> None:
    command = options()["ExecStart"][0].split()
    assert command[1:] == ["run", "--config", str(INSTALLED_PATH)]
    assert Path(command[0]).name == "smarttel-agent"


def test_no_device_policy_locks_out_an_adapter_that_is_plugged_in_later() -> None:
    assert not {"PrivateDevices", "DevicePolicy", "DeviceAllow", "ProtectClock"} & set(options())


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
