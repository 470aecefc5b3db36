"""Faults of the simulated platform, switched by command line, by HTTP and by tests.

A fault is written `[COMMAND:]KIND[=VALUE][*TIMES][@PROBABILITY]`: `record:status=3001*2` answers
the next two call records with status 3001, `http=503@0.3` three requests of ten with HTTP 503. One
fault of a kind can stand for each command; setting it again replaces it.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Collection, Mapping

from msgspec import Struct
from msgspec.structs import replace

COMMANDS = ("record", "file", "report", "messages", "calls")
ANY = "any"

KINDS: dict[str, str] = {
    "status": "answers this result code and books nothing; VALUE CODE, or CODE;silent: no message",
    "http": "answers this HTTP status; VALUE CODE[;retry-after=SECONDS][;location=URL]",
    "html": "answers 200 with a log-in page, as a hotel's network does",
    "empty": "answers 200 without a body",
    "array": "answers 200 with a JSON array",
    "huge": "answers 200 with a body of 2 MiB",
    "answer": "answers 200 with VALUE as it stands, and books nothing",
    "wrong-types": "books, and answers with values of types that the protocol does not know",
    "no-callid": "books, and leaves the callid out",
    "stall-before": "waits VALUE seconds before it does anything",
    "stall-inside": "books, and waits VALUE seconds in the middle of the answer",
    "reset-before": "resets the connection, nothing booked",
    "reset-inside": "resets the connection half-way through a file's body, nothing booked",
    "reset-after": "books, then resets the connection without an answer",
    "cut": "books, and closes the connection half-way through the answer",
    "trickle": "books, and answers a byte at a time; VALUE: seconds between two bytes (0.05)",
    "slow-body": "reads a file's body at VALUE KiB a second",
    "time": "moves the clock in answers by VALUE seconds",
    "period": 'adds "period": VALUE to answers, such as 16-17',
    "duplicate": "answers a repeated record with code VALUE; VALUE;silent: without its callid",
    "down": "closes each connection without an answer",
}
ON_REQUEST = frozenset(KINDS) - {"duplicate"}
"""Kinds that strike as a request comes; the other one when it turns out to be a repeat."""
NUMBERS = frozenset({"stall-before", "stall-inside", "slow-body", "time"})
"""Kinds whose value must be a number."""

_WRITTEN = re.compile(
    r"(?:(?P<command>[a-z]+):)?(?P<kind>[a-z-]+)(?:=(?P<value>.*?))?"
    r"(?:\*(?P<times>\d{1,6}))?(?:@(?P<probability>[01](?:\.\d+)?|\.\d+))?",
    re.DOTALL,
)


class BadFault(ValueError):
    """A fault that cannot be read; the message says what is wrong with it."""


class Fault(Struct, frozen=True):
    """One switch."""

    kind: str
    value: str = ""
    command: str = ANY
    times: int | None = None
    """How many requests it still strikes; None: until it is cleared."""
    probability: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadFault(f"no fault {self.kind!r}; there are: {', '.join(KINDS)}")
        if self.command not in (*COMMANDS, ANY):
            raise BadFault(f"no command {self.command!r}; there are: {', '.join(COMMANDS)}")
        if self.kind in NUMBERS:
            try:
                float(self.value)
            except ValueError:
                raise BadFault(f"{self.kind} needs a number, not {self.value!r}") from None
        code = self.value.split(";")[0]
        if self.kind in {"status", "http", "duplicate"} and not re.fullmatch(r"-?\d{1,6}", code):
            raise BadFault(f"{self.kind} needs a code such as {self.kind}=503, not {code!r}")

    @property
    def name(self) -> str:
        """`COMMAND:KIND`, or `KIND` where it strikes every command."""
        return self.kind if self.command == ANY else f"{self.command}:{self.kind}"

    @property
    def code(self) -> int:
        """The number at the beginning of the value."""
        return int(self.value.split(";")[0])

    @property
    def options(self) -> dict[str, str]:
        """What stands after the value's first semicolon: `retry-after=5` and the like."""
        pairs = (option.partition("=") for option in self.value.split(";")[1:])
        return {name.strip(): value for name, _, value in pairs}


