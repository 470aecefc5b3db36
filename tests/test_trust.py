"""The limits of trust: what the platform, the serial line and file names send harms nothing.

No program runs, no other file than a recording is sent, memory stays bounded, and neither the log
nor the status can be broken. Secrets appear nowhere.
"""

from __future__ import annotations

import ast
import contextlib
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import agent
from agent import cli
from agent.boards.frames import check
from agent.clock import SystemClock
from agent.commands import check as check_command
from agent.platform.client import PlatformClient
from agent.platform.failures import PlatformFailure
from agent.recordings import files
from agent.recordings.files import NotARecording, open_recording
from agent.settings import Platform
from tests.audio_files import pcm
from tests.gateway import Box, box, wait_until
from tests.hostile import (
    CONTROLS,
    SANE,
    HostilePlatform,
    assert_clean,
    spied,
    wait_for_a_status,
    written,
)
from tests.lanes import Bench, bench_in
from tests.raw_server import http
from tests.rooms import unwritable

MEBIBYTE = 1024 * 1024
ESCAPES = "\x1b[2J\x1b]0;owned\x07\r\n2026-01-01 00:00:00 error   daemon: forged\u202e\x9b\x00"
MOST_GROWTH = 24 * MEBIBYTE
"""Bytes by which a daemon may grow under attack: one answer of a mebibyte, decoded, and no more."""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Box]:
    with box(tmp_path) as made:
        yield made


def line(*fields: str | bytes) -> bytes:
    """A frame with a right check, whatever its fields hold."""
    body = b",".join(field if isinstance(field, bytes) else field.encode() for field in fields)
    return b"$%b*%04X\r\n" % (body, check(body))


def memory(gateway: Box) -> int:
    return int(psutil.Process(gateway.pid).memory_info().rss)


# The serial line.


def test_nothing_that_the_serial_line_says_breaks_the_agent(gateway: Box) -> None:
    noted = spied(gateway)
    gateway.start(log={"level": "debug", "phones": "full"})
    before = memory(gateway)
    board = gateway.board
    for firmware in (b"2.0\x1b[2J\x07", b"${HOME} `reboot` %s %n {0}", b"\xff" * 60, b'"\\'):
        board.write(line("HELLO", "1", "1", "8", firmware))
    board.write(line("HELLO", "9" * 60, "-1", "99999999", "x"))
    for phone in ("138\x1b[2J", "%00", "../../etc/passwd", "'; DROP TABLE calls; --", "٣٣"):
        board.write(line("CH", "1", "2", "3", "2", phone, "0"))
    for fields in (("CH", "1", "99", "3"), ("CH",), ("OK", "9" * 100), ("ERR", "1", "x"), ("",)):
        board.write(line(*fields))
    board.write(b"\0" * 70_000 + b"$" * 70_000)
    board.write(b"A" * MEBIBYTE)
    board.write(b"\r\n")
    gateway.board.ring(4, "13800138000")
    gateway.board.answer(4)
    gateway.wait_for_state(4, "in call")
    gateway.board.hang_up(4)
    gateway.wait_for(
        lambda: any(record.channel == 4 for record in gateway.platform.records), "the true call"
    )
    assert memory(gateway) - before < MOST_GROWTH
    assert_clean(gateway)
    assert gateway.status["boards"][0]["bad_frames"] > 5
    assert not noted.exists(), noted.read_text()
    assert gateway.platform.violations == []


# The platform.

