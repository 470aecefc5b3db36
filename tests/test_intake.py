"""Finished recordings find their calls, and those that have none still arrive."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import xxhash
from msgspec.structs import replace

from agent.calls import Call, Direction
from agent.clock import Stamp, SystemClock, TrustedClock
from agent.intake import AT_ONCE, Intake
from agent.ledger import Ledger, LedgerError, open_ledger
from agent.ledger.rows import QueueItem, State, StoredCall
from agent.recordings.matching import Recorded
from agent.recordings.names import RecordingNames
from agent.recordings.watcher import GrowingFile, RecordingWatcher
from agent.settings import Recordings
from tests.audio_files import pcm, wav
from tests.clocks import NOON, HandClock
from tests.rooms import finished, unwritable

ATTACH_WINDOW = 15.0
SOON = 20.0
"""Seconds that no test takes."""
PHONE = "13800138000"


def file_name(start: float, channel: int = 1, direction: str = "in", phone: str = PHONE) -> str:
    """As the recorder calls a recording (INTERFACES.md, recordings.pattern)."""
    moment = datetime.fromtimestamp(start, UTC)
    return f"{moment:%Y%m%d-%H%M%S}_{channel}_{direction}_{phone}.wav"


class Desk:
    """An intake on a real ledger and a real directory."""

    def __init__(self, folder: Path, clock: HandClock, **settings: object) -> None:
        self.clock = clock
        self.directory = folder / "recordings"
        self.directory.mkdir()
        self.state = folder / "state"
        self.state.mkdir()
        self.ledger: Ledger = open_ledger(self.state, clock)
        self.settings = Recordings(
            directory=str(self.directory),
            attach_window=ATTACH_WINDOW,
            **settings,  # type: ignore[arg-type]
        )
        self.names = RecordingNames(self.settings.patterns, UTC)
        self.news = 0
        self.ntp = True
        self.intake = Intake(
            self.settings,
            self.names,
            self.ledger,
            clock,
            TrustedClock(clock, lambda: self.ntp),
            [1, 2],
            shown=lambda name: f"<{name}>",
            on_new=self.hear,
        )

    def hear(self) -> None:
        self.news += 1

    def call(
        self,
        start: float,
        length: float | None,
        *,
        board: int = 1,
        channel: int = 1,
        direction: Direction = Direction.IN,
        phone: str = PHONE,
        uncertain: bool = False,
    ) -> int:
        """A call in the ledger; `length` None: it still goes on; `uncertain`: it ended unheard."""
        ago = self.clock.wall() - start

        def stamp(wall: float) -> Stamp:
            return Stamp(wall, self.clock.monotonic() - ago + wall - start)

        end = stamp(start + length) if length is not None else None
        begun = Call(
            board, channel, direction, phone, stamp(start), stamp(start), None, stamp(start)
        )
        number = self.ledger.calls.begin(begun, clock_trusted=True)
        if end is not None:
            over = replace(begun, ended=end, last_heard=end)
            self.ledger.calls.end(
                number,
                over,
                clock_trusted=True,
                wait_for_recording=ATTACH_WINDOW,
                uncertain=uncertain,
            )
        return number

    def write(self, relative: str, content: bytes | None = None, at: float | None = None) -> str:
        """A real file; `at`: when it was last written to, else now."""
        path = self.directory / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pcm(2.0) if content is None else content)
        moment = self.clock.wall() if at is None else at
        os.utime(path, (moment, moment))
        return relative

    def take(self, *relatives: str) -> None:
        self.intake.take([finished(self.directory, name, self.names) for name in relatives])

    def recordings(self) -> list[QueueItem]:
        return [item for item in self.items() if item.kind == "recording"]

    def only(self) -> QueueItem:
        (item,) = self.recordings()
        return item

    def items(self) -> list[QueueItem]:
        """Everything in the queue, delivered or not."""
        found = {item.id: item for item in self.ledger.queue.items(5000)}
        for stored in self.ledger.calls.around(0, 1e11):
            found.update((item.id, item) for item in self.ledger.queue.find(stored.id))
        return [found[number] for number in sorted(found)]

    def call_of(self, relative: str) -> int | None:
        return self.ledger.recordings.find(relative)[0].call_id

    def state_of(self, relative: str) -> State:
        return self.ledger.recordings.find(relative)[0].state

    def stored(self, number: int) -> StoredCall:
        found = self.ledger.calls.get(number)
        assert found is not None
        return found

    def deliver(self, relative: str, digest: Callable[[bytes], Any] = xxhash.xxh3_128) -> None:
        """The platform takes the call's record, then the recording."""
        call_id = self.call_of(relative)
        assert call_id is not None
        self.ledger.deliveries.booked(call_id, "7687658987667780097")
        sent = self.ledger.deliveries.next_recording()
        assert sent is not None
        assert sent.relative == relative
        content = (self.directory / relative).read_bytes()
        self.ledger.deliveries.delivered(sent, digest(content).hexdigest())


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def desk(tmp_path: Path, clock: HandClock) -> Iterator[Desk]:
    made = Desk(tmp_path, clock)
    yield made
    made.ledger.close()


