"""The world around a gateway in the crash sweep: it goes on whether the gateway has power or not.

A board with its ports, a recorder, somebody who asks for a call, the platform; and the truth of
each call, which the gateway's records are held against.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from agent.boards.events import LineState, Peer
from agent.simulation.board_model import BoardModel
from agent.simulation.fields import Refusal
from agent.simulation.port_model import Port
from tests.audio_files import form as audio_form
from tests.audio_files import wav
from tests.clocks import HandClock
from tests.lanes import WatchedPlatform

CHANNELS = 4
RATE, LARGE_RATE = 1000, 45_000
"""Bytes of audio a second: small, or a file of more than one block on the wire."""


@dataclass
class TrueCall:
    """A call as it really was; wall times."""

    channel: int
    direction: str
    phone: str
    started: float
    answered: float | None = None
    ended: float | None = None
    recorded: list[tuple[float, float]] = field(default_factory=list)
    """Begin and end of each recording that was there within the attach window."""
    late: list[tuple[float, float]] = field(default_factory=list)
    """And of those that came after it."""
    on_a_port: bool = True
    """False: no board ever told of it."""


class MoodyPlatform(WatchedPlatform):
    """Refuses and forgets as each gateway of a sweep is to have it, once each."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.refuse_record: set[str] = set()
        self.refuse_file: set[str] = set()
        self.lose: set[str] = set()
        """Phones whose record is lost as its first file comes, so that this gets a 3003."""
        desk = self.desk
        prepare, prepare_file = desk.prepare, desk.prepare_file

        def moody(command: str, form: Mapping[str, str], body: str) -> Any:
            work = prepare(command, form, body)
            self._refuse_once(self.refuse_record, form.get("callid_dialed", ""))
            return work

        def moody_file(upload: Any) -> Any:
            work = prepare_file(upload)
            record = desk.bookings.records.get(upload.form["callid"])
            phone = record.phone if record else ""
            if phone in self.lose:
                self.lose.discard(phone)
                desk.forget(upload.form["callid"])
            self._refuse_once(self.refuse_file, phone)
            return work

        desk.prepare = moody  # type: ignore[method-assign]
        desk.prepare_file = moody_file  # type: ignore[method-assign]

    def __enter__(self) -> MoodyPlatform:
        self.start()
        return self

    @staticmethod
    def _refuse_once(phones: set[str], phone: str) -> None:
        if phone in phones:
            phones.discard(phone)
            raise Refusal(3001, "not now", violation=False)