BOMB = gzip.compress(bytes(200 * MEBIBYTE), mtime=0)
FORGED = json.dumps({"status": 3001, "message": ESCAPES * 3, "period": ESCAPES[:20]}).encode()
ENTRIES: list[object] = [
    {"status": 51, "memo": {"functionname": "../../bin/sh", "paramvalue": "-c=reboot"}},
    {"status": 51, "memo": {"functionname": "report", "paramvalue": "a=%00%1b"}},
    {"status": 51, "memo": "system?cmd=reboot"},
    {"status": 51, "memo": '{"functionname": "__import__"}'},
    {"status": 7, "text": ESCAPES},
    {"status": 0, "mdcWan": "1; reboot", "phone": "10086"},
    {"status": 0, "mdcWan": 1, "phone": "10086\r\nATDT110"},
    {"status": 0, "mdcWan": 1, "phone": "1" * 33},
    {"status": 0, "mdcWan": 10**30, "mdcCode": -1, "phone": 5},
    *([], None, 1e308, "x" * 5000, {"status": {"$gt": ""}}),
]
ANSWERS = {
    "escapes in the message": http(FORGED),
    "a message of a mebibyte": http(b'{"status": 1, "message": "%b"}' % (b"x" * 1_000_000)),
    "control characters in the callid": http(b'{"status": 0, "callid": "7\\r\\n\\u001b[2J"}'),
    "a callid that is very long": http(b'{"status": 0, "callid": "%b"}' % (b"7" * 1000)),
    "a callid with half a surrogate": http(b'{"status": 0, "callid": "\\ud800"}'),
    "nested too deeply": http(b'{"status": 0, "data": %b}' % (b"[" * 400_000)),
    "nested deeply and closed": http(b'{"status": 0, "data": %b}' % (b"[" * 4000 + b"]" * 4000)),
    "keys twice": http(b'{"status": 0, "status": 3003, "callid": "7", "callid": "8"}'),
    "a huge whole number": http(b'{"status": %b}' % (b"9" * 100_000)),
    "a huge exponent": http(b'{"status": 1e999999}'),
    "NaN": http(b'{"status": NaN, "time": Infinity}'),
    "a byte order mark": http(b'\xef\xbb\xbf{"status": -3, "message": "no"}'),
    "UTF-16": http('{"status": 0}'.encode("utf-16"), "200 OK", "Content-Type: text/json"),
    "GB 18030": http('{"status": 1, "message": "错误"}'.encode("gb18030")),
    "a bomb": http(BOMB, "200 OK", "Content-Encoding: gzip"),
    "a bomb in a bomb": http(gzip.compress(BOMB), "200 OK", "Content-Encoding: gzip, gzip"),
    "an error with a bomb": http(BOMB, "500 \x1b[2J", "Content-Encoding: gzip"),
    "a Retry-After that is none": http(b"", "503 x", "Retry-After: --5", "Date: " + "9" * 500),
    "cookies": http(FORGED, "200 OK", *(f"Set-Cookie: c{n}=x; expires=\x1b{n}" for n in range(90))),
    "a redirect": http(b"", "302 Found", "Location: file:///etc/passwd"),
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000,
    "a header line without end": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 3_000_000,
    "a status line without end": b"HTTP/1.1 " + b"2" * 3_000_000,
    "a chunk size without end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1" * 3_000_000,
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\nConnection: close\r\n\r\n{}",
    "no HTTP at all": b"\x1b[2J\0\xff" * 1000 + b"\r\n\r\n",
}
HOSTILE_LISTS = http(json.dumps({"status": 0, "data": ENTRIES}).encode())
LARGEST_LIST = http(b'{"status": 0, "data": [%b]}' % b",".join([b"[[]]"] * 209_000))
"""Nothing costs more memory once it is decoded."""


@contextlib.contextmanager
def client_of(platform: HostilePlatform) -> Iterator[PlatformClient]:
    settings = Platform(url=f"http://127.0.0.1:{platform.port}/", read_timeout=0.4)
    client = PlatformClient(settings, lambda: "02:00:00:00:00:01", SystemClock())
    try:
        yield client
    finally:
        client.close()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=list(ANSWERS))
def test_no_answer_does_more_than_fail_in_clean_words(answer: bytes) -> None:
    with HostilePlatform() as platform, client_of(platform) as client, bounded_memory(8):
        platform.answer = lambda _command, _head: answer
        asks: list[Callable[[], object]] = [
            lambda: client.record(b"cmd=upload&start_time_secs=1"),
            lambda: client.report(1, 1, "{}"),
            client.messages,
        ]
        for ask in asks:
            try:
                said = str(ask())
            except PlatformFailure as failure:
                said = str(failure)
            assert CONTROLS.search(said) is None
            assert len(said) < 3000