# Its call is known.


def test_a_recording_of_a_call_that_goes_on_belongs_to_it(desk: Desk) -> None:
    call = desk.call(NOON - 30, None)
    name = desk.write(file_name(NOON - 29))
    desk.take(name)
    assert desk.call_of(name) == call
    assert desk.state_of(name) is State.WAITING_FOR_RECORD
    assert desk.news == 1


def test_a_recording_of_a_call_that_is_over_lets_its_record_go_at_once(desk: Desk) -> None:
    call = desk.call(NOON - 30, 28)
    name = desk.write(file_name(NOON - 30))
    desk.take(name)
    assert desk.call_of(name) == call
    (record,) = desk.ledger.queue.find(call)[:1]
    assert record.state is State.RECORD_TO_SEND


def test_a_recording_that_comes_after_its_record_was_sent_still_goes(desk: Desk) -> None:
    call = desk.call(NOON - 30, 28)
    desk.ledger.deliveries.booked(call, "77")
    name = desk.write(file_name(NOON - 30))
    desk.take(name)
    assert desk.state_of(name) is State.RECORDING_TO_SEND
    sent = desk.ledger.deliveries.next_recording()
    assert sent is not None
    assert sent.callid == "77"


def test_a_call_may_have_several_recordings(desk: Desk) -> None:
    call = desk.call(NOON - 60, 58)
    names = [desk.write(file_name(NOON - 60)), desk.write(file_name(NOON - 30))]
    desk.take(*names)
    assert [desk.call_of(name) for name in names] == [call, call]


def test_of_two_calls_on_a_port_the_overlap_decides(desk: Desk) -> None:
    first, second = desk.call(NOON - 100, 40), desk.call(NOON - 50, 40)
    names = [desk.write(file_name(NOON - 99)), desk.write(file_name(NOON - 48))]
    desk.take(*names)
    assert [desk.call_of(name) for name in names] == [first, second]


def test_two_boards_with_the_same_port_number_are_told_apart_by_the_box_in_the_name(
    tmp_path: Path, clock: HandClock
) -> None:
    desk = Desk(tmp_path, clock, pattern="{serial}/{start:%Y%m%d-%H%M%S}_{channel}")
    calls = [desk.call(NOON - 30, 28, board=board) for board in (1, 2)]
    moment = datetime.fromtimestamp(NOON - 30, UTC)
    names = [desk.write(f"{board}/{moment:%Y%m%d-%H%M%S}_1.wav") for board in (1, 2)]
    desk.take(*names)
    assert [desk.call_of(name) for name in names] == calls
    desk.ledger.close()


