"""A pool: several one-port boxes, such as modems, that count as one board with several ports.

Each box has a link of its own and knows itself as port 1; here its port gets the pool's number, and
the links' views become one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from agent.boards.events import ChannelState, DialAnswer, Event
from agent.boards.link import LinkView
from agent.language import joined, said

OWN_CHANNEL = 1
"""The only port of a box in a pool, as it knows it."""


def renumbered(events: Sequence[Event], channel: int) -> list[Event]:
    """Return what a box said, its own port being port `channel`; other ports it has none."""
    taken: list[Event] = []
    for event in events:
        if not isinstance(event, ChannelState | DialAnswer):
            taken.append(event)
        elif event.channel == OWN_CHANNEL:
            taken.append(replace(event, channel=channel))
    return taken


def pooled(views: Mapping[int, LinkView]) -> LinkView:
    """Return one view of a pool's links, given by port: up where all are, frames summed."""
    first = next(iter(views.values()))
    heard = [view.last_heard for view in views.values() if view.last_heard is not None]
    down = {channel: view for channel, view in views.items() if not view.up}
    return LinkView(
        serial=first.serial,
        driver=first.driver,
        port=", ".join(view.port for view in views.values()),
        up=not down,
        last_heard=max(heard, default=None),
        frames=sum(view.frames for view in views.values()),
        bad_frames=sum(view.bad_frames for view in views.values()),
        trouble=joined(
            said(
                "port {channel}: {trouble}",
                channel=channel,
                trouble=view.trouble or said("nothing is heard on {port}", port=view.port),
            )
            for channel, view in down.items()
        ),
        channels_up=frozenset(views.keys() - down.keys()) if down else frozenset(),
    )
