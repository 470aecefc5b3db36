"""The fault matrix: what is expected of each fault, for each command; see docs/delivery.md."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agent.delivery.outcomes import Blame, Remedy
from agent.platform.failures import FailureKind as Kind


class Command(StrEnum):
    """What a gateway says to the platform."""

    REPORT = "report"
    RECORD = "record"
    FILE = "file"
    MESSAGES = "messages"
    CALLS = "calls"


PAUSE = 120.0
"""Seconds that the platform asks for in these tests."""
SHORTEST = {
    Blame.ITEM: 0.2,
    Blame.EITHER: 0.2,
    Blame.PLATFORM: 0.2,
    Blame.CONFIGURATION: 162.0,
}
"""Seconds: what the jitter leaves at least of `retry.first` (2), and of
`retry.configuration_probe` (180)."""


@dataclass(frozen=True)
class Row:
    """One fault."""

    fault: str
    kind: Kind
    blame: Blame
    remedy: Remedy = Remedy.NONE
    only: Command | None = None
    """The one command for which it is a fault, or for which there is a remedy."""
    pause: float = 0.0
    """Seconds that the platform asked to be left alone."""
    done: bool = False
    """True: the platform did what it was asked, and the gateway can't know."""

    @property
    def at_least(self) -> float:
        """Seconds that pass before the next attempt, with the shortest jitter."""
        return max(self.pause, SHORTEST[self.blame])

    def is_fault_for(self, command: Command) -> bool:
        return self.remedy is not Remedy.NONE or self.only in {None, command}

    @property
    def differs(self) -> str:
        if self.only is None:
            return ""
        what = "a failure" if self.remedy is Remedy.NONE else "the record is booked anew"
        return f"{what} for a {self.only} only"

    def cells(self) -> tuple[str, ...]:
        """As docs/delivery.md shows it."""
        alone = self.blame in {Blame.ITEM, Blame.EITHER}
        return (
            self.fault,
            self.kind.value,
            self.blame.value,
            "the item" if alone else "everything",
            f"{self.at_least:g} s" + (", as asked" if self.pause else ""),
            "" if self.remedy is Remedy.NONE else self.remedy.value,
            "yes" if self.done else "no",
            self.differs,
        )


HEAD = (
    "what comes",
    "failure",
    "whose matter",
    "who waits",
    "at least",
    "also",
    "done already",
    "where commands differ",
)

PLATFORM, EITHER, ITEM, CONFIGURATION = (
    Blame.PLATFORM,
    Blame.EITHER,
    Blame.ITEM,
    Blame.CONFIGURATION,
)
AUTHENTICATION = Kind.AUTHENTICATION

TABLE = (
    Row("connection refused", Kind.CONNECTION_REFUSED, PLATFORM),
    Row("host name not found", Kind.NO_SUCH_HOST, PLATFORM),
    Row("connection not taken in time", Kind.CONNECT_TIMEOUT, PLATFORM),
    Row("TLS: certificate expired", Kind.TLS, PLATFORM),
    Row("TLS: certificate of another host", Kind.TLS, PLATFORM),
    Row("TLS: unknown authority", Kind.TLS, PLATFORM),
    Row("TLS: nothing newer than TLS 1.1", Kind.TLS, PLATFORM),
    Row("TLS: none spoken on the port", Kind.TLS, PLATFORM),
    Row("stall before the answer", Kind.ANSWER_TIMEOUT, EITHER),
    Row("stall in the answer", Kind.ANSWER_TIMEOUT, EITHER, done=True),
    Row("reset before booking", Kind.CONNECTION_CUT, EITHER),
    Row("reset after booking", Kind.CONNECTION_CUT, EITHER, done=True),
    Row("answer cut off", Kind.CONNECTION_CUT, EITHER, done=True),
    Row("HTTP 301", Kind.REDIRECT, PLATFORM),
    Row("HTTP 302", Kind.REDIRECT, PLATFORM),
    Row("HTTP 307", Kind.REDIRECT, PLATFORM),
    Row("HTTP 400", Kind.HTTP_ERROR, ITEM),
    Row("HTTP 401", AUTHENTICATION, CONFIGURATION),
    Row("HTTP 403", AUTHENTICATION, CONFIGURATION),
    Row("HTTP 404", Kind.HTTP_ERROR, EITHER),
    Row("HTTP 413", Kind.HTTP_ERROR, ITEM),
    Row("HTTP 429", Kind.TOO_MANY, PLATFORM),
    Row("HTTP 429 with Retry-After: 120", Kind.TOO_MANY, PLATFORM, pause=PAUSE),
    Row("HTTP 500", Kind.HTTP_ERROR, EITHER),
    Row("HTTP 502", Kind.HTTP_ERROR, PLATFORM),
    Row("HTTP 503", Kind.HTTP_ERROR, PLATFORM),
    Row("HTTP 503 with Retry-After: 120", Kind.HTTP_ERROR, PLATFORM, pause=PAUSE),
    Row("HTTP 504", Kind.HTTP_ERROR, PLATFORM),
    Row("HTML log-in page", Kind.UNUSABLE, EITHER),
    Row("empty body", Kind.UNUSABLE, EITHER),
    Row("JSON array", Kind.UNUSABLE, EITHER),
    Row("body over 1 MiB", Kind.UNUSABLE, EITHER),
    Row("values of wrong types", Kind.UNUSABLE, EITHER, done=True),
    Row("status 0 without a callid", Kind.UNUSABLE, EITHER, done=True, only=Command.RECORD),
    Row("status 3001", Kind.REFUSED, ITEM),
    Row("status 3002", Kind.REFUSED, ITEM, Remedy.READ_IDENTITY),
    Row("status 3003", Kind.REFUSED, ITEM, Remedy.BOOK_ANEW, only=Command.FILE),
    Row("status -1", Kind.REFUSED, ITEM),
    Row("status -2", AUTHENTICATION, CONFIGURATION),
    Row("status -3", Kind.REFUSED, ITEM),
    Row("status -5", AUTHENTICATION, CONFIGURATION),
    Row("status -6", Kind.REFUSED, ITEM),
    Row("status -10", AUTHENTICATION, CONFIGURATION),
    Row("status -11", AUTHENTICATION, CONFIGURATION),
    Row("status -12", AUTHENTICATION, CONFIGURATION),
)


def in_markdown(text: str, head: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The rows of the table with this head in a Markdown document; fails where there is none."""
    lines = iter(text.splitlines())
    for line in lines:
        if _cells(line) == head:
            break
    else:
        raise AssertionError(f"no table has the head {head}")
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(_cells(line))
    return rows


def _cells(line: str) -> tuple[str, ...]:
    return tuple(
        cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")
    )