def test_of_a_hostile_list_only_what_was_understood_is_an_order() -> None:
    with HostilePlatform() as platform, client_of(platform) as client:
        platform.answer = lambda _command, _head: HOSTILE_LISTS
        listing = client.messages()
    assert CONTROLS.search(listing.reason) is None
    assert listing.malformed == len(ENTRIES) - len(listing.entries)
    kinds = [type(entry).__name__ for entry in listing.entries]
    assert kinds == ["FunctionMessage", "FunctionMessage", "OtherEntry"]


def test_the_largest_list_costs_bounded_memory() -> None:
    with HostilePlatform() as platform, client_of(platform) as client, bounded_memory(36):
        platform.answer = lambda _command, _head: LARGEST_LIST
        assert client.messages().entries == ()


@contextlib.contextmanager
def bounded_memory(mebibytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < mebibytes * MEBIBYTE
    finally:
        tracemalloc.stop()


def test_a_gateway_outlives_its_hostile_platform_and_loses_nothing(gateway: Box) -> None:
    noted = spied(gateway)
    served = iter(list(ANSWERS.values()) * 3)

    def hostile(command: str, _head: bytes) -> bytes:
        if command.startswith("get"):
            return HOSTILE_LISTS
        return next(served, http(FORGED))

    with HostilePlatform() as platform:
        platform.answer = hostile
        gateway.start(
            platform={"url": f"http://127.0.0.1:{platform.port}/x", "read_timeout": 1},
            retry={"first": 0.01, "longest": 0.02, "configuration_probe": 0.05},
            polls={"messages": 0.05, "calls": 0.05},
            log={"level": "debug", "phones": "full"},
        )
        before = memory(gateway)
        gateway.board.ring(1, "13800138000")
        gateway.board.answer(1)
        gateway.record(1, "in", "13800138000")
        gateway.board.hang_up(1)
        platform.wait_for(lambda: len(platform.requests) > 2 * len(ANSWERS), "many requests")
        assert_clean(gateway)
        assert memory(gateway) - before < MOST_GROWTH * 2
        assert gateway.board.dials == []
        platform.answer = lambda _command, _head: http(SANE)
        gateway.signal(signal.SIGUSR1)
        platform.wait_for(lambda: bool(platform.bodies("file")), "the recording")
        assert len(set(platform.bodies("record"))) == 1
        assert gateway.stop() == 0
        assert_clean_log(gateway)
        assert not noted.exists(), noted.read_text()


def assert_clean_log(gateway: Box) -> None:
    assert CONTROLS.search(gateway.log) is None
    assert "Traceback" not in gateway.log


# File names and files.

NAMES = (
    b"line\nbreak\r\n.wav",
    b"escape\x1b[2J\x07.wav",
    b"not-utf-8-\xff\xfe\x80.wav",
    b"a" * 251 + b".wav",
    b"--config=evil.wav",
    b"..x.wav"[2:],
    b"quote\"';$(reboot)`id`|&.wav",
    b'x\r\nContent-Disposition: form-data; name="callid"\r\n\r\n1.wav',
    b"%s%n{0}.wav",
    "\u202egnp.wav".encode(),
    b"two..dots...wav",
    b"folder\n/inner\x1b.wav",
)


def leave(directory: Path, name: bytes, content: bytes) -> None:
    path = directory / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def test_of_all_that_lies_in_the_directory_recordings_are_sent_and_nothing_else(
    gateway: Box,
) -> None:
    noted = spied(gateway)
    outside = gateway.folder / "outside"
    outside.mkdir()
    secret = outside / "passwd"
    secret.write_text("root:x:0:0:root:/root:/bin/sh\n" * 50)
    (outside / "other.wav").write_bytes(pcm(0.7))
    directory = gateway.recordings
    (directory / "link.wav").symlink_to("/etc/passwd")
    (directory / "link-to-audio.wav").symlink_to(outside / "other.wav")
    (directory / "linked-folder").symlink_to(outside)
    (directory / "hard.wav").hardlink_to(secret)
    (directory / "folder.wav").mkdir()
    os.mkfifo(directory / "pipe.wav")
    listener = socket.socket(socket.AF_UNIX)
    with contextlib.chdir(directory), listener:
        listener.bind("socket.wav")
    true = {name: pcm(0.1 + 0.01 * number) for number, name in enumerate(NAMES)}
    for name, content in true.items():
        leave(directory, name, content)
    gateway.start(recordings={"attach_window": 0.2}, log={"level": "debug", "phones": "full"})
    gateway.wait_for_files(len(true))
    reports = len(gateway.platform.reports)
    gateway.wait_for(lambda: len(gateway.platform.reports) > reports + 1, "some reports more")
    sent = [gateway.platform.file_path(file).read_bytes() for file in gateway.platform.files]
    assert sorted(sent) == sorted(true.values())
    assert gateway.platform.violations == []
    assert_clean(gateway)
    assert gateway.status["recordings"]["kept"] == 1, "the text that is called a recording"
    assert not noted.exists(), noted.read_text()


def test_the_queue_shows_hostile_names_in_one_clean_line_each(
    gateway: Box, capsys: pytest.CaptureFixture[str]
) -> None:
    with HostilePlatform() as platform:
        platform.answer = lambda _command, _head: http(FORGED)
        for number, name in enumerate(NAMES):
            leave(gateway.recordings, name, pcm(0.1 + 0.01 * number))
        leave(gateway.recordings, b"text\x1b.wav", b"no audio")
        gateway.start(
            platform={"url": f"http://127.0.0.1:{platform.port}/x"},
            recordings={"attach_window": 0.2},
        )
        wait_until(lambda: gateway.status["queue"]["records_waiting"] == len(NAMES), "all wait")
        assert cli.main(["--config", str(gateway.config), "queue", "list"]) == 0
    shown = capsys.readouterr().out
    assert CONTROLS.search(shown) is None
    assert shown.count("\n") == 2 * len(NAMES) + 1


SWAPS: dict[str, Callable[[Path, Path], object]] = {
    "a link": lambda path, other: path.symlink_to(other),
    "a pipe": lambda path, _other: os.mkfifo(path),
    "a folder": lambda path, _other: path.mkdir(),
    "another file": lambda path, other: path.hardlink_to(other),
    "nothing": lambda _path, _other: None,
}


@pytest.mark.parametrize("swap", SWAPS.values(), ids=list(SWAPS))
def test_what_takes_a_recordings_place_after_it_was_found_is_not_sent(
    tmp_path: Path, swap: Callable[[Path, Path], object]
) -> None:
    with bench_in(tmp_path) as bench:
        other = tmp_path / "passwd"
        other.write_text("root:x:0:0\n")
        item = found_and_booked(bench)
        path = bench.directory / "call.wav"
        path.unlink()
        swap(path, other)
        bench.drain(bench.recordings())
        assert bench.platform.uploads == []
        assert bench.item(item).state != "delivered"
        assert other.read_text() == "root:x:0:0\n"


def found_and_booked(bench: Bench) -> int:
    from tests.ledgers import add_call

    call = add_call(bench.ledger)
    item = bench.file(call)
    bench.drain(bench.records())
    return item


@pytest.mark.parametrize("swap", ["a link", "a pipe", "a folder"])
def test_what_takes_a_recordings_place_between_looking_and_opening_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: str
) -> None:
    path, other = tmp_path / "call.wav", tmp_path.parent / "passwd"
    path.write_bytes(pcm(0.1))
    other.write_text("root:x:0:0\n")
    looks: list[str] = []
    require_plain = files._require_plain

    def look(found: os.stat_result, relative: str) -> None:
        require_plain(found, relative)
        looks.append(relative)
        if len(looks) == 1:
            path.unlink()
            SWAPS[swap](path, other)

    monkeypatch.setattr(files, "_require_plain", look)
    with pytest.raises(OSError):
        open_recording(tmp_path, "call.wav")
    assert looks == ["call.wav"]


