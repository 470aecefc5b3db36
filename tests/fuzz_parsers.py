"""The parsers of foreign bytes: what each promises, and valid samples to mutate."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import tempfile
import zlib
from contextlib import suppress
from functools import partial
from pathlib import Path

from rich.console import Console

from agent.boards.driver import BoardOptions, DialRefused, Driver
from agent.boards.events import BoardHello, ChannelState, LineState, Peer
from agent.boards.frames import MOST_BYTES, FrameReader, frame
from agent.boards.link import LinkView
from agent.boards.native import NativeDriver
from agent.boards.whozz import WhozzDriver
from agent.boards.yes4 import Yes4Driver
from agent.clock import ClockView, Stamp
from agent.commands import status_file
from agent.commands.screen import UNICODE
from agent.commands.status_table import Picture
from agent.config import ConfigError, load
from agent.delivery.gate import GateView, Shut
from agent.delivery.window import parse_hours
from agent.language import ENGLISH, language
from agent.ledger.rows import DialCounts, Errand, ErrandState, QueueCounts
from agent.platform.answers import MOST_CALLID, parse_answer
from agent.platform.connections import MOST_ANSWER
from agent.platform.failures import PlatformFailure
from agent.platform.judging import LONGEST_RETRY_AFTER, judge
from agent.platform.listing import MOST_ENTRIES, CallToPlace, FunctionMessage, read_listing
from agent.platform.multipart import MOST_NAME, wire_name
from agent.platform.transport import inflated
from agent.platform.wire import HttpAnswer
from agent.problems import Health, Problem
from agent.recordings.audio import inspect
from agent.recordings.disk import Disk, DiskStatus
from agent.recordings.names import LATEST, LONGEST_DURATION, RecordingNames, display_name
from agent.recordings.patterns import compile_pattern
from agent.recordings.watcher import WatcherView
from agent.status import Status, as_json
from agent.status_words import as_words
from agent.switchboard import ChannelView
from agent.text import printable
from tests import audio_files
from tests.fuzz_engine import Parser
from tests.plain_heads import understood_alike

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]")
MOST_SHOWN = 6 * 2001
"""Characters that a line's 2000 foreign ones can become: an escape of six for each."""
NOW = 1_800_000_000.0


def _one_line(text: str, most: int = MOST_SHOWN) -> None:
    assert not CONTROLS.search(text), ascii(text)
    assert len(text) <= most


# The parsers.


def _frames(data: bytes) -> None:
    whole, pieces = FrameReader(), FrameReader()
    found = whole.feed(data)
    cut = len(data) // 3
    apart = [one for part in (data[:cut], data[cut:]) for one in pieces.feed(part)]
    assert apart == found
    assert (pieces.good, pieces.bad) == (whole.good, whole.bad)
    assert whole.good == len(found)
    for one in found:
        for text in (one.type, *one.fields):
            _one_line(text, MOST_BYTES)
        assert frame(one.type, *one.fields).rstrip() in data


def _drives(kind: type[Driver], data: bytes) -> None:
    driver = kind(BoardOptions(serial=1, channels=8), lambda: 1000.0)
    driver.opened()
    sent = [driver.poll()]
    with suppress(DialRefused):
        sent.append(driver.dial(1, "10086"))
    for first in range(0, len(data), 300):
        for event in driver.feed(data[first : first + 300]):
            if isinstance(event, ChannelState):
                assert 1 <= event.channel <= 8
                assert event.state in set(LineState)
                assert event.peer in set(Peer)
                assert re.fullmatch(r"[0-9*#+]{0,32}", event.phone)
                assert event.timelen is None or 0 <= event.timelen < 10**9
                assert 0 <= event.ago < 10**5
            elif isinstance(event, BoardHello):
                _one_line(event.firmware, MOST_BYTES)
        sent.append(driver.poll())
        due = driver.due()
        assert due is None or due < 2000
    assert sum(map(len, sent)) <= MOST_BYTES * len(sent)


def _answer(data: bytes) -> None:
    try:
        answer = parse_answer(data)
    except PlatformFailure as failure:
        _one_line(str(failure))
        return
    _one_line(answer.message)
    assert answer.callid is None or 0 < len(answer.callid) <= MOST_CALLID
    _one_line(answer.callid or "")
    _one_line(answer.period or "")
    assert answer.time is None or 1e9 <= answer.time <= LATEST