class World:
    """Everything but the gateway. Its actions are events that no power cut undoes."""

    def __init__(self, folder: Path, platform: MoodyPlatform, satellite: str) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.recordings = folder / "recordings"
        self.state.mkdir(parents=True)
        self.recordings.mkdir()
        self.platform = platform
        self.satellite = satellite
        self.clock = HandClock()
        self.began = self.clock.wall()
        self.board = BoardModel(channels=CHANNELS, on_change=self._port_changed)
        self.calls: list[TrueCall] = []
        self.digests: list[str] = []
        """Of every recording that must reach the platform."""
        self.kept: list[str] = []
        """Names of files that must stay."""
        self.posted: set[str] = set()
        """Errands that the platform holds or held: `dial`, `function`."""
        self.functions_run = 0
        self.after_upload = "keep"
        self._line = b""
        self._order = itertools.count()
        self._script: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        """Let something happen so many seconds after the beginning."""
        heapq.heappush(self._script, (self.began + seconds, next(self._order), act))

    @property
    def next_at(self) -> float | None:
        """When the next thing happens, by the wall clock."""
        return self._script[0][0] if self._script else None

    def go_on(self, seconds: float) -> None:
        """Let time pass, and what happens in it happen."""
        until = self.clock.wall() + seconds
        while self._script and self._script[0][0] <= until:
            moment, _, act = heapq.heappop(self._script)
            self.clock.turn(max(0.0, moment - self.clock.wall()))
            act()
        self.clock.turn(max(0.0, until - self.clock.wall()))
        self._line += self.board.tick(self.clock.wall())

    def heard(self) -> bytes:
        """What the board said since this was last asked: a line keeps nothing for later."""
        line, self._line = self._line, b""
        return line

    def tell_board(self, data: bytes) -> None:
        """Bytes from the gateway; what the board answers is heard later."""
        dials = len(self.board.dials)
        self._line += self.board.feed(data, self.clock.wall())
        for dial in self.board.dials[dials:]:
            self._let_talk(dial.channel, dial.phone)

    @property
    def dialled(self) -> list[str]:
        """Numbers that the board was made to dial."""
        return [dial.phone for dial in self.board.dials]

    @property
    def waits_at_the_platform(self) -> set[str]:
        """Errands that no poll has fetched yet."""
        desk = self.platform.desk
        with desk.changed:
            lists = {"dial": desk.calls, "function": desk.messages}
            return {kind for kind, waiting in lists.items() if waiting.get(self.satellite)}

    # What a script is made of.

    def port(
        self,
        channel: int,
        state: LineState,
        peer: Peer | None = None,
        phone: str | None = None,
    ) -> None:
        """A port changes, and the board says so."""
        self._line += self.board.change(channel, self.clock.wall(), state, peer, phone)

    def record(
        self,
        channel: int,
        direction: str,
        phone: str,
        begin: float,
        end: float,
        *,
        rate: int = RATE,
        late: bool = False,
    ) -> None:
        """The recorder leaves a file; begin and end in seconds after the world's beginning.

        `late`: the record of its call is at the platform already.
        """
        call = next((one for one in reversed(self.calls) if one.phone == phone), None)
        if call is None:
            call = TrueCall(channel, direction, phone, self.began + begin, on_a_port=False)
            call.answered, call.ended = self.began + begin, self.began + end
            self.calls.append(call)
        spans = call.late if late else call.recorded
        spans.append((self.began + begin, self.began + end))
        began = datetime.fromtimestamp(self.began + begin, UTC)
        name = f"{began:%Y%m%d-%H%M%S}_{channel}_{direction}_{phone}.wav"
        content = audio(round((end - begin) * rate), len(self.digests), rate)
        self._leave(name, content)
        self.digests.append(hashlib.sha256(content).hexdigest())

    def leave_rubbish(self) -> None:
        """A file without audio: to be kept, and not sent."""
        self.kept.append("rubbish.wav")
        self._leave("rubbish.wav", b"")

    def post_call(self, channel: int, phone: str) -> None:
        """Somebody asks the platform for a call."""
        self.posted.add("dial")
        self.platform.send_call(self.satellite, channel, phone)

    def post_message(self, function: str) -> None:
        """A message that names a function."""
        self.posted.add("function")
        entry = {"status": "51", "mdcWan": "1", "memo": {"functionname": function}}
        self.platform.send_message(self.satellite, entry)

    def _let_talk(self, channel: int, phone: str) -> None:
        """What comes of an order to dial: a call of some seconds, and its recording."""
        begin = self.clock.wall() - self.began
        self.at(begin + 6, lambda: self.port(channel, LineState.ON_HOOK))
        self.at(begin + 7, lambda: self.record(channel, "out", phone, begin, begin + 6))

    def _leave(self, name: str, content: bytes) -> None:
        path = self.recordings / name
        path.write_bytes(content)
        now = round(self.clock.wall() * 1e9)
        os.utime(path, ns=(now, now))

    def _port_changed(self, before: Port, after: Port) -> None:
        """Keep the truth of a call, and hang up one that the gateway dialled."""
        now = self.clock.wall()
        talking = {LineState.IN_CALL, LineState.ANSWERED}
        if before.state is LineState.ON_HOOK and after.state is LineState.RINGING:
            self.calls.append(TrueCall(after.channel, "unkown", after.phone, now))
        elif before.state is LineState.ON_HOOK and after.state in talking:
            self.calls.append(TrueCall(after.channel, "out", after.phone, now, answered=now))
        call = next(call for call in reversed(self.calls) if call.channel == after.channel)
        if after.phone:
            call.phone = after.phone
        if after.state in talking and call.answered is None:
            call.answered, call.direction = now, "in"
        if after.state is LineState.ON_HOOK:
            call.ended = now


@cache
def audio(count: int, number: int, rate: int) -> bytes:
    """A WAV file unlike the others: `count` samples of 8 bits."""
    return wav(bytes([number + 1]) * count, audio_form(rate=rate, bits=8))