def test_a_folder_that_becomes_a_link_on_the_way_leads_nowhere(tmp_path: Path) -> None:
    outside, directory = tmp_path / "outside", tmp_path / "recordings"
    outside.mkdir()
    directory.mkdir()
    (outside / "x.wav").write_bytes(pcm(0.1))
    (directory / "day").symlink_to(outside)
    with pytest.raises(NotARecording):
        open_recording(directory, "day/x.wav")


@pytest.mark.parametrize(
    "relative",
    ["../outside.wav", "a/../../outside.wav", "/etc/passwd", "", ".", "a//b.wav", "a/./b.wav"],
)
def test_no_path_leads_out_of_the_recording_directory(tmp_path: Path, relative: str) -> None:
    directory = tmp_path / "recordings"
    (directory / "a").mkdir(parents=True)
    (tmp_path / "outside.wav").write_bytes(pcm(0.1))
    with pytest.raises(NotARecording):
        open_recording(directory, relative)


# What libraries say past the log.

PAST_THE_LOG = """
import sys, threading, warnings
from agent.daemon import send_all_to_the_log
from agent.logs import set_up
set_up("info", "masked", sys.stderr, journal=False)
send_all_to_the_log()
def fail():
    raise RuntimeError("in a thread \\x1b[2J\\nforged")
thread = threading.Thread(target=fail, name="emitter")
thread.start()
thread.join()
warnings.warn("of a library \\x1b[2J\\nforged")
"""