def _head(data: bytes) -> None:
    # Of more lines the library wants none; a plain head is bounded by its bytes.
    if data.partition(b"\r\n\r\n")[0].count(b"\n") < 100:
        understood_alike(data)


def _http(data: bytes) -> None:
    """Status, Retry-After and Date in the first three lines, then the body."""
    status, after, date, body = (data.split(b"\n", 3) + [b""] * 4)[:4]
    code = int(status) if status.isdigit() and len(status) == 3 else 200
    headers = [line.decode("latin-1") if line else None for line in (after, date)]
    try:
        judge(HttpAnswer(code, body, *headers), NOW)
    except PlatformFailure as failure:
        _one_line(str(failure))
        wait = failure.retry_after
        assert wait is None or 0 <= wait <= LONGEST_RETRY_AFTER


def _compressed(data: bytes) -> None:
    try:
        found = inflated(data)
    except zlib.error:
        return
    assert len(found) <= MOST_ANSWER + 1


def _listing(data: bytes) -> None:
    try:
        answer = parse_answer(data)
    except PlatformFailure:
        return
    listing = read_listing(answer.data)
    _one_line(listing.reason)
    assert len(listing.entries) + listing.malformed <= MOST_ENTRIES
    for entry in listing.entries:
        assert re.fullmatch(r"(call|function|other)-[0-9a-f]{32}", entry.key)
        if isinstance(entry, CallToPlace):
            assert re.fullmatch(r"[0-9*#]{1,32}", entry.phone)
            assert 1 <= entry.channel <= 99
        elif isinstance(entry, FunctionMessage):
            assert re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", entry.name)
            assert sum(len(name) + len(text) for name, text in entry.parameters) <= 4096
            "".join(name + text for name, text in entry.parameters).encode("utf-8")
        else:
            _one_line(entry.text)


def _multipart(data: bytes) -> None:
    name = wire_name(os.fsdecode(data), "wav")
    assert re.fullmatch(r"[A-Za-z0-9_-]+\.wav", name)
    assert len(name) <= MOST_NAME


