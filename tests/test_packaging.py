"""The Debian package and the plain installer: what they name is there, and is enough."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from agent.config import ConfigError, load
from agent.ledger import FILE_NAME

ROOT = Path(__file__).parent.parent
SYSTEMD = ROOT / "systemd"
DEBIAN = SYSTEMD / "debian"
OF_DEBIAN = {
    "pyserial": "python3-serial",
    "requests": "python3-requests",
    "psutil": "python3-psutil",
    "pyyaml": "python3-yaml",
    "sdnotify": "python3-sdnotify",
    "rich": "python3-rich",
    "xxhash": "python3-xxhash",
}
BUNDLED = {"msgspec", "tinytag", "watchdog"}


def needs() -> dict[str, str]:
    """What pyproject.toml asks for: names and least versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return dict(each.split(">=") for each in project["dependencies"])


def text(path: Path) -> str:
    return path.read_text("utf-8")


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def test_each_dependency_comes_from_debian_or_along_with_the_package() -> None:
    assert set(needs()) == set(OF_DEBIAN) | BUNDLED


@pytest.mark.parametrize(("name", "package"), OF_DEBIAN.items())
def test_the_package_asks_debian_for_the_versions_that_the_agent_asks_for(
    name: str, package: str
) -> None:
    assert f" {package} (>= {needs()[name]})," in text(DEBIAN / "control")


@pytest.mark.parametrize("name", sorted(BUNDLED))
def test_what_comes_along_is_new_enough_and_pinned_by_hash(name: str) -> None:
    pinned = re.search(
        rf"^{name}==([0-9.]+) \\\n    --hash=sha256:", text(DEBIAN / "bundled.txt"), re.M
    )
    assert pinned is not None
    assert number(pinned[1]) >= number(needs()[name])


def test_the_shipped_configuration_asks_for_what_it_cannot_guess_and_for_nothing_else(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(SYSTEMD / "config.yaml", {})
    assert "platform.url: found 'FILL-IN'" in str(refused.value)
    (tmp_path / "config.yaml").write_text(filled(), "utf-8")
    settings = load(tmp_path / "config.yaml", {})
    assert settings.recordings.directory == "/var/spool/smarttel/recordings"


def test_an_account_as_the_shipped_configuration_suggests_it_is_taken(tmp_path: Path) -> None:
    (tmp_path / "platform-password").write_text("0" * 32, "ascii")
    body = filled().replace("  # account:", "  account:")
    (tmp_path / "config.yaml").write_text(body, "utf-8")
    assert load(tmp_path / "config.yaml", {}).platform.account is not None


def filled() -> str:
    """The shipped configuration, filled in."""
    body = text(SYSTEMD / "config.yaml")
    body = body.replace("url: FILL-IN", "url: https://platform.example/voip/api/upload_record")
    return body.replace("port: FILL-IN", "port: /dev/ttyS1")


@pytest.mark.parametrize("script", ["preinst", "postinst", "prerm", "postrm"])
def test_each_maintainer_script_is_a_shell_script(script: str) -> None:
    assert subprocess.run(["sh", "-n", DEBIAN / script], check=False).returncode == 0
    assert "set -eu" in text(DEBIAN / script)


@pytest.mark.parametrize(("version", "taken"), [(1, True), (2, False), (999, False)])
def test_a_package_that_does_not_know_the_ledgers_format_refuses_to_take_it_over(
    tmp_path: Path, version: int, taken: bool
) -> None:
    ledger = tmp_path / FILE_NAME
    header = bytearray(100)
    header[60:64] = version.to_bytes(4, "big")
    ledger.write_bytes(header)
    body = text(DEBIAN / "preinst").replace("@LEDGER_FORMAT@", "1")
    assert f"ledger=/var/lib/smarttel-agent/{FILE_NAME}\n" in body
    script = tmp_path / "preinst"
    script.write_text(body.replace("/var/lib/smarttel-agent", str(tmp_path)), "utf-8")
    done = subprocess.run(
        ["sh", script, "upgrade", "9"], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) is taken
    assert ("written by a newer version" in done.stderr) is not taken


def test_the_files_that_the_package_is_made_of_are_all_laid_out(tmp_path: Path) -> None:
    placed = re.findall(r"^    place (\d+) (\S+) (\S+)$", text(ROOT / "scripts/install"), re.M)
    assert len(placed) >= 8
    for _mode, source, _target in placed:
        assert "$" in source or (ROOT / source).exists(), source
    removed = text(ROOT / "scripts/install").partition("uninstall()")[2]
    for _mode, source, target in placed:
        folder_goes = "share/" in target or "private" in target
        assert folder_goes or f"/{target.strip(chr(34))}" in removed, source


def test_an_old_python_is_refused_with_the_way_out(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("systemd-sysusers") is None:
        pytest.skip("the installer gets that far only as root, with systemd")
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2\nexit 1\n', "ascii")
    old.chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts/install"],
        env={**os.environ, "PYTHON": str(old)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "needs Python 3.11 or later" in done.stderr
    assert "Python 3.9.2" in done.stderr
    assert "PYTHON=" in done.stderr


def test_an_unknown_option_of_the_installer_changes_nothing_and_explains_itself() -> None:
    done = subprocess.run(
        [ROOT / "scripts/install", "--hlep"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--uninstall" in done.stderr


def test_systemd_accepts_the_users_and_directories(tmp_path: Path) -> None:
    tool = shutil.which("systemd-tmpfiles")
    if tool is None or shutil.which("systemd-sysusers") is None or os.geteuid() != 0:
        pytest.skip("systemd's tools are not here, or not for this user")
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "passwd").write_text("root:x:0:0::/root:/bin/sh\n", "ascii")
    (etc / "group").write_text("root:x:0:\ndialout:x:20:\n", "ascii")
    for command in (
        ("systemd-sysusers", SYSTEMD / "smarttel-agent.sysusers"),
        ("systemd-tmpfiles", "--create", SYSTEMD / "smarttel-agent.tmpfiles"),
    ):
        done = subprocess.run(
            [command[0], f"--root={tmp_path}", *command[1:]],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert re.search(r"^dialout:x:20:smarttel$", text(etc / "group"), re.M)
    made = tmp_path / "var/spool/smarttel/recordings"
    assert made.stat().st_mode & 0o7777 == 0o2775


def test_the_readme_walks_to_a_green_status_in_ten_lines() -> None:
    section = text(ROOT / "README.md").partition("## Install\n")[2].partition("\n## ")[0]
    walk = re.findall(r"^    (\S.*)$", section, re.M)
    assert len(walk) <= 10
    assert walk[0].startswith("apt-get install ./smarttel-agent_")
    assert walk[-1].startswith("smarttel-agent status")
