"""The modem's side of BOARDS.md 2, sans-I/O: one line, AT commands in, results and rings out."""

from __future__ import annotations

import re

from msgspec.structs import replace

from agent.boards.events import LineState, Peer
from agent.simulation.port_model import (
    TALKING,
    WITHOUT_LINE,
    Dial,
    OnChange,
    Port,
    PortModel,
    unheard,
)

CADENCE = 6.0
"""Seconds from ring to ring in North America (BOARDS.md 2)."""
LIFTED_AFTER = 1.0
"""Seconds after dialling until somebody lifts the telephone, where the modem can tell that."""
MOST_COMMAND = 256
"""Bytes of a command line kept; the longest that a host sends has 40."""
CHANNEL = 1

_DIAL = re.compile(r"ATDT([0-9*#]{1,32});?")
_COMMANDS_KNOWN = re.compile(r"AT|ATZ|ATE0V1Q0S0=0|ATH0?|AT\+FCLASS=[08]|AT\+VLS=0")
_LOCAL_OFF_HOOK, _LOCAL_ON_HOOK = b"\x10H", b"\x10h"


class ModemModel(PortModel):
    """A modem and its line. Times are handed in."""

    def __init__(
        self,
        serial: int = 1,
        channels: int = 1,
        on_change: OnChange = unheard,
        *,
        caller_id: str = "AT+VCID=1",
        handset: bool = True,
        cadence: float = CADENCE,
    ) -> None:
        """`caller_id`: the one command by which it turns caller ID on, "" for a modem without.

        `handset`: it tells in voice mode when its telephone is lifted. Raises ValueError for more
        than one channel.
        """
        if channels != CHANNEL:
            raise ValueError(f"a modem has one line, not {channels}")
        super().__init__(serial, channels, on_change)
        self.commands: list[str] = []
        """What the host said, in order."""
        self.powered = True
        self._caller_id_command = caller_id
        self._reports_handset = handset
        self._cadence = cadence
        self._line = bytearray()
        self._ring_at = 0.0
        self._lifted = False
        self._lift_at: float | None = None
        """When the telephone is lifted for a call that the modem dialled."""
        self._forget()

    def power_off(self) -> None:
        """Neither hear nor say anything."""
        self.powered = False

    def power_on(self) -> None:
        """Live again, with everything forgotten that it was told."""
        self.powered = True
        self._forget()

    def hello(self) -> bytes:
        """Return what a modem says by itself when it is plugged in: nothing."""
        return b""

    def feed(self, data: bytes, now: float) -> bytes:
        """Take what the host sent; return echo and results."""
        if not self.powered:
            return b""
        said = bytearray()
        for byte in data:
            if self._echo:
                said.append(byte)
            if byte == 0x0D:
                command = self._line.decode("ascii", "replace").strip()
                self._line.clear()
                said += self._obey(command, now) if command else b""
            elif byte != 0x0A and len(self._line) < MOST_COMMAND:
                self._line.append(byte)
        return bytes(said)

    def tick(self, now: float) -> bytes:
        """Return a RING where the cadence has come round, and the lifting of the telephone."""
        if self._lift_at is not None and now >= self._lift_at:
            self._lift_at, self._lifted = None, True
            return _LOCAL_OFF_HOOK if self._tells_hook else b""
        if self.ports[CHANNEL].state is not LineState.RINGING or now < self._ring_at:
            return b""
        self._ring_at = now + self._cadence
        return _line("RING") if self.powered else b""

    def due(self) -> float | None:
        """Return when `tick` has something to say."""
        rings = self.ports[CHANNEL].state is LineState.RINGING
        times = [self._lift_at, self._ring_at if rings else None]
        return min((time for time in times if time is not None), default=None)

    def _forget(self) -> None:
        self._echo = True
        self._tells_caller_id = False
        self._voice = False
        self._told_caller = ""

    @property
    def _tells_hook(self) -> bool:
        return self._voice and self._reports_handset and self.powered

    def _told(self, before: Port, after: Port, now: float) -> bytes:
        said = self._said_of(before, after, now)
        return said if self.powered else b""

    def _said_of(self, before: Port, after: Port, now: float) -> bytes:
        said = b""
        if after.state is LineState.RINGING:
            if before.state is not LineState.RINGING:
                self._ring_at = now + self._cadence
                self._told_caller = ""
                said += _line("RING")
            return said + self._burst(after.phone)
        was_off, is_off = before.state in TALKING, after.state in TALKING
        lifted = is_off and (self._lifted or not was_off)
        if lifted != self._lifted:
            said += _LOCAL_OFF_HOOK if lifted else _LOCAL_ON_HOOK
        self._lifted, self._lift_at = lifted, self._lift_at if is_off else None
        if is_off and after.peer is Peer.OUTGOING:
            said += _codes(after.phone[len(before.phone) if was_off else 0 :])
        return said if self._tells_hook else b""

    def _burst(self, phone: str) -> bytes:
        """The caller ID, once a call, as the exchange sends it after the first ring."""
        if not phone or self._told_caller or not self._tells_caller_id:
            return b""
        self._told_caller = phone
        return b"".join(
            _line(item)
            for item in ("DATE = 0504", "TIME = 2149", f"NMBR = {phone}", "NAME = SIMULATED")
        )

    def _obey(self, command: str, now: float) -> bytes:
        self.commands.append(command)
        text = command.upper()
        if text == "ATZ":
            self._forget()
        elif text.startswith("ATE0"):
            self._echo = False
        elif text.startswith("AT+FCLASS="):
            self._voice = text.startswith("AT+FCLASS=8")
        if self._caller_id_command and text == self._caller_id_command:
            self._tells_caller_id = True
            self.syncs += 1  # the last thing that makes calls be heard
            return _line("OK")
        if text.startswith("ATDT"):
            return self._dial(text, now)
        if text.startswith("ATH"):
            self._hang_up(now)
        return _line("OK" if _COMMANDS_KNOWN.fullmatch(text) else "ERROR")

    def _dial(self, text: str, now: float) -> bytes:
        port = self.ports[CHANNEL]
        found = _DIAL.fullmatch(text)
        if found is None:
            return _line("ERROR")
        if port.state in WITHOUT_LINE:
            return _line("NO DIALTONE")
        if port.state is not LineState.ON_HOOK:
            return _line("BUSY")
        self.dials.append(Dial(CHANNEL, found[1], len(self.dials) + 1))
        self._move(LineState.IN_CALL, Peer.OUTGOING, found[1], now)
        self._lift_at = now + LIFTED_AFTER if self._tells_hook else None
        return _line("OK")

    def _hang_up(self, now: float) -> None:
        """Let go of the line; a telephone that is lifted keeps it."""
        self._lift_at = None
        if self.ports[CHANNEL].state in TALKING and not self._lifted:
            self._move(LineState.ON_HOOK, Peer.UNKNOWN, "", now)

    def _move(self, state: LineState, peer: Peer, phone: str, now: float) -> None:
        """What the modem does itself needs no telling."""
        since = None if state is LineState.ON_HOOK else now
        self._put(replace(self.ports[CHANNEL], state=state, peer=peer, phone=phone, since=since))


def _line(text: str) -> bytes:
    return b"\r\n%b\r\n" % text.encode("utf-8")


def _codes(letters: str) -> bytes:
    return b"".join(b"\x10%c" % ord(letter) for letter in letters)