def test_two_boards_with_the_same_port_number_are_told_apart_by_the_number_called(
    desk: Desk,
) -> None:
    desk.call(NOON - 30, 28, board=1, phone="111111111")
    second = desk.call(NOON - 30, 28, board=2, phone="222222222")
    name = desk.write(file_name(NOON - 30, phone="222222222"), content=pcm(20))
    desk.take(name)
    assert desk.call_of(name) == second


def test_where_two_boards_leave_a_doubt_the_recording_is_given_to_neither(desk: Desk) -> None:
    calls = {desk.call(NOON - 30, 28, board=board) for board in (1, 2)}
    name = desk.write(file_name(NOON - 30), content=pcm(20))
    desk.take(name)
    assert desk.call_of(name) is None
    desk.clock.turn(ATTACH_WINDOW)
    desk.intake.match_waiting()
    assert desk.call_of(name) not in calls | {None}


def test_a_recording_finds_the_call_that_was_answered_and_ended_unheard(desk: Desk) -> None:
    call = desk.call(NOON - 30, 0, uncertain=True)
    name = desk.write(file_name(NOON - 20), content=pcm(10))
    desk.take(name)
    assert desk.call_of(name) == call


def test_names_of_the_clock_before_its_correction_find_the_call_that_was_corrected(
    desk: Desk,
) -> None:
    wrong = 1_000_000.0  # a clock that woke in 1970
    call = desk.call(wrong, 20)
    desk.ledger.calls.correct(call, NOON - 25 - wrong)
    name = desk.write(file_name(wrong, phone=""), at=wrong + 20)
    desk.take(name)
    assert desk.call_of(name) == call
    other = desk.write(file_name(NOON - 24))
    desk.take(other)
    assert desk.call_of(other) == call


def test_names_that_are_not_utf_8_are_taken_like_any_other(desk: Desk) -> None:
    call = desk.call(NOON - 30, 28)
    folder = os.fsdecode(b"caf\xe9")
    name = desk.write(f"{folder}/{file_name(NOON - 30)}")
    desk.take(name)
    assert desk.call_of(name) == call
    path, size = name, len(pcm(2.0))
    found = (desk.directory / name).stat()
    assert desk.intake.known([(path, size, found.st_mtime_ns)]) == {(path, size, found.st_mtime_ns)}
    desk.ledger.deliveries.booked(call, "77")
    sent = desk.ledger.deliveries.next_recording()
    assert sent is not None
    assert (desk.directory / sent.relative).exists()


# Its call is not known.


def test_a_recording_without_a_call_waits_and_is_attached_when_its_call_appears(
    desk: Desk,
) -> None:
    name = desk.write(file_name(NOON))
    desk.take(name)
    assert desk.state_of(name) is State.WAITING_FOR_CALL
    desk.clock.turn(5)
    assert desk.intake.match_waiting() == pytest.approx(ATTACH_WINDOW - 5)
    call = desk.call(NOON, 4)
    news = desk.news
    assert desk.intake.match_waiting() is None
    assert desk.call_of(name) == call
    assert desk.news == news + 1


def test_each_call_is_asked_about_while_a_recording_waits_and_none_after_that(desk: Desk) -> None:
    desk.intake.calls_changed()
    name = desk.write(file_name(NOON))
    desk.take(name)
    desk.call(NOON - 300, 4)
    desk.intake.calls_changed()
    assert desk.call_of(name) is None
    call = desk.call(NOON, 4)
    desk.intake.calls_changed()
    assert desk.call_of(name) == call
    desk.intake.calls_changed()
    desk.ledger.close()  # so that it could not be asked
    desk.intake.calls_changed()