def test_failures_of_threads_and_warnings_of_libraries_are_lines_of_the_log() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PAST_THE_LOG], check=True, capture_output=True, text=True
    )
    assert CONTROLS.search(done.stderr) is None
    assert "error   daemon: the thread emitter failed" in done.stderr
    assert "RuntimeError: in a thread \\x1b[2J" in done.stderr
    assert "warning py.warnings: " in done.stderr
    assert all(line[:2] == "20" for line in done.stderr.splitlines()), done.stderr


# Programs.

MODULES = {"subprocess", "multiprocessing", "pty", "pickle", "marshal", "shelve", "runpy", "code"}
MAY_START_PROGRAMS = {
    "programs.py",  # those of functions.directory, checked by program_files.py
    "commands/report_log.py",  # journalctl, for the support bundle alone
}
CALLS = {"system", "popen", "fork", "forkpty", "eval", "exec", "execv", "execve", "posix_spawn"}


def test_no_room_of_the_daemon_has_the_means_to_run_a_program() -> None:
    root = Path(agent.__file__).parent
    rooms = [path for path in root.rglob("*.py") if "simulation" not in path.parts]
    assert len(rooms) > 50
    for path in rooms:
        if path.relative_to(root).as_posix() in MAY_START_PROGRAMS:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                assert not MODULES.intersection(alias.name.split(".")[0] for alias in node.names), (
                    where
                )
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in MODULES, where
            elif isinstance(node, ast.Call):
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                assert called not in CALLS, where


# Secrets.

SECRETS = {
    "user": "account-4711",
    "md5": "5EC4E7A11C0FFEE0123456789ABCDEF0",
    "token": "token of/the+environment",
    "url user": "ops-4712",
    "url password": "hunter22",
    "url query": "key-in-the-url",
}
SPELT = [
    *SECRETS.values(),
    *("token+of", "token%20of", "b3BzLTQ3MTI6aHVudGVyMjI="),
    SECRETS["md5"].lower(),
]
"""As they stand in the configuration, and as they go over the wire."""


