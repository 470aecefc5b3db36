"""The simulated platform books what PROTOCOL.md allows, says what it forbids, fails on order."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from hypothesis import given
from hypothesis import strategies as st

from agent.simulation.faults import BadFault, Faults, parse
from agent.simulation.multipart import CutOff, MultipartReader
from agent.simulation.platform import SimulatedPlatform

MAC = "00:1A:2B:3C:4D:5E"
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(range(256)) * 8
RECORD = {
    "cmd": "upload",
    "satellite": MAC,
    "channel": "3",
    "start_time_secs": "1563957071",
    "start_time_hangup": "1563957091",
    "direction": "in",
    "callid_dialed": "13800138000",
    "duration_secs": "15",
    "id": "41",
    "recorded": "1",
}
CHANNEL = {
    "ch": "1",
    "state": "2",
    "phone": "13800138000",
    "timelen": "35",
    "peer": "2",
    "serial": "1",
}
STATUS = {
    "diskUsagePercent": "5",
    "diskSize": "1000",
    "diskSurplusSize": "950",
    "diskStatus": 0,
    "ip": "127.0.0.1",
    "channels": [CHANNEL],
}


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[SimulatedPlatform]:
    with SimulatedPlatform(tmp_path / "platform") as running:
        yield running


def post(platform: SimulatedPlatform, form: dict[str, str], **more: Any) -> dict[str, Any]:
    answer = requests.post(platform.url, data=form, timeout=10, **more).json()
    assert isinstance(answer, dict)
    return answer


def book(platform: SimulatedPlatform, **changes: str) -> str:
    answer = post(platform, {**RECORD, **changes})
    assert int(answer["status"]) == 0, answer
    assert isinstance(answer["callid"], str)
    return answer["callid"]


def send_file(
    platform: SimulatedPlatform, callid: str, name: str = "call.wav", content: bytes = WAV
) -> dict[str, Any]:
    form = {"cmd": "upload", "satellite": MAC, "callid": callid}
    return post(platform, form, files={"file": (name, content)})


def test_a_record_then_its_file_are_booked_byte_for_byte(platform: SimulatedPlatform) -> None:
    callid = book(platform)
    assert float(int(callid)) == float(int(callid) + 1), "a double must not be able to hold it"
    assert int(send_file(platform, callid)["status"]) == 0
    (file,) = platform.files
    assert (file.callid, file.name, file.size) == (callid, "call.wav", len(WAV))
    assert platform.file_path(file).read_bytes() == WAV
    download = requests.get(f"{platform.origin}/voip/record/{file.stored}", timeout=10)
    assert download.content == WAV
    assert platform.violations == []


def test_a_repeat_is_booked_once_and_gets_the_same_callid(platform: SimulatedPlatform) -> None:
    callid = book(platform)
    assert book(platform) == callid
    assert send_file(platform, callid) and send_file(platform, callid)
    assert (len(platform.records), platform.repeats) == (1, 1)
    assert (len(platform.files), platform.repeated_files) == (1, 1)
    assert platform.violations == []


def test_a_repeat_with_other_bytes_is_a_violation(platform: SimulatedPlatform) -> None:
    book(platform)
    answer = post(platform, {**RECORD, "id": "42"})
    assert int(answer["status"]) == -1
    assert "other bytes" in platform.violations[0]


@pytest.mark.parametrize("with_callid", [True, False])
def test_a_repeat_gets_the_code_that_was_switched_on(
    platform: SimulatedPlatform, with_callid: bool
) -> None:
    platform.faults.set("duplicate", "3999" if with_callid else "3999;silent")
    callid = book(platform)
    answer = post(platform, RECORD)
    assert int(answer["status"]) == 3999
    assert answer.get("callid") == (callid if with_callid else None)


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"satellite": None}, 3002, "satellite is missing"),
        ({"satellite": "001A2B3C4D5E"}, -1, "satellite"),
        ({"channel": "0"}, -1, "channel"),
        ({"channel": "03"}, -1, "channel"),
        ({"start_time_secs": "1563957071000"}, -1, "start_time_secs"),
        ({"start_time_secs": "120"}, -1, "start_time_secs"),
        ({"start_time_hangup": "1563957070"}, -1, "start_time_hangup"),
        ({"duration_secs": "21"}, -1, "duration_secs"),
        ({"duration_secs": "1.5"}, -1, "duration_secs"),
        ({"direction": "unknown"}, -1, "direction"),
        ({"callid_dialed": "138-0013"}, -1, "callid_dialed"),
        ({"callid_dialed": None}, -1, "callid_dialed is missing"),
        ({"recorded": "true"}, -1, "recorded"),
        ({"id": str(2**63)}, -1, "id"),
        ({"more": "1"}, -1, "more"),
        ({"cmd": "uplaod"}, -1, "cmd"),
    ],
)
def test_a_bad_record_is_refused_by_its_field(
    platform: SimulatedPlatform, changes: dict[str, str | None], status: int, said: str
) -> None:
    form = {name: text for name, text in {**RECORD, **changes}.items() if text is not None}
    answer = post(platform, form)
    assert int(answer["status"]) == status
    assert said in answer["message"]
    assert said in platform.violations[0]
    assert platform.records == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("two.dots.wav", WAV, "one dot"),
        ("gespräch.wav", WAV, "ASCII"),
        ("../call.wav", WAV, "one dot"),
        ("call.txt", WAV, ".wav or .mp3"),
        ("call.mp3", WAV, "not MP3"),
        ("call.wav", b"", "not WAV"),
    ],
)
def test_a_file_that_the_platform_would_spoil_is_refused(
    platform: SimulatedPlatform, name: str, content: bytes, said: str
) -> None:
    answer = send_file(platform, book(platform), name, content)
    assert int(answer["status"]) == -1
    assert said in answer["message"]
    assert len(platform.violations) == 1
    assert list(platform.desk.bookings.directory.glob("*.part")) == []


def test_a_file_with_a_field_of_the_record_is_refused(platform: SimulatedPlatform) -> None:
    form = {"cmd": "upload", "satellite": MAC, "callid": book(platform), "channel": "3"}
    answer = post(platform, form, files={"file": ("call.wav", WAV)})
    assert "channel" in answer["message"]
    assert platform.files == []


def test_a_file_for_an_unknown_callid_gets_3003_and_is_no_violation(
    platform: SimulatedPlatform,
) -> None:
    callid = book(platform)
    platform.forget(callid)
    assert int(send_file(platform, callid)["status"]) == 3003
    assert book(platform) != callid
    assert platform.violations == []


def test_get_is_refused(platform: SimulatedPlatform) -> None:
    answer = requests.get(platform.url, params=RECORD, timeout=10)
    assert answer.status_code == 405
    assert "POST" in platform.violations[0]


@pytest.mark.parametrize("scale", [1, 1000])
def test_a_report_is_taken_in_seconds_and_in_milliseconds(
    platform: SimulatedPlatform, scale: int
) -> None:
    form = {"cmd": "channelstatus", "satellite": MAC, "id": "1", "status": json.dumps(STATUS)}
    answer = post(platform, {**form, "time": str(1563957071 * scale)})
    assert int(answer["status"]) == 0
    assert platform.reports[0]["status"] == STATUS
    assert platform.violations == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"diskStatus": "0"}, "diskStatus"),
        ({"diskUsagePercent": 5}, "diskUsagePercent"),
        ({"diskSurplusSize": "1001"}, "diskSurplusSize"),
        ({"ip": "gateway"}, "ip"),
        ({"channels": {}}, "channels"),
        ({"channels": [CHANNEL, CHANNEL]}, "repeats port 1"),
        ({"channels": [{**CHANNEL, "state": "6"}]}, "channels[0].state"),
        ({"channels": [{**CHANNEL, "ch": 1}]}, "channels[0].ch"),
    ],
)
def test_a_bad_report_is_refused_by_its_field(
    platform: SimulatedPlatform, changes: dict[str, object], said: str
) -> None:
    status = json.dumps({**STATUS, **changes})
    form = {"cmd": "channelstatus", "satellite": MAC, "id": "1", "time": "1563957071"}
    answer = post(platform, {**form, "status": status})
    assert int(answer["status"]) == -1
    assert said in answer["message"]


def test_a_call_from_a_business_system_comes_out_of_the_next_list_once(
    platform: SimulatedPlatform,
) -> None:
    page = f"{platform.origin}/voip/api/jsondata.html"
    asked = {"method": "sendTelCall", "mac": MAC.lower(), "channel": "2", "phone": "10086"}
    assert requests.post(page, data=asked, params=asked, timeout=10).json()["code"] == 0
    question = {"cmd": "getCallList", "satellite": MAC}
    entry = {"status": "0", "mdcWan": "2", "mdcCode": "1", "phone": "10086"}
    assert post(platform, question)["data"] == [entry]
    assert post(platform, question)["data"] == []


def test_the_longer_message_command_carries_calls_as_well(platform: SimulatedPlatform) -> None:
    platform.send_message(MAC, {"status": "51"})
    platform.send_call(MAC, 1, "10086")
    assert len(post(platform, {"cmd": "getMessageList", "satellite": MAC})["data"]) == 1
    assert len(post(platform, {"cmd": "getMessageList1125", "satellite": MAC})["data"]) == 1


def test_a_new_platform_on_the_same_directory_knows_the_bookings(tmp_path: Path) -> None:
    with SimulatedPlatform(tmp_path) as first:
        callid = book(first)
        send_file(first, callid)
    with (tmp_path / "platform.jsonl").open("ab") as journal:
        journal.write(b'{"event": "record", "cal')
    with SimulatedPlatform(tmp_path, first.port) as second:
        assert second.url == first.url
        assert book(second) == callid
        assert book(second, channel="4") != callid
        assert len(second.files) == 1


@pytest.mark.parametrize("kind", ["reset-before", "reset-after", "cut", "down"])
def test_a_broken_connection_reaches_the_sender_as_an_error(
    platform: SimulatedPlatform, kind: str
) -> None:
    platform.faults.set(f"record:{kind}", times=1)
    with pytest.raises(requests.exceptions.RequestException):
        post(platform, RECORD)
    assert len(platform.records) == (kind in {"reset-after", "cut"})
    book(platform)
    assert len(platform.records) == 1


def test_a_form_that_breaks_off_is_neither_booked_nor_held_against_the_gateway(
    platform: SimulatedPlatform,
) -> None:
    head = (
        "POST /voip/api/upload_record HTTP/1.1\r\nHost: platform\r\nContent-Length: 200\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    for begun in ("", "cmd=upload&satellite=02"):
        with socket.create_connection(("127.0.0.1", platform.port), timeout=10) as sender:
            sender.sendall((head + begun).encode())
            sender.shutdown(socket.SHUT_WR)
            assert sender.recv(100) == b""
    assert platform.violations == []
    assert platform.records == []


def test_a_file_that_breaks_off_is_not_booked(platform: SimulatedPlatform) -> None:
    callid = book(platform)
    platform.faults.set("file:reset-inside", times=1)
    with pytest.raises(requests.exceptions.ConnectionError):
        send_file(platform, callid, content=WAV * 2000)
    assert platform.wait_for(lambda: platform.cut_uploads == 1, 10)
    assert platform.files == []
    assert list(platform.desk.bookings.directory.glob("*.part")) == []


@pytest.mark.parametrize(
    ("fault", "status", "beginning"),
    [
        ("http=503;retry-after=7*1", 503, b"<h1>"),
        ("html*1", 200, b"<!DOCTYPE"),
        ("empty*1", 200, b""),
        ("array*1", 200, b"["),
        ('answer={"status": 0}*1', 200, b'{"status": 0}'),
        ("status=3001;silent*1", 200, b'{"time"'),
    ],
)
def test_a_wrong_answer_books_nothing(
    platform: SimulatedPlatform, fault: str, status: int, beginning: bytes
) -> None:
    platform.faults.add(parse(fault))
    answer = requests.post(platform.url, data=RECORD, timeout=10)
    assert answer.status_code == status
    assert answer.content.startswith(beginning)
    assert platform.records == []
    book(platform)


@pytest.mark.parametrize("fault", ["trickle=0.001", "stall-inside=0.01", "stall-before=0.01"])
def test_a_slow_answer_is_whole(platform: SimulatedPlatform, fault: str) -> None:
    platform.faults.add(parse(fault))
    book(platform)


@pytest.mark.parametrize(
    ("fault", "field", "value"),
    [
        ("no-callid", "callid", None),
        ("period=16-17", "period", "16-17"),
        ("wrong-types", "status", {"code": 0}),
        ("wrong-types", "time", []),
    ],
)
def test_a_distorted_answer_has_the_record_booked(
    platform: SimulatedPlatform, fault: str, field: str, value: object
) -> None:
    platform.faults.add(parse(fault))
    assert post(platform, RECORD).get(field) == value
    assert len(platform.records) == 1


def test_the_clock_in_answers_can_be_wrong(platform: SimulatedPlatform) -> None:
    platform.faults.set("time", -1_000_000)
    said = int(post(platform, RECORD)["time"])
    seconds = said / 1000 if said > 10**11 else said
    assert seconds == pytest.approx(time.time() - 1_000_000, abs=60)


def test_a_huge_answer_is_larger_than_anyone_should_read(platform: SimulatedPlatform) -> None:
    platform.faults.set("huge")
    answer = requests.post(platform.url, data=RECORD, timeout=10)
    assert len(answer.content) > 2 * 1024 * 1024


def test_a_slow_reader_holds_the_sender_up(platform: SimulatedPlatform) -> None:
    callid = book(platform)
    platform.faults.set("slow-body", 100)
    began = time.monotonic()
    sending = threading.Thread(
        target=send_file, args=(platform, callid), kwargs={"content": WAV * 20}
    )
    sending.start()
    assert platform.wait_for(lambda: platform.uploading == 1, 10)
    sending.join()
    assert platform.uploading == 0
    assert time.monotonic() - began > 0.3
    assert platform.files[0].size == len(WAV) * 20


def test_faults_can_be_switched_by_http(platform: SimulatedPlatform) -> None:
    switch = f"{platform.origin}/simulation/faults"
    requests.post(switch, json={"record:status": "3003*1", "html": ""}, timeout=10)
    requests.post(switch, json={"html": None}, timeout=10)
    assert int(post(platform, RECORD)["status"]) == 3003
    book(platform)
    assert requests.post(switch, json={"nonsense": 1}, timeout=10).status_code == 400
    state = requests.get(f"{platform.origin}/simulation/state", timeout=10).json()
    assert state["requests"] == {"record": 2}
    assert state["faults"] == {}


def test_stopping_does_not_wait_for_a_stalled_answer(tmp_path: Path) -> None:
    platform = SimulatedPlatform(tmp_path)
    platform.start()
    platform.faults.set("stall-before", 50)
    with requests.Session() as session:

        def ask() -> None:
            with pytest.raises(requests.exceptions.RequestException):
                session.post(platform.url, data=RECORD, timeout=40)

        asking = threading.Thread(target=ask)
        asking.start()
        assert platform.wait_for(lambda: platform.requests["record"] == 1, 10)
        platform.stop()
        asking.join()
    assert platform.records == []


def test_https_with_an_own_authority_and_an_account(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    pem = tmp_path / "server.pem"
    with SimulatedPlatform(tmp_path / "p", certificate=(pem, pem), account=("1", "A")) as platform:
        verify = str(tmp_path / "authority.pem")
        assert int(post(platform, RECORD, verify=verify)["status"]) == -2
        query = {"sa_user": "1", "sa_password": "A"}
        assert int(post(platform, RECORD, verify=verify, params=query)["status"]) == 0


@pytest.mark.parametrize("written", ["", "nonsense", "status", "http=x", "nobody:html", "time=x"])
def test_a_fault_that_cannot_be_read_is_named(written: str) -> None:
    with pytest.raises(BadFault):
        parse(written)


def test_a_fault_strikes_as_often_as_it_says() -> None:
    faults = Faults()
    faults.add(parse("file:html*2"))
    assert [len(faults.draw(command)) for command in ("record", "file", "file", "file")] == [
        0,
        1,
        1,
        0,
    ]


@given(
    content=st.binary(max_size=300) | st.just(b"\r\n--b\r\n--\r\n-") | st.just(b"\r\n--"),
    piece=st.integers(1, 50),
)
def test_a_file_comes_out_of_its_multipart_body_as_it_went_in(content: bytes, piece: int) -> None:
    boundary = "boundary-of-40-characters-0123456789"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--{boundary}\r\n'
        'Content-Disposition: form-data; name="file"; filename="c.wav"\r\nX: y\r\n\r\n'
    ).encode()
    body += content + f"\r\n--{boundary}--\r\n".encode()
    at = 0

    def read(count: int) -> bytes:
        nonlocal at
        taken = body[at : at + min(count, piece)]
        at += len(taken)
        return taken

    reader = MultipartReader(read, len(body), boundary)
    parts = [(part.name, part.filename, b"".join(part.body)) for part in reader.parts()]
    assert parts == [("a", None, b"x"), ("file", "c.wav", content)]
    assert at == len(body)


def test_a_multipart_body_that_ends_early_is_cut_off() -> None:
    reader = MultipartReader(lambda count: b"", 100, "b")
    with pytest.raises(CutOff):
        list(reader.parts())


def test_the_command_says_where_it_listens_and_ends_when_asked(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agent", "simulate", "platform", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--directory", str(tmp_path), "--fault", "record:status=3001*1"],
        stdout=subprocess.PIPE,
        text=True,
        # The poorest terminal must not keep a booking from being answered.
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("listening on ").strip()
        assert int(requests.post(url, data=RECORD, timeout=10).json()["status"]) == 3001
        callid = requests.post(url, data=RECORD, timeout=10).json()["callid"]
        form = {"cmd": "upload", "satellite": MAC, "callid": callid}
        answer = requests.post(url, data=form, files={"file": ("a.wav", WAV)}, timeout=10).json()
        assert int(answer["status"]) == 0
        process.terminate()
        assert process.wait(10) == 0
        lines = process.stdout.read().splitlines()
    assert "138****8000" in lines[0]
    assert lines[1].startswith("file booked: port 3")