def test_a_call_that_comes_while_its_recording_is_taken_in_is_asked_about(desk: Desk) -> None:
    desk.intake.calls_changed()
    name = desk.write(file_name(NOON))
    looked = threading.Event()

    def end_a_call() -> None:
        looked.wait(SOON)
        desk.call(NOON, 4)
        desk.intake.calls_changed()

    def look(recorded: Recorded) -> int | None:
        found = call_of(recorded)
        looked.set()
        return found

    call_of, desk.intake._call_of = desk.intake._call_of, look  # type: ignore[method-assign]
    board = threading.Thread(target=end_a_call)
    board.start()
    desk.take(name)
    board.join()
    assert desk.call_of(name) is not None


def test_a_recording_of_no_known_call_gets_a_record_of_what_its_name_and_header_say(
    desk: Desk,
) -> None:
    name = desk.write(file_name(NOON - 100, channel=3, direction="out"), content=pcm(2.5))
    desk.take(name)
    desk.clock.turn(ATTACH_WINDOW - 1)
    desk.intake.match_waiting()
    assert desk.call_of(name) is None
    desk.clock.turn(1)
    assert desk.intake.match_waiting() is None
    number = desk.call_of(name)
    assert number is not None
    stored = desk.stored(number)
    call = stored.call
    assert (call.board, call.channel, call.direction) == (1, 3, Direction.OUT)
    assert call.phone == PHONE
    assert call.started.wall == NOON - 100
    assert call.duration == pytest.approx(2.5)
    assert call.ended is not None
    assert stored.source == "recording"
    assert desk.state_of(name) is State.WAITING_FOR_RECORD
    record = desk.ledger.deliveries.next_record()
    assert record is not None
    assert (record.stored.id, record.has_recording) == (number, True)


def test_a_recording_whose_name_says_nothing_is_of_unknown_direction(desk: Desk) -> None:
    name = desk.write("voice.wav", content=pcm(2.0))
    desk.take(name)
    desk.clock.turn(ATTACH_WINDOW)
    desk.intake.match_waiting()
    number = desk.call_of(name)
    assert number is not None
    call = desk.stored(number).call
    assert (call.direction, call.direction.value, call.phone) == (
        Direction.UNKNOWN,
        "unkown",
        "",
    )
    assert call.started.wall == pytest.approx(NOON - 2.0)


def test_where_none_waits_matching_writes_nothing(desk: Desk) -> None:
    before = desk.ledger.commits, desk.ledger.soft_commits
    assert desk.intake.match_waiting() is None
    assert (desk.ledger.commits, desk.ledger.soft_commits) == before


def test_more_recordings_without_a_call_than_one_look_takes_all_get_a_record(
    desk: Desk,
) -> None:
    count = AT_ONCE + 50
    names = [desk.write(f"voice-{number}.wav", content=pcm(0.01)) for number in range(count)]
    desk.take(*names)
    desk.clock.turn(ATTACH_WINDOW)
    before = desk.ledger.soft_commits
    assert desk.intake.match_waiting() == 0.0
    assert desk.intake.match_waiting() is None
    assert desk.ledger.soft_commits == before + 2
    assert all(desk.call_of(name) is not None for name in names)


def test_a_file_that_still_grows_tells_that_its_call_is_being_recorded(desk: Desk) -> None:
    recorded, other = desk.call(NOON - 30, 28), desk.call(NOON - 30, 28, channel=2)
    name = desk.write(file_name(NOON - 29))
    growing = [GrowingFile(name, desk.names.facts(name), desk.clock.stamp(), NOON - 1)]
    assert desk.intake.being_recorded(desk.stored(recorded), growing)
    assert not desk.intake.being_recorded(desk.stored(other), growing)
    assert not desk.intake.being_recorded(desk.stored(recorded), [])


def test_a_file_that_still_grows_and_is_of_the_call_before_says_nothing_of_this_one(
    desk: Desk,
) -> None:
    """Its end overlaps this one's beginning by a second, as names of whole seconds have it."""
    before, this = desk.call(NOON - 60, 40), desk.call(NOON - 20.5, 20)
    name = desk.write(file_name(NOON - 60))
    growing = [GrowingFile(name, desk.names.facts(name), desk.clock.stamp(), NOON - 19.5)]
    assert desk.intake.being_recorded(desk.stored(before), growing)
    assert not desk.intake.being_recorded(desk.stored(this), growing)


