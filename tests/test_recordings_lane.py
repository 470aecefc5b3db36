"""The lane of recordings, against a platform over real HTTP, from real files."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import xxhash

from agent.delivery.gate import OUTAGE_AFTER, Shut
from agent.delivery.recordings import LOOK_AGAIN_AFTER
from tests.audio_files import pcm
from tests.clocks import NOON
from tests.lanes import DUPLICATE, RETRY, Bench, bench_in
from tests.ledgers import a_call, a_recording, add_call


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path) as made:
        yield made
        assert made.platform.violations == [], "the platform saw nothing that is forbidden"


def call_with(bench: Bench, *names: str, start: float = NOON - 60) -> list[int]:
    """A call whose record the platform has booked, and its recordings."""
    number = add_call(bench.ledger, a_call(start=start))
    recordings = [bench.file(number, name) for name in names]
    bench.drain(bench.records())
    assert bench.item(number).state == "record sent"
    return [number, *recordings]


def calls_with_one_each(bench: Bench, count: int) -> list[int]:
    return [call_with(bench, f"{n}.wav", start=NOON - 900 + n)[1] for n in range(count)]


def digest(bench: Bench, name: str) -> str:
    return hashlib.sha256((bench.directory / name).read_bytes()).hexdigest()


# Delivered


def test_a_recording_arrives_byte_for_byte_under_its_records_callid(bench: Bench) -> None:
    call, recording = call_with(bench, "call.wav")
    lane = bench.recordings()
    bench.drain(lane)
    (file,) = bench.platform.files
    sent = (bench.directory / "call.wav").read_bytes()
    assert bench.platform.file_path(file).read_bytes() == sent
    assert file.callid == bench.platform.records[0].callid
    item = bench.item(recording)
    assert (item.state, item.digest) == ("delivered", xxhash.xxh3_128(sent).hexdigest())
    assert bench.handed_on == [recording]
    assert bench.item(call).callid == file.callid


def test_several_recordings_of_a_call_all_arrive(bench: Bench) -> None:
    call_with(bench, "a.wav", "b.wav")
    bench.drain(bench.recordings())
    assert {file.sha256 for file in bench.platform.files} == {
        digest(bench, "a.wav"),
        digest(bench, "b.wav"),
    }


def test_a_recording_does_not_go_before_its_record(bench: Bench) -> None:
    number = add_call(bench.ledger)
    bench.file(number)
    assert bench.drain(bench.recordings()) > 0
    assert bench.platform.requests == {}


# Refused


@pytest.mark.parametrize("code", [3001, 3002, 4000, -1])
def test_a_refused_recording_goes_again_under_the_same_callid(bench: Bench, code: int) -> None:
    call, recording = call_with(bench, "call.wav")
    bench.platform.faults.set("file:status", code, times=2)
    lane = bench.recordings()
    assert bench.drain(lane) == RETRY.first
    assert bench.item(recording).refusals == 1
    assert str(code) in bench.item(recording).trouble
    bench.clock.turn(RETRY.first)
    assert bench.drain(lane) == RETRY.first * 2
    bench.clock.turn(RETRY.first * 2)
    bench.drain(lane)
    callid = bench.item(call).callid
    assert bench.platform.uploads == [(callid, digest(bench, "call.wav"))] * 3
    assert len(bench.platform.files) == 1
    assert len(bench.platform.bodies) == 1, "its record was not sent again"


def test_a_recording_whose_record_the_platform_lost_follows_it_once_more(bench: Bench) -> None:
    call, first, second = call_with(bench, "a.wav", "b.wav")
    old = bench.platform.records[0].callid
    bench.platform.forget(old)
    files, records = bench.recordings(), bench.records()
    bench.drain(files)
    assert [bench.item(number).state for number in (call, first, second)] == [
        "record to be sent",
        "waiting for its record",
        "waiting for its record",
    ]
    assert len(bench.platform.uploads) == 1, "the other one was not tried under a dead callid"
    bench.clock.turn(RETRY.first)
    bench.drain(records)
    bench.drain(files)
    assert bench.platform.bodies[0] == bench.platform.bodies[1]
    new = bench.platform.records[0].callid
    assert new != old
    assert [file.callid for file in bench.platform.files] == [new, new]
    assert bench.gate.view().shut is None


def test_a_record_is_not_booked_without_end_for_a_recording_that_stays_refused(
    bench: Bench,
) -> None:
    _, recording = call_with(bench, "call.wav")
    bench.platform.faults.set("file:status", 3003)
    files, records = bench.recordings(), bench.records()
    for _ in range(60):
        bench.drain(files)
        bench.drain(records)
        bench.clock.turn(60)
    assert bench.item(recording).refusals < 20, "an hour, slower each time"
    assert len(set(bench.platform.bodies)) == 1
    assert len(bench.platform.records) == 1


@pytest.mark.parametrize(
    "fault", ["reset-before", "reset-inside", "reset-after", "cut", "http=500"]
)
def test_a_recording_whose_upload_broke_off_arrives_whole_and_once(
    bench: Bench, fault: str
) -> None:
    call, _ = call_with(bench, "short.wav")
    bench.drain(bench.recordings())
    recording = bench.file(call, "call.wav", pcm(30))
    bench.client.close()  # a kept-alive connection would be tried anew at once
    kind, _, value = fault.partition("=")
    bench.platform.faults.set(f"file:{kind}", value, times=1)
    lane = bench.recordings()
    bench.drain(lane)
    assert bench.item(recording).refusals == 1
    bench.clock.turn(RETRY.first)
    bench.drain(lane)
    _, file = bench.platform.files
    assert file.sha256 == digest(bench, "call.wav")
    assert bench.item(recording).state == "delivered"
    assert bench.ledger.queue.counts(10).delivered == 2


def test_a_recording_that_the_platform_had_already_is_delivered(bench: Bench) -> None:
    _, recording = call_with(bench, "call.wav")
    bench.platform.faults.set("file:status", DUPLICATE)
    bench.drain(bench.recordings())
    assert bench.item(recording).state == "delivered"
    assert bench.handed_on == [recording], "and its file may go, as configured"


def test_one_recording_that_is_always_refused_never_blocks_the_others(tmp_path: Path) -> None:
    with bench_in(tmp_path) as bench:
        number = add_call(bench.ledger)
        poison = bench.file(number, "poison.wav", b"no audio at all")
        bench.drain(bench.records())
        others = calls_with_one_each(bench, 5)
        lane = bench.recordings()
        for _ in range(4):
            bench.drain(lane)
            bench.clock.turn(1000)
        assert [bench.item(other).state for other in others] == ["delivered"] * 5
        assert bench.item(poison).refusals == 4
        assert bench.gate.view().shut is None


def test_several_different_recordings_that_fail_in_a_row_are_an_outage(bench: Bench) -> None:
    numbers = calls_with_one_each(bench, OUTAGE_AFTER + 2)
    bench.platform.faults.set("http", 500)
    lane = bench.recordings()
    bench.drain(lane)
    assert bench.gate.view().shut is Shut.OUTAGE
    assert len(bench.platform.uploads) == OUTAGE_AFTER
    bench.platform.faults.clear()
    bench.clock.turn(RETRY.first)
    bench.drain(lane)
    assert [bench.item(number).state for number in numbers] == ["delivered"] * len(numbers)


def test_a_recording_whose_record_has_no_callid_has_it_booked_anew(bench: Bench) -> None:
    """And says nothing to the gate: the platform was not asked."""
    number = add_call(bench.ledger)
    recording = bench.file(number)
    bench.platform.faults.set("record:reset-after", times=1)
    bench.platform.faults.set("duplicate", f"{DUPLICATE};silent", times=1)
    records, files = bench.records(), bench.recordings()
    bench.drain(records)
    bench.clock.turn(RETRY.first)
    bench.drain(records)
    assert (bench.item(number).state, bench.item(number).callid) == ("record sent", None)
    bench.gate.failed(Shut.OUTAGE, "no route", None)
    bench.clock.turn(1)
    rings = bench.bells.records.rings
    bench.drain(files)
    assert bench.gate.view().shut is Shut.OUTAGE
    assert bench.platform.uploads == []
    assert bench.item(number).state == "record to be sent"
    assert bench.bells.records.rings > rings
    assert bench.item(recording).trouble == "its record has no callid"
    for lane in (records, files):
        bench.clock.turn(RETRY.first)
        bench.drain(lane)
    assert bench.item(recording).state == "delivered"


# Its file


def test_a_file_that_changed_is_looked_at_again_and_not_sent_as_it_was(bench: Bench) -> None:
    _, recording = call_with(bench, "call.wav")
    (bench.directory / "call.wav").write_bytes(pcm(0.5))
    lane = bench.recordings()
    assert bench.drain(lane) == LOOK_AGAIN_AFTER
    assert bench.looked_again == 1
    assert bench.item(recording).refusals == 0
    assert bench.platform.files == []
    assert bench.gate.view().shut is None


def test_a_file_that_changed_as_the_platform_took_it_goes_again(bench: Bench) -> None:
    call, recording = call_with(bench, "call.wav")
    path = bench.directory / "call.wav"

    def changes() -> None:
        path.write_bytes(pcm(0.5))
        found = path.stat()
        new = a_recording("call.wav", size=found.st_size, modified_ns=found.st_mtime_ns)
        bench.ledger.recordings.replace(recording, new, call, call_due=0.0)
        bench.platform.on_request = lambda: None

    bench.platform.on_request = changes
    lane = bench.recordings()
    bench.step(lane)
    assert bench.item(recording).state == "recording to be sent"
    assert bench.handed_on == [], "it must not be removed now"
    bench.drain(lane)
    assert bench.item(recording).state == "delivered"
    assert bench.platform.files[-1].sha256 == digest(bench, "call.wav")
    assert bench.item(call).state == "record sent"


@pytest.mark.parametrize("what", ["gone", "a folder", "a link", "a pipe"])
def test_a_file_that_is_gone_or_became_something_else_is_missing(bench: Bench, what: str) -> None:
    recording, other = calls_with_one_each(bench, 2)
    path = bench.directory / "0.wav"
    path.unlink()
    become: dict[str, Callable[[], None]] = {
        "gone": lambda: None,
        "a folder": path.mkdir,
        "a link": lambda: path.symlink_to(bench.directory / "1.wav"),
        "a pipe": lambda: os.mkfifo(path),
    }
    become[what]()
    bench.drain(bench.recordings())
    assert bench.item(recording).state == "its file is missing"
    assert bench.item(other).state == "delivered"
    assert len(bench.platform.uploads) == 1


def test_a_file_that_cannot_be_opened_waits_alone(bench: Bench) -> None:
    """A name that no file system takes stands for every other trouble of the disk."""
    call, other = call_with(bench, "call.wav")
    long_name = bench.ledger.recordings.add(a_recording("x" * 300), call, call_due=0.0)
    bench.gate.failed(Shut.OUTAGE, "no route", None)
    bench.clock.turn(RETRY.first)
    bench.ledger.deliveries.postponed(other, "", bench.clock.monotonic() + 1)
    lane = bench.recordings()
    bench.step(lane)
    assert bench.item(long_name).refusals == 1
    assert "long" in bench.item(long_name).trouble
    assert bench.gate.view().shut is Shut.OUTAGE, "nothing was learnt of the platform"
    bench.clock.turn(1)
    bench.step(lane)
    assert bench.item(other).state == "delivered"


def test_nothing_is_missed_while_the_directory_itself_is_not_there(bench: Bench) -> None:
    _, recording = call_with(bench, "call.wav")
    lane = bench.recordings(sound=lambda: False)
    assert bench.step(lane) == LOOK_AGAIN_AFTER
    assert bench.item(recording).state == "recording to be sent"
    assert bench.platform.uploads == []


def test_a_disk_that_goes_away_as_its_file_is_opened_makes_no_file_missing(bench: Bench) -> None:
    _, recording = call_with(bench, "call.wav")
    (bench.directory / "call.wav").unlink()
    looks = iter([True, False])
    bench.step(bench.recordings(sound=lambda: next(looks)))
    assert bench.item(recording).state == "recording to be sent"
    assert bench.item(recording).refusals == 0


# Hours, and the end


def test_recordings_wait_for_their_hours_and_records_do_not(bench: Bench) -> None:
    bench.clock.wall_time = NOON - NOON % 86_400 + 12 * 3600
    call, recording = call_with(bench, "call.wav")
    assert bench.item(call).state == "record sent"
    lane = bench.recordings(window="22:00-06:00")
    assert bench.step(lane) == 60
    assert bench.platform.uploads == []
    bench.clock.turn(10 * 3600)
    bench.drain(lane)
    assert bench.item(recording).state == "delivered"


def test_an_upload_that_the_agent_stops_leaves_all_as_it_was(bench: Bench) -> None:
    _, recording = call_with(bench, "call.wav")
    lane = bench.recordings()
    before = bench.item(recording)
    bench.stop.set()
    bench.step(lane)
    assert bench.item(recording) == before
    assert bench.platform.files == []
    assert bench.gate.view().shut is None
    bench.stop.clear()
    bench.drain(lane)
    assert bench.item(recording).state == "delivered"


def test_two_workers_send_two_recordings_at_once_and_none_twice(bench: Bench) -> None:
    numbers = calls_with_one_each(bench, 2)
    lane = bench.recordings()
    both = threading.Barrier(2, timeout=20)

    def wait_for_the_other() -> None:
        both.wait()

    bench.platform.on_request = wait_for_the_other
    client = bench.client_of_its_own()
    worker = threading.Thread(target=lane.step, args=(client, bench.stop, lambda _: None))
    worker.start()
    bench.step(lane)
    worker.join()
    client.close()
    assert [bench.item(number).state for number in numbers] == ["delivered"] * 2
    assert len(bench.platform.uploads) == len(set(bench.platform.uploads)) == 2
