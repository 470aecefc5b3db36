"""The boards as the front panel of a rack: per board a row of RJ11 sockets, each with a lamp."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from msgspec import Struct

from agent.boards.events import LineState, Peer
from agent.language import marked
from agent.page.markup import SINCE, Pen, icon


class Lamp(Struct, frozen=True):
    """How a port looks in one of its states: told apart by shape and word, not by colour alone."""

    style: str
    word: str
    plugged: bool = True


LAMPS = {
    LineState.ON_HOOK: Lamp("idle", marked("idle")),
    LineState.RINGING: Lamp("ringing", marked("ringing")),
    LineState.ANSWERED: Lamp("answered", marked("answered")),
    LineState.IN_CALL: Lamp("call", marked("in call")),
    LineState.FAULT: Lamp("fault", marked("line fault")),
    LineState.NOT_CONNECTED: Lamp("empty", marked("not connected"), plugged=False),
}
"""In the order of a call, as the legend has it."""
UNKNOWN = Lamp("unknown", marked("not known"), plugged=False)
"""Of a port of which nothing was heard yet, or whose board is not heard."""

LAST_HEARD = marked("last heard {time}")

_ARROWS = {
    Peer.INCOMING: ("incoming", marked("incoming")),
    Peer.OUTGOING: ("outgoing", marked("outgoing")),
}


def panel(boards: Sequence[dict[str, Any]], pen: Pen) -> str:
    """Draw every board of a status."""
    if not boards:
        return f'<p class="nothing">{pen.say("The boards are not known just now.")}</p>'
    return _legend(boards, pen) + "".join(_board(board, pen) for board in boards)


def lamp_of(channel: dict[str, Any]) -> Lamp:
    """Tell how a port is shown. What a silent board said last may be long past."""
    told = channel["state"] != LineState.NOT_CONNECTED or channel["since"]
    return LAMPS.get(channel["state"], UNKNOWN) if channel["heard"] and told else UNKNOWN


def tally(boards: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Count the ports by their lamps' styles."""
    counts: dict[str, int] = {}
    for board in boards:
        for channel in board["channels"]:
            style = lamp_of(channel).style
            counts[style] = counts.get(style, 0) + 1
    return counts


def _legend(boards: Sequence[dict[str, Any]], pen: Pen) -> str:
    counts = tally(boards)
    items = "".join(
        f'<li class="{lamp.style}">{icon(f"lamp-{lamp.style}", "lamp")}'
        f"<span>{pen.say(lamp.word)}</span> <b>{counts[lamp.style]}</b></li>"
        for lamp in (*LAMPS.values(), UNKNOWN)
        if lamp.style in counts
    )
    return f'<ul class="legend" aria-label="{pen.say("Ports by their state")}">{items}</ul>'


def _board(board: dict[str, Any], pen: Pen) -> str:
    up = board["link"] == "up"
    link = pen.say("link up") if up else pen.say("link down")
    title = pen.say("Board {serial}", serial=board["serial"])
    sockets = "".join(_socket(channel, lamp_of(channel), pen) for channel in board["channels"])
    heard = "" if up else f"<p>{pen.timed(LAST_HEARD, board['last_heard'])}</p>"
    return (
        f'<section class="board{"" if up else " down"}">'
        f"<header><h3>{title}</h3>"
        f'<p class="link">{icon("link-up" if up else "link-down")}{link}</p>'
        f'<p class="wire"><b>{escape(board["driver"])}</b> <span>{escape(board["port"])}</span></p>'
        f"{heard}</header>"
        f'<ol class="sockets" aria-label="{title}">{sockets}</ol></section>'
    )


def _socket(channel: dict[str, Any], lamp: Lamp, pen: Pen) -> str:
    word = pen.say(lamp.word)
    arrow = party = since = ""
    if lamp is not UNKNOWN:
        arrow = _arrow(channel["peer"], pen)
        if channel["phone"]:
            party = f'<p class="party">{escape(channel["phone"])}</p>'
        since = f'<p class="since">{pen.timed(SINCE, channel["since"])}</p>'
    jack = "jack-plugged" if lamp.plugged else "jack"
    return (
        f'<li class="socket {lamp.style}"><p class="number">{channel["ch"]}</p>'
        f"{icon(f'lamp-{lamp.style}', 'lamp', word)}{icon(jack, 'jack')}"
        f'<p class="state"><span aria-hidden="true">{word}</span>{arrow}</p>{party}{since}</li>'
    )


def _arrow(peer: int, pen: Pen) -> str:
    if peer not in _ARROWS:
        return ""
    name, word = _ARROWS[Peer(peer)]
    return icon(name, "arrow", pen.say(word))