def test_a_call_that_was_shorter_than_recordings_must_be_is_not_taken_for_recorded(
    tmp_path: Path, clock: HandClock
) -> None:
    desk = Desk(tmp_path, clock, shortest=30.0)
    short, long = desk.call(NOON - 30, 28), desk.call(NOON - 60, 58, channel=2)
    names = [desk.write(file_name(NOON - 29)), desk.write(file_name(NOON - 59, channel=2))]
    growing = [
        GrowingFile(name, desk.names.facts(name), desk.clock.stamp(), NOON - 1) for name in names
    ]
    assert not desk.intake.being_recorded(desk.stored(short), growing)
    assert desk.intake.being_recorded(desk.stored(long), growing)
    desk.ledger.close()


# Files that are not sent.


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (wav(b""), "without audio"),
        (b"<html>not audio</html>" * 50, ""),
    ],
    ids=["empty", "a header without audio", "foreign"],
)
def test_an_empty_or_foreign_file_is_kept_and_shown_and_gets_no_record(
    desk: Desk, content: bytes, reason: str
) -> None:
    name = desk.write(file_name(NOON), content)
    desk.take(name)
    item = desk.only()
    assert item.state is State.KEPT
    assert item.trouble
    assert reason in item.trouble
    desk.clock.turn(1000)
    assert desk.intake.match_waiting() is None
    assert desk.ledger.deliveries.next_record() is None
    assert (desk.directory / name).exists()


def test_a_recording_shorter_than_configured_is_kept(tmp_path: Path, clock: HandClock) -> None:
    desk = Desk(tmp_path, clock, shortest=3.0)
    call = desk.call(NOON - 30, 28)
    short, long = desk.write(file_name(NOON - 30)), desk.write("1.wav", content=pcm(3.0))
    desk.take(short, long)
    assert desk.state_of(short) is State.KEPT
    assert desk.state_of(long) is not State.KEPT
    assert "recordings.shortest, 3 s" in desk.items()[-2].trouble
    # It holds no record back: the call's own goes without it.
    assert all(item.state is not State.RECORDING_TO_SEND for item in desk.ledger.queue.find(call))
    desk.ledger.close()


# A path that was seen before.


def test_a_file_that_grew_before_its_delivery_is_delivered_as_it_is_now(desk: Desk) -> None:
    call = desk.call(NOON - 30, None)
    name = desk.write(file_name(NOON - 29), content=pcm(1.0))
    desk.take(name)
    first = desk.only()
    desk.clock.turn(10)
    desk.write(name, content=pcm(9.0))
    desk.take(name)
    item = desk.only()
    assert (item.id, item.size) == (first.id, len(pcm(9.0)))
    assert desk.call_of(name) == call


def test_a_name_that_is_written_over_with_another_call_belongs_to_that_call(desk: Desk) -> None:
    desk.call(NOON - 100, 10)
    name = desk.write("port1.wav", content=pcm(9.0), at=NOON - 90)
    desk.take(name)
    later = desk.call(NOON - 30, 20)
    desk.write(name, content=pcm(18.0), at=NOON - 10)
    desk.take(name)
    assert desk.call_of(name) == later


def test_an_empty_file_that_was_filled_after_all_is_sent(desk: Desk) -> None:
    name = desk.write(file_name(NOON), content=b"")
    desk.take(name)
    desk.clock.turn(10)
    desk.write(name)
    desk.take(name)
    assert desk.only().state is State.WAITING_FOR_CALL


