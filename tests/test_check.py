"""`check` looks at the device as it is, and each finding says what to do."""

import fcntl
import json
import os
import pty
import socket
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import serial
from msgspec.structs import replace

from agent.clock import Stamp, SystemClock
from agent.commands import check, check_boards
from agent.commands.findings import Device, Finding
from agent.instance import holder
from agent.settings import (
    Board,
    Functions,
    Identity,
    Platform,
    Recordings,
    Settings,
)
from agent.simulation.board import SimulatedBoard
from agent.simulation.modem_model import ModemModel
from agent.simulation.platform import SimulatedPlatform

MAC = "00:1A:2B:3C:4D:5E"
NOWHERE = "http://127.0.0.1:1/voip"

Captured = pytest.CaptureFixture[str]


class OffsetClock(SystemClock):
    """The machine's clocks, the wall set elsewhere."""

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__()
        self._offset = offset

    def wall(self) -> float:
        return super().wall() + self._offset

    def stamp(self) -> Stamp:
        return Stamp(self.wall(), self.monotonic())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("recordings", "state", "run"):
        (tmp_path / name).mkdir()
    return Settings(
        platform=Platform(url=NOWHERE),
        boards=(Board(port=str(tmp_path / "ttyS1")),),
        recordings=Recordings(directory=str(tmp_path / "recordings"), keep_free_percent=0),
        identity=Identity(satellite=MAC),
        state_directory=str(tmp_path / "state"),
        status_file=str(tmp_path / "run" / "status.json"),
    )


def changed(section: Any, **changes: Any) -> Any:
    return replace(section, **changes)


def found(name: str, settings: Settings, clock: OffsetClock | None = None) -> list[Finding]:
    device = check.looked_at(settings, clock or OffsetClock())
    return list(check.findings(device, {name: check.CHECKS[name]}))


def only(name: str, settings: Settings, clock: OffsetClock | None = None) -> Finding:
    (finding,) = found(name, settings, clock)
    return finding


@contextmanager
def running(settings: Settings, content: str = "812") -> Iterator[None]:
    """What a daemon on the state directory looks like."""
    with (Path(settings.state_directory) / "lock").open("w") as file:
        file.write(content)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# The whole command.


def configuration(settings: Settings, path: Path, url: str, port: str) -> Path:
    path.write_text(
        f"""\
identity: {{satellite: "{MAC}"}}
platform: {{url: "{url}"}}
boards: [{{port: "{port}"}}]
recordings: {{directory: "{settings.recordings.directory}", keep_free_percent: 0}}
state_directory: "{settings.state_directory}"
status_file: "{settings.status_file}"
"""
    )
    return path


def test_a_device_where_all_is_well_passes_with_exit_status_0(
    settings: Settings, tmp_path: Path, capsys: Captured
) -> None:
    platform = SimulatedPlatform(tmp_path / "platform")
    board = SimulatedBoard(tmp_path / "ttyS1")
    with platform, board:
        path = configuration(settings, tmp_path / "config.yaml", platform.url, board.port)
        status = check.run(path, {})
        assert platform.violations == []
        assert dict(platform.requests) == {"report": 1}
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith("ok  ")] == []
    assert status == 0


def test_each_finding_is_one_line_with_what_to_do_and_exit_status_1(
    settings: Settings, tmp_path: Path, capsys: Captured
) -> None:
    path = configuration(settings, tmp_path / "config.yaml", NOWHERE, str(tmp_path / "ttyS1"))
    assert check.run(path, {}) == 1
    bad = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("ok  ")]
    assert len(bad) == 2
    assert all(line.startswith("!!  ") and " → " in line for line in bad)


def test_a_bad_configuration_shows_every_problem_and_exit_status_2(
    tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("platform: {url: nowhere}\nboards: []\n")
    assert check.run(path, {}) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[3] for line in lines[:2]] == ["platform.url", "boards"]
    assert len(lines) == 3


