"""What happens in the crash sweep's world: one of each kind of call, file, refusal and errand."""

from __future__ import annotations

from functools import partial

from agent.boards.events import LineState, Peer
from tests.sweep_world import LARGE_RATE, World

ANSWERED, TWO_FILES, MISSED, LATE, ORPHAN, REFUSED, LOST, DIALLED = (
    f"1380013800{number}" for number in range(1, 9)
)
"""Each call's number, which tells the calls apart."""
POLLS = (2.0, 41.0, 43.0, 55.0)
"""When the gateway asks for calls and messages; it also does when it has started."""
ATTACH_WINDOW = 4.0


def write_script(world: World) -> None:
    """Put everything that happens into a world."""
    _incoming(world, 1, ANSWERED, rings=0, answered=3, ended=9)
    world.at(9.5, partial(world.record, 1, "in", ANSWERED, 3, 9, rate=LARGE_RATE))

    _outgoing(world, 2, TWO_FILES, begins=4, ended=14)
    world.at(8.5, partial(world.record, 2, "out", TWO_FILES, 4, 8))
    world.at(14.5, partial(world.record, 2, "out", TWO_FILES, 9, 14))

    world.at(10, partial(world.port, 3, LineState.RINGING, Peer.INCOMING, MISSED))
    world.at(16, partial(world.port, 3, LineState.ON_HOOK))

    world.at(15, world.leave_rubbish)
    world.at(18.5, partial(world.record, 4, "in", ORPHAN, 12, 17))

    _incoming(world, 1, LATE, rings=20, answered=22, ended=30)
    world.at(38, partial(world.record, 1, "in", LATE, 22, 30, late=True))

    _incoming(world, 3, REFUSED, rings=24, answered=26, ended=33)
    world.at(33.5, partial(world.record, 3, "in", REFUSED, 26, 33))

    world.at(26, partial(setattr, world, "after_upload", "delete"))

    _outgoing(world, 2, LOST, begins=28, ended=36)
    world.at(36.5, partial(world.record, 2, "out", LOST, 28, 36))

    world.at(40, partial(world.post_call, 4, DIALLED))
    world.at(42, partial(world.post_message, "note"))

    world.platform.refuse_record = {REFUSED}
    world.platform.refuse_file = {TWO_FILES}
    world.platform.lose = {LOST}


def _incoming(
    world: World, channel: int, phone: str, *, rings: float, answered: float, ended: float
) -> None:
    """It rings; the number comes a second later; somebody answers and hangs up."""
    world.at(rings, partial(world.port, channel, LineState.RINGING, Peer.INCOMING))
    world.at(rings + 1, partial(world.port, channel, LineState.RINGING, Peer.INCOMING, phone))
    world.at(answered, partial(world.port, channel, LineState.IN_CALL))
    world.at(ended, partial(world.port, channel, LineState.ON_HOOK))


def _outgoing(world: World, channel: int, phone: str, *, begins: float, ended: float) -> None:
    """The line is taken, the number grows as it is dialled, somebody hangs up."""
    world.at(begins, partial(world.port, channel, LineState.IN_CALL, Peer.OUTGOING))
    world.at(begins + 1, partial(world.port, channel, LineState.IN_CALL, None, phone[:4]))
    world.at(begins + 2, partial(world.port, channel, LineState.IN_CALL, None, phone))
    world.at(ended, partial(world.port, channel, LineState.ON_HOOK))
