"""Functions that messages name: each runs once or not at all, in its turn, and says how it went."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.function_queue import LEDGER_AGAIN, LONGEST_WAIT, MARGIN, REBOOT_AGAIN, FunctionQueue
from agent.functions import STALE_AFTER, BuiltIn, FunctionRefused, Functions, retried
from agent.ledger import Ledger, LedgerError, open_ledger
from agent.ledger.errands import FUNCTION, MOST_FUNCTIONS_WAITING
from agent.ledger.rows import Errand, ErrandState
from agent.parts import Part
from agent.platform.listing import FunctionMessage, read_listing
from agent.programs import Command, Ended, Ending
from agent.settings import Functions as Section
from tests.clocks import HandClock
from tests.gateway import wait_until
from tests.programs import functions_directory, script
from tests.rooms import TurningBell, unwritable

SATELLITE = "02:00:00:00:00:01"
LIST = "getMessageList"
PHONE = "13800138000"


def message(name: str, parameters: str = "", **more: object) -> FunctionMessage:
    memo = {"functionname": name, "paramvalue": parameters}
    (entry,) = read_listing([{"status": "51", "memo": memo, **more}]).entries
    assert isinstance(entry, FunctionMessage)
    return entry


class Office:
    """Functions and their queue on a real ledger; turns are taken when the test says so."""

    def __init__(self, folder: Path, clock: HandClock) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        self.programs = functions_directory(folder)
        self.mark = folder / "mark"
        self.clock = clock
        self.section = Section(directory=str(self.programs), aliases={"clean": "hello"})
        self.stop = threading.Event()
        self.changes = 0
        self.built_in: dict[str, BuiltIn] = {"report": lambda parameters: "a report"}
        self.ledger: Ledger = open_ledger(self.state, clock)
        self.make()

    def make(self, **section: object) -> None:
        """Make both anew, as a reload does."""
        values = {name: getattr(self.section, name) for name in self.section.__struct_fields__}
        self.section = Section(**{**values, **section})
        self.queue = FunctionQueue(
            self.section,
            self.ledger,
            self.clock,
            satellite=lambda: SATELLITE,
            shown=lambda text: text.replace(PHONE, "<phone>"),
            on_change=self._change,
        )
        self.functions = Functions(
            self.ledger, self.clock, self.built_in, self.section.aliases, self.queue
        )

    def start_anew(self) -> None:
        """The agent ends at once, as by a power cut, and starts on the same ledger."""
        self.ledger.close()
        self.ledger = open_ledger(self.state, self.clock)
        self.make()
        self.functions.recover(new_boot=self.ledger.new_boot)
        self.ledger.deliveries.begin_waiting(0, new_boot=self.ledger.new_boot)

    def take(self, *messages: FunctionMessage) -> None:
        with self.ledger.transaction():
            then = [self.functions.take(LIST, each) for each in messages]
        for act in then:
            act()

    def turns(self, rounds: int = 1) -> list[float]:
        """Run the queue until it has waited so often; return the seconds of each wait."""
        stop = threading.Event()
        bell = TurningBell(self.clock, stop, rounds)
        self.queue.bell = bell
        self.queue.run(stop, lambda seconds: None)
        return bell.waits

    def found(self) -> list[Errand]:
        return list(reversed(self.ledger.errands.recent(1000)))

    def only(self) -> Errand:
        (errand,) = self.found()
        return errand

    def marks(self, word: str = "ran") -> str:
        """A line of a script that notes that it ran."""
        return f"echo {word} >>{self.mark}"

    @property
    def marked(self) -> list[str]:
        return self.mark.read_text("utf-8").split() if self.mark.exists() else []

    def _change(self) -> None:
        self.changes += 1


@pytest.fixture
def clock() -> HandClock:
    return HandClock(monotonic_time=REBOOT_AGAIN * 2)


@pytest.fixture
def office(tmp_path: Path, clock: HandClock) -> Iterator[Office]:
    made = Office(tmp_path, clock)
    yield made
    made.ledger.close()


# Programs.


def test_a_message_runs_the_program_it_names_and_tells_it_what_it_says(office: Office) -> None:
    script(office.programs, "hello", "cat; env | grep SMARTTEL | sort")
    office.take(message("hello", "a=b&c=d%20e&a=z", mdcWan=3, mdcCode="2", phone="555"))
    assert office.only().state is ErrandState.WAITING
    office.turns()
    errand = office.only()
    assert (errand.state, errand.name) == (ErrandState.DONE, "hello")
    assert errand.outcome.startswith("exit status 0 after 0.0 s: SMARTTEL_SERIAL=2")


def test_the_variables_of_a_program_name_function_message_gateway_and_port(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "agent")
    script(office.programs, "hello", "env | grep SMARTTEL | sort")
    office.take(message("clean", "a=b", mdcWan=3, mdcCode="2", phone="555"))
    office.turns()
    for said in (
        "SMARTTEL_CHANNEL=3",
        "SMARTTEL_FUNCTION=hello",
        f"SMARTTEL_MESSAGE={office.only().id}",
        'SMARTTEL_PARAMETERS={"a": "b"}',
        "SMARTTEL_PHONE=555",
        f"SMARTTEL_SATELLITE={SATELLITE}",
        "SMARTTEL_SERIAL=2",
    ):
        assert f"function clean says: {said}" in caplog.messages


def test_a_program_is_marked_in_the_ledger_before_it_starts_and_one_runs_at_a_time(
    office: Office,
) -> None:
    script(
        office.programs,
        "hello",
        f"{office.marks()}; while [ ! -e {office.mark}.go ]; do sleep 0.02; done",
    )
    office.take(message("hello", "n=1"), message("hello", "n=2"))
    part = Part("functions", office.queue.run, office.clock, wake=office.queue.wake)
    part.start()
    wait_until(lambda: bool(office.marked), "the first runs")
    assert [one.state for one in office.found()] == [ErrandState.ORDERED, ErrandState.WAITING]
    assert [one.standing for one in office.found()] == ["running", "waiting for its turn"]
    Path(f"{office.mark}.go").touch()
    done = [ErrandState.DONE, ErrandState.DONE]
    wait_until(lambda: [one.state for one in office.found()] == done, "both have run")
    part.ask_to_stop()
    assert part.ended(10)
    assert len(office.marked) == 2


def test_a_program_that_was_running_as_the_agent_ended_is_interrupted_and_not_repeated(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(BaseException):
        pass

    def cut(_errand: Errand, _stop: threading.Event) -> None:
        raise PowerCut

    script(office.programs, "hello", office.marks())
    office.take(message("hello"))
    monkeypatch.setattr(office.queue, "_program", cut)
    with pytest.raises(PowerCut):
        office.turns()
    office.start_anew()
    office.turns()
    assert office.marked == []
    assert office.only().state is ErrandState.FAILED
    assert office.only().outcome == "interrupted as the agent ended; not repeated"


def test_a_program_that_waited_as_the_agent_ended_is_run_after_it(office: Office) -> None:
    script(office.programs, "hello", office.marks())
    office.take(message("hello"))
    office.start_anew()
    office.turns()
    assert len(office.marked) == 1


def test_a_program_that_waited_as_the_power_failed_is_not_run_later(office: Office) -> None:
    script(office.programs, "hello", office.marks())
    office.take(message("hello"))
    office.clock.start_anew()
    office.start_anew()
    office.turns()
    assert office.marked == []
    assert office.only().state is ErrandState.EXPIRED


def test_a_program_whose_turn_does_not_come_in_an_hour_is_not_run(office: Office) -> None:
    script(office.programs, "hello", office.marks())
    office.take(message("hello"))
    office.clock.turn(STALE_AFTER)
    office.turns()
    assert office.marked == []
    assert office.only().state is ErrandState.EXPIRED


def test_a_reload_without_programs_lets_none_wait_for_ever(office: Office) -> None:
    office.take(message("hello"))
    office.make(directory=None)
    assert not office.queue.needed
    office.functions.recover(new_boot=False)
    assert office.only().state is ErrandState.FAILED


def test_a_reload_lets_what_waits_wait_on(office: Office) -> None:
    script(office.programs, "hello", office.marks())
    office.take(message("hello"))
    office.make(time_limit=5.0)
    office.functions.recover(new_boot=False)
    office.turns()
    assert len(office.marked) == 1


def test_more_programs_than_may_wait_fail_and_the_first_ones_stay(office: Office) -> None:
    office.take(*(message("hello", f"n={n}") for n in range(MOST_FUNCTIONS_WAITING + 3)))
    states = [one.state for one in office.found()]
    assert states == [ErrandState.WAITING] * MOST_FUNCTIONS_WAITING + [ErrandState.FAILED] * 3
    assert office.found()[-1].outcome == "20 functions wait already"


def test_a_program_that_is_not_there_is_an_unknown_function(office: Office) -> None:
    office.take(message("nothing"))
    office.turns()
    assert office.only().state is ErrandState.UNKNOWN
    assert office.only().outcome == "no function and no program has this name"


@pytest.mark.parametrize("name", ["..", ".hidden", "-c", "."])
def test_a_name_that_no_program_may_have_is_unknown_at_once(office: Office, name: str) -> None:
    office.take(message(name))
    assert office.only().state is ErrandState.UNKNOWN


def test_a_program_that_is_refused_says_why_and_the_next_one_runs(office: Office) -> None:
    script(office.programs, "unsafe", office.marks("unsafe")).chmod(0o777)
    script(office.programs, "hello", office.marks("hello"))
    (office.programs / "text").write_text("no program")
    (office.programs / "text").chmod(0o755)
    office.take(message("unsafe"), message("text"), message("hello"))
    office.turns()
    unsafe, text, hello = office.found()
    assert (unsafe.state, hello.state) == (ErrandState.FAILED, ErrandState.DONE)
    assert unsafe.outcome == "not run: unsafe can be written by others than its owner"
    assert text.outcome.startswith("not started: it is neither a program of this machine")
    assert office.marked == ["hello"]


def test_a_directory_that_vanished_is_told_and_runs_nothing(office: Office) -> None:
    office.take(message("hello"))
    office.programs.rmdir()
    office.turns()
    assert office.only().state is ErrandState.FAILED
    assert "No such file" in office.only().outcome


def test_a_program_that_fails_says_so_with_its_last_words(office: Office) -> None:
    script(office.programs, "hello", r"echo first; printf 'it is \033[2Jbroken\r\n\n'; exit 3")
    office.take(message("hello"))
    office.turns()
    assert office.only().state is ErrandState.FAILED
    assert office.only().outcome == "exit status 3 after 0.0 s: it is \\x1b[2Jbroken"


def test_numbers_that_a_program_prints_are_shown_as_the_log_may_show_them(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "agent")
    script(office.programs, "hello", f"echo called {PHONE}")
    office.take(message("hello"))
    office.turns()
    assert "called <phone>" in caplog.text
    assert PHONE not in caplog.text
    assert PHONE not in office.only().outcome


def test_a_built_in_function_wins_over_a_program_of_its_name(office: Office) -> None:
    script(office.programs, "report", office.marks())
    office.take(message("report"))
    office.turns()
    assert (office.only().state, office.only().outcome) == (ErrandState.DONE, "a report")
    assert office.marked == []


def test_a_change_is_told_when_a_program_begins_and_when_it_ends(office: Office) -> None:
    script(office.programs, "hello", "")
    office.take(message("hello"))
    office.changes = 0
    office.turns()
    assert office.changes == 2


# The ledger and the queue's thread.


def test_a_program_that_cannot_be_marked_is_not_run_until_it_can(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    script(office.programs, "hello", office.marks())
    office.take(message("hello"))
    with unwritable(office.state):
        assert office.turns() == [LEDGER_AGAIN]
    assert office.marked == []
    assert "the ledger can't be used" in caplog.text
    office.turns()
    assert len(office.marked) == 1


def test_an_outcome_that_the_ledger_does_not_take_is_written_down_later(office: Office) -> None:
    script(
        office.programs,
        "hello",
        f"{office.marks()}; while [ ! -e {office.mark}.go ]; do sleep 0.02; done",
    )
    office.take(message("hello"))
    turns = threading.Thread(target=office.turns)
    turns.start()
    wait_until(lambda: bool(office.marked), "it runs")
    fault = unwritable(office.state)
    fault.__enter__()
    Path(f"{office.mark}.go").touch()
    wait_until(lambda: bool(office.queue._journal._unwritten), "the outcome is there")
    assert office.only().state is ErrandState.ORDERED
    fault.__exit__(None, None, None)
    turns.join(20)
    office.turns()
    assert office.only().state is ErrandState.DONE
    assert len(office.marked) == 1


def test_a_message_that_cannot_be_written_down_is_not_obeyed(office: Office) -> None:
    with unwritable(office.state), pytest.raises(LedgerError):
        office.take(message("report"), message("hello"))
    assert office.found() == []


def test_where_nothing_is_asked_for_the_thread_sleeps(office: Office) -> None:
    beats: list[float] = []
    stop = threading.Event()
    office.queue.bell = TurningBell(office.clock, stop, 1)
    office.queue.run(stop, beats.append)
    assert office.queue.bell.waits == [LONGEST_WAIT]
    assert beats[-1] == LONGEST_WAIT + MARGIN


def test_a_program_that_takes_its_whole_time_is_no_hung_thread(office: Office) -> None:
    beats: list[float] = []
    stop = threading.Event()
    office.queue.bell = TurningBell(office.clock, stop, 1)
    office.queue.run(stop, beats.append)
    assert beats[0] > office.section.time_limit


# Reboot.


@pytest.fixture
def rebooting(office: Office) -> Office:
    command = script(office.programs, "restart", office.marks("reboot"))
    office.make(reboot=True, reboot_command=(str(command), "now"))
    return office


def test_a_reboot_is_off_unless_configured_even_where_a_program_has_its_name(
    office: Office,
) -> None:
    script(office.programs, "reboot", office.marks())
    office.take(message("reboot"))
    office.turns()
    assert office.marked == []
    assert office.only().state is ErrandState.FAILED
    assert office.only().outcome == "switched off: functions.reboot is false"


def test_a_reboot_that_is_configured_runs_its_command_and_is_marked_before(
    rebooting: Office,
) -> None:
    asked = rebooting.clock.stamp()
    rebooting.take(message("reboot"))
    rebooting.turns()
    assert rebooting.marked == ["reboot"]
    assert (rebooting.only().state, rebooting.only().outcome) == (
        ErrandState.DONE,
        "the reboot was asked for",
    )
    assert rebooting.ledger.errands.last_reboot() == (asked, rebooting.clock.boot)


def test_a_reboot_needs_no_directory_of_programs(rebooting: Office) -> None:
    rebooting.make(directory=None, aliases={"restart": "reboot"})
    assert rebooting.queue.needed
    rebooting.take(message("restart"), message("hello"))
    rebooting.turns()
    assert rebooting.marked == ["reboot"]
    assert rebooting.found()[1].state is ErrandState.UNKNOWN


def test_a_reboot_that_fails_says_why(rebooting: Office) -> None:
    command = script(rebooting.programs, "restart", "echo Access denied; exit 1")
    rebooting.make(reboot_command=(str(command),))
    rebooting.take(message("reboot"))
    rebooting.turns()
    assert rebooting.only().outcome == "exit status 1 after 0.0 s: Access denied"
    rebooting.make(reboot_command=("/no/such/command",))
    rebooting.clock.turn(REBOOT_AGAIN)
    rebooting.take(message("reboot", "again=1"))
    rebooting.turns()
    assert rebooting.found()[1].outcome.startswith("functions.reboot_command not started")


def test_messages_reboot_the_gateway_once_in_an_hour_whatever_they_say(rebooting: Office) -> None:
    rebooting.take(*(message("reboot", f"n={number}") for number in range(15)))
    rebooting.turns()
    assert rebooting.marked == ["reboot"]
    refused = rebooting.found()[-1]
    assert refused.state is ErrandState.FAILED
    assert refused.outcome.startswith("refused: the gateway was started or rebooted 0 min ago")
    rebooting.clock.turn(REBOOT_AGAIN - LONGEST_WAIT - 1)
    rebooting.take(message("reboot", "n=20"))
    rebooting.turns()
    assert len(rebooting.marked) == 1
    rebooting.clock.turn(REBOOT_AGAIN)
    rebooting.take(message("reboot", "n=21"))
    rebooting.turns()
    assert len(rebooting.marked) == 2


@pytest.mark.parametrize("wall", [-1e9, -3600.0, -1.0, 0.0, 1800.0, 7200.0, 1e9])
def test_no_clock_that_jumps_over_a_boot_reboots_the_gateway_again(
    rebooting: Office, wall: float
) -> None:
    rebooting.take(message("reboot"))
    rebooting.turns()
    rebooting.clock.jump(wall)
    rebooting.clock.start_anew(up=REBOOT_AGAIN - 1)
    rebooting.start_anew()
    rebooting.take(message("reboot"))
    rebooting.turns()
    assert len(rebooting.marked) == 1
    rebooting.clock.jump(REBOOT_AGAIN)
    rebooting.clock.turn(REBOOT_AGAIN)
    rebooting.take(message("reboot"))
    rebooting.turns()
    assert len(rebooting.marked) == 2, "a wrong clock does not forbid it for ever"


def test_in_a_container_whose_host_has_long_been_up_the_wall_clock_tells_the_hour(
    rebooting: Office,
) -> None:
    rebooting.take(message("reboot"))
    rebooting.turns()
    rebooting.clock.start_anew(up=1e6)
    rebooting.start_anew()
    rebooting.clock.wall_time -= LONGEST_WAIT - 60
    rebooting.take(message("reboot"))
    rebooting.turns()
    assert len(rebooting.marked) == 1


def test_a_gateway_that_has_lost_its_ledger_does_not_reboot_for_ever(rebooting: Office) -> None:
    for number in range(5):
        rebooting.ledger.close()
        for path in rebooting.state.iterdir():
            path.unlink()
        rebooting.clock.start_anew(f"boot {number}")
        rebooting.start_anew()
        rebooting.take(message("reboot"))
        rebooting.turns()
    assert rebooting.marked == []


def test_a_reboot_under_way_as_the_gateway_went_down_was_done(rebooting: Office) -> None:
    rebooting.take(message("reboot"))
    rebooting.ledger.errands.move(rebooting.only().id, ErrandState.ORDERED)
    rebooting.clock.start_anew()
    rebooting.start_anew()
    assert (rebooting.only().state, rebooting.only().outcome) == (
        ErrandState.DONE,
        "the gateway was started anew",
    )


def test_a_reboot_under_way_as_only_the_agent_ended_was_interrupted(rebooting: Office) -> None:
    rebooting.take(message("reboot"))
    rebooting.ledger.errands.move(rebooting.only().id, ErrandState.ORDERED)
    rebooting.start_anew()
    assert rebooting.only().state is ErrandState.FAILED


def test_a_reboot_that_cannot_be_marked_does_not_happen(rebooting: Office) -> None:
    rebooting.take(message("reboot"))
    with unwritable(rebooting.state):
        rebooting.turns()
    assert rebooting.marked == []
    assert rebooting.ledger.errands.last_reboot() is None
    assert rebooting.only().state is ErrandState.WAITING


def test_a_stop_that_the_reboot_itself_brings_is_no_failure(rebooting: Office) -> None:
    command = script(rebooting.programs, "restart", f"{rebooting.marks()}; exec sleep 1000")
    rebooting.make(reboot_command=(str(command),))
    rebooting.take(message("reboot"))
    part = Part("functions", rebooting.queue.run, rebooting.clock, wake=rebooting.queue.wake)
    part.start()
    wait_until(lambda: bool(rebooting.marked), "the command runs")
    part.ask_to_stop()
    assert part.ended(10)
    assert rebooting.only().state is ErrandState.ORDERED, "the next start knows"


# Built-in functions.


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"item": "all"}, "all"),
        ({"item": " 7687658987667780097 "}, "7687658987667780097"),
        ({"callid": "7"}, "7"),
        ({"id": "7"}, "7"),
        ({"all": ""}, "all"),
        ({"7687": "", "why": "it hangs"}, "7687"),
        ({"item": "", "id": "7"}, "7"),
    ],
)
def test_what_is_tried_again_may_be_named_or_stand_alone(
    parameters: Mapping[str, str], name: str
) -> None:
    assert retried(parameters) == name


@pytest.mark.parametrize("parameters", [{}, {"": ""}, {"why": "it hangs"}])
def test_to_try_again_what_nobody_named_is_refused(parameters: Mapping[str, str]) -> None:
    with pytest.raises(FunctionRefused):
        retried(parameters)


def test_a_built_in_function_that_refuses_fails_with_its_words_alone(office: Office) -> None:
    def refuse(_parameters: Mapping[str, str]) -> str:
        raise FunctionRefused("not today")

    office.built_in["refuse"] = refuse
    office.take(message("refuse"))
    assert (office.only().state, office.only().outcome) == (ErrandState.FAILED, "not today")


def test_built_in_functions_need_no_thread(office: Office) -> None:
    office.make(directory=None)
    assert not office.queue.needed
    office.take(message("report"))
    assert office.only().state is ErrandState.DONE
    assert office.ledger.errands.unfinished(FUNCTION) == []


# Whatever happens.


class PowerCut(BaseException):
    """The agent ends at this instruction."""


class Bench:
    """In the place of a program: counts its runs, and lets the power fail before or after one."""

    longest = 1.0

    def __init__(self) -> None:
        self.ran: dict[str, int] = {}
        self.cut = ""

    def run(self, command: Command, _stop: threading.Event) -> Ended:
        if self.cut == "before":
            raise PowerCut
        number = (command.variables or {}).get("SMARTTEL_MESSAGE", "reboot")
        self.ran[number] = self.ran.get(number, 0) + 1
        if self.cut == "after":
            raise PowerCut
        return Ended(0, Ending.ITSELF, 0.1, "")


STEPS = st.lists(
    st.sampled_from(
        ["message", "message", "same message", "reboot", "turn", "turn", "cut before", "cut after"]
        + ["crash", "boot", "full", "mended", "minutes", "hour", "clock"]
    ),
    max_size=30,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_whatever_happens_each_message_runs_once_or_not_at_all(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    clock = HandClock(monotonic_time=REBOOT_AGAIN * 2)
    folder = tmp_path_factory.mktemp("office")
    office, bench = Office(folder, clock), Bench()
    script(office.programs, "hello", "")
    office.make(reboot=True)
    fault: AbstractContextManager[None] | None = None
    reboots: list[float] = []
    passed = 0.0

    def turn(cut: str = "") -> None:
        bench.cut = cut
        office.queue._runner = bench  # type: ignore[assignment]
        before = bench.ran.get("reboot", 0)
        try:
            while any(one.state is ErrandState.WAITING for one in office.found()):
                if office.queue._run_next(threading.Event()) is False:
                    break
        except PowerCut:
            office.start_anew()
        reboots.extend([passed] * (bench.ran.get("reboot", 0) - before))

    try:
        for number, step in enumerate(steps):
            try:
                if step == "message":
                    office.take(message("hello", f"n={number}"))
                elif step == "same message":
                    office.take(message("hello"))
                elif step == "reboot":
                    office.take(message("reboot", f"n={number}"))
                elif step == "turn":
                    turn()
                elif step.startswith("cut") and fault is None:
                    turn(step.removeprefix("cut "))
                elif step == "crash" and fault is None:
                    office.start_anew()
                elif step == "boot" and fault is None:
                    clock.start_anew(f"boot {number}")
                    office.start_anew()
            except LedgerError:
                assert fault is not None
            if step == "full" and fault is None:
                fault = unwritable(office.state)
                fault.__enter__()
            elif step == "mended" and fault is not None:
                fault.__exit__(None, None, None)
                fault = None
            elif step in {"minutes", "hour"}:
                passed += 600.0 if step == "minutes" else 3600.0
                clock.turn(600.0 if step == "minutes" else 3600.0)
            elif step == "clock":
                clock.jump(-7200.0 if number % 2 else 86_400.0)
        by_program = {name: times for name, times in bench.ran.items() if name != "reboot"}
        assert set(by_program.values()) <= {1}
        assert all(later - sooner >= REBOOT_AGAIN for sooner, later in pairwise(reboots))
        if fault is not None:
            fault.__exit__(None, None, None)
            fault = None
        office.start_anew()
        turn()
        assert office.ledger.errands.unfinished(FUNCTION) == []
    finally:
        if fault is not None:
            fault.__exit__(None, None, None)
        office.ledger.close()
