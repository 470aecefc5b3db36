"""A pool of one-port boxes is one board: each port has its own link, its state, its calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.boards.driver import DialRefused
from agent.boards.events import BoardHello, ChannelState, DialAnswer, LineState, Peer
from agent.boards.link import LinkView
from agent.boards.pool import pooled, renumbered
from agent.calls import Direction
from agent.clock import SystemClock, TrustedClock
from agent.ledger import Ledger, open_ledger
from agent.lines import Lines
from agent.settings import Board
from agent.simulation.board import SimulatedBoard
from tests.boards import until

PHONE = "13800138000"
UP = LinkView(2, "modem", "/dev/a", up=True, last_heard=10.0, frames=3, bad_frames=1)
DOWN = LinkView(2, "modem", "/dev/b", last_heard=20.0, frames=4, trouble="/dev/b vanished")


# One view of several links.


def test_a_pool_is_up_where_all_its_links_are() -> None:
    view = pooled({1: UP, 4: UP})
    assert (view.up, view.trouble, view.port) == (True, "", "/dev/a, /dev/a")
    assert (view.frames, view.bad_frames) == (6, 2)
    assert view.hears(1)
    assert view.hears(4)


def test_a_pool_with_a_link_down_says_which_and_hears_the_others() -> None:
    view = pooled({1: UP, 4: DOWN, 5: LinkView(2, "modem", "/dev/c")})
    assert not view.up
    assert view.trouble == "port 4: /dev/b vanished; port 5: nothing is heard on /dev/c"
    assert (view.last_heard, view.frames) == (20.0, 7)
    assert [view.hears(port) for port in (1, 4, 5)] == [True, False, False]


def test_what_a_box_says_of_its_port_is_said_of_the_pools() -> None:
    hello = BoardHello(2, 1, "x")
    state, answer = ChannelState(1, LineState.RINGING), DialAnswer(1, True)
    said = renumbered([hello, state, answer, ChannelState(2, LineState.ON_HOOK)], 7)
    assert said == [hello, ChannelState(7, LineState.RINGING), DialAnswer(7, True)]


# Two modems on real pseudo-terminals.


class Pool:
    """A pool of two modems as ports 1 and 3 of board 2, and the lines that hear them."""

    def __init__(self, folder: Path, ledger: Ledger, clock: SystemClock) -> None:
        self.modems = {
            port: SimulatedBoard(folder / f"modem{port}", driver="modem") for port in (1, 3)
        }
        self.answers: list[tuple[int, DialAnswer]] = []
        self.links: list[tuple[int, tuple[int, ...], bool]] = []
        self.ledger = ledger
        self.lines = Lines(
            [
                Board(
                    serial=2,
                    driver="modem",
                    channels={str(port): modem.port for port, modem in self.modems.items()},
                    options={"handset": "yes"},
                )
            ],
            15.0,
            ledger,
            clock,
            TrustedClock(clock, lambda: True),
            on_change=lambda: None,
            on_calls=lambda: None,
            on_dial_answer=lambda board, answer: self.answers.append((board, answer)),
            on_link=self._link,
        )

    def _link(self, board: int, channels: Sequence[int], up: bool) -> None:
        self.links.append((board, tuple(channels), up))

    @property
    def view(self) -> LinkView:
        (view,) = self.lines.views()
        return view

    def states(self) -> dict[int, LineState | None]:
        return {view.channel: view.state for view in self.lines.switchboard.channels(2)}

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        until(condition, f"{what}; ports: {self.states()}, {self.view}")


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    """Both modems set up, both ports idle."""
    clock = SystemClock()
    with ExitStack() as stack:
        ledger = open_ledger(tmp_path, clock)
        stack.callback(ledger.close)
        made = Pool(tmp_path, ledger, clock)
        for modem in made.modems.values():
            stack.enter_context(modem)
        for part in made.lines.parts:
            part.start()
            stack.callback(_end, part.ask_to_stop, part.ended)
        made.wait_for(
            lambda: all(made.lines.switchboard.idle(2, port) for port in (1, 3)), "idle ports"
        )
        yield made


def _end(ask: Callable[[], None], ended: Callable[[float], bool]) -> None:
    ask()
    assert ended(20.0)


def test_each_modem_of_a_pool_is_a_port_with_calls_of_its_own(pool: Pool) -> None:
    assert pool.states() == {1: LineState.ON_HOOK, 3: LineState.ON_HOOK}
    assert pool.view.up
    assert sorted(pool.links) == [(2, (1,), True), (2, (3,), True)]
    pool.modems[3].ring(1, PHONE)
    pool.wait_for(lambda: pool.states()[3] is LineState.RINGING, "the ringing")
    pool.modems[3].answer(1)
    pool.wait_for(lambda: pool.states()[3] is LineState.IN_CALL, "the answer")
    pool.modems[3].hang_up(1)
    pool.wait_for(lambda: pool.states()[3] is LineState.ON_HOOK, "the end")
    (stored,) = pool.ledger.calls.around(0.0, 1e11)
    call = stored.call
    assert (call.board, call.channel, call.phone) == (2, 3, PHONE)
    assert call.direction is Direction.IN


def test_a_call_is_placed_by_the_modem_whose_port_is_named(pool: Pool) -> None:
    pool.lines.dial(2, 3, PHONE)
    pool.wait_for(lambda: bool(pool.answers), "the answer")
    assert pool.answers == [(2, DialAnswer(3, True))]
    assert [dial.phone for dial in pool.modems[3].dials] == [PHONE]
    assert pool.modems[1].dials == []
    view = pool.lines.switchboard.channels(2)[1]
    assert (view.state, view.peer) == (LineState.IN_CALL, Peer.OUTGOING)


def test_a_port_without_a_modem_dials_nothing(pool: Pool) -> None:
    with pytest.raises(DialRefused, match="board 2 has no port 2"):
        pool.lines.dial(2, 2, PHONE)


def test_a_modem_that_is_pulled_out_takes_its_own_port_down_only(pool: Pool) -> None:
    pool.modems[1].unplug()
    pool.wait_for(lambda: not pool.view.up, "the link")
    board = pool.lines.switchboard
    assert (board.is_up(2), board.is_up(2, 1), board.is_up(2, 3)) == (False, False, True)
    assert (board.idle(2, 1), board.idle(2, 3)) == (False, True)
    assert pool.view.trouble.startswith("port 1: ")
    assert pool.links[-1] == (2, (1,), False)
    with pytest.raises(DialRefused, match="port 1 of board 2 is not connected"):
        pool.lines.dial(2, 1, PHONE)
    pool.modems[1].plug_in()
    pool.wait_for(lambda: pool.view.up and board.idle(2, 1), "the modem to be set up anew")
