"""The support bundle: what is in it, and what is in none of its members, wherever it stood."""

from __future__ import annotations

import gzip
import io
import json
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psutil
import pytest
import yaml

from agent import cli
from agent.clock import SystemClock
from agent.commands import report_bundle, report_log
from agent.commands.report_bundle import MOST_MEMBER
from agent.commands.report_scrub import REMOVED
from agent.ledger import FILE_NAME
from agent.ledger.census import TABLES
from tests.clocks import NOON
from tests.gateway import Box, box
from tests.ledgers import (
    add_call,
    filled,
    ledger_in,
    tear_pages,
)

PHONE = "13800138000"
SECRETS = {
    "user": "account-4711",
    "md5": "5EC4E7A11C0FFEE0123456789ABCDEF0",
    "token": "token of/the+environment",
    "url user": "ops-4712",
    "url password": "hunter22",
    "url query": "key-in-the-url",
    "board user": "board-4713",
    "board password": "rfc-secret",
    "option": "licence-4714",
    "unknown key": "misplaced-4715",
    "daemon's variable": "only the daemon knows",
}
OF_BOARDS = {"board user", "board password", "option", "unknown key"}
SPELT = [
    *(secret for name, secret in SECRETS.items() if name not in OF_BOARDS),
    quote_plus(SECRETS["token"]),
    quote(SECRETS["token"]),
    "b3BzLTQ3MTI6aHVudGVyMjI",  # the URL's account, as a header of HTTP has it
    SECRETS["md5"].lower(),
]
"""Those that a running agent has."""
MEMBERS = {
    "CONTENTS.txt",
    "status.json",
    "status.txt",
    "check.txt",
    "versions.json",
    "config.yaml",
    "ledger.json",
    "system.json",
    "log.txt",
}
Captured = pytest.CaptureFixture[str]


def opened(content: bytes) -> dict[str, str]:
    """The members' texts, by their names within the one folder."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        texts = {}
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            assert member.mode == 0o600
            assert (member.uid, member.uname) == (0, "")
            texts[member.name.partition("/")[2]] = file.read().decode("utf-8")
        return texts


def assert_harmless(texts: dict[str, str], spelt: Sequence[str] = SPELT) -> None:
    """No secret in any spelling and no whole number stands in any member or its name."""
    for name, text in texts.items():
        for secret in spelt:
            assert secret.casefold() not in f"{name}\n{text}".casefold(), f"{name}: {secret}"
        assert PHONE not in text, name


class Place:
    """A gateway's folder without a daemon, and a journalctl that says what it is told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.state = folder / "state"
        self.output = folder / "out" / "bundle.tar.gz"
        self.programs = folder / "programs"
        for path in (self.state, folder / "run", folder / "recordings", folder / "out"):
            path.mkdir()
        self.programs.mkdir()
        monkeypatch.setenv("PATH", str(self.programs))
        self.configure()

    def configure(self, **changes: Any) -> None:
        settings = {
            "identity": {"satellite": "02:00:00:00:00:01"},
            "platform": {"url": "http://127.0.0.1:1/voip", "connect_timeout": 1},
            "boards": [{"port": str(self.folder / "no-board")}],
            "recordings": {"directory": str(self.folder / "recordings")},
            "state_directory": str(self.state),
            "status_file": str(self.folder / "run" / "status.json"),
        }
        self.config.write_text(yaml.safe_dump({**settings, **changes}), "utf-8")

    def log(self, script: str) -> None:
        """Have a journalctl that is this shell script."""
        path = self.programs / "journalctl"
        path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
        path.chmod(0o755)

    def say(self, *lines: str) -> None:
        (self.folder / "journal").write_text("".join(f"{line}\n" for line in lines), "utf-8")
        self.log(f"exec /bin/cat '{self.folder / 'journal'}'")

    def report(self, *options: str) -> int:
        return cli.main(
            ["report", "--config", str(self.config), "--output", str(self.output), *options]
        )

    @property
    def members(self) -> dict[str, str]:
        return opened(self.output.read_bytes())

    def missing(self, name: str) -> str:
        """What the bundle says of a member that it has not."""
        assert self.members[name] == ""
        found = re.search(
            rf"^{re.escape(name)} +missing: (.*)$", self.members["CONTENTS.txt"], re.M
        )
        assert found is not None
        return found[1]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Box]:
    with box(tmp_path) as made:
        yield made


