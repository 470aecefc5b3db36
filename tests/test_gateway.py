"""The whole gateway: the real daemon between a board on a pty, real files and a real server."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.boards.events import LineState, Peer
from tests.gateway import PATIENCE, SATELLITE, Box, box, wait_until


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Box]:
    with box(tmp_path) as made:
        yield made
        assert made.platform.violations == []


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_an_incoming_call_is_booked_and_its_recording_arrives_byte_for_byte(gateway: Box) -> None:
    gateway.start()
    gateway.board.ring(3)
    gateway.board.number(3, "13800138000")
    gateway.wait_for_state(3, "ringing")
    gateway.board.answer(3)
    gateway.wait_for_state(3, "in call")
    audio = gateway.record(3, "in", "13800138000")
    gateway.board.hang_up(3)
    gateway.wait_for_files(1)
    (record,), (file,) = gateway.platform.records, gateway.platform.files
    assert (record.satellite, record.channel) == (SATELLITE, 3)
    assert (record.direction, record.phone, record.recorded) == ("in", "13800138000", 1)
    assert record.started <= record.ended - record.duration
    assert (file.callid, file.sha256) == (record.callid, digest(audio))


def test_an_outgoing_call_carries_the_number_as_dialled(gateway: Box) -> None:
    gateway.start()
    gateway.board.off_hook(1)
    for digit in "10086*1#":
        gateway.board.digits(1, digit)
    gateway.wait_for_state(1, "in call")
    gateway.board.hang_up(1)
    gateway.wait_for_records(1)
    (record,) = gateway.platform.records
    assert (record.direction, record.phone, record.recorded) == ("out", "10086*1#", 0)


def test_a_missed_call_is_booked_as_unknown_with_no_duration(gateway: Box) -> None:
    gateway.start()
    gateway.board.ring(2, "075512345678")
    gateway.wait_for_state(2, "ringing")
    gateway.board.hang_up(2)
    gateway.wait_for_records(1)
    (record,) = gateway.platform.records
    assert (record.direction, record.duration, record.recorded) == ("unkown", 0, 0)


def test_call_waiting_is_one_call(gateway: Box) -> None:
    gateway.start()
    gateway.board.ring(1, "111")
    gateway.board.answer(1)
    gateway.wait_for_state(1, "in call")
    gateway.board.answer(1, LineState.ANSWERED)
    gateway.wait_for_state(1, "answered")
    gateway.board.answer(1, LineState.IN_CALL)
    gateway.wait_for_state(1, "in call")
    gateway.board.hang_up(1)
    gateway.wait_for_records(1)
    gateway.wait_for_state(1, "idle")
    assert len(gateway.platform.records) == 1


def test_eight_ports_at_once_lose_nothing(gateway: Box) -> None:
    gateway.start()
    with gateway.board.together():
        for channel in range(1, 9):
            gateway.board.ring(channel, f"1380013800{channel}")
    with gateway.board.together():
        for channel in range(1, 9):
            gateway.board.answer(channel)
    gateway.wait_for_state(8, "in call")
    audio = {
        channel: gateway.record(channel, "in", f"1380013800{channel}") for channel in range(1, 9)
    }
    with gateway.board.together():
        for channel in range(1, 9):
            gateway.board.hang_up(channel)
    gateway.wait_for_files(8)
    by_callid = {record.callid: record for record in gateway.platform.records}
    assert {record.channel for record in by_callid.values()} == set(range(1, 9))
    for file in gateway.platform.files:
        assert file.sha256 == digest(audio[by_callid[file.callid].channel])


def test_a_recording_after_its_record_was_sent_still_goes_with_its_callid(gateway: Box) -> None:
    gateway.start(recordings={"attach_window": 0.2})
    gateway.board.ring(4, "5551234567")
    gateway.board.answer(4)
    gateway.wait_for_state(4, "in call")
    gateway.board.hang_up(4)
    gateway.wait_for_records(1)
    audio = gateway.record(4, "in", "5551234567", ago=1.0)
    gateway.wait_for_files(1)
    (record,), (file,) = gateway.platform.records, gateway.platform.files
    assert record.recorded == 0
    assert (file.callid, file.sha256) == (record.callid, digest(audio))


def test_a_recording_of_no_known_call_gets_a_record_of_its_own(gateway: Box) -> None:
    gateway.start()
    audio = gateway.record(7, "out", "02088887777", seconds=3.0, ago=3600)
    gateway.wait_for_files(1)
    (record,), (file,) = gateway.platform.records, gateway.platform.files
    assert (record.channel, record.direction, record.phone) == (7, "out", "02088887777")
    assert (record.duration, record.recorded) == (3, 1)
    assert file.sha256 == digest(audio)


def test_recordings_that_came_while_the_daemon_was_down_are_found(gateway: Box) -> None:
    audio = [gateway.record(1, "in", "123456789", ago=100 * n) for n in range(1, 4)]
    gateway.start()
    gateway.wait_for_files(3)
    assert {file.sha256 for file in gateway.platform.files} == {digest(one) for one in audio}


def test_two_recordings_of_one_call_go_under_one_callid(gateway: Box) -> None:
    gateway.start()
    gateway.board.off_hook(2)
    gateway.board.digits(2, "10010")
    gateway.wait_for_state(2, "in call")
    gateway.record(2, "out", "10010", seconds=0.5, ago=0.0)
    wait_until(lambda: "belongs to call" in gateway.log, "the first part is matched")
    time.sleep(1.0)  # names carry whole seconds
    gateway.record(2, "out", "10010", seconds=0.6, ago=0.0)
    gateway.board.hang_up(2)
    gateway.wait_for_files(2)
    assert len(gateway.platform.records) == 1
    assert len({file.callid for file in gateway.platform.files}) == 1


@pytest.mark.parametrize("status", [3001, 3002, 3003, -6])
@pytest.mark.parametrize("command", ["record", "file"])
def test_a_refusal_is_tried_again_until_it_is_taken(
    gateway: Box, command: str, status: int
) -> None:
    gateway.platform.faults.set(f"{command}:status", status, times=2)
    gateway.start()
    audio = gateway.record(5, "in", "13900139000", ago=60)
    gateway.wait_for_files(1)
    assert [file.sha256 for file in gateway.platform.files] == [digest(audio)]
    assert len(gateway.platform.records) == 1
    assert gateway.platform.requests[command] >= 3


def test_a_record_that_the_platform_forgot_is_booked_anew_before_its_file(gateway: Box) -> None:
    gateway.platform.faults.set("file:slow-body", "40")
    gateway.start()
    audio = gateway.record(5, "in", "13900139000", seconds=1.0, ago=60)
    gateway.wait_for_records(1)
    gateway.platform.forget(gateway.platform.records[0].callid)
    gateway.wait_for_files(1)
    (file,) = gateway.platform.files
    assert file.sha256 == digest(audio)
    assert file.callid == gateway.platform.records[-1].callid


def test_a_platform_that_is_down_for_a_while_costs_nothing_but_time(gateway: Box) -> None:
    gateway.start()
    gateway.platform.stop()
    wait_until(lambda: "platform-unreachable" in gateway.problems(), "the problem is shown")
    audio = gateway.record(6, "in", "13700137000", ago=60)
    wait_until(lambda: gateway.status["queue"]["files_waiting"] == 1, "the file waits")
    gateway.platform.start()
    gateway.wait_for_files(1)
    assert gateway.platform.files[0].sha256 == digest(audio)
    wait_until(lambda: gateway.status["health"] == "ok", "all is well again")


def test_a_call_whose_board_is_unplugged_and_put_back_is_one_call(gateway: Box) -> None:
    gateway.start()
    gateway.board.ring(1, "13600136000")
    gateway.board.answer(1)
    gateway.wait_for_state(1, "in call")
    gateway.board.unplug()
    wait_until(lambda: "board-down" in gateway.problems(), "the loss is shown")
    gateway.board.plug_in()
    assert gateway.board.wait_for_sync(PATIENCE)
    gateway.wait_for_state(1, "in call")
    gateway.board.hang_up(1)
    gateway.wait_for_records(1)
    (record,) = gateway.platform.records
    (call,) = gateway.board.calls
    assert abs(record.started - call.started) <= 2
    assert abs(record.duration - call.duration) <= 2


def test_a_call_that_ended_while_the_board_was_away_ends_at_the_last_line_heard(
    gateway: Box,
) -> None:
    gateway.start()
    gateway.board.off_hook(1)
    gateway.board.digits(1, "10000")
    gateway.wait_for_state(1, "in call")
    heard = time.time()
    gateway.board.unplug()
    wait_until(lambda: "board-down" in gateway.problems(), "the loss is shown")
    gateway.board.hang_up(1)
    time.sleep(2.5)
    gateway.board.plug_in()
    gateway.wait_for_records(1)
    (record,) = gateway.platform.records
    assert record.ended <= heard + 1.5


def test_sigterm_in_the_middle_of_an_upload_loses_nothing(gateway: Box) -> None:
    gateway.platform.faults.set("file:slow-body", "20")
    gateway.start()
    audio = gateway.record(1, "in", "13500135000", seconds=60.0, ago=120)
    gateway.wait_for(lambda: gateway.platform.uploading == 1, "the upload has begun")
    begun = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - begun < 5
    assert gateway.platform.files == []
    gateway.platform.faults.clear()
    gateway.start()
    gateway.wait_for_files(1)
    assert gateway.platform.files[0].sha256 == digest(audio)
    assert len(gateway.platform.records) == 1


def test_a_daemon_that_is_cut_off_in_a_call_goes_on_with_the_same_call(gateway: Box) -> None:
    gateway.start()
    gateway.board.ring(8, "13400134000")
    gateway.board.answer(8)
    gateway.wait_for_state(8, "in call")
    gateway.kill()
    gateway.start()
    gateway.board.hang_up(8)
    gateway.wait_for_records(1)
    (record,) = gateway.platform.records
    (call,) = gateway.board.calls
    assert (record.direction, record.phone) == ("in", "13400134000")
    assert abs(record.started - call.started) <= 2
    assert abs(record.duration - call.duration) <= 2


def test_a_daemon_started_in_the_middle_of_a_call_learns_its_start(gateway: Box) -> None:
    gateway.board.state(2, LineState.IN_CALL, Peer.OUTGOING, "12345")
    time.sleep(2.2)
    gateway.start()
    gateway.board.hang_up(2)
    gateway.wait_for_records(1)
    (record,) = gateway.platform.records
    (call,) = gateway.board.calls
    assert record.direction == "out"
    assert abs(record.started - call.started) <= 1.5


def test_a_call_that_the_platform_asks_for_is_dialled_once(gateway: Box) -> None:
    gateway.start()
    gateway.platform.send_call(SATELLITE, 4, "075588886666")
    assert gateway.board.wait_for_dial(PATIENCE)
    wait_until(lambda: gateway.status["dial"]["placed"] == 1, "the outcome is shown")
    assert [(dial.channel, dial.phone) for dial in gateway.board.dials] == [(4, "075588886666")]


def test_a_call_to_place_waits_for_its_port_and_expires(gateway: Box) -> None:
    gateway.start(dial={"expire": 1.0})
    gateway.board.off_hook(3)
    gateway.wait_for_state(3, "in call")
    gateway.platform.send_call(SATELLITE, 3, "10086")
    wait_until(lambda: gateway.status["dial"]["expired"] == 1, "the outcome is shown")
    assert gateway.board.dials == []


def test_a_message_that_asks_for_a_report_gets_one(gateway: Box) -> None:
    gateway.start(reports={"interval": 3600})
    before = len(gateway.platform.reports)
    memo = {"functionname": "report", "paramvalue": ""}
    gateway.platform.send_message(
        SATELLITE, {"status": "51", "mdcWan": "1", "mdcCode": "1", "phone": "", "memo": memo}
    )
    gateway.wait_for(lambda: len(gateway.platform.reports) > before, "a report")


def test_malformed_entries_harm_nothing(gateway: Box) -> None:
    gateway.start()
    for entry in (
        {"status": "0", "phone": "10086"},
        {"status": "0", "mdcWan": "1", "phone": "call me"},
        {"status": "0", "mdcWan": "1", "phone": "1" * (1 << 20)},
    ):
        gateway.platform.send_message(SATELLITE, entry)
    wait_until(lambda: gateway.status["errands_malformed"] >= 1, "the huge answer is counted")
    gateway.platform.send_message(SATELLITE, [])
    for entry in ({"status": "0", "mdcWan": "1", "phone": "1" * 100_000}, {"status": "9"}):
        gateway.platform.send_message(SATELLITE, entry)
    for _ in range(10_000):
        gateway.platform.send_message(SATELLITE, {"status": "0", "mdcWan": "99", "phone": "1"})
    wait_until(lambda: gateway.status["errands_malformed"] >= 3, "they are counted")
    gateway.record(1, "in", "10010", ago=60)
    gateway.wait_for_files(1)
    assert gateway.board.dials == []
    assert len(gateway.log) < 20_000


def test_a_refused_account_pauses_all_sending_and_blames_no_recording(gateway: Box) -> None:
    gateway.platform.faults.set("http", "401")
    gateway.record(1, "in", "10010", ago=60)
    gateway.start(retry={"configuration_probe": 1})
    wait_until(lambda: "platform-refuses" in gateway.problems(), "it is shown")
    requests = sum(gateway.platform.requests.values())
    time.sleep(2.0)
    assert sum(gateway.platform.requests.values()) - requests <= 4
    assert gateway.status["queue"]["attention"] == 0
    gateway.platform.faults.clear()
    gateway.wait_for_files(1)


def test_sighup_takes_a_new_configuration_and_leaves_the_board_alone(gateway: Box) -> None:
    gateway.start()
    frames = gateway.status["boards"][0]["frames"]
    gateway.configure(reports={"interval": 0.2}, polls={"messages": 0, "calls": 0})
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: "was read anew" in gateway.log, "the reload")
    polls = gateway.platform.requests["calls"]
    reports = gateway.platform.requests["report"]
    gateway.wait_for(lambda: gateway.platform.requests["report"] >= reports + 2, "reports go on")
    assert gateway.platform.requests["calls"] == polls
    assert gateway.log.count("link up") == 1
    assert gateway.status["boards"][0]["frames"] >= frames


def test_sighup_with_a_bad_file_keeps_the_old_configuration(gateway: Box) -> None:
    gateway.start()
    gateway.config.write_text("platform: [", "utf-8")
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: "old one stays" in gateway.log, "the refusal")
    gateway.record(1, "in", "10010", ago=60)
    gateway.wait_for_files(1)


def test_a_bad_configuration_ends_with_2_and_one_line(gateway: Box) -> None:
    gateway.configure(boards=[{"port": "/dev/x", "baudrate": "fast"}])
    ended = subprocess.run(
        [sys.executable, "-m", "agent", "run", "--config", str(gateway.config)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 2
    assert "boards[0].baudrate" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_port_that_is_missing_is_waited_for(gateway: Box) -> None:
    gateway.board.unplug()
    gateway.launch()
    wait_until(lambda: "board-down" in gateway.problems(), "it is shown")
    gateway.board.plug_in()
    assert gateway.board.wait_for_sync(PATIENCE)
    wait_until(lambda: gateway.status["health"] == "ok", "all is well")


def test_a_recording_directory_that_is_missing_is_waited_for(gateway: Box) -> None:
    gateway.recordings.rmdir()
    gateway.start()
    wait_until(lambda: "disk-fault" in gateway.problems(), "it is shown")
    report = gateway.wait_for_report(lambda status: status["diskStatus"] != 0)
    assert report["diskStatus"] == -1
    gateway.recordings.mkdir()
    gateway.record(1, "in", "10010", ago=60)
    gateway.wait_for_files(1)


def test_a_state_directory_that_cannot_be_made_is_waited_for(gateway: Box) -> None:
    (gateway.folder / "state").write_text("in the way", "utf-8")
    gateway.launch()
    wait_until(lambda: "state-unusable" in gateway.problems(), "it is shown")
    assert gateway.status["health"] == "failing"
    (gateway.folder / "state").unlink()
    gateway.record(1, "in", "10010", ago=60)
    gateway.wait_for_files(1)


def test_a_status_file_that_cannot_be_written_stops_nothing(gateway: Box) -> None:
    (gateway.folder / "run").write_text("in the way", "utf-8")
    gateway.launch()
    gateway.record(1, "in", "10010", ago=60)
    gateway.wait_for_files(1)
    assert gateway.log.count("status can't be written") == 1


def test_a_second_instance_is_refused_and_names_the_first(gateway: Box) -> None:
    gateway.start()
    ended = subprocess.run(
        [sys.executable, "-m", "agent", "run", "--config", str(gateway.config)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 1
    assert str(gateway.pid) in ended.stderr
    assert gateway.status["pid"] == gateway.pid


def test_a_damaged_ledger_is_set_aside_and_shown(gateway: Box) -> None:
    gateway.start()
    gateway.stop()
    ledger = gateway.folder / "state" / "ledger.sqlite"
    ledger.write_bytes(b"\xff" * ledger.stat().st_size)
    gateway.start()
    wait_until(lambda: "state-damaged" in gateway.problems(), "it is shown")
    gateway.record(1, "in", "10010", ago=60)
    gateway.wait_for_files(1)
    assert list((gateway.folder / "state").glob("ledger-damaged-*.sqlite"))


def test_systemd_is_told_ready_without_waiting_for_port_or_platform(gateway: Box) -> None:
    import socket

    gateway.platform.stop()
    gateway.board.unplug()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(gateway.folder / "notify"))
        notified.settimeout(PATIENCE)
        gateway.environment["NOTIFY_SOCKET"] = str(gateway.folder / "notify")
        gateway.launch()
        assert notified.recv(256) == b"READY=1"
        assert notified.recv(256) == b"WATCHDOG=1"
        assert gateway.stop() == 0
        assert notified.recv(256) == b"STOPPING=1"
    gateway.platform.start()


def test_phone_numbers_are_masked_in_log_and_status(gateway: Box) -> None:
    gateway.start()
    gateway.board.ring(1, "13800138000")
    wait_until(lambda: "138****8000" in gateway.status_file.read_text("utf-8"), "the number shows")
    gateway.board.answer(1)
    gateway.record(1, "in", "13800138000")
    gateway.board.hang_up(1)
    gateway.wait_for_files(1)
    words = gateway.status_file.with_suffix(".txt").read_text("utf-8")
    for text in (gateway.log, gateway.status_file.read_text("utf-8"), words):
        assert "13800138000" not in text


def test_two_boards_are_told_apart(tmp_path: Path) -> None:
    with box(tmp_path, boards=2) as gateway:
        gateway.start()
        gateway.boards[0].ring(1, "111111")
        gateway.boards[1].ring(1, "222222")
        gateway.wait_for_report(
            lambda status: [c["state"] for c in status["channels"] if c["ch"] == "1"] == ["3", "3"]
        )
        gateway.platform.send_call(SATELLITE, 2, "10086", serial=2)
        assert gateway.boards[1].wait_for_dial(PATIENCE)
        assert gateway.boards[0].dials == []
        gateway.boards[0].hang_up(1)
        gateway.boards[1].hang_up(1)
        gateway.wait_for_records(2)
        assert {record.phone for record in gateway.platform.records} >= {"111111", "222222"}
