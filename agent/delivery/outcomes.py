"""What an answer or its absence means: the one table that delivery goes by.

Each line says whose fault a failure is, and so who waits: the item alone, all sending, or all
sending until somebody mends the configuration. Nothing is ever given up.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agent.delivery.gate import Gate, Shut
from agent.platform.failures import FailureKind, PlatformFailure


class Blame(StrEnum):
    """Whose matter a failure is."""

    PLATFORM = "platform"
    """Nothing gets through: all sending waits, one probe at a time; no item is blamed."""
    EITHER = "either"
    """The item or the platform: the item waits; several different ones in a row are an outage."""
    ITEM = "item"
    """The platform is well and refuses this item: it waits alone, longer each time."""
    CONFIGURATION = "configuration"
    """All sending stops and says so; a probe every few minutes; no item is blamed."""
    FILE = "file"
    """The file can't be read: it waits alone, and nothing is learnt of the platform."""
    NOBODY = "nobody"
    """We stopped it ourselves."""


class Remedy(StrEnum):
    """What else is done before the next attempt."""

    NONE = "none"
    READ_IDENTITY = "the identity is read anew"
    BOOK_ANEW = "its record is booked anew"
    LOOK_AGAIN = "the file is looked at again"


@dataclass(frozen=True, slots=True)
class Meaning:
    """One line of the table."""

    blame: Blame
    words: str
    """For the log and `queue show`, after the platform's own message."""
    remedy: Remedy = Remedy.NONE


OUTAGE_AFTER = 3
"""Different items in a row that fail for a reason of `Blame.EITHER` are taken for an outage."""

BY_KIND: dict[FailureKind, Meaning] = {
    FailureKind.NO_SUCH_HOST: Meaning(Blame.PLATFORM, "the platform's name is not found"),
    FailureKind.CONNECTION_REFUSED: Meaning(Blame.PLATFORM, "the platform can't be reached"),
    FailureKind.CONNECT_TIMEOUT: Meaning(Blame.PLATFORM, "the platform can't be reached in time"),
    FailureKind.TLS: Meaning(Blame.PLATFORM, "no trusted connection to the platform"),
    FailureKind.REDIRECT: Meaning(Blame.PLATFORM, "sent elsewhere, which is not followed"),
    FailureKind.TOO_MANY: Meaning(Blame.PLATFORM, "the platform asks for fewer requests"),
    FailureKind.ANSWER_TIMEOUT: Meaning(Blame.EITHER, "no answer in time"),
    FailureKind.CONNECTION_CUT: Meaning(Blame.EITHER, "the connection was cut"),
    FailureKind.UNUSABLE: Meaning(Blame.EITHER, "the answer is not one of the platform's"),
    FailureKind.HTTP_ERROR: Meaning(Blame.EITHER, "the server failed"),
    FailureKind.AUTHENTICATION: Meaning(Blame.CONFIGURATION, "the account is not accepted"),
    FailureKind.IDENTITY_UNKNOWN: Meaning(
        Blame.CONFIGURATION, "the gateway's MAC address is unknown", Remedy.READ_IDENTITY
    ),
    FailureKind.REFUSED: Meaning(Blame.ITEM, "the platform refuses it"),
    FailureKind.FILE_CHANGED: Meaning(Blame.NOBODY, "the file changed", Remedy.LOOK_AGAIN),
    FailureKind.FILE_UNREADABLE: Meaning(Blame.FILE, "the file can't be read", Remedy.LOOK_AGAIN),
    FailureKind.ABANDONED: Meaning(Blame.NOBODY, "stopped by the agent"),
}

BY_HTTP_STATUS: dict[int, Meaning] = {
    400: Meaning(Blame.ITEM, "the server finds the request wrong"),
    404: Meaning(Blame.EITHER, "nothing stands at the configured URL"),
    405: Meaning(Blame.EITHER, "the configured URL takes no POST"),
    413: Meaning(Blame.ITEM, "the server finds it too large"),
    415: Meaning(Blame.ITEM, "the server takes no such file"),
    422: Meaning(Blame.ITEM, "the server finds the request wrong"),
    502: Meaning(Blame.PLATFORM, "the platform behind the proxy is down"),
    503: Meaning(Blame.PLATFORM, "the platform is not available"),
    504: Meaning(Blame.PLATFORM, "the platform behind the proxy does not answer"),
}

BY_STATUS: dict[int, Meaning] = {
    3001: Meaning(Blame.ITEM, "it matches nothing that the platform holds"),
    3002: Meaning(Blame.ITEM, "the MAC address is missing", Remedy.READ_IDENTITY),
    3003: Meaning(Blame.ITEM, "the gateway or the record is not found", Remedy.BOOK_ANEW),
}
"""PROTOCOL.md 2.5. For a record, which nothing comes before, 3003 is tried again as it is."""


def meaning(failure: PlatformFailure) -> Meaning:
    """Find the line for a failure: by the platform's code, the HTTP status, or its kind."""
    if failure.kind is FailureKind.REFUSED and failure.status in BY_STATUS:
        return BY_STATUS[failure.status]
    if failure.kind is FailureKind.HTTP_ERROR and failure.http_status in BY_HTTP_STATUS:
        return BY_HTTP_STATUS[failure.http_status]
    return BY_KIND[failure.kind]


def learn_from(failure: PlatformFailure, gate: Gate, *, admitted: bool) -> str:
    """Tell the gate what a failed report or poll says of the platform; return it in words.

    `admitted`: the gate let the request through as its probe, and waits to hear of it.
    """
    found = meaning(failure)
    words = f"{found.words}: {failure.message}"
    shut = gate.view().shut is not None
    if found.blame is Blame.CONFIGURATION:
        gate.failed(Shut.CONFIGURATION, words, failure.retry_after)
    elif found.blame is Blame.PLATFORM or (found.blame is Blame.EITHER and shut):
        gate.failed(Shut.OUTAGE, words, failure.retry_after)
    elif found.blame is Blame.ITEM:
        gate.answered()
    elif admitted:
        gate.gave_up()
    return words
