"""Retries that are kind: to the platform, and to the items that wait behind others.

Real HTTP, a real ledger, the real lanes; time passes as the test turns the clock.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from agent.clock import SystemClock
from agent.delivery.gate import LATER, OUTAGE_AFTER, Gate, Shut
from agent.delivery.pace import LONGEST_PACE, SLOW_AFTER
from agent.delivery.records import RecordLane
from agent.platform.client import PlatformClient
from agent.settings import Platform
from tests.clocks import NOON, HandClock
from tests.fault_subjects import Calls, File, Record, Report, Subject
from tests.lanes import RETRY, SATELLITE, Bench, bench_in
from tests.ledgers import a_call, add_call, add_calls
from tests.raw_server import Peer, RawServer, for_ever, http

BACKLOG = int(os.environ.get("SMARTTEL_TEST_BACKLOG", "500"))
"""Records of the long test. The full proof is SMARTTEL_TEST_BACKLOG=10000, a minute or two."""
HOUR, DAY = 3600.0, 86_400.0
REFUSED = http(b'{"status": 3001}')
FAILED = http(b"", "500 Internal Server Error")
SHORT = 1.0
"""Seconds of a time-out that is meant to pass, and far more than any good answer takes."""


@dataclass
class Picky:
    """A platform that books each record but those that are spoilt for it."""

    spoilt: Callable[[int], bool] = lambda number: False
    answer: bytes | None = REFUSED
    """What a spoilt record gets; None: the connection is cut; empty: nothing, for ever."""
    asked: Counter[int] = field(default_factory=Counter)
    """How often each record came, by its number."""
    booked: Counter[int] = field(default_factory=Counter)

    def __call__(self, peer: Peer) -> None:
        while True:
            number = int(parse_qs(peer.request()[1].decode())["id"][0])
            self.asked[number] += 1
            if self.spoilt(number):
                if self.answer is None:
                    return
                peer.send(self.answer) if self.answer else peer.pause(60.0)
            else:
                self.booked[number] += 1
                peer.send(http(b'{"status": 0, "callid": "%d"}' % number))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path) as made:
        yield made


@pytest.fixture
def jittery(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path, random.Random(7).random) as made:
        yield made


@contextmanager
def client_of(server: RawServer, read_timeout: float = 10.0) -> Iterator[PlatformClient]:
    settings = Platform(url=f"http://127.0.0.1:{server.port}/", read_timeout=read_timeout)
    client = PlatformClient(settings, lambda: SATELLITE, SystemClock())
    try:
        yield client
    finally:
        client.close()


def backlog(bench: Bench, count: int = BACKLOG) -> list[int]:
    with bench.ledger.transaction():
        return add_calls(bench.ledger, count)


def work(bench: Bench, lane: RecordLane, client: PlatformClient, seconds: float = 0.0) -> None:
    """Let a lane work for so long, and then until it rests."""
    until = bench.clock.monotonic() + seconds
    while True:
        wait = lane.step(client, bench.stop, lambda _: None)
        if wait > 0 and bench.clock.monotonic() + wait > until:
            bench.clock.turn(max(0.0, until - bench.clock.monotonic()))
            return
        bench.clock.turn(wait)


def waiting(bench: Bench) -> int:
    return bench.ledger.queue.counts(10).records_waiting


# One breaker


def test_a_platform_that_is_down_costs_few_requests_an_hour_whoever_asks(bench: Bench) -> None:
    """Two lanes with a backlog each, reports and polls, on one gate."""
    file, report, calls = File(bench), Report(bench), Calls(bench)
    backlog(bench, 100)
    subjects: list[tuple[float, Subject]] = [(1.0, Record(bench)), (1.0, file)]
    subjects += [(5.0, calls), (30.0, report)]
    seen: list[tuple[bytes, bytes]] = []
    with (
        RawServer(for_ever(http(b"", "503 Service Unavailable"), seen)) as server,
        client_of(server) as client,
    ):
        for second in range(int(HOUR)):
            for interval, subject in subjects:
                if second % interval == 0:
                    subject.attempt(client)
            bench.clock.turn(1.0)
    commands = Counter(parse_qs(body.decode("latin-1"))["cmd"][0] for _, body in seen)
    assert commands["channelstatus"] == HOUR / 30
    # Waits of 2, 4, 8 … 512, 900, 900, 900 seconds are 12 in an hour.
    assert len(seen) - commands["channelstatus"] <= 13
    assert commands["getCallList"] == 0


def test_a_dead_platform_has_one_connection_at_a_time(bench: Bench) -> None:
    workers = 6
    backlog(bench, 50)
    lane = bench.records()
    bench.gate.failed(Shut.OUTAGE, "no route", None)
    bench.clock.turn(RETRY.first)
    told_to_wait = threading.Semaphore(0)
    asked = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        asked.set()
        for _ in range(workers - 1):
            assert told_to_wait.acquire(timeout=20)
        peer.send(http(b"", "503 Service Unavailable"))

    def worker(client: PlatformClient) -> None:
        if lane.step(client, bench.stop, lambda _: None) > 0:
            told_to_wait.release()

    with RawServer(script) as server, client_of(server) as client:
        threads = [threading.Thread(target=worker, args=(client,)) for _ in range(workers)]
        threads[0].start()
        assert asked.wait(20)
        for thread in threads[1:]:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.connections == 1


def test_gateways_that_lost_the_platform_together_do_not_come_back_together() -> None:
    clock = HandClock()
    draw = random.Random(3).random
    gates = [Gate(RETRY, clock, lambda: None, draw) for _ in range(200)]
    for _ in range(10):
        clock.turn(RETRY.longest)
        for gate in gates:
            assert gate.admit() == 0
            gate.failed(Shut.OUTAGE, "down", None)
    waits = [gate.admit() for gate in gates]
    tenths = Counter(int(wait / RETRY.longest * 10) for wait in waits)
    assert set(tenths) == set(range(10))
    assert max(tenths.values()) < len(gates) / 4


@pytest.mark.parametrize("told", [Record, File, Report, Calls])
@pytest.mark.parametrize("code", ["429", "503"])
def test_a_pause_that_the_platform_asks_for_binds_everybody(
    told: type[Subject], code: str, bench: Bench
) -> None:
    everybody: dict[type[Subject], Subject] = {File: File(bench)}
    everybody |= {kind: kind(bench) for kind in (Record, Report, Calls)}
    bench.platform.faults.set("http", f"{code};retry-after=300", times=1)
    everybody[told].attempt(bench.client)
    asked = sum(bench.platform.requests.values())
    for _ in range(299):
        bench.clock.turn(1.0)
        for subject in everybody.values():
            subject.attempt(bench.client)
    assert sum(bench.platform.requests.values()) == asked
    bench.clock.turn(1.0 + 300 * LATER)
    for kind in (Report, Record, File, Calls):
        everybody[kind].attempt(bench.client)
        assert everybody[kind].done()


# Items that are refused


def test_refused_items_back_off_one_by_one(bench: Bench) -> None:
    picky = Picky(spoilt=lambda number: True)
    lane = bench.records()
    with RawServer(picky) as server, client_of(server) as client:
        old = add_call(bench.ledger)
        waits = []
        for _ in range(4):
            lane.step(client, bench.stop, lambda _: None)
            waits.append(bench.item(old).due - bench.clock.monotonic())
            bench.clock.turn(waits[-1])
        assert waits == [2, 4, 8, 16]
        new = add_call(bench.ledger, a_call(start=NOON - 30))
        lane.step(client, bench.stop, lambda _: None)
        assert bench.item(new).due - bench.clock.monotonic() == 2
    assert bench.gate.view().shut is None


def test_an_item_refused_often_is_shown_and_still_tried(bench: Bench) -> None:
    picky = Picky(spoilt=lambda number: True)
    lane = bench.records()
    number = add_call(bench.ledger)
    with RawServer(picky) as server, client_of(server) as client:
        while bench.ledger.queue.counts(RETRY.attention_after).attention == 0:
            assert picky.asked[number] < RETRY.attention_after
            bench.clock.turn(RETRY.longest)
            lane.step(client, bench.stop, lambda _: None)
        assert picky.asked[number] == RETRY.attention_after
        asked = picky.asked[number]
        work(bench, lane, client, DAY)
        assert picky.asked[number] - asked >= DAY / RETRY.longest - 1
        picky.spoilt = lambda number: False
        work(bench, lane, client, RETRY.longest)
    assert picky.booked == {number: 1}
    assert bench.ledger.queue.counts(RETRY.attention_after).attention == 0


# Nothing blocks its neighbour


@pytest.mark.timeout(60 + BACKLOG / 10)
@pytest.mark.parametrize(
    ("answer", "count"),
    [
        pytest.param(REFUSED, BACKLOG, id="refused"),
        pytest.param(FAILED, BACKLOG // 5, id="HTTP 500"),
        pytest.param(None, BACKLOG // 5, id="connection cut"),
        pytest.param(b"", BACKLOG // 25, id="stall"),
    ],
)
def test_one_spoilt_item_in_ten_holds_up_none_of_the_others(
    answer: bytes | None, count: int, bench: Bench
) -> None:
    numbers = backlog(bench, count)
    spoilt = set(numbers[::10])
    picky = Picky(spoilt.__contains__, answer)
    lane = bench.records()
    begun = bench.clock.monotonic()
    with RawServer(picky) as server, client_of(server, SHORT if answer == b"" else 10) as client:
        while picky.booked.total() < count - len(spoilt):
            assert lane.step(client, bench.stop, lambda _: None) == 0
        assert bench.clock.monotonic() == begun, "no wait at all"
        assert picky.booked == Counter(set(numbers) - spoilt), "once each"
        assert waiting(bench) == len(spoilt)
        # A cut connection that was kept alive is tried once more on a fresh one.
        most = 2 if answer is None else 1
        assert max(picky.asked[number] for number in spoilt) <= most
        assert not lane.pace.slow
        # What the platform takes at last arrives without anybody's help.
        picky.spoilt = lambda number: False
        work(bench, lane, client, RETRY.longest * 2)
    assert waiting(bench) == 0
    assert picky.booked == Counter(numbers)


@pytest.mark.parametrize("answer", [REFUSED, FAILED], ids=["refused", "HTTP 500"])
def test_a_run_of_spoilt_items_does_not_hide_the_others(answer: bytes, jittery: Bench) -> None:
    """As where the platform refuses all calls of a port, or of a day."""
    numbers = backlog(jittery, 150)
    spoilt = set(numbers[:100])
    picky = Picky(spoilt.__contains__, answer)
    lane = jittery.records()
    with RawServer(picky) as server, client_of(server) as client:
        work(jittery, lane, client, 600)
    assert picky.booked == Counter(set(numbers) - spoilt)


def test_a_new_call_is_booked_soon_though_the_platform_refuses_the_whole_backlog(
    jittery: Bench,
) -> None:
    spoilt = set(backlog(jittery, 200))
    picky = Picky(spoilt.__contains__)
    lane = jittery.records()
    with RawServer(picky) as server, client_of(server) as client:
        work(jittery, lane, client, HOUR)
        assert lane.pace.slow
        new = add_call(jittery.ledger, a_call(start=NOON + 5))
        work(jittery, lane, client, LONGEST_PACE * 5)
    assert picky.booked == {new: 1}


def test_items_that_stall_give_way_to_new_ones(bench: Bench) -> None:
    """Each costs a whole time-out: if the overdue ones went first, nothing else would."""
    spoilt = set(backlog(bench, OUTAGE_AFTER * 2))
    picky = Picky(spoilt.__contains__, FAILED)
    lane = bench.records()
    with RawServer(picky) as server, client_of(server) as client:
        for _ in range(OUTAGE_AFTER * 2):
            lane.step(client, bench.stop, lambda _: None)
            bench.gate.answered()
        bench.clock.turn(DAY)
        new = add_call(bench.ledger, wait=1.0)
        bench.clock.turn(2.0)
        lane.step(client, bench.stop, lambda _: None)
    assert picky.booked == {new: 1}


# A platform that refuses everything


def test_a_platform_that_refuses_everything_sees_no_storm(bench: Bench) -> None:
    numbers = backlog(bench, 200)
    picky = Picky(spoilt=lambda number: True)
    lane = bench.records()
    with RawServer(picky) as server, client_of(server) as client:
        work(bench, lane, client)
        assert picky.asked.total() == SLOW_AFTER
        assert lane.pace.slow
        assert "the last 20 records" in bench.gate.view().refusing
        work(bench, lane, client, HOUR)
        # Waits of 2, 4, 8, 16, 32 and then 60 seconds.
        assert picky.asked.total() <= SLOW_AFTER + 5 + HOUR / LONGEST_PACE
        assert picky.asked.total() >= HOUR / LONGEST_PACE
        assert max(picky.asked.values()) <= 1, "none is singled out"
        assert bench.gate.view().shut is None, "the platform is there, and polls go on"
        picky.spoilt = lambda number: False
        work(bench, lane, client, LONGEST_PACE)
        assert bench.gate.view().refusing == ""
        work(bench, lane, client, RETRY.first)
    assert picky.booked == Counter(numbers)


def test_a_few_refused_items_slow_nothing_down(bench: Bench) -> None:
    backlog(bench, SLOW_AFTER - 1)
    picky = Picky(spoilt=lambda number: True)
    lane = bench.records()
    with RawServer(picky) as server, client_of(server) as client:
        work(bench, lane, client, HOUR)
    assert not lane.pace.slow
    assert bench.gate.view().refusing == ""