def _audio(data: bytes) -> None:
    # It may have been longer, or shorter, a moment ago when its size was taken.
    for size in (len(data), len(data) * 2 + 1, len(data) // 2, 10**9):
        audio = inspect(io.BytesIO(data), size, "recording.wav")
        _one_line(audio.reason)
        assert audio.duration is None or 0 <= audio.duration <= LONGEST_DURATION
        assert (audio.container is None) <= (audio.duration is None)


_NAMES = RecordingNames(
    (
        "{start:%Y%m%d-%H%M%S}_{channel}_{direction}_{phone}",
        "{serial}-{channel}/{any}_{start:%s}",
        "{any}.{duration}.{end:%Y%m%d%H%M%S}",
    )
)


def _names(data: bytes) -> None:
    relative = os.fsdecode(data)
    facts = _NAMES.facts(relative)
    assert all(0 <= start < LATEST for start in facts.starts)
    assert facts.channel is None or 1 <= facts.channel <= 99
    assert facts.phone is None or re.fullmatch(r"[0-9*#+]{0,40}", facts.phone)
    for masked in (True, False):
        _one_line(display_name(relative, facts.places, masked), 6 * 401)


def _pattern(data: bytes) -> None:
    try:
        pattern = compile_pattern(os.fsdecode(data))
    except ValueError as error:
        _one_line(printable(str(error), 2000))
        return
    pattern.expression.fullmatch("20260701-120000_1_in_13800138000")


def _config(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.yaml")
        path.write_bytes(data)
        try:
            load(path, {"TOKEN": "of-the-environment"})
        except ConfigError as error:
            for line in error.lines:
                _one_line(line, 20_000)


def _hours(data: bytes) -> None:
    hours = parse_hours(os.fsdecode(data))
    if hours is not None:
        assert 0 <= hours.begin < 1440
        assert 0 <= hours.end <= 1440


def _status(data: bytes) -> None:
    """Foreign words in every place of the status that takes some."""
    told = as_json(foreign_status(data.decode("utf-8", "surrogateescape")))
    written = json.dumps(told, ensure_ascii=False)
    _one_line(written, 40_000)
    words = as_words(told)
    for line in words.splitlines():
        _one_line(line)
    assert words.count("\n") == as_words(as_json(foreign_status("plain"))).count("\n")


def _status_file(data: bytes) -> None:
    path = Path(_SCRATCH.name, "status.json")
    path.write_bytes(data)
    try:
        seen = status_file.look(path, NOW)
    except status_file.NoStatus as error:
        _one_line(str(error))
        return
    for speaking in (ENGLISH, language("zh_CN", {})):
        console = Console(file=io.StringIO(), width=80, markup=False, highlight=False, emoji=False)
        console.print(Picture(seen.status, seen.absent, NOW, speaking, UNICODE).whole())
        drawn = console.file.getvalue()  # type: ignore[attr-defined]
        for line in drawn.split("\n"):
            _one_line(line)


_SCRATCH = tempfile.TemporaryDirectory(prefix="smarttel-fuzz-")


def foreign_status(words: str) -> Status:
    """A status in which others had every word that they can have."""
    stamp = Stamp(NOW, 5.0)
    return Status(
        url="http://127.0.0.1:8080/voip",
        satellite="02:00:00:00:00:01",
        started=NOW,
        updated=NOW,
        health=Health.DEGRADED,
        problems=[Problem("platform-unreachable", NOW, words, "hint")],
        gate=GateView(Shut.OUTAGE, NOW, words, None),
        clock=ClockView(trusted=True, unset=False, platform_ahead=0.25),
        links=[LinkView(1, words, words, up=True, last_heard=NOW, trouble=words)],
        channels={1: [ChannelView(1, LineState.IN_CALL, Peer.OUTGOING, words, stamp, None)]},
        disk=Disk(5, 1024**3, 1024**3, DiskStatus.NORMAL, ""),
        queue=QueueCounts(1, 2, 3, NOW, 0, 5, 6, 0, 0),
        dial=DialCounts(0, 0, 0, 0),
        errands=[
            Errand(
                1,
                "dial",
                "x",
                "getCallList",
                1,
                1,
                words,
                words,
                (),
                ErrandState.FAILED,
                words,
                NOW,
                0.0,
            )
        ],
        malformed=0,
        watcher=WatcherView("/recordings", words, NOW, 1),
    )


# Valid samples.

_LINES = (
    frame("HELLO", 1, 1, 8, "2.0") + frame("CH", 0, 1, 1, 0, "", 0) + frame("BEAT", 0),
    frame("CH", 1, 1, 3, 2, "13800138000", 0) + frame("CH", 2, 1, 4, 2, "A10B", 3),
    frame("OK", 1) + frame("ERR", 2, 1) + frame("NEWS", "from a later board"),
)
_ANSWERS = (
    b'{"time": "1563957071", "status": 0, "callid": "7687658987667780097"}',
    b'{"status": "3003", "message": "not found", "code": 0, "period": "16-17"}',
    b'{"code": -2, "message": "Authentication failed"}',
    b'\xef\xbb\xbf{"status": 0, "time": 1563957071000, "callid": 99999999999999999999999}',
)
_LISTS = (
    b'{"data": [{"status": "51", "mdcWan": "1", "mdcCode": "1", "phone": "1234567890", "memo":'
    b' {"functionname": "list", "paramvalue": "a=b&c=d&bb=2323"}}], "status": 0}',
    b'{"data": [{"status": 0, "mdcWan": 2, "phone": 13800138000}, {"status": 2, "x": [1, {}]}],'
    b' "status": 0}',
    b'{"status": 0, "data": [{"status": 51, "memo": "{\\"functionname\\": \\"report\\"}"},'
    b' {"status": 51, "memo": "rescan?a=1"}]}',
)
_HEADS = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: application/json\r\n"
    b"Connection: keep-alive\r\nContent-Length: 12\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length:  0\r\nDate: Mon, 30 Nov 2026 12:00:00 GMT\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nRetry-After: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
)
_CONFIG = b"""\
identity: {satellite: "00:1A:2B:3C:4D:5E"}
platform:
  url: https://example.org:8080/voip/api/upload_record?method=x
  query: {method: upload_record, token: "${TOKEN}"}
  account: {user: 100008800, password_md5: 0123456789abcdef0123456789ABCDEF}
  duplicate_status: [3010, 3011]
boards: [{port: /dev/ttyS1}, {port: "socket://127.0.0.1:1", serial: 2, channels: 4}]
recordings: {directory: /recordings, pattern: ["{channel}_{any}", "{phone}"], timezone: null}
uploads: {window: "22:00-06:00", rate_limit: 64.5}
log: &log {level: debug, phones: full}
"""
_STATUS_FILE = json.dumps(as_json(foreign_status("words")), indent=1).encode()

_RECORDS = (
    b"#\r\nV3.1 ECXUDASOBKT L=01 00/00 00:00:05\r\n",
    b"01 I S 0276 G B3 09/26 11:28 AM 800-240-4637   CallerID.com\r\n",
    b"01 R             11/07 07:43:52\r\n01 F             11/07 17:45:04\r\n",
    b"02 N             11/07 10:46:23\r\n02 I E 0042 B A2 12/31 12:07 AM OUT-OF-AREA\r\n",
    b"$01 O S 0 10/14  18004444444\r\n$03 O E 0125 G A0 01/01 12:00 PM 18004444444\r\n",
)
_TELE = (
    b"+2,1,001\r\n+2,2,001\r\n+1,9543440584,Y E S SOFTWARE ,001\r\n+2,3,001\r\n+2,0,001\r\n",
    b"+2,4,002\r\n+5,#,002\r\n+8,1,003\r\n+7,2,004\r\n",
    b"+6,0504214900,18005551234,NAME,1,002\r\n",
)

PARSERS = (
    Parser("frames", _LINES, _frames, (200, 20)),
    Parser("native", _LINES, partial(_drives, NativeDriver), (2000, 40)),
    Parser("whozz", _RECORDS, partial(_drives, WhozzDriver), (2000, 40)),
    Parser("yes4", _TELE, partial(_drives, Yes4Driver), (2000, 40)),
    Parser("answers", _ANSWERS + _LISTS, _answer, (2000, 10)),
    Parser("heads", _HEADS, _head, (20_000, 200)),
    Parser(
        "http",
        (
            b"429\n120\n\n" + _ANSWERS[1],
            b"503\nWed, 01 Jul 2026 10:00:30 GMT\nWed, 01 Jul 2026 10:00:00 GMT\n<html>",
            b"200\n-1\n\n" + _ANSWERS[2],
        ),
        _http,
        (3000, 40),
    ),
    Parser(
        "compressed",
        (gzip.compress(_ANSWERS[0], mtime=0), zlib.compress(bytes(3_000_000))),
        _compressed,
        (20, 0),
    ),
    Parser("listing", _LISTS, _listing, (2000, 40)),
    Parser(
        "multipart",
        (b"20260701-120000_1_in_13800138000.wav", "2026/七月/电话.mp3".encode(), b"a\r\nb: c.wav"),
        _multipart,
        (1000, 2),
    ),
    Parser(
        "wav",
        (
            audio_files.pcm(0.02),
            audio_files.wav(b"\x7f" * 65, audio_files.form(audio_files.GSM, block=65)),
            audio_files.rf64(b"\0\1" * 100),
        ),
        _audio,
        (20_000, 100),
    ),
    Parser(
        "mp3",
        (
            audio_files.mp3(4),
            audio_files.with_id3(audio_files.mp3(3), 50),
            audio_files.with_xing(audio_files.mp3(5), 5),
            audio_files.with_xing(b"", 5, size=3000),
        ),
        _audio,
        (20_000, 300),
    ),
    Parser(
        "names",
        (
            b"20260701-120000_1_in_13800138000.wav",
            b"7-3/call\xff_1782900000.wav",
            b"x\n.12.5.20260701120000.mp3",
        ),
        _names,
        (10_000, 20),
    ),
    Parser(
        "patterns",
        (b"{start:%Y%m%d-%H%M%S}_{channel}_{direction}_{phone}", b"{serial}/{any}{{x}}{end:%s}"),
        _pattern,
        (20_000, 500),
    ),
    Parser("config", (_CONFIG,), _config, (200_000, 1000)),
    Parser("hours", (b"22:00-06:00", b"16-17", b" 7 - 24:00 "), _hours, (50, 0)),
    Parser(
        "status",
        (b"no answer \x1b[2J within 5 s", b"13800138000\r\n", "断\u202e线".encode()),
        _status,
        (3000, 100),
    ),
    Parser("status-file", (_STATUS_FILE,), _status_file, (2_000_000, 1000)),
)
