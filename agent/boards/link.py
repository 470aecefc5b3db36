"""The link to one board: alone owns the port, its thread, and opening it anew.

Bytes go to the driver, its events to whoever wants them. The thread sleeps until bytes come, an
order comes, or the driver wants to be called.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from agent.boards.dial_orders import DialOrders
from agent.boards.driver import DialRefused, Driver
from agent.boards.events import DialAnswer, Event
from agent.boards.port import Port, PortFailed, Wake
from agent.clock import Clock, Stamp
from agent.language import said, text_of
from agent.settings import Board
from agent.text import printable

log = logging.getLogger(__name__)

REOPEN_AFTER = 1.0
"""Seconds between two attempts to open a port that is not there."""
IDLE_LONGEST = 30.0
"""Seconds of one wait at most: the thread's sign of life, and no more, for what it has to do wakes
it. A native board is heard every 5 s."""
WAIT_SHORTEST = 0.05
"""Seconds of one wait at least, so that a driver that is always due makes no thread spin."""
OPENING_LONGEST = 60.0
"""Seconds that opening may take: a name server that does not answer, a far serial server."""
ALIVE_APART = 1.0
"""Seconds by which a sign of life holds longer than it must: a busy board need not show at each
line that its thread lives."""
TURN_LONGEST = 30.0
"""Seconds that one turn may take beyond its wait: a stuck write, a ledger on slow flash."""


class LinkView(Struct, frozen=True):
    """How a link is, for the status file."""

    serial: int
    driver: str
    port: str
    up: bool = False
    last_heard: float | None = None
    """UNIX seconds of the last good frame; None: none yet."""
    frames: int = 0
    bad_frames: int = 0
    trouble: str = ""
    """What is wrong and what to do, in words; empty where nothing is known to be wrong."""
    channels_up: frozenset[int] = frozenset()
    """Of a pool whose ports have links of their own: those that are up while others are not."""

    def hears(self, channel: int) -> bool:
        """Tell whether a port of this board is heard."""
        return self.up or channel in self.channels_up


class BoardLink:
    """Runs one board. All callbacks come from the thread of `run`; what they raise is only logged.

    - `on_events(serial, events, stamp)`: what the board said, never empty; the stamp was taken
      right after the read.
    - `on_link(serial, up, stamp)`: the link went up (a good frame came) or down (the port is gone,
      or was silent for the driver's limit).
    - `on_heard(serial, stamp)`: good frames came and none is known to be missing, so every port is
      as last said. Comes before `on_events` of the same read.
    - `on_alive(seconds)`: a sign of life of the thread; the next follows within so many seconds.
    """

    def __init__(
        self,
        settings: Board,
        driver: Callable[[], Driver],
        clock: Clock,
        on_events: Callable[[int, Sequence[Event], Stamp], None],
        on_link: Callable[[int, bool, Stamp], None],
        on_heard: Callable[[int, Stamp], None],
        on_alive: Callable[[float], None] = lambda _seconds: None,
        reopen_after: float = REOPEN_AFTER,
        name: str = "",
    ) -> None:
        """`name`: what it is called in the log and in refusals; else it is the whole board."""
        self._settings = settings
        self._name = name or f"board {settings.serial}"
        self._make_driver = driver
        self._clock = clock
        self._on_events = on_events
        self._on_link = on_link
        self._on_heard = on_heard
        self._on_alive = on_alive
        self._reopen_after = reopen_after
        self._lock = threading.Lock()
        self._orders = DialOrders(self._name)
        self._wake: Wake | None = None
        self._driver: Driver | None = None
        self._view = LinkView(settings.serial, settings.driver, settings.port)
        self._last_heard: float | None = None
        self._earlier_frames = 0
        self._earlier_bad_frames = 0
        self._heard_frames = 0
        self._good_at = 0.0
        self._alive_until = 0.0
        """Monotonic seconds until which the last sign of life holds."""
        self._logged: dict[str, str] = {}

    def view(self) -> LinkView:
        """How the link is now; from any thread."""
        with self._lock:
            view, driver = self._view, self._driver
            return replace(
                view,
                last_heard=self._last_heard,
                frames=self._earlier_frames + (driver.frames if driver else 0),
                bad_frames=self._earlier_bad_frames + (driver.bad_frames if driver else 0),
            )

    def dial(self, channel: int, phone: str) -> None:
        """Order a call, from any thread; exactly one DialAnswer follows through `on_events`.

        Raises DialRefused, with nothing ordered, where the link is down, the board cannot dial, the
        port's last order has no answer yet, or MOST_ORDERS wait already.
        """
        with self._lock:
            if self._wake is None or self._driver is None or not self._view.up:
                raise DialRefused(f"{self._name} is not connected")
            if not self._driver.can_dial:
                raise DialRefused(f"{self._name} cannot dial: its driver is {self._view.driver}")
            self._orders.take(channel, phone)
            self._wake.set()

    def wake(self) -> None:
        """End the present wait, so that `run` looks at `stop` at once; from any thread."""
        with self._lock:
            if self._wake is not None:
                self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Keep the link until `stop` is set; the body of a thread."""
        wake = Wake()
        with self._lock:
            self._wake = wake
        try:
            while not stop.is_set():
                self._on_alive(OPENING_LONGEST)
                self._alive_until = 0.0
                self._session(stop, wake)
                stop.wait(self._reopen_after)
        finally:
            with self._lock:
                self._wake = None
            wake.close()

    def _session(self, stop: threading.Event, wake: Wake) -> None:
        """From opening the port to its loss."""
        try:
            with Port(self._settings, wake) as port:
                driver = self._driver or self._new_driver()
                self._opened(driver, port)
                while not stop.is_set():
                    self._turn(driver, port)
        except PortFailed as error:
            self._troubled(text_of(error))
        except Exception as error:  # a driver may come from anyone
            self._replace_driver(error)
        if stop.is_set():
            # Not told as a loss: whoever stops the link knows.
            with self._lock:
                self._view = replace(self._view, up=False)
        else:
            self._set_up(False, self._clock.stamp())
        self._tell_events(self._orders.given_up(), self._clock.stamp())

    def _new_driver(self) -> Driver:
        driver = self._make_driver()
        self._heard_frames = 0
        with self._lock:
            self._driver = driver
        return driver

    def _opened(self, driver: Driver, port: Port) -> None:
        stamp = self._clock.stamp()
        self._good_at = stamp.monotonic
        log.debug("%s: %s is open", self._name, printable(self._settings.port))
        driver.opened()
        self._send(port, driver.poll())
        if driver.silence_limit is None:
            self._set_up(True, stamp)

    def _turn(self, driver: Driver, port: Port) -> None:
        now = self._clock.monotonic()
        wait = self._longest_wait(driver, now)
        self._show_life(now, wait + TURN_LONGEST)
        data = port.read(wait)
        stamp = self._clock.stamp()
        events = driver.feed(data)
        self._judge(driver, stamp)
        if events:
            self._tell_events(events, stamp)
        if self._orders.waiting:
            self._give_orders(driver, port)
        self._send(port, driver.poll())

    def _show_life(self, now: float, within: float) -> None:
        """Say that the next sign follows within so many seconds, where the last one did not."""
        if now + within > self._alive_until:
            self._alive_until = now + within + ALIVE_APART
            self._on_alive(within + ALIVE_APART)

    def _longest_wait(self, driver: Driver, now: float) -> float:
        wait, due = IDLE_LONGEST, driver.due()
        if due is not None:
            wait = min(wait, due - now)
        if driver.silence_limit is not None and self._view.up:
            wait = min(wait, self._good_at + driver.silence_limit - now)
        return max(WAIT_SHORTEST, wait)

    def _judge(self, driver: Driver, stamp: Stamp) -> None:
        """Tell up from down, and count."""
        heard = driver.frames > self._heard_frames
        self._heard_frames = driver.frames
        if heard:
            self._last_heard = stamp.wall
            self._good_at = stamp.monotonic
            self._set_up(True, stamp)
            if driver.in_step:
                self._tell("on_heard", self._on_heard, self._settings.serial, stamp)
        elif driver.silence_limit and stamp.monotonic - self._good_at >= driver.silence_limit:
            self._troubled(
                said(
                    "nothing good heard on {port} for {seconds} s; check the board's power, the"
                    " wire and the baud rate",
                    port=self._settings.port,
                    seconds=f"{driver.silence_limit:g}",
                )
            )
            self._set_up(False, stamp)

    def _give_orders(self, driver: Driver, port: Port) -> None:
        while (order := self._orders.next()) is not None:
            try:
                line = driver.dial(order.channel, order.phone)
            except DialRefused as refusal:
                answer = DialAnswer(order.channel, accepted=False, reason=str(refusal))
                self._tell_events([answer], self._clock.stamp())
            else:
                self._send(port, line)

    @staticmethod
    def _send(port: Port, data: bytes) -> None:
        if data:
            port.write(data)

    def _replace_driver(self, error: Exception) -> None:
        """A driver must not raise; where one does, a fresh one begins with the port opened anew."""
        with self._lock:
            if self._driver is not None:
                self._earlier_frames += self._driver.frames
                self._earlier_bad_frames += self._driver.bad_frames
            self._driver = None
        trouble = said(
            "driver {driver} failed ({what}); it was started anew",
            driver=self._settings.driver,
            what=f"{type(error).__name__}: {error}",
        )
        self._view = replace(self._view, trouble=trouble)
        self._log_once("driver", trouble, error)

    def _troubled(self, trouble: str) -> None:
        self._view = replace(self._view, trouble=trouble)
        self._log_once("port", trouble)

    def _set_up(self, up: bool, stamp: Stamp) -> None:
        if up == self._view.up:
            return
        with self._lock:
            self._view = replace(self._view, up=up, trouble="" if up else self._view.trouble)
        log.log(
            logging.INFO if up else logging.WARNING,
            "%s: link %s",
            self._name,
            "up" if up else "down",
        )
        if up:
            self._logged.pop("port", None)
        self._tell("on_link", self._on_link, self._settings.serial, up, stamp)

    def _tell_events(self, events: Sequence[Event], stamp: Stamp) -> None:
        wanted = [
            one for one in events if not isinstance(one, DialAnswer) or self._orders.awaited(one)
        ]
        if wanted:
            self._tell("on_events", self._on_events, self._settings.serial, wanted, stamp)

    def _tell(self, name: str, callback: Callable[..., None], *arguments: object) -> None:
        try:
            callback(*arguments)
        except Exception as error:  # the board goes on being heard whatever its listeners do
            self._log_once(name, f"{name} failed: {printable(repr(error))}", error)

    def _log_once(self, kind: str, text: str, error: Exception | None = None) -> None:
        """Log at full level only what differs from the last of its kind."""
        full = logging.ERROR if error else logging.WARNING
        level = logging.DEBUG if self._logged.get(kind) == text else full
        self._logged[kind] = text
        log.log(level, "%s: %s", self._name, text, exc_info=error)