def test_a_check_that_fails_itself_is_a_finding(settings: Settings) -> None:
    def fails(device: Device) -> list[Finding]:
        raise RuntimeError("boom\nboom")

    device = Device(settings, OffsetClock(), None)
    (finding,) = check.findings(device, {"disk": fails})
    assert finding.line().startswith(
        "!!  disk: could not be looked at: RuntimeError: boom\\x0aboom"
    )


# The daemon.


def test_a_running_daemon_is_named_by_its_pid(settings: Settings) -> None:
    with running(settings):
        assert str(holder(Path(settings.state_directory))) == "pid 812"
        assert only("agent", settings).text == "agent: running, pid 812"


def test_a_lock_that_nobody_holds_is_no_daemon(settings: Settings) -> None:
    with running(settings):
        pass
    assert holder(Path(settings.state_directory)) is None


def test_a_lock_without_a_pid_is_still_a_daemon(settings: Settings) -> None:
    with running(settings, "\x1b[2J"):
        assert str(holder(Path(settings.state_directory))) == "pid not known"


# Boards.


def with_boards(settings: Settings, *boards: Board) -> Settings:
    return changed(settings, boards=boards)  # type: ignore[no-any-return]


def test_a_port_that_is_not_there_is_a_finding(settings: Settings) -> None:
    finding = only("boards", settings)
    assert "No such file or directory" in finding.text
    assert "plug the adapter in or correct the board's port" in finding.advice


def test_a_file_in_a_ports_place_is_a_finding(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "ttyS1").write_text("")
    assert "is not a serial device" in only("boards", settings).text


def test_a_board_that_answers_tells_its_firmware(settings: Settings, tmp_path: Path) -> None:
    with SimulatedBoard(tmp_path / "ttyS1"):
        finding = only("boards", settings)
    assert finding.well
    assert "answers; 8 ports, firmware" in finding.text


def test_the_modems_of_a_pool_are_looked_at_one_by_one(settings: Settings, tmp_path: Path) -> None:
    with (
        SimulatedBoard(tmp_path / "ttyACM0", driver="modem") as first,
        SimulatedBoard(tmp_path / "ttyACM1", driver="modem") as second,
    ):
        pool = Board(driver="modem", channels={"1": first.port, "2": second.port})
        told = found("boards", with_boards(settings, pool))
    assert all(finding.well for finding in told)
    answers, handset = told[:2], told[1::2]
    assert first.port in answers[0].text
    assert "answers; 1 port, firmware caller ID by AT+VCID=1" in answers[0].text
    assert second.port in handset[1].text
    assert "looks like one that nobody answered" in handset[0].text


def test_what_a_driver_advises_is_something_to_do(settings: Settings, tmp_path: Path) -> None:
    with SimulatedBoard(tmp_path / "ttyACM0", driver="modem") as modem:
        modem._model = ModemModel(caller_id="")
        finding = found(
            "boards", with_boards(settings, Board(driver="modem", channels=1, port=modem.port))
        )[1]
    assert "calls come without numbers" in finding.text
    assert finding.advice == "use a modem with caller ID where the numbers are wanted"


def test_a_port_that_another_program_holds_is_a_finding(settings: Settings, tmp_path: Path) -> None:
    with (
        SimulatedBoard(tmp_path / "ttyS1") as board,
        serial.Serial(board.port, exclusive=True),
    ):
        finding = only("boards", settings)
    assert "cannot be used" in finding.text
    assert "no other program holds it" in finding.advice


def test_a_port_that_the_daemon_holds_is_as_it_should_be(
    settings: Settings, tmp_path: Path
) -> None:
    with (
        running(settings),
        SimulatedBoard(tmp_path / "ttyS1") as board,
        serial.Serial(board.port, exclusive=True),
    ):
        finding = only("boards", settings)
    assert finding.well
    assert "held by the running agent (pid 812)" in finding.text


