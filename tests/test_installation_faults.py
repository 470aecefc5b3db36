"""The ten most common faults of an installation, each provoked, found by `check`, with what to do.

The same ten stand in the README's table; what `check` says of each is what stands there.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from serial.tools import list_ports

from agent.commands import check, check_boards, check_platform
from agent.commands.check_agents import Places, check_daemon, command_line, is_agent
from agent.commands.check_print import printer
from agent.commands.findings import Device, Finding
from agent.config import load
from agent.identity import interface, satellite
from agent.language import ENGLISH, Language, language
from agent.settings import Identity, Settings
from agent.simulation.board import SimulatedBoard
from agent.simulation.platform import SimulatedPlatform
from agent.text import width
from tests.catalogues import collected, messages
from tests.raw_server import Peer, RawServer, http
from tests.test_check import MAC, OffsetClock, running, silent_terminal

CHINESE = language("zh_CN", {})

Captured = pytest.CaptureFixture[str]


class Installation:
    """A gateway in order, its configuration, and what `check` says of it."""

    def __init__(self, folder: Path, capsys: Captured | None = None) -> None:
        self.folder = folder
        self._capsys = capsys
        for name in ("recordings", "state", "run"):
            (folder / name).mkdir()
        self.settings: dict[str, Any] = {
            "identity": {"satellite": MAC},
            "platform": {"url": "http://127.0.0.1:1/voip", "connect_timeout": 2},
            "boards": [{"port": str(folder / "ttyS1")}],
            "recordings": {"directory": str(folder / "recordings"), "keep_free_percent": 0},
            "state_directory": str(folder / "state"),
            "status_file": str(folder / "run" / "status.json"),
        }

    def check(
        self, about: str, clock: OffsetClock | None = None, speaking: str = "en"
    ) -> list[tuple[str, str]]:
        """Run the command; return what is to be seen to of what is said about it, with advice."""
        assert self._capsys is not None
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump({**self.settings, "language": speaking}), "utf-8")
        exit_status = check.run(path, {}, clock)
        lines = self._capsys.readouterr().out.splitlines()
        bad = [line.removeprefix("!!  ").split(" → ") for line in lines if line.startswith("!!")]
        assert exit_status == (1 if bad else 0)
        return [(text, advice) for text, advice in bad if text.startswith(about)]

    def only(self, about: str, clock: OffsetClock | None = None) -> tuple[str, str]:
        (finding,) = self.check(about, clock)
        return finding


@pytest.fixture
def box(tmp_path: Path, capsys: Captured) -> Installation:
    return Installation(tmp_path, capsys)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's rights, where the tests have them."""
    if os.geteuid() != 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setresgid(65534, 65534, 0)
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter; pytest's own is for root alone."""
    folder = Path(tempfile.mkdtemp(prefix="smarttel-check-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


# 1. The wrong port.


def test_a_port_that_is_not_there_is_told_with_those_that_are(
    box: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Adapter:
        device = "/dev/ttyUSB3"

    monkeypatch.setattr(list_ports, "comports", lambda: [Adapter()])
    text, advice = box.only("board 1")
    assert text.endswith("/ttyS1: No such file or directory")
    assert advice == (
        "plug the adapter in or correct the board's port; other ports here: /dev/ttyUSB3"
    )


def test_a_port_on_which_nothing_like_the_board_speaks_is_told_with_the_others(
    box: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_boards, "LISTEN", 0.4)
    monkeypatch.setattr(list_ports, "comports", list)
    over = threading.Event()

    def speak(other_device: int) -> None:
        while not over.wait(0.05):
            os.write(other_device, b"$GPGGA,123519,4807.038,N*47\r\n")

    with silent_terminal(box.folder / "ttyS1") as other_device:
        speaking = threading.Thread(target=speak, args=(other_device,))
        speaking.start()
        text, advice = box.only("board 1")
        over.set()
        speaking.join()
    assert "damaged frames and no good one within 0.4 s" in text
    assert "that this is its port; no other serial port is there" in advice


# 2. No permission.


def test_a_port_that_the_user_may_not_open_names_the_group_to_join(open_folder: Path) -> None:
    box = Installation(open_folder)
    with silent_terminal(open_folder / "ttyS1"):
        (open_folder / "ttyS1").chmod(0o600)
        device = Device(loaded(box), OffsetClock(), None)
        with as_nobody():
            (finding,) = check.findings(device, {"boards": check_boards.check_boards})
    assert "may not read and write it" in finding.text
    assert re.search(r"add the user to the group \w+ \(usermod -aG \w+ \w+\)", finding.advice)


def test_a_state_directory_that_the_user_may_not_write_names_the_owner_to_set(
    open_folder: Path,
) -> None:
    box = Installation(open_folder)
    (open_folder / "state").chmod(0o555)
    device = Device(loaded(box), OffsetClock(), None)
    with as_nobody():
        (finding,) = check.check_state_directory(device)
    assert "may not write in" in finding.text
    assert f"chown smarttel {open_folder}/state" in finding.advice


def loaded(box: Installation) -> Settings:
    path = box.folder / "config.yaml"
    path.write_text(yaml.safe_dump(box.settings), "utf-8")
    return load(path, {})


# 3. Swapped boards.


def test_boards_on_each_others_port_look_swapped(box: Installation) -> None:
    folder = box.folder
    box.settings["boards"] = [
        {"serial": number, "port": str(folder / name)} for number, name in ((1, "one"), (2, "two"))
    ]
    with SimulatedBoard(folder / "one", serial=2), SimulatedBoard(folder / "two", serial=1):
        first, second = box.check("board")
    assert first[0].endswith("/one: says that it is box 2")
    assert second[0].endswith("/two: says that it is box 1")
    assert first[1] == (
        "the ports of boards 1 and 2 look swapped: swap their port keys or their cables"
    )


# 4. The directory is not mounted.


@pytest.mark.parametrize("made", [True, False])
def test_a_disk_that_is_not_mounted_is_told_whether_its_folder_is_there_or_not(
    box: Installation, made: bool
) -> None:
    mount = box.folder / "disk"
    mount.mkdir()
    directory = mount / "recordings"
    if made:
        directory.mkdir()
    box.settings["recordings"] |= {"directory": str(directory), "mount_point": str(mount)}
    text, advice = box.only("disk")
    assert text == f"disk: nothing is mounted on {mount}"
    assert f"mount it (mount {mount})" in advice
    assert box.check("recordings.directory") == []


# 5. The clock is not set.


def test_a_clock_that_was_never_set_is_told_with_how_to_set_it(box: Installation) -> None:
    since_1970 = OffsetClock(-time.time() + 86_400)
    text, advice = box.only("clock", since_1970)
    assert text == "clock: stands before the year 2024"
    assert "timedatectl set-ntp true" in advice
    assert "date -s" in advice


# 6. Names are not found.


def test_a_misspelt_host_is_told_from_a_name_server_that_does_not_answer(
    box: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(number: int, words: str) -> Any:
        def getaddrinfo(*_arguments: object, **_options: object) -> Any:
            raise socket.gaierror(number, words)

        return getaddrinfo

    box.settings["platform"]["url"] = "http://platform.invalid/"
    no_name = fails(socket.EAI_NONAME, "Name or service not known")
    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    text, advice = box.only("platform")
    assert text == (
        "platform: the host name of platform.url was not found: Name or service not known"
    )
    assert advice == "correct the host in platform.url"

    servers = box.folder / "resolv.conf"
    monkeypatch.setattr(check_platform, "_NAME_SERVERS", servers)
    no_answer = fails(socket.EAI_AGAIN, "Temporary failure in name resolution")
    monkeypatch.setattr(socket, "getaddrinfo", no_answer)
    servers.write_text("# none yet\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n")
    assert "(192.0.2.1, 192.0.2.2) can be reached" in box.only("platform")[1]
    servers.write_text("search lan\n")
    assert box.only("platform")[1] == "name a name server in /etc/resolv.conf: there is none"


def test_a_host_that_does_not_exist_is_not_found_in_truth(box: Installation) -> None:
    box.settings["platform"]["url"] = "http://platform.invalid/"
    text, advice = box.only("platform")
    assert "the host name of platform.url was not found" in text
    assert "platform.url" in advice or "name server" in advice


# 7. TLS.

AUTHORITY = trustme.CA()
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


def with_certificate(box: Installation, certificate: trustme.LeafCert, trusted: bool) -> Any:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    def answer(peer: Peer) -> None:
        peer.request()
        peer.send(http())

    server = RawServer(answer, context)
    authority = box.folder / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(authority)
    box.settings["platform"] |= {
        "url": f"https://127.0.0.1:{server.port}/",
        "ca_file": str(authority) if trusted else None,
    }
    return server


@pytest.mark.parametrize(
    ("host", "options", "trusted", "words", "advised"),
    [
        ("127.0.0.1", {}, False, "from an unknown authority", "name it in platform.ca_file"),
        ("127.0.0.1", {"not_after": LONG_AGO}, True, "has expired", "see that the clock is right"),
        ("elsewhere.example", {}, True, "is for another", "write the host in platform.url as the"),
    ],
)
def test_each_fault_of_a_certificate_has_a_remedy_of_its_own(
    box: Installation, host: str, options: dict[str, Any], trusted: bool, words: str, advised: str
) -> None:
    certificate = AUTHORITY.issue_cert(host, **options)
    with with_certificate(box, certificate, trusted):
        text, advice = box.only("platform")
    assert words in text
    assert advised in advice


def test_a_certificate_that_is_good_is_nothing_to_see_to(box: Installation) -> None:
    with with_certificate(box, AUTHORITY.issue_cert("127.0.0.1"), trusted=True):
        assert [text for text, _ in box.check("platform")] == []


def test_http_where_https_is_meant_is_told(box: Installation) -> None:
    with RawServer(lambda peer: peer.send(http(b"", "400 Bad Request"))) as server:
        box.settings["platform"]["url"] = f"https://127.0.0.1:{server.port}/"
        text, advice = box.only("platform")
    assert "does not speak TLS on this port" in text
    assert advice.startswith("write http:// in platform.url")


# 8. A log-in page of the network.


@pytest.mark.parametrize(
    ("fault", "value", "words"),
    [
        ("http", "302;location=http://192.0.2.1/log-in", "redirects are not followed"),
        ("html", "", "is a web page and not JSON"),
    ],
)
def test_a_log_in_page_in_the_platforms_place_is_recognised(
    box: Installation, fault: str, value: str, words: str
) -> None:
    with SimulatedPlatform(box.folder / "platform") as platform:
        platform.faults.set(fault, value)
        box.settings["platform"]["url"] = platform.url
        text, advice = box.only("platform")
    assert words in text
    assert "log-in page" in text
    assert "have the gateway's MAC address let through" in advice


# 9. The wrong MAC address.


@pytest.mark.parametrize("status", [3001, 3002, 3003])
def test_a_gateway_that_the_platform_does_not_know_is_told_by_its_address(
    box: Installation, status: int
) -> None:
    with SimulatedPlatform(box.folder / "platform") as platform:
        platform.faults.set("report:status", status)
        box.settings["platform"]["url"] = platform.url
        text, advice = box.only("platform")
    assert f"(status {status})" in text
    assert advice == (
        f"have {MAC} entered at the platform, or set identity.satellite to the address that the"
        " platform knows this gateway by"
    )


def test_an_address_that_was_found_is_told_with_its_interface(box: Installation) -> None:
    box.settings["identity"] = {}
    there = interface(Identity())
    if there is None:
        pytest.skip("this machine has no interface with an address")
    with SimulatedPlatform(box.folder / "platform") as platform:
        platform.faults.set("report:status", 3003)
        box.settings["platform"]["url"] = platform.url
        _, advice = box.only("platform")
    assert advice.startswith(f"have {satellite(Identity())}, the address of {there}, entered at")


def test_another_refusal_is_no_matter_of_the_address(box: Installation) -> None:
    with SimulatedPlatform(box.folder / "platform") as platform:
        platform.faults.set("report:status", -6)
        box.settings["platform"]["url"] = platform.url
        _, advice = box.only("platform")
    assert advice == "ask the platform's operator what this status means"


# 10. Another agent.


def system(folder: Path, cgroup: str) -> Places:
    """A system with the service, and one process."""
    process = folder / "proc" / "812"
    process.mkdir(parents=True)
    (process / "cmdline").write_bytes(b"/usr/bin/smarttel-agent\0run\0--config\0/root/try.yaml\0")
    (process / "cgroup").write_text(cgroup)
    (folder / "systemd").mkdir()
    (folder / "units").mkdir()
    (folder / "units" / "smarttel-agent.service").write_text("[Service]\n")
    return Places(folder / "proc", folder / "systemd", (folder / "units",))


def test_an_agent_started_by_hand_is_named_with_its_command(box: Installation) -> None:
    places = system(box.folder, "0::/user.slice/user-0.slice/session-3.scope\n")
    with running(loaded(box)):
        device = check.looked_at(loaded(box), OffsetClock())
        (finding,) = check_daemon(device, places)
    assert "process 812 (/usr/bin/smarttel-agent run --config /root/try.yaml)" in finding.text
    assert "the service can't start" in finding.text
    assert finding.advice == "end it (kill 812), then: systemctl restart smarttel-agent"


def test_the_services_own_agent_is_as_it_should_be(box: Installation) -> None:
    places = system(box.folder, "0::/system.slice/smarttel-agent.service\n")
    with running(loaded(box)):
        device = check.looked_at(loaded(box), OffsetClock())
        (finding,) = check_daemon(device, places)
    assert finding.well


def test_where_there_is_no_service_an_agent_may_be_started_by_hand(box: Installation) -> None:
    places = system(box.folder, "0::/\n")
    (places.units[0] / "smarttel-agent.service").unlink()
    with running(loaded(box)):
        device = check.looked_at(loaded(box), OffsetClock())
        assert all(finding.well for finding in check_daemon(device, places))


@contextmanager
def holding(program: Path, *arguments: str) -> Iterator[int]:
    """A program that holds a device which only it has open."""
    program.write_text("#!/bin/sh\nexec 3</dev/full\necho open\nread line\n")
    program.chmod(0o755)
    with subprocess.Popen(
        ["/bin/sh", str(program), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_a_port_that_another_agent_holds_names_that_agent(box: Installation) -> None:
    box.settings["boards"] = [{"port": "/dev/full"}]
    with holding(box.folder / "smarttel-agent", "run", "--config", "/other.yaml") as pid:
        text, advice = box.only("board 1")
    assert f"held by another agent, pid {pid} (/bin/sh" in text
    assert "run --config /other.yaml" in text
    assert f"end that one (kill {pid})" in advice


def test_a_port_that_another_program_holds_names_that_program(box: Installation) -> None:
    box.settings["boards"] = [{"port": "/dev/full"}]
    with holding(box.folder / "minicom") as pid:
        text, advice = box.only("board 1")
    assert f"minicom (pid {pid})" in text
    assert advice == f"end that program (kill {pid}); the agent needs the port"


def test_a_command_line_is_read_as_it_was_typed_and_forges_nothing(tmp_path: Path) -> None:
    process = tmp_path / "7"
    process.mkdir()
    (process / "cmdline").write_bytes(b"a\nb\0\xff\x1b[2J\0" + b"x" * 10_000)
    told = command_line(7, tmp_path)
    assert told.startswith("a\\x0ab ")
    assert "\x1b" not in told
    assert len(told) < 300
    assert command_line(8, tmp_path) == ""


@pytest.mark.parametrize(
    ("command", "agents"),
    [
        ("/usr/bin/smarttel-agent run --config a", True),
        ("/opt/x/bin/python /opt/x/bin/smarttel-agent run", True),
        ("python3 -m agent run", True),
        ("smarttel-agent status --watch", False),
        ("vim smarttel-agent.service", False),
        ("", False),
    ],
)
def test_an_agents_daemon_is_told_by_its_command(command: str, agents: bool) -> None:
    assert is_agent(command) is agents


# While the agent runs, its own word counts.


def test_a_board_that_the_running_agent_does_not_hear_is_told_in_its_words(
    box: Installation,
) -> None:
    problem = (
        '{"code": "board-down", "message": "…", "template": "board {serial}: {trouble}",'
        ' "values": {"serial": 1, "trouble": {"template": "nothing is heard on {port}",'
        ' "values": {"port": "x"}}}}'
    )
    (box.folder / "run" / "status.json").write_text(
        '{"updated": 1, "pid": 1, "health": "degraded", "boards": [{"serial": 1, "link": "down"}],'
        f' "problems": [{problem}], "platform": {{"reachable": true}}}}'
    )
    with SimulatedBoard(box.folder / "ttyS1"), running(loaded(box)):
        text, advice = box.only("board 1")
        assert "not heard, says the running agent: nothing is heard on x" in text
        assert "systemctl stop smarttel-agent" in advice
        (chinese,) = box.check("板卡 1", speaking="zh")
        assert "x 上收不到数据" in chinese[0]


def test_what_keeps_the_running_agent_from_the_platform_is_told_in_its_words(
    box: Installation,
) -> None:
    (box.folder / "run" / "status.json").write_text(
        '{"updated": 1, "pid": 1, "health": "degraded", "platform": {"reachable": false},'
        ' "problems": [{"code": "platform-refuses", "template": "the platform refuses"}]}'
    )
    with running(loaded(box)):
        text, advice = box.only("platform")
    assert text == "platform: not reachable, says the running agent: the platform refuses"
    assert "Check platform.account" in advice


# The README.


def test_the_readme_quotes_what_check_says_of_ten_faults() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    section = text.partition("## An installation that does not work\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 10
    said = [form for message in messages(collected()) for form in all_forms(message.id)]
    for _, quoted, _ in rows:
        for quotation in re.findall(r"`([^`]+)`", quoted):
            # Where the message has a placeholder, the README has what may fill it.
            pattern = re.sub(
                r"\b\d+\b", lambda found: rf"(?:{found[0]}|{{\w+}})", re.escape(quotation)
            )
            assert any(re.search(pattern, form) for form in said), quotation


def all_forms(identity: Any) -> tuple[str, ...]:
    return (identity,) if isinstance(identity, str) else tuple(identity)


# How it is printed.


class Terminal(io.StringIO):
    """An output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


FINDINGS = (
    Finding("identity: known"),
    Finding("disk: " + "a path that is rather long " * 5, "do this " * 20),
)


def printed(output: io.StringIO, speaking: Language = ENGLISH) -> str:
    show = printer(speaking, output, {"LANG": "en_US.UTF-8"})
    for finding in FINDINGS:
        show(finding)
    return output.getvalue()


def test_on_a_terminal_long_findings_hang_under_their_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed(Terminal()))
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[0] == "✓ identity: known"
    assert lines[1].startswith("✗ disk: a path")
    assert all(line.startswith("  ") for line in lines[2:])
    assert any(line.startswith("  → do this") for line in lines)
    assert all(width(line) <= 60 for line in lines)


def test_elsewhere_each_finding_is_one_line() -> None:
    lines = printed(io.StringIO()).splitlines()
    assert lines[0] == "ok  identity: known"
    assert lines[1].startswith("!!  disk: a path") and " → do this" in lines[1]
    assert len(lines) == 2


def test_in_chinese_what_check_says_and_advises_is(box: Installation) -> None:
    (finding,) = box.check("板卡 1", speaking="zh_CN")
    assert finding[0].endswith("：文件或目录不存在")
    assert finding[1].startswith("请插好转接器，或改正该板卡的 port")