def echoing(head: bytes, body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """An answer that quotes the whole request."""
    quoted = json.dumps(head.decode("latin-1"))[1:-1].encode()
    return http(body.replace(b"%", quoted), status, *headers)


FAILINGS: dict[str, Callable[[bytes], bytes]] = {
    "refuses": lambda head: echoing(head, b'{"status": 1, "message": "%"}'),
    "refuses the account": lambda head: echoing(head, b'{"code": -2, "message": "who is %"}'),
    "wants another account": lambda head: echoing(head, b'{"message": "%"}', "401 No"),
    "has no status": lambda head: echoing(head, b'{"message": "%"}'),
    "is a web page": lambda head: echoing(head, b"<html>%</html>"),
    "fails": lambda head: echoing(head, b"%", "500 Failed"),
    "is busy": lambda head: echoing(head, b'{"status": 5, "message": "%"}', "503 Busy"),
    "points elsewhere": lambda head: http(
        b"", "302 Found", "Location: " + head.split(b" ")[1].decode("latin-1")
    ),
    "asks for patience": lambda head: echoing(head, b"%", "429 Slow", "Retry-After: 0"),
    "speaks no HTTP": lambda head: head + b"\r\n\r\n",
    "is cut": lambda head: echoing(head, b'{"status": 1, "message": "%"}')[:-9],
}


def secretive(gateway: Box, host: str) -> dict[str, object]:
    """A configuration with a secret in each place that can hold one."""
    secret = gateway.folder / "md5"
    secret.write_text(SECRETS["md5"] + "\n")
    account = f"{SECRETS['url user']}:{SECRETS['url password']}"
    return {
        "url": f"http://{account}@{host}/api?key={SECRETS['url query']}",
        "query": {"method": "upload_record", "token": "${TOKEN}"},
        "account": {"user": SECRETS["user"], "password_md5": f"file:{secret}"},
        "read_timeout": 1,
    }


def assert_no_secret(text: str, where: str) -> None:
    for secret in SPELT:
        assert secret.casefold() not in text.casefold(), f"{where}: {secret}"


def test_no_secret_appears_in_log_status_queue_or_check_however_the_platform_fails(
    gateway: Box, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.environment["TOKEN"] = SECRETS["token"]
    monkeypatch.setenv("TOKEN", SECRETS["token"])
    heads: list[bytes] = []
    with HostilePlatform() as platform:
        gateway.start(
            platform=secretive(gateway, f"127.0.0.1:{platform.port}"),
            retry={"first": 0.01, "longest": 0.02, "configuration_probe": 0.02},
            log={"level": "debug"},
        )
        gateway.board.off_hook(1)
        gateway.board.hang_up(1)
        for fails in FAILINGS.values():

            def answer(_command: str, head: bytes, fails: Callable[..., bytes] = fails) -> bytes:
                heads.append(head)
                return fails(head)

            platform.answer = answer
            gateway.signal(signal.SIGUSR1)
            platform.wait_for_more(3)
            gateway.signal(signal.SIGUSR1)
            wait_for_a_status(gateway)
            for name, content in written(gateway).items():
                assert_no_secret(content.decode("utf-8"), name)
        for command in (["queue", "list"], ["status"], ["status", "--json"]):
            cli.main(["--config", str(gateway.config), *command])
        gateway.kill()
        for host in ("127.0.0.1:1", "no-such-host.invalid", f"127.0.0.1:{platform.port}"):
            gateway.configure(platform=secretive(gateway, host), boards=[{"port": "/no/board"}])
            assert check_command.run(gateway.config, os.environ) == 1
    shown = capsys.readouterr()
    assert_no_secret(shown.out + shown.err, "what the commands print")
    assert "token=token" in heads[0].decode() and SECRETS["md5"] in heads[0].decode()
    assert "account" in gateway.log, "the failures were told"


# A full disk and a new configuration.


def test_a_new_configuration_waits_for_the_calls_that_only_memory_holds(gateway: Box) -> None:
    gateway.start()
    with unwritable(gateway.folder / "state"):
        gateway.board.off_hook(2)
        gateway.wait_for_state(2, "in call")
        gateway.board.hang_up(2)
        gateway.wait_for_state(2, "idle")
        gateway.configure(boards=[{"port": gateway.board.port, "channels": 4}])
        gateway.signal(signal.SIGHUP)
        wait_until(lambda: "the new configuration waits" in gateway.log, "it waits")
    gateway.signal(signal.SIGUSR1)
    gateway.wait_for_records(1)
    (record,) = gateway.platform.records
    assert (record.channel, record.direction) == (2, "out")
    wait_until(lambda: len(gateway.status["boards"][0]["channels"]) == 4, "it is used now")