def test_swapped_boards_are_recognised(settings: Settings, tmp_path: Path) -> None:
    boards = (
        Board(port=str(tmp_path / "one"), serial=1),
        Board(port=str(tmp_path / "two"), serial=2),
    )
    with SimulatedBoard(tmp_path / "one", serial=2), SimulatedBoard(tmp_path / "two", serial=1):
        bad = [each for each in found("boards", with_boards(settings, *boards)) if not each.well]
    assert [each.text.partition(": ")[2] for each in bad] == [
        "says that it is box 2",
        "says that it is box 1",
    ]
    assert all("look swapped" in each.advice for each in bad)


def test_a_board_with_fewer_ports_than_configured_is_a_finding(
    settings: Settings, tmp_path: Path
) -> None:
    with SimulatedBoard(tmp_path / "ttyS1", channels=4):
        (bad,) = [each for each in found("boards", settings) if not each.well]
    assert "has 4 ports, configured are 8" in bad.text


@contextmanager
def silent_terminal(path: Path) -> Iterator[int]:
    """A port at which nobody says anything; yields the board's end."""
    board, port = pty.openpty()
    tty.setraw(port)
    path.symlink_to(os.ttyname(port))
    try:
        yield board
    finally:
        os.close(board)
        os.close(port)


def test_a_silent_board_is_a_finding(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_boards, "LISTEN", 0.3)
    with silent_terminal(tmp_path / "ttyS1"):
        finding = only("boards", settings)
    assert "said nothing within" in finding.text
    assert "has power" in finding.advice


def test_noise_is_told_from_silence(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_boards, "LISTEN", 1.0)
    with silent_terminal(tmp_path / "ttyS1") as board:

        def answer_with_noise() -> None:
            os.read(board, 100)
            os.write(board, b"\xf3$CH\x00*zz\r\n$BEAT,1*0000\r\n" * 3)

        answering = threading.Thread(target=answer_with_noise)
        answering.start()
        finding = only("boards", settings)
        answering.join()
    assert "no good one" in finding.text
    assert "115200" in finding.advice


def test_a_line_with_more_damage_than_sense_is_a_finding(
    settings: Settings, tmp_path: Path
) -> None:
    with SimulatedBoard(tmp_path / "ttyS1", noise=1.0):
        (bad,) = [each for each in found("boards", settings) if not each.well]
    assert "damaged frames" in bad.text


def test_a_board_behind_a_url_that_refuses_is_a_finding(settings: Settings) -> None:
    finding = only("boards", with_boards(settings, Board(port="socket://127.0.0.1:1")))
    assert "cannot be used" in finding.text


# Directories, disk, identity, clock.


def test_recordings_that_can_be_read_pass_with_the_disks_figures(settings: Settings) -> None:
    readable, disk = found("recordings", settings)
    assert readable.well
    assert disk.well
    assert "% used" in disk.text


def test_a_missing_recordings_directory_is_a_finding(settings: Settings) -> None:
    Path(settings.recordings.directory).rmdir()
    finding = only("recordings", settings)
    assert "No such file or directory" in finding.text
    assert "install -d -o smarttel" in finding.advice


def test_a_disk_that_is_not_mounted_is_a_finding(settings: Settings) -> None:
    section = changed(settings.recordings, mount_point=settings.recordings.directory)
    bad = found("recordings", changed(settings, recordings=section))[-1]
    assert "nothing is mounted" in bad.text
    assert "recordings.mount_point" in bad.advice


def test_a_disk_without_the_configured_room_is_a_finding(settings: Settings) -> None:
    section = changed(settings.recordings, keep_free_percent=100)
    bad = found("recordings", changed(settings, recordings=section))[-1]
    assert "less than recordings.keep_free_percent" in bad.text


