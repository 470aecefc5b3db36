"""Polls for messages and calls, over real HTTP, by a clock that the test turns."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from agent.boards.events import ChannelState, LineState
from agent.clock import TrustedClock
from agent.delivery.gate import OUTAGE_AFTER, Gate, Shut
from agent.errands import Errands
from agent.functions import Functions
from agent.ledger import Ledger, open_ledger
from agent.ledger.rows import ErrandState
from agent.periods import FIRST_WITHIN, JITTER
from agent.platform.client import PlatformClient
from agent.polls import Poller
from agent.settings import Platform, Polls, Retry
from agent.simulation.platform import SimulatedPlatform
from agent.switchboard import Switchboard
from tests.clocks import HandClock
from tests.rooms import TurningBell, unwritable

SATELLITE = "02:00:00:00:00:01"
LONGEST_REQUEST = 100.0


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[SimulatedPlatform]:
    with SimulatedPlatform(tmp_path / "platform") as running:
        yield running


class Office:
    """A poller with all that it needs, run for so many waits in the test's own thread."""

    def __init__(self, folder: Path, platform: SimulatedPlatform, clock: HandClock) -> None:
        self.clock = clock
        self.state = folder / "state"
        self.state.mkdir()
        self.ledger: Ledger = open_ledger(self.state, clock)
        self.dialled: list[str] = []
        self.gate = Gate(Retry(), clock, lambda: None, lambda: 0.5)
        self.asked: list[tuple[str, float]] = []
        self.platform = platform
        self.signs_of_life: list[float] = []
        self.message_command = "getMessageList"
        switchboard = Switchboard(
            {1: 8},
            self.ledger,
            clock,
            TrustedClock(clock, lambda: True),
            15.0,
            on_change=lambda: None,
            on_calls=lambda: None,
            on_dial_answer=lambda board, answer: None,
        )
        switchboard.link(1, True, clock.stamp())
        ports = [ChannelState(channel, LineState.ON_HOOK) for channel in range(1, 9)]
        switchboard.hear(1, ports, clock.stamp())
        self.errands = Errands(
            self.ledger,
            switchboard,
            clock,
            60.0,
            Functions(self.ledger, clock, {"report": lambda parameters: "done"}, {}),
            dial=lambda board, channel, phone: self.dialled.append(phone),
            shown=lambda phone: phone,
        )

    def run(
        self,
        polls: Polls,
        rounds: int,
        draw: Callable[[], float] = lambda: 0.0,
        between: list[Callable[[], None]] | None = None,
    ) -> list[float]:
        """Poll until so many waits are over; return the seconds of each wait."""
        stop = threading.Event()
        poller = Poller(
            polls,
            self.message_command,
            self.errands,
            self.gate,
            self.clock,
            draw,
            read_identity=lambda: None,
        )
        bell = TurningBell(self.clock, stop, rounds)
        bell.between = between or []
        poller.bell = bell
        settings = Platform(url=self.platform.url, message_command=self.message_command)
        client = PlatformClient(settings, lambda: SATELLITE, self.clock)
        begun = self.clock.monotonic()

        def alive(_seconds: float) -> None:
            self.signs_of_life.append(_seconds)
            if _seconds == LONGEST_REQUEST:
                self.asked.append(("", self.clock.monotonic() - begun))

        try:
            poller.run(client, LONGEST_REQUEST, stop, alive)
        finally:
            client.close()
        return bell.waits

    @property
    def moments(self) -> list[float]:
        """Seconds since the start at which something was due."""
        return [moment for _, moment in self.asked]


@pytest.fixture
def office(tmp_path: Path, platform: SimulatedPlatform, clock: HandClock) -> Iterator[Office]:
    made = Office(tmp_path, platform, clock)
    yield made
    made.ledger.close()


def test_each_list_is_asked_for_at_its_own_interval(office: Office) -> None:
    office.run(Polls(messages=10, calls=5), rounds=5)
    # calls at 0, 5, 10, 15, 20; messages at 0, 10, 20
    assert office.platform.requests["calls"] == 5
    assert office.platform.requests["messages"] == 3
    assert office.platform.violations == []


@pytest.mark.parametrize(
    ("polls", "calls", "messages"),
    [(Polls(messages=0, calls=5), 4, 0), (Polls(messages=5, calls=0), 0, 4)],
)
def test_an_interval_of_nought_turns_a_poll_off(
    office: Office, polls: Polls, calls: int, messages: int
) -> None:
    office.run(polls, rounds=4)
    assert office.platform.requests["calls"] == calls
    assert office.platform.requests["messages"] == messages


def test_with_both_polls_off_the_thread_sleeps_and_asks_nothing(office: Office) -> None:
    waits = office.run(Polls(messages=0, calls=0), rounds=2)
    assert waits == [3600.0, 3600.0]
    assert not office.platform.requests


def test_a_poll_may_come_earlier_by_the_jitter_and_never_later(office: Office) -> None:
    drawn = iter([1.0, 0.0, 0.5, 1.0, 0.25, 0.75, 0.0, 0.0])
    office.run(Polls(messages=0, calls=10), rounds=7, draw=lambda: next(drawn))
    moments = office.moments
    assert moments[0] == pytest.approx(FIRST_WITHIN)
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert gaps == pytest.approx([10 - 10 * JITTER * part for part in (0, 0.5, 1, 0.25, 0.75)])