def parse(written: str) -> Fault:
    """Read a fault as the command line has it. Raises BadFault."""
    match = _WRITTEN.fullmatch(written)
    if match is None:
        raise BadFault(f"{written!r} is not [COMMAND:]KIND[=VALUE][*TIMES][@PROBABILITY]")
    times = match["times"]
    return Fault(
        kind=match["kind"],
        value=match["value"] or "",
        command=match["command"] or ANY,
        times=None if times is None else int(times),
        probability=float(match["probability"] or 1),
    )


class Faults:
    """The faults that are switched on; safe to use from all threads."""

    def __init__(self, seed: int = 1) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._faults: dict[tuple[str, str], Fault] = {}

    def add(self, fault: Fault) -> None:
        """Switch a fault on, in place of the one of the same kind and command."""
        with self._lock:
            self._faults[fault.command, fault.kind] = fault

    def set(self, name: str, value: object = "", *, times: int | None = None) -> None:
        """Switch by name: `set("record:status", 3001, times=2)`; a value of None switches it off.

        The value may carry `*TIMES` and `@PROBABILITY` as on the command line. Raises BadFault.
        """
        if value is None:
            self.clear(name)
            return
        text = "" if value is True else str(value)
        fault = parse(f"{name}={text}")
        self.add(fault if times is None else replace(fault, times=times))

    def set_all(self, wanted: Mapping[str, object]) -> None:
        """Switch several by name, as `POST /simulation/faults` does. Raises BadFault."""
        for name, value in wanted.items():
            self.set(name, value)

    def clear(self, name: str | None = None) -> None:
        """Switch one off by its name (`record:status`, `http`), or all."""
        with self._lock:
            for key, fault in list(self._faults.items()):
                if name is None or fault.name == name:
                    del self._faults[key]

    def draw(self, command: str, kinds: Collection[str] = ON_REQUEST) -> dict[str, Fault]:
        """Tell which faults strike this request, by kind, and count it against their number.

        A fault set for the command goes before one for every command.
        """
        struck: dict[str, Fault] = {}
        with self._lock:
            keys = [key for key in self._faults if key[0] in (command, ANY) and key[1] in kinds]
            for key in sorted(keys, key=lambda key: key[0] == ANY):
                fault = self._faults[key]
                if fault.kind in struck:
                    continue
                if fault.probability < 1 and self._random.random() >= fault.probability:
                    continue
                struck[fault.kind] = fault
                self._count(key, fault)
        return struck

    def shown(self) -> dict[str, str]:
        """Return what is switched on, by name, for `/simulation/state`."""
        with self._lock:
            return {
                fault.name: fault.value
                + ("" if fault.times is None else f"*{fault.times}")
                + ("" if fault.probability == 1 else f"@{fault.probability:g}")
                for fault in self._faults.values()
            }

    def _count(self, key: tuple[str, str], fault: Fault) -> None:
        if fault.times is None:
            return
        if fault.times <= 1:
            del self._faults[key]
        else:
            self._faults[key] = replace(fault, times=fault.times - 1)


def explained() -> str:
    """List the kinds for `--help`."""
    width = max(map(len, KINDS)) + 2
    lines = [f"  {kind:<{width}}{meaning}" for kind, meaning in KINDS.items()]
    return "\n".join(
        [
            "faults: [COMMAND:]KIND[=VALUE][*TIMES][@PROBABILITY]",
            f"  COMMAND is one of {', '.join(COMMANDS)}; without it every command is struck.",
            "  record:status=3001*2 refuses two records, http=503@0.3 three requests of ten.",
            '  POST /simulation/faults takes the same as JSON: {"record:status": "3001*2",'
            ' "html": null}; null switches off.',
            "",
            *lines,
        ]
    )