def test_a_delivered_file_that_was_only_touched_is_not_sent_again(desk: Desk) -> None:
    call = desk.call(NOON - 30, 28)
    name = desk.write(file_name(NOON - 30))
    desk.take(name)
    desk.deliver(name)
    desk.clock.turn(100)
    desk.write(name)
    desk.take(name)
    assert desk.only().state is State.DELIVERED
    assert len(desk.ledger.queue.find(call)) == 2
    found = (desk.directory / name).stat()
    key = (name, found.st_size, found.st_mtime_ns)
    assert desk.intake.known([key]) == {key}


def test_a_touched_file_that_an_older_agent_delivered_is_known_by_its_older_digest(
    desk: Desk,
) -> None:
    desk.call(NOON - 30, 28)
    name = desk.write(file_name(NOON - 30))
    desk.take(name)
    desk.deliver(name, hashlib.sha256)
    desk.clock.turn(100)
    desk.write(name)
    desk.take(name)
    assert desk.only().state is State.DELIVERED


def test_a_delivered_file_with_other_content_is_sent_as_another_recording(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    call = desk.call(NOON - 30, 28)
    name = desk.write(file_name(NOON - 30))
    desk.take(name)
    desk.deliver(name)
    desk.clock.turn(100)
    desk.write(name, content=pcm(2.0)[:-2] + b"xx")  # of the same size
    desk.take(name)
    states = [item.state for item in desk.recordings()]
    assert states == [State.DELIVERED, State.RECORDING_TO_SEND]
    assert desk.call_of(name) == call
    assert "has changed since its delivery" in caplog.text


def test_a_touched_file_that_vanishes_before_it_is_compared_harms_no_other(desk: Desk) -> None:
    desk.call(NOON - 30, 28)
    name = desk.write(file_name(NOON - 30))
    desk.take(name)
    desk.deliver(name)
    desk.clock.turn(100)
    desk.write(name)
    other = desk.write(file_name(NOON + 90))
    files = [finished(desk.directory, one, desk.names) for one in (name, other)]
    (desk.directory / name).unlink()
    desk.intake.take(files)
    assert desk.state_of(other) is State.WAITING_FOR_CALL


def test_comparing_a_touched_file_holds_up_no_call(desk: Desk) -> None:
    desk.call(NOON - 30, 28)
    name = desk.write(file_name(NOON - 30))
    desk.take(name)
    desk.deliver(name)
    desk.clock.turn(100)
    desk.write(name)
    held = threading.Event()
    digest = desk.intake._digest

    def slow(relative: str, known: str) -> str:
        # While the file is read, another thread writes a call down and looks for its recording.
        def write() -> None:
            desk.call(NOON, 5)
            desk.intake.match_waiting()
            held.set()

        writer = threading.Thread(target=write)
        writer.start()
        assert held.wait(20), "the ledger was held while a file was read"
        writer.join()
        return digest(relative, known)

    desk.intake._digest = slow  # type: ignore[method-assign]
    desk.take(name)
    assert held.is_set()


def test_a_file_touched_on_its_way_and_delivered_while_it_is_compared_goes_once(
    desk: Desk,
) -> None:
    call = desk.call(NOON - 30, 28)
    name = desk.write(file_name(NOON - 30))
    desk.take(name)
    desk.ledger.deliveries.booked(call, "77")
    sent = desk.ledger.deliveries.next_recording()
    assert sent is not None
    desk.clock.turn(100)
    desk.write(name)
    digest = desk.intake._digest

    def while_it_is_delivered(relative: str, known: str) -> str:
        found = digest(relative, known)
        assert desk.ledger.deliveries.delivered(sent, found)
        return found

    desk.intake._digest = while_it_is_delivered  # type: ignore[method-assign]
    desk.take(name)
    assert len(desk.recordings()) == 1
    assert desk.state_of(name) is State.DELIVERED


def test_a_delivered_file_that_was_deleted_and_is_put_back_is_not_sent_again(desk: Desk) -> None:
    """It may be deleted again, too, and its call is not forgotten before it is."""
    call = desk.call(NOON - 30, 28)
    name = desk.write(file_name(NOON - 30))
    desk.take(name)
    desk.deliver(name)
    number = desk.ledger.queue.find(call)[1].id
    desk.ledger.recordings.removed([number])
    found = (desk.directory / name).stat()
    key = (name, found.st_size, found.st_mtime_ns)
    assert desk.intake.known([key]) == set()
    desk.take(name)
    assert desk.intake.known([key]) == {key}
    assert desk.state_of(name) is State.DELIVERED
    assert [one.id for one in desk.ledger.recordings.delivered(10)] == [number]


def test_a_file_that_went_missing_and_came_back_goes_on_where_it_stood(desk: Desk) -> None:
    call = desk.call(NOON - 30, 28)
    name = desk.write(file_name(NOON - 30))
    desk.take(name)
    desk.ledger.deliveries.booked(call, "77")
    desk.ledger.deliveries.missing(desk.only().id, "it is gone")
    assert desk.state_of(name) is State.MISSING
    found = (desk.directory / name).stat()
    assert desk.intake.known([(name, found.st_size, found.st_mtime_ns)]) == set()
    desk.take(name)
    assert desk.state_of(name) is State.RECORDING_TO_SEND


def test_a_file_without_a_call_that_came_back_waits_for_its_call_again(desk: Desk) -> None:
    name = desk.write(file_name(NOON))
    desk.take(name)
    desk.ledger.deliveries.missing(desk.only().id, "it is gone")
    desk.clock.turn(100)
    desk.take(name)
    assert desk.state_of(name) is State.WAITING_FOR_CALL
    assert desk.intake.match_waiting() == pytest.approx(ATTACH_WINDOW)


def test_the_same_file_offered_twice_is_one_recording(desk: Desk) -> None:
    name = desk.write(file_name(NOON))
    desk.take(name)
    desk.take(name)
    assert len(desk.recordings()) == 1


# The ledger, and many files.


def test_files_that_the_ledger_does_not_take_are_refused_together_and_can_be_offered_again(
    desk: Desk,
) -> None:
    names = [desk.write(file_name(NOON + number)) for number in range(3)]
    with unwritable(desk.state), pytest.raises(LedgerError):
        desk.take(*names)
    assert desk.recordings() == []
    assert desk.news == 0
    desk.take(*names)
    assert len(desk.recordings()) == 3


def test_two_thousand_files_found_by_a_scan_cost_few_transactions(tmp_path: Path) -> None:
    desk = Desk(tmp_path, HandClock())
    content, old = pcm(0.01), time.time() - 100
    for number in range(2000):
        desk.write(f"{number % 7}/voice-{number}.wav", content, at=old)
    stop = threading.Event()
    before, soft = desk.ledger.commits, desk.ledger.soft_commits
    watcher = RecordingWatcher(
        desk.directory,
        desk.names,
        2.0,
        300.0,
        SystemClock(),
        desk.intake.known,
        desk.intake.take,
        on_alive=lambda _now: None,
    )
    thread = threading.Thread(target=watcher.run, args=(stop,))
    thread.start()
    try:
        assert watcher.first_scan_done.wait(50)
    finally:
        stop.set()
        thread.join()
    assert len(desk.recordings()) == 2000
    assert desk.ledger.commits == before, "the scan finds them anew after a power cut"
    assert desk.ledger.soft_commits - soft <= 40
    desk.ledger.close()


def test_the_log_names_a_file_only_as_it_may_be_shown(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "agent")
    name = desk.write(file_name(NOON))
    empty = desk.write("a.wav", content=b"")
    desk.take(name, empty)
    desk.clock.turn(ATTACH_WINDOW)
    desk.intake.match_waiting()
    text = caplog.text
    for shown in (f"<{name}>", f"<{empty}>"):
        assert shown in text
        text = text.replace(shown, "")
    assert PHONE not in text
