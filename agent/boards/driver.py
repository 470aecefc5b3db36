"""The driver contract: bytes in, events out, no input or output of its own.

A driver is a class found through the entry-point group `smarttel_agent.drivers`. The link
(`agent.boards.link`) owns the port and calls the driver from one thread only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from importlib.metadata import entry_points
from typing import ClassVar

from msgspec import Struct, field

from agent.boards.events import Event
from agent.language import Said, marked, said
from agent.settings import Board

GROUP = "smarttel_agent.drivers"
MOST_DRIVERS = 32
"""Drivers that are remembered; a gateway has boards of one kind, or two."""
_ADVISED = marked("{what} → {advice}")

OptionValue = str | int | float | bool
"""Value of `boards[].options.KEY`; out of a file it is the text that stands there."""


class UnknownDriver(LookupError):
    """No installed package offers a driver of this name."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(
            said(
                "no driver '{name}' is installed; there are: {known}",
                name=name,
                known=", ".join(known) or said("none"),
            )
        )


class DialRefused(Exception):
    """The board cannot or will not dial; the message says why, in words for a technician."""


class BadOption(ValueError):
    """A driver's option holds what it does not accept, or is none; the message says what is."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        """The key within `boards[].options`."""
        self.problem = problem
        """What stood there and what would be accepted, in words."""


class BoardOptions(Struct, frozen=True):
    """What a driver is told about its board."""

    serial: int
    """Number of the box."""
    channels: int
    """Number of RJ11 ports."""
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    """`boards[].options`, as `check_options` accepted them."""
    now: Callable[[], datetime] = datetime.now
    """Local time, for a board that has a clock to be set; never used to date a call."""


def advised(what: str, advice: str) -> Said:
    """Return a finding of `Driver.findings` with what is to be done about it."""
    return said(_ADVISED, what=what, advice=advice)


def parted(finding: str) -> tuple[str, str]:
    """Part a finding from what is to be done about it; "" where that is nothing."""
    if isinstance(finding, Said) and finding.template == _ADVISED:
        what, advice = finding.values["what"], finding.values["advice"]
        if isinstance(what, str) and isinstance(advice, str):
            return what, advice
    plain, _, remedy = finding.partition(" → ")
    return plain, remedy


class Driver(ABC):
    """Base of all drivers. No method may block, and `feed` raises nothing, whatever the bytes."""

    name: ClassVar[str]
    silence_limit: ClassVar[float | None] = None
    """Seconds without a good frame after which the link is down; None: this board may be silent."""
    can_dial: ClassVar[bool] = False
    baudrate: ClassVar[int] = 115_200
    """Speed of the line where `boards[].baudrate` names none."""

    def __init__(self, options: BoardOptions, monotonic: Callable[[], float]) -> None:
        self.options = options
        self.monotonic = monotonic
        self.frames = 0
        """Good frames so far."""
        self.bad_frames = 0
        """Damaged frames and stray bytes between frames so far."""
        self.on_bad: Callable[[bytes, str], None] | None = None
        """Wants each damaged piece and why it is damaged, in words; set by who shows them."""

    @classmethod
    def check_options(cls, options: Mapping[str, OptionValue]) -> None:
        """Refuse what `boards[].options` must not hold: here everything, for there are none.

        Raises BadOption, or another ValueError whose message names the key.
        """
        for key in options:
            raise BadOption(key, said("unknown option; a {driver} board has none", driver=cls.name))

    @property
    def in_step(self) -> bool:
        """False while lines are known to be missing: the board lives, but a change may be unheard.

        Only a driver whose wire tells missing lines (by numbering them) needs to say so.
        """
        return True

    @abstractmethod
    def opened(self) -> None:
        """The port was opened (anew): forget what was half read, and ask for every port's state."""

    @abstractmethod
    def feed(self, data: bytes) -> list[Event]:
        """Take bytes as they came, in any pieces; return what they say.

        Called with b"" at times, so that what is due by the clock (an order without answer) comes
        out as events too.
        """

    @abstractmethod
    def poll(self) -> bytes:
        """Return the bytes to send now, b"" for none; called after each `feed`, and when due."""

    def due(self) -> float | None:
        """Monotonic time at which `feed(b"")` and `poll` want to be called next; None: no hurry."""
        return None

    def dial(self, channel: int, phone: str) -> bytes:
        """Return the bytes that make port `channel` dial `phone`; a `DialAnswer` follows by `feed`.

        Raises DialRefused where the board cannot dial at all or not this number.
        """
        raise DialRefused(f"a {self.name} board cannot dial")

    def findings(self) -> list[str]:
        """What a technician should know of this board, as `check` says it once the board answered.

        Each is a sentence; where something is to be done, an arrow (" → ") and the advice follow.
        """
        return []

    def tell_bad(self, piece: bytes, reason: str) -> None:
        """Hand a damaged piece to who wants it; counting it is the driver's own affair."""
        if self.on_bad is not None:
            self.on_bad(piece, reason)


@lru_cache(MOST_DRIVERS)
def find_driver(name: str) -> type[Driver]:
    """Find a driver class by the name in the configuration. Raises UnknownDriver.

    What was found is remembered: the search reads what each installed package offers.
    """
    found = entry_points(group=GROUP)
    for entry in found:
        if entry.name == name:
            loaded: type[Driver] = entry.load()
            return loaded
    raise UnknownDriver(name, sorted(entry.name for entry in found))


def baudrate(board: Board) -> int:
    """Return the line's speed: as configured, else its driver's own. Raises UnknownDriver."""
    return board.baudrate or find_driver(board.driver).baudrate
