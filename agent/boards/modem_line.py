"""The telephone line of a modem: rings, caller ID, hook codes and digits become the port's state.

A modem says no state, only what happens; ringing has no end message at all. So this is a small
state machine with a clock handed in.
"""

from __future__ import annotations

from msgspec.structs import replace

from agent.boards.caller_id import MOST_PHONE, CallerId
from agent.boards.events import ChannelState, Event, LineState, Peer
from agent.boards.modem_options import ModemOptions

CHANNEL = 1
"""The only port."""
RING_MARGIN = 2.0
"""Seconds beyond the cadence for which a ring may be late: exchanges, chips and USB add some."""
DIGITS_APART = 10.0
"""Seconds between two digits of one number; later ones are said to whoever answered."""
LINE_AGAIN = 60.0
"""Seconds after which a line without dial tone counts as one again: only trying tells."""

_TALKING = (LineState.IN_CALL, LineState.ANSWERED)
_HANDSET = "handset"
_EXTENSION = "extension"
_DIGITS = frozenset("0123456789*#")


class ModemLine:
    """The port as it is. Every method returns what is to be told of it."""

    def __init__(self, options: ModemOptions) -> None:
        self.state = LineState.ON_HOOK
        self.modem_off_hook = False
        """Whether the modem itself holds the line, after dialling."""
        self._cadence = options.ring_cadence + RING_MARGIN
        off = options.extension_off_hook
        self._hook_codes = {
            "H": (_HANDSET, True),
            "h": (_HANDSET, False),
            off: (_EXTENSION, True),
            off.swapcase(): (_EXTENSION, False),
        }
        self._hook_is_told = False
        self._lifted: set[str] = set()
        self._peer = Peer.UNKNOWN
        self._phone = ""
        self._caller_id = CallerId()
        self._rings_until = 0.0
        self._last_ring = self._ring_before = 0.0
        """Monotonic times of the last ring and the one before it, where it rings."""
        self._digits_until = 0.0
        self._line_again_at = 0.0

    @property
    def is_ringing(self) -> bool:
        """Whether it rings."""
        return self.state is LineState.RINGING

    @property
    def quiet(self) -> bool:
        """Whether the modem may be set up anew: nothing rings and it does not hold the line."""
        return not self.is_ringing and not self.modem_off_hook

    @property
    def is_free(self) -> bool:
        """Whether a call may be placed."""
        return self.state is LineState.ON_HOOK and not self._lifted

    @property
    def lifted(self) -> bool:
        """Whether a telephone is known to be lifted."""
        return bool(self._lifted)

    def said_anew(self) -> Event:
        """Return the state after a set-up: changes may lie before it.

        A modem can't be asked whether a telephone is lifted. Where it tells when one is put back,
        a call that was known to go on therefore does so until then.
        """
        assumed = self._hook_is_told and self.state is LineState.ON_HOOK
        return ChannelState(
            CHANNEL, self.state, self._peer, self._phone, asked=True, assumed=assumed
        )

    def forget(self, *, hook_is_told: bool) -> None:
        """After a set-up the modem holds no line; a ringing is not ended by it.

        `hook_is_told`: the modem tells when a telephone is put back.
        """
        self._hook_is_told = hook_is_told
        self.modem_off_hook = False
        if not hook_is_told:
            self._lifted.clear()
        if not self.is_ringing and not self._lifted:
            self._free(LineState.ON_HOOK)

    def ring(self, now: float) -> list[Event]:
        """The line rings, so it is on hook, whatever was heard before."""
        events = self._finish_caller_id(now) if self._caller_id.begun else []
        self._lifted.clear()
        self.modem_off_hook = False
        self._ring_before, self._last_ring = self._last_ring if self.is_ringing else now, now
        return [*events, self._rings(now, self._phone if self.is_ringing else "")]

    def caller_id(self, line: str, now: float) -> list[Event] | None:
        """Take a line; None: it is nothing of a caller ID."""
        if not self._caller_id.take(line, now):
            return None
        return self._finish_caller_id(now) if self._caller_id.is_whole(now) else []

    def number(self, phone: str, now: float) -> list[Event]:
        """A caller ID is whole; `phone` is empty where it has no number."""
        if not phone or phone == self._phone:
            return []
        if self.state in _TALKING:
            late = self._peer is Peer.INCOMING and not self._phone
            return [self._told(phone)] if late else []
        if self.is_ringing and self._phone:
            return self._another_call(phone, now)
        if not self.is_ringing:
            self._ring_before = self._last_ring = now
        return [self._rings(now, phone)]

    def code(self, letter: str, now: float) -> list[Event]:
        """Take a DLE code; the makers' many others say nothing about the state."""
        if letter == "R":
            return self.ring(now)
        if letter in self._hook_codes:
            return self._hook(*self._hook_codes[letter], now)
        if letter == "l":
            return self._loop_broken()
        if letter in _DIGITS:
            return self._digit(letter, now)
        return []

    def dialled(self, phone: str, took: float) -> list[Event]:
        """The modem dialled and holds the line, for which it took `took` seconds."""
        self.modem_off_hook = True
        self.state, self._peer, self._digits_until = LineState.IN_CALL, Peer.OUTGOING, 0.0
        return [replace(self._told(phone), ago=took)]

    def let_go(self) -> list[Event]:
        """The modem put the line back; the call goes on while a telephone is lifted."""
        self.modem_off_hook = False
        return self._free_unless_held()

    def no_line(self, now: float) -> list[Event]:
        """There was no dial tone."""
        if self.state in {LineState.RINGING, *_TALKING}:
            return []
        self._line_again_at = now + LINE_AGAIN
        return [self._free(LineState.NOT_CONNECTED)]

    def tick(self, now: float) -> list[Event]:
        """Do what is due by the clock."""
        events: list[Event] = []
        if self._caller_id.begun and self._caller_id.is_whole(now):
            events += self._finish_caller_id(now)
        if self.is_ringing and now >= self._rings_until:
            self._caller_id.finish()
            # When the caller gave up can't be heard; the last ring is known.
            last_ring = self._rings_until - self._cadence
            events.append(replace(self._free(LineState.ON_HOOK), ago=now - last_ring))
        if self.state is LineState.NOT_CONNECTED and now >= self._line_again_at:
            events.append(self._free(LineState.ON_HOOK))
        return events

    def due(self) -> float | None:
        """Monotonic time at which `tick` has something to do."""
        times = [self._caller_id.whole_at()]
        if self.is_ringing:
            times.append(self._rings_until)
        if self.state is LineState.NOT_CONNECTED:
            times.append(self._line_again_at)
        return min((time for time in times if time is not None), default=None)

    def _finish_caller_id(self, now: float) -> list[Event]:
        return self.number(self._caller_id.finish(), now)

    def _another_call(self, phone: str, now: float) -> list[Event]:
        """Each call has one caller ID, so another number came with the first ring of another."""
        began = self._last_ring
        ended = replace(self._free(LineState.ON_HOOK), ago=now - self._ring_before)
        return [ended, replace(self._rings(now, phone), ago=now - began)]

    def _rings(self, now: float, phone: str) -> ChannelState:
        self.state, self._peer = LineState.RINGING, Peer.INCOMING
        self._rings_until = now + self._cadence
        return self._told(phone)

    def _hook(self, which: str, lifted: bool, now: float) -> list[Event]:
        if not lifted:
            self._lifted.discard(which)
            return self._free_unless_held()
        if which in self._lifted and not self.modem_off_hook:
            # It was put back and nobody heard it: this is another call.
            self._lifted.clear()
            return [*self._free_unless_held(), *self._hook(which, lifted, now)]
        self._lifted.add(which)
        if self.state in _TALKING:
            return []
        events: list[Event] = self._finish_caller_id(now) if self._caller_id.begun else []
        rang = self.is_ringing
        self.state = LineState.IN_CALL
        self._peer = Peer.INCOMING if rang else Peer.OUTGOING
        self._digits_until = 0.0 if rang else float("inf")
        return [*events, self._told(self._phone if rang else "")]

    def _loop_broken(self) -> list[Event]:
        self._lifted.clear()
        return self._free_unless_held()

    def _free_unless_held(self) -> list[Event]:
        if self.state not in _TALKING or self._lifted or self.modem_off_hook:
            return []
        return [self._free(LineState.ON_HOOK)]

    def _digit(self, digit: str, now: float) -> list[Event]:
        dialling = self.state in _TALKING and now < self._digits_until
        if not dialling or len(self._phone) >= MOST_PHONE:
            return []
        self._digits_until = now + DIGITS_APART
        return [self._told(self._phone + digit)]

    def _free(self, state: LineState) -> ChannelState:
        self.state, self._peer, self._phone = state, Peer.UNKNOWN, ""
        return ChannelState(CHANNEL, state)

    def _told(self, phone: str) -> ChannelState:
        self._phone = phone
        return ChannelState(CHANNEL, self.state, self._peer, phone)