@pytest.mark.parametrize("name", ["state_directory", "status_file"])
def test_a_missing_directory_of_the_agents_own_is_a_finding(settings: Settings, name: str) -> None:
    assert only(name, settings).well
    Path(settings.state_directory).rmdir()
    Path(settings.status_file).parent.rmdir()
    assert "No such file or directory" in only(name, settings).text


def test_a_file_in_the_state_directorys_place_is_a_finding(settings: Settings) -> None:
    Path(settings.state_directory).rmdir()
    Path(settings.state_directory).write_text("")
    assert "is not a directory" in only("state_directory", settings).text


def test_a_functions_directory_is_looked_at_where_configured(settings: Settings) -> None:
    assert found("functions", settings) == []
    missing = changed(settings, functions=Functions(directory="/nonexistent"))
    assert not only("functions", missing).well
    (Path(settings.state_directory) / "functions").mkdir(mode=0o755)
    empty = Functions(directory=f"{settings.state_directory}/functions")
    assert only("functions", changed(settings, functions=empty)).text.endswith("no program yet")


def test_the_identity_is_shown(settings: Settings) -> None:
    assert only("identity", settings).text.startswith(f"identity: {MAC}, LAN address ")


def test_an_interface_without_an_address_is_a_finding(settings: Settings) -> None:
    unknown = changed(settings, identity=Identity(interface="nonexistent0"))
    finding = only("identity", unknown)
    assert "nonexistent0" in finding.text
    assert "identity.satellite" in finding.advice


def test_a_clock_that_was_never_set_is_a_finding(settings: Settings) -> None:
    assert only("clock", settings).well
    assert "NTP" in only("clock", settings, OffsetClock(-40 * 365 * 86_400)).advice


# The platform.


def test_a_platform_that_refuses_the_connection_is_a_finding(settings: Settings) -> None:
    finding = only("platform", settings)
    assert "refuses the connection" in finding.text
    assert "platform.url" in finding.advice


def test_a_platform_whose_clock_differs_is_a_finding(settings: Settings, tmp_path: Path) -> None:
    with SimulatedPlatform(tmp_path / "platform") as platform:
        there = changed(settings, platform=Platform(url=platform.url))
        reached, clock = found("platform", there, OffsetClock(3600))
    assert reached.well
    # The platform's time is in whole seconds.
    assert clock.text in {f"clock: the platform's is -{away} s from ours" for away in (3600, 3601)}
    assert "NTP" in clock.advice


def test_looking_takes_no_message_and_no_call_away(settings: Settings, tmp_path: Path) -> None:
    with SimulatedPlatform(tmp_path / "platform") as platform:
        platform.send_call(MAC, 1, "13800138000")
        found("platform", changed(settings, platform=Platform(url=platform.url)))
        assert "calls" not in platform.requests
        assert "messages" not in platform.requests


def test_a_port_that_never_answers_is_a_finding(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        silent = changed(settings, platform=Platform(url=url, read_timeout=0.2))
        finding = only("platform", silent)
    assert "read_timeout" in finding.advice


def test_while_the_daemon_runs_its_own_word_on_the_platform_counts(
    settings: Settings, tmp_path: Path
) -> None:
    status = {"updated": 1.0, "pid": 1, "health": "ok", "platform": {"reachable": True}}
    Path(settings.status_file).write_text(json.dumps(status))
    with SimulatedPlatform(tmp_path / "platform") as platform, running(settings):
        finding = only("platform", changed(settings, platform=Platform(url=platform.url)))
        assert dict(platform.requests) == {}
    assert finding.well
    assert "says the running agent" in finding.text


def test_a_daemon_that_reaches_no_platform_is_a_finding(settings: Settings) -> None:
    Path(settings.status_file).write_text(
        '{"updated": 1, "pid": 1, "health": "degraded",'
        ' "platform": {"reachable": false, "last_error": "connection refused"}}'
    )
    with running(settings):
        finding = only("platform", settings)
    assert finding.text == "platform: not reachable, says the running agent: connection refused"
