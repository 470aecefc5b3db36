"""The storm's weather: faults of the platform that come and go at random, and calls asked for."""

from __future__ import annotations

import random
import threading

from agent.simulation.faults import parse
from agent.simulation.platform import SimulatedPlatform

SHORTEST, LONGEST = 0.5, 3.0
"""Seconds that one weather lasts."""
FAIR = 0.35
"""Share of the time without any fault, in which what piled up goes out."""
LOSES_ANSWERS = 0.5
"""Share of foul weathers in which answers are lost, and nothing else is wrong."""
MOST_FAULTS = 3
"""Faults at once in the others."""
OUTAGE = 0.1
"""Share of weathers in which nobody listens at the platform's address."""
FORGETS = 0.3
"""Share of weathers that begin with a record forgotten whose file has not come yet."""
ASKS = 0.25
"""Share of weathers that begin with a call asked for."""

ANSWER_LOST = (
    "reset-after@0.6",
    "cut@0.6",
    "stall-inside=3@0.2",
    "no-callid@0.6",
    "wrong-types@0.6",
)
"""What was sent is booked, and the gateway can't know: here things would double."""
NOT_BOOKED = (
    "reset-before@0.5",
    "reset-inside@0.5",
    "stall-before=3@0.2",
    "trickle=0.002@0.5",
    "slow-body=64",
    "http=500@0.5",
    "http=503@0.5",
    "http=503;retry-after=1@0.5",
    "http=302;location=http://127.0.0.1:9/@0.5",
    "status=3001@0.4",
    "status=3002@0.4",
    "file:status=3003@0.4",
    "record:status=-6@0.4",
    "html@0.5",
    "empty@0.5",
    "array@0.5",
    "down",
)
"""A stall of 3 s outlasts the storm's `platform.read_timeout`."""


class Weather:
    """Changes the platform's faults in a thread of its own, from a seed, until `clear`."""

    def __init__(
        self, platform: SimulatedPlatform, seed: int, satellite: str, channels: int
    ) -> None:
        self.asked: list[str] = []
        """Numbers of the calls asked for, each another."""
        self.forgotten = 0
        self.changes = 0
        self._platform = platform
        self._random = random.Random(seed)
        self._satellite = satellite
        self._channels = channels
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="weather")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def clear(self) -> None:
        """End, with every fault off and the platform listening."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            out = self._change()
            self._stop.wait(self._random.uniform(SHORTEST, LONGEST))
            self._platform.faults.clear()
            if out:
                self._platform.start()

    def _change(self) -> bool:
        """Let another weather begin; tell whether the platform went away."""
        self.changes += 1
        chance = self._random
        if chance.random() < ASKS:
            self._ask()
        if chance.random() < FORGETS:
            self._forget()
        if chance.random() < OUTAGE:
            self._platform.stop()
            return True
        if chance.random() >= FAIR:
            lost = chance.random() < LOSES_ANSWERS
            kinds, most = (ANSWER_LOST, 1) if lost else (NOT_BOOKED + ANSWER_LOST, MOST_FAULTS)
            for fault in chance.sample(kinds, chance.randint(1, most)):
                self._platform.faults.add(parse(fault))
        return False

    def _ask(self) -> None:
        phone = f"0218888{len(self.asked):04}"
        self.asked.append(phone)
        self._platform.send_call(self._satellite, self._random.randint(1, self._channels), phone)

    def _forget(self) -> None:
        """Lose a record before its file comes: afterwards nobody could learn of it."""
        with self._platform.desk.changed:
            delivered = {file.callid for file in self._platform.files}
            waiting = [
                record.callid
                for record in self._platform.records
                if record.recorded and record.callid not in delivered
            ]
            if waiting:
                self.forgotten += 1
                self._platform.forget(self._random.choice(waiting))