# With a daemon.


def test_with_a_running_agent_it_has_every_member_and_no_secret_and_no_number_in_any(
    gateway: Box, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    secret_file = gateway.folder / "md5"
    secret_file.write_text(SECRETS["md5"] + "\n")
    gateway.environment.update(TOKEN=SECRETS["token"], HIDDEN=SECRETS["daemon's variable"])
    monkeypatch.setenv("TOKEN", SECRETS["token"])
    host = gateway.platform.url.partition("://")[2]
    account = f"{SECRETS['url user']}:{SECRETS['url password']}"
    gateway.start(
        platform={
            "url": f"http://{account}@{host}?key={SECRETS['url query']}",
            "query": {"token": "${TOKEN}", "more": "${HIDDEN}"},
            "account": {"user": SECRETS["user"], "password_md5": "file:md5"},
        },
    )
    gateway.board.ring(1, PHONE)
    gateway.board.answer(1)
    gateway.wait_for_state(1, "in call")
    gateway.record(1, "in", PHONE)
    said = [
        *gateway.log.splitlines(),
        *(f"the platform says: who is {secret}" for secret in SPELT),
        f"recording 20261125-011833_1_in_{PHONE}.wav",
        f"dialled 0086{PHONE} or 138 0013 8000 or +86-138-0013-8000",
        f"ValueError: {PHONE} and {SECRETS['token']!r} are none",
        json.dumps({"message": f"{SECRETS['token']} {PHONE} \x1b[2J"}),
    ]
    (gateway.folder / "journal").write_text("\n".join(said), "utf-8")
    programs = gateway.folder / "programs"
    programs.mkdir()
    (programs / "journalctl").write_text(f"#!/bin/sh\nexec cat '{gateway.folder}/journal'\n")
    (programs / "journalctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.chdir(gateway.folder)
    before = gateway.status["updated"]
    assert cli.main(["report", "--config", str(gateway.config)]) == 0

    (bundle,) = gateway.folder.glob("smarttel-report-02-00-00-00-00-01-*Z.tar.gz")
    assert bundle.stat().st_mode & 0o777 == 0o600
    texts = opened(bundle.read_bytes())
    assert set(texts) == MEMBERS
    assert all(texts.values()), texts["CONTENTS.txt"]
    assert_harmless(texts)
    log = texts["log.txt"]
    assert "begins, configured by" in log
    assert "138 0013 8000" not in log and "138-0013-8000" not in log and "\x1b" not in log
    assert json.loads(texts["status.json"])["updated"] >= before, "figures stay figures"
    assert f"running, pid {gateway.pid}" in texts["check.txt"]
    assert json.loads(texts["system.json"])["agent"]["pid"] == gateway.pid
    ledger = json.loads(texts["ledger.json"])["ledger"]
    assert set(ledger) == set(TABLES)
    assert ledger["calls"][0]["going_on"] == 1
    assert yaml.safe_load(texts["config.yaml"])["platform"]["query"] == {
        "token": "${TOKEN}",
        "more": "${HIDDEN}",
    }
    shown = capsys.readouterr()
    assert str(bundle.name) in shown.out
    assert "Not in it: recordings" in shown.out
    assert "missing" not in shown.out
    gateway.board.hang_up(1)
    gateway.wait_for_files(1)
    assert gateway.platform.violations == []


# Without one.


def test_every_place_of_the_configuration_is_free_of_secrets(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", SECRETS["token"])
    (place.folder / "md5").write_text(SECRETS["md5"])
    account = f"{SECRETS['url user']}:{SECRETS['url password']}"
    board = f"{SECRETS['board user']}:{SECRETS['board password']}"
    place.configure(
        platform={
            "url": f"http://{account}@127.0.0.1:1/voip/upload_record?k={SECRETS['url query']}",
            "query": {"method": "upload_record", "token": "a ${TOKEN} b"},
            "account": {"user": SECRETS["user"], "password_md5": "file:md5"},
            "pasword": SECRETS["unknown key"],
        },
        boards=[
            {
                "port": f"socket://{board}@127.0.0.1:1",
                "options": {"licence": SECRETS["option"], "ring_cadence": 6, "handset": "yes"},
            },
            [SECRETS["unknown key"]],
        ],
        status_file=str(place.folder / f"run/{SECRETS['url password']}.json"),
    )
    spelt = [secret for name, secret in SECRETS.items() if name != "daemon's variable"]
    place.say(*spelt)
    assert place.report() == 2
    texts = place.members
    assert_harmless(texts, spelt)
    shown = texts["config.yaml"]
    assert "unknown key; " in shown, "what is wrong with it is told"
    told = yaml.safe_load(shown)
    assert told["platform"] == {
        "url": f"http://127.0.0.1:1/voip/upload_record?{REMOVED}",
        "query": {"method": REMOVED, "token": REMOVED},
        "account": {"user": REMOVED, "password_md5": "file:md5"},
        "(unknown keys)": "[1 removed]",
    }
    assert told["boards"] == [
        {
            "port": "socket://127.0.0.1:1",
            "options": {"licence": REMOVED, "ring_cadence": "6", "handset": "yes"},
        },
        REMOVED,
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f"platform: {{url: http://u:{SECRETS['url password']}@h/, [", "not YAML"),
        (f"password_md5: {SECRETS['md5']}\n\ttoken: {SECRETS['unknown key']}", "not YAML"),
        ("", "it is empty"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1") * 3, "whole file"),
        (f"just {SECRETS['unknown key']}", "whole file"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_told_and_not_shown(
    place: Place, content: str, told: str, capsys: Captured
) -> None:
    place.config.write_text(content, "utf-8")
    place.say(*SECRETS["url password"].split(), SECRETS["md5"], f"token={SECRETS['unknown key']}")
    assert place.report() == 2
    texts = place.members
    assert told in texts["config.yaml"]
    for secret in (SECRETS["url password"], SECRETS["md5"], SECRETS["unknown key"]):
        if secret in content:
            assert not any(secret in text for text in texts.values()), secret
    assert told in capsys.readouterr().err


def test_without_a_configuration_it_still_tells_of_the_machine(place: Place) -> None:
    place.config.unlink()
    assert place.report() == 2
    assert "there is no such file" in place.members["config.yaml"]
    assert json.loads(place.members["versions.json"])["dependencies"]["requests"]
    interfaces = json.loads(place.members["system.json"])["interfaces"]
    assert any("MAC " in each for face in interfaces.values() for each in face["addresses"])


def test_what_is_missing_is_named_with_the_reason_and_what_helps(
    place: Place, capsys: Captured
) -> None:
    assert place.report() == 0
    assert "the agent writes it while it runs" in place.missing("status.json")
    assert "has not run on this state directory yet" in place.missing("ledger.json")
    assert "no systemd journal" in place.missing("log.txt")
    assert "journalctl -u smarttel-agent" in place.missing("log.txt")
    assert "missing: log.txt" in capsys.readouterr().out


def test_a_status_file_that_is_no_json_is_shown_as_it_is_scrubbed(place: Place) -> None:
    (place.folder / "run" / "status.json").write_bytes(
        b'{"phone": "%b", \xff\x1b[2J' % PHONE.encode()
    )
    assert place.report() == 0
    assert "138****8000" in place.members["status.json"]
    assert_harmless(place.members)
    assert "\x1b" not in place.members["status.json"]


_AS_NOBODY = """
import os, sys
import encodings.ascii, encodings.idna, encodings.utf_8_sig, stringprep
import agent.boards.native, agent.commands.report
from agent import cli
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(cli.main(sys.argv[1:]))
"""
"""The interpreter itself may lie where nobody else can read."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_one_who_may_read_little_is_told_what_root_would_see() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        closed = folder / "state"
        closed.mkdir(mode=0o700)
        with ledger_in(closed, SystemClock()) as ledger:
            add_call(ledger)
        (folder / "md5").write_text(SECRETS["md5"])
        (folder / "md5").chmod(0o600)
        out = folder / "out"
        out.mkdir()
        out.chmod(0o777)
        (folder / "config.yaml").write_text(
            yaml.safe_dump(
                {
                    "platform": {
                        "url": "http://127.0.0.1:1/",
                        "account": {"user": "u", "password_md5": "file:md5"},
                    },
                    "boards": [{"port": "/no/board"}],
                    "recordings": {"directory": "/no/recordings"},
                    "state_directory": str(closed),
                    "status_file": str(folder / "status.json"),
                }
            )
        )
        done = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, "report", "--config", str(folder / "config.yaml")]
            + ["--output", str(out / "bundle.tar.gz")],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": ""},
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert "md5: user nobody may not read it" in done.stderr
        assert "ledger.json" in done.stdout and "sudo smarttel-agent report" in done.stdout
        assert opened((out / "bundle.tar.gz").read_bytes())["system.json"]
    finally:
        shutil.rmtree(folder)


def test_the_one_who_asks_is_told_in_his_language_and_the_bundle_is_english(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert place.report() == 0
    shown = capsys.readouterr()
    assert re.search("[a-z]{4} [a-z]+ [a-z]", shown.out.replace("smarttel-agent run", "")) is None
    assert "其中不含" in shown.out
    for name, text in place.members.items():
        assert re.search("[\u4e00-\u9fff]", text) is None, name


# Where it goes.


def test_to_standard_output_goes_the_bundle_alone(place: Place) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agent", "report", "--config", str(place.config), "--output", "-"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert set(opened(done.stdout)) == MEMBERS
    assert b"standard output: " in done.stderr


@pytest.mark.parametrize("there", ["link", "pipe", "folder", "nowhere"])
def test_where_no_file_can_be_it_says_so_and_touches_nothing(
    place: Place, there: str, capsys: Captured
) -> None:
    victim = place.folder / "victim"
    victim.write_text("mine")
    match there:
        case "link":
            place.output.symlink_to(victim)
        case "pipe":
            os.mkfifo(place.output)
        case "folder":
            place.output.mkdir()
        case _:
            place.output.parent.rmdir()
    assert place.report() == 1
    assert "can't be written" in capsys.readouterr().err
    assert victim.read_text() == "mine"
    if there != "nowhere":
        assert [each.name for each in place.output.parent.iterdir()] == [place.output.name]


def test_a_bundle_of_before_is_replaced(place: Place) -> None:
    place.output.write_text("of yesterday")
    place.output.chmod(0o644)
    assert place.report() == 0
    assert place.output.stat().st_mode & 0o777 == 0o600
    assert set(place.members) == MEMBERS


def test_onto_a_full_disk_nothing_is_left_half_written(place: Place, capsys: Captured) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "agent", "report"]
            + ["--config", str(place.config), "--output", "-"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left" in done.stderr and "Traceback" not in done.stderr


def test_a_write_that_fails_leaves_the_bundle_of_before(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.output.write_text("of yesterday")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert place.report() == 1
    assert place.output.read_text() == "of yesterday"
    assert list(place.output.parent.iterdir()) == [place.output]


def test_a_member_that_is_too_long_is_cut_and_says_so(place: Place) -> None:
    (place.folder / "run" / "status.json").write_text('"' + "é" * MOST_MEMBER)
    assert place.report() == 0
    content = place.members["status.json"].encode()
    assert len(content) <= MOST_MEMBER
    assert content.decode().endswith("[cut: the rest does not fit into this bundle]\n")


def test_without_a_mac_address_the_name_is_the_host_s_without_numbers(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.config.unlink()
    monkeypatch.setattr(platform, "node", lambda: f"box/../{PHONE}\x1b")
    monkeypatch.chdir(place.output.parent)
    assert cli.main(["report", "--config", str(place.config)]) == 2
    (made,) = place.output.parent.iterdir()
    assert re.fullmatch(r"smarttel-report-box_138_8000_x1b-[0-9]{8}T[0-9]{6}Z\.tar\.gz", made.name)


def test_a_clock_that_is_far_off_costs_no_bundle() -> None:
    for wall in (-1e9, 1e11):
        assert opened(report_bundle.packed("a", [report_bundle.Member("b", "c")], wall))


def test_the_bundle_is_made_the_same_of_the_same() -> None:
    made = [report_bundle.packed("a", [report_bundle.Member("b", "c")], NOON) for _ in range(2)]
    assert made[0] == made[1]
    assert gzip.decompress(made[0])


# The log.


def test_of_a_long_log_the_newest_whole_lines_are_kept(place: Place) -> None:
    lines = [f"line {number} {'x' * 1990}" for number in range(2000)]
    place.say(*lines)
    assert place.report() == 0
    log = place.members["log.txt"].splitlines()
    assert log[0].startswith("[cut: what was before")
    assert log[1] in lines
    assert log[-1] == lines[-1]
    assert 200 < len(log) < 600


def test_a_journal_that_answers_nothing_is_not_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_log, "LONGEST", 0.3)
    place.log("echo first; exec /bin/sleep 60")
    began = time.monotonic()
    assert place.report() == 0
    assert time.monotonic() - began < 30
    assert place.members["log.txt"].startswith("first\n[cut: journalctl took longer than")
    assert not [each for each in psutil.Process().children() if "sleep" in each.name()]


def test_what_journalctl_complains_of_is_the_reason(place: Place) -> None:
    place.log("echo '-- No entries --'; echo 'Hint: You are not seeing messages' >&2")
    assert place.report() == 0
    assert "Hint: You are not seeing messages" in place.missing("log.txt")


def test_journalctl_gets_neither_our_environment_nor_a_shell(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", SECRETS["token"])
    place.log('/usr/bin/env; echo "$# $*"')
    assert place.report() == 0
    log = place.members["log.txt"]
    assert "TOKEN" not in log
    assert "5 --unit=smarttel-agent --lines=2000 --no-pager --output=short-iso" not in log
    assert "4 --unit=smarttel-agent --lines=2000 --no-pager --output=short-iso" in log


# The ledger.


@pytest.mark.parametrize("damage", ["torn", "empty", "text", "folder"])
def test_a_damaged_ledger_is_told_and_costs_no_other_member(place: Place, damage: str) -> None:
    path = place.state / FILE_NAME
    filled(place.state, SystemClock())
    match damage:
        case "torn":
            tear_pages(path)
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text(f"no ledger, but {PHONE}")
        case _:
            path.unlink()
            path.mkdir()
    (place.state / "ledger-damaged-7.sqlite").write_bytes(b"x" * 10)
    assert place.report() == 0
    told = json.loads(place.members["ledger.json"])
    assert re.search("can't be read|not counted", json.dumps(told["ledger"]))
    assert told["set aside as damaged"] == {"ledger-damaged-7.sqlite": 10}
    assert all(place.members[name] for name in ("check.txt", "system.json", "versions.json"))


def test_troubles_of_the_ledger_are_told_without_secrets_and_numbers(place: Place) -> None:
    place.configure(
        platform={
            "url": "http://127.0.0.1:1/",
            "account": {"user": SECRETS["user"], "password_md5": SECRETS["md5"]},
        }
    )
    with ledger_in(place.state, SystemClock()) as ledger:
        add_call(ledger)
    with sqlite3.connect(place.state / FILE_NAME) as connection:
        trouble = f"4001: {SECRETS['user']} {SECRETS['md5']} called {PHONE}"
        connection.execute("UPDATE deliveries SET trouble = ?, refusals = 3", (trouble,))
    connection.close()
    assert place.report() == 0
    (row,) = json.loads(place.members["ledger.json"])["ledger"]["troubles"]
    assert row["trouble"] == f"4001: {REMOVED} {REMOVED} called 138****8000"
    assert_harmless(place.members)