def test_a_list_asked_for_half_as_often_soon_costs_no_waking_up_of_its_own(office: Office) -> None:
    waits = office.run(Polls(messages=10, calls=5), rounds=100, draw=random.Random(7).random)
    messages = office.platform.requests["messages"]
    together = len(office.moments) - len(set(office.moments))
    assert messages > 40
    assert together > messages * 3 / 4
    assert max(waits) <= 5


def test_two_lists_may_come_by_one_command(office: Office) -> None:
    office.message_command = "getCallList"
    office.run(Polls(messages=10, calls=5), rounds=3)
    assert office.platform.requests["calls"] == 3 + 2


def test_gateways_started_together_do_not_ask_together(office: Office) -> None:
    office.run(Polls(messages=0, calls=10), rounds=2, draw=lambda: 0.5)
    assert office.moments[0] == pytest.approx(FIRST_WITHIN * 0.5)


def test_calls_and_messages_are_handed_to_the_errands(office: Office) -> None:
    office.platform.send_call(SATELLITE, 3, "13800138000")
    office.platform.send_message(
        SATELLITE, {"status": "51", "memo": {"functionname": "report", "paramvalue": ""}}
    )
    office.run(Polls(messages=10, calls=5), rounds=1)
    assert office.dialled == ["13800138000"]
    states = {errand.kind: errand.state for errand in office.ledger.errands.recent(10)}
    assert states == {"dial": ErrandState.ORDERED, "function": ErrandState.DONE}
    assert office.gate.view().last_good == office.clock.wall() - 5


def test_the_command_for_messages_is_the_configured_one(office: Office) -> None:
    office.message_command = "getMessageList1125"
    office.platform.send_call(SATELLITE, 3, "13800138000")
    office.run(Polls(messages=10, calls=0), rounds=1)
    assert office.dialled == ["13800138000"]
    assert office.ledger.errands.recent(1)[0].source == "getMessageList1125"


@pytest.mark.parametrize("shut", list(Shut))
def test_while_the_gate_is_shut_nothing_is_asked_and_afterwards_it_goes_on(
    office: Office, shut: Shut
) -> None:
    office.gate.failed(shut, "down", None)
    open_again: list[Callable[[], None]] = [lambda: None, lambda: None, office.gate.answered]
    office.run(Polls(messages=0, calls=5), rounds=3, between=open_again)
    assert not office.platform.requests
    office.run(Polls(messages=0, calls=5), rounds=1)
    assert office.platform.requests["calls"] == 1


def test_a_poll_that_fails_shuts_the_gate_and_the_others_rest_too(office: Office) -> None:
    office.platform.faults.set("calls:http", 503)
    office.run(Polls(messages=5, calls=5), rounds=3)
    view = office.gate.view()
    assert view.shut is Shut.OUTAGE
    assert "503" in view.reason
    assert office.platform.requests["calls"] == 1
    assert office.platform.requests["messages"] == 0


def test_a_list_that_the_platform_does_not_have_holds_up_nothing_else(office: Office) -> None:
    office.platform.faults.set("calls:http", 404)
    office.run(Polls(messages=0, calls=5), rounds=OUTAGE_AFTER * 3)
    assert office.gate.view().shut is None
    assert office.platform.requests["calls"] == OUTAGE_AFTER * 3


def test_an_account_that_is_refused_pauses_everything(office: Office) -> None:
    office.platform.faults.set("calls:http", 401)
    office.run(Polls(messages=0, calls=5), rounds=3)
    assert office.gate.view().shut is Shut.CONFIGURATION
    assert office.platform.requests["calls"] == 1


def test_a_refusal_is_an_answer_and_the_polls_go_on(office: Office) -> None:
    office.platform.faults.set("calls:status", 3003)
    office.run(Polls(messages=0, calls=5), rounds=3)
    assert office.gate.view().shut is None
    assert office.gate.view().last_good is not None
    assert office.platform.requests["calls"] == 3


@pytest.mark.parametrize("fault", ["calls:html", "calls:array", "calls:wrong-types", "calls:empty"])
def test_an_answer_that_is_no_list_dials_nothing_and_harms_nothing(
    office: Office, fault: str
) -> None:
    office.platform.faults.set(fault)
    office.run(Polls(messages=0, calls=5), rounds=3)
    assert office.dialled == []


def test_a_full_ledger_stops_no_poll_and_nothing_is_dialled_unwritten(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.platform.send_call(SATELLITE, 3, "13800138000")
    with unwritable(office.state):
        office.run(Polls(messages=0, calls=5), rounds=3)
    assert office.dialled == []
    assert office.platform.requests["calls"] == 3
    assert "getCallList: what it lists can't be taken" in caplog.text


def test_a_poller_says_when_it_will_be_heard_of_again(office: Office) -> None:
    office.run(Polls(messages=0, calls=5), rounds=2)
    assert office.signs_of_life == [
        LONGEST_REQUEST,
        5 + LONGEST_REQUEST,
        LONGEST_REQUEST,
        5 + LONGEST_REQUEST,
    ]
