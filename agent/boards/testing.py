"""The driver contract as tests: any driver's package runs them against itself.

::

    from agent.boards.testing import DriverContract

    class TestMyDriver(DriverContract):
        driver = MyDriver
        good = (b"1R\\n", b"1T\\n", b"1H\\n")

With `make_board`, a simulation of the board's side of the wire, whole calls are tried as well: over
a good wire, one byte at a time, and over one that loses, doubles and delays a fifth of its bytes.
pytest finds the tests by their names; nothing here needs it, and all that is random comes from
fixed seeds.
"""

# ruff: noqa: D102 - a test's name is its sentence

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Mapping
from typing import ClassVar

from agent.boards.bench import TURN, BadWire, Bench, BoardSide
from agent.boards.driver import BoardOptions, DialRefused, Driver, OptionValue
from agent.boards.events import BoardHello, ChannelState, DialAnswer, Event, LineState, Peer

__all__ = ["BadWire", "Bench", "BoardSide", "DriverContract"]

SEEDS = range(5)
SHARE = 0.2
"""Of a bad wire's bytes, how many are lost, doubled or late."""
NOISY = 60.0
"""Seconds of calls over a bad wire."""
PHONE = "13800138000"
LONGEST_PHONE = 32
"""Characters of a number that a driver may hand on: twice what E.164 allows."""
MOST_KEPT = 256 * 1024
"""Bytes of memory that a driver may hold of a megabyte that has no end of a line in it."""
TURNS_OF_SILENCE = 20_000
"""Turns in which an order must have its answer from a dead board: 1000 s."""


class DriverContract:
    """Subclass it, name the driver, and let pytest find it."""

    driver: ClassVar[type[Driver]]
    good: ClassVar[tuple[bytes, ...]]
    """Whole lines, each a good frame with its end, for a board of `channels` ports."""
    line_end: ClassVar[bytes] = b"\n"
    """What ends any line, also a broken one."""
    channels: ClassVar[int] = 4
    options: ClassVar[Mapping[str, OptionValue]] = {}
    can_be_asked: ClassVar[bool] = False
    """Whether the board can be asked for its lines' states: then lost lines do no lasting harm."""
    knows_numbers: ClassVar[bool] = True
    """Whether the board tells who calls."""
    settles_within: ClassVar[float] = 30.0
    """Seconds after which all is said of a change, and a wire that was bad is forgotten."""

    def make_board(self, channels: int) -> BoardSide | None:
        """Make the board's side of the wire; None: whole calls are not tried."""
        return None

    def test_bytes_in_any_pieces_say_the_same(self) -> None:
        for seed in SEEDS:
            chance = random.Random(seed)
            data = self._mixed(chance)
            whole, pieces = self._bench(), self._bench()
            expected = whole.hear(data)
            got: list[Event] = []
            rest = data
            while rest:
                size = chance.choice((1, 1, 2, 5, 50))
                got += pieces.hear(rest[:size])
                rest = rest[size:]
            assert got == expected, f"seed {seed}: other events when cut up"
            for name in ("frames", "bad_frames"):
                one, other = getattr(whole.driver, name), getattr(pieces.driver, name)
                assert one == other, f"seed {seed}: {name} is {one} whole and {other} cut up"

    def test_no_bytes_make_it_raise_or_say_nonsense(self) -> None:
        for seed in range(40):
            chance = random.Random(seed)
            bench = self._bench()
            for _ in range(10):
                before = (bench.driver.frames, bench.driver.bad_frames)
                bench.now += chance.choice((0.0, 0.01, 1.0, 70.0))
                for event in bench.hear(self._mixed(chance)):
                    self._must_make_sense(event)
                assert isinstance(bench.driver.poll(), bytes)
                assert isinstance(bench.driver.due(), float | int | None)
                after = (bench.driver.frames, bench.driver.bad_frames)
                assert before <= after, "frames and bad_frames only grow"

    def test_after_any_garbage_good_lines_are_understood_again(self) -> None:
        for seed in range(40):
            chance = random.Random(seed)
            bench = self._bench()
            bench.hear(chance.randbytes(chance.randrange(1, 600)) + self.line_end)
            before = bench.driver.frames
            for line in self.good:
                bench.hear(line)
            heard = bench.driver.frames - before
            assert heard == len(self.good), f"seed {seed}: {heard} of {len(self.good)} understood"

    def test_a_half_line_from_before_the_port_was_lost_damages_nothing(self) -> None:
        bench = self._bench()
        bench.hear(self.good[0][: len(self.good[0]) // 2])
        bench.driver.opened()
        bad, frames = bench.driver.bad_frames, bench.driver.frames
        bench.hear(self.good[0])
        assert (bench.driver.bad_frames, bench.driver.frames) == (bad, frames + 1)

    def test_a_line_without_end_is_not_kept(self) -> None:
        bench = self._bench()
        block = b"0" * 4096
        tracemalloc.start()
        try:
            for _ in range(256):
                bench.driver.feed(block)
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert kept < MOST_KEPT, f"{kept} bytes are kept of a line that never ends"

    def test_nothing_happens_before_it_is_due(self) -> None:
        bench = self._bench()
        for _ in range(2000):
            bench.hear(b"")
            bench.driver.poll()
            due = bench.driver.due()
            if due is None:
                return
            if due > bench.now:
                assert bench.driver.feed(b"") == [], "an event came before it was due"
                assert bench.driver.poll() == b"", "bytes were sent before they were due"
            bench.now = max(bench.now + 0.01, due)

    def test_only_the_time_handed_in_counts(self) -> None:
        said = []
        for _ in range(2):
            bench = self._bench()
            sent = b""
            for seed in SEEDS:
                bench.hear(self._mixed(random.Random(seed)))
                bench.now += 3.0
                sent += bench.driver.poll()
            said.append((bench.said, sent))
        assert said[0] == said[1], "the same bytes at the same times said something else"

    def test_an_order_to_dial_is_answered_once_or_refused_with_a_reason(self) -> None:
        bench = self._bench()
        if not bench.driver.can_dial:
            assert self._refusal(bench, 1, PHONE), "a refusal without a reason"
            return
        if bench.board is not None:
            bench.run(self.settles_within)
        bench.board = None
        assert bench.driver.dial(1, PHONE), "no bytes for an order to dial"
        for _ in range(TURNS_OF_SILENCE):
            bench.run(TURN)
        answers = [event for event in bench.said if isinstance(event, DialAnswer)]
        assert len(answers) == 1, f"{len(answers)} answers to one order"
        assert answers[0].accepted or answers[0].reason, "a failure without a reason"

    def test_what_no_line_can_dial_is_refused(self) -> None:
        bench = self._bench()
        if not bench.driver.can_dial:
            return
        for channel, phone in (
            (0, PHONE),
            (self.channels + 1, PHONE),
            (1, ""),
            (1, "1\r\nATH"),
            (1, "1;"),
            (1, "1" * 1000),
            (1, "\u0661\u0662"),
        ):
            assert self._refusal(bench, channel, phone), f"{phone!r} on port {channel} was taken"

    def test_whole_calls_over_a_good_wire(self) -> None:
        self._whole_calls(one_at_a_time=False)

    def test_whole_calls_one_byte_at_a_time(self) -> None:
        self._whole_calls(one_at_a_time=True)

    def test_a_wire_that_mangles_a_fifth_of_its_bytes_does_no_lasting_harm(self) -> None:
        for seed in SEEDS:
            bench = self._bench()
            if bench.board is None:
                return
            bench.to_host, bench.to_board = BadWire(seed, SHARE), BadWire(seed + 1, SHARE)
            self._some_calls(bench, random.Random(seed))
            bench.to_host.share = bench.to_board.share = 0.0
            bench.run(self.settles_within)
            if self.can_be_asked:
                truth = {channel: port.state for channel, port in bench.board.ports.items()}
                assert bench.states() == truth, f"seed {seed}: not the board's true states"
            for channel in bench.board.ports:
                bench.change(channel, LineState.ON_HOOK, then=self.settles_within)
            self._one_call_on_each_port(bench)

    def _bench(self) -> Bench:
        options = BoardOptions(1, self.channels, self.options)
        return Bench(self.driver, options, self.make_board(self.channels))

    def _mixed(self, chance: random.Random) -> bytes:
        """Good lines, broken ones and garbage."""
        out = b""
        for _ in range(chance.randrange(1, 12)):
            line = chance.choice(self.good)
            at = chance.randrange(len(line))
            out += chance.choice(
                (
                    line,
                    line[:at],
                    line[:at] + line[at + 1 :],
                    line[:at] + chance.randbytes(1) + line[at:],
                    chance.randbytes(chance.randrange(40)),
                )
            )
        return out

    def _must_make_sense(self, event: Event) -> None:
        if isinstance(event, BoardHello):
            return
        ports = range(1, self.channels + 1)
        assert event.channel in ports, f"an event of port {event.channel}"
        if isinstance(event, ChannelState):
            assert len(event.phone) <= LONGEST_PHONE, "a number without bounds"
            assert event.ago >= 0, "a change in the future"

    @staticmethod
    def _refusal(bench: Bench, channel: int, phone: str) -> str:
        try:
            bench.driver.dial(channel, phone)
        except DialRefused as refusal:
            return str(refusal)
        return ""

    def _whole_calls(self, *, one_at_a_time: bool) -> None:
        bench = self._bench()
        if bench.board is None:
            return
        bench.one_at_a_time = one_at_a_time
        bench.run(self.settles_within)
        assert set(bench.states().values()) == {LineState.ON_HOOK}, "not all ports are on hook"
        assert len(bench.states()) == self.channels, "not all ports were said at the opening"
        self._one_call_on_each_port(bench)
        assert bench.driver.bad_frames == 0, f"{bench.driver.bad_frames} bad frames"

    def _one_call_on_each_port(self, bench: Bench) -> None:
        assert bench.board is not None
        for channel in bench.board.ports:
            since = len(bench.said)
            bench.change(channel, LineState.RINGING, Peer.INCOMING, "", then=3.0)
            bench.change(channel, phone=PHONE, then=2.0)
            assert bench.states(since).get(channel) == LineState.RINGING, f"port {channel} rings"
            bench.change(channel, LineState.IN_CALL, then=5.0)
            taken = [
                event
                for event in bench.said[since:]
                if isinstance(event, ChannelState) and event.channel == channel
            ][-1]
            assert taken.state in {LineState.IN_CALL, LineState.ANSWERED}, "it was answered"
            if self.knows_numbers:
                assert taken.phone == PHONE, f"{taken.phone!r} calls, not {PHONE!r}"
            bench.change(channel, LineState.ON_HOOK, then=self.settles_within)
            assert bench.states(since)[channel] == LineState.ON_HOOK, "it was hung up"

    def _some_calls(self, bench: Bench, chance: random.Random) -> None:
        assert bench.board is not None
        until = bench.now + NOISY
        while bench.now < until:
            channel = chance.choice(list(bench.board.ports))
            state = bench.board.ports[channel].state
            then = chance.uniform(0.1, 3.0)
            if state is LineState.RINGING:
                move = chance.choice((LineState.IN_CALL, LineState.ON_HOOK, None))
                bench.change(channel, move, phone=PHONE if move is None else None, then=then)
            elif state is not LineState.ON_HOOK:
                bench.change(channel, LineState.ON_HOOK, then=then)
            elif chance.random() < 0.5:
                bench.change(channel, LineState.RINGING, Peer.INCOMING, "", then=then)
            else:
                bench.change(channel, LineState.IN_CALL, Peer.OUTGOING, "", then=0.3)
                bench.change(channel, phone=PHONE, then=then)
