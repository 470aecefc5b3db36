"""What an answer or its absence means: the one table that delivery goes by.

Each line says whose fault a failure is, and so who waits: the item alone, all sending, or all
sending until somebody mends the configuration. Nothing is ever given up.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

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


class Meaning(Struct, frozen=True):
    """One line of the table; what happened, in words, is the failure's own message."""

    blame: Blame
    remedy: Remedy = Remedy.NONE


BY_KIND: dict[FailureKind, Meaning] = {
    FailureKind.NO_SUCH_HOST: Meaning(Blame.PLATFORM),
    FailureKind.CONNECTION_REFUSED: Meaning(Blame.PLATFORM),
    FailureKind.CONNECT_TIMEOUT: Meaning(Blame.PLATFORM),
    FailureKind.TLS: Meaning(Blame.PLATFORM),
    FailureKind.REDIRECT: Meaning(Blame.PLATFORM),
    FailureKind.TOO_MANY: Meaning(Blame.PLATFORM),
    FailureKind.ANSWER_TIMEOUT: Meaning(Blame.EITHER),
    FailureKind.CONNECTION_CUT: Meaning(Blame.EITHER),
    FailureKind.UNUSABLE: Meaning(Blame.EITHER),
    FailureKind.HTTP_ERROR: Meaning(Blame.EITHER),
    FailureKind.AUTHENTICATION: Meaning(Blame.CONFIGURATION),
    # As an outage: an interface that comes up late must not cost minutes.
    FailureKind.IDENTITY_UNKNOWN: Meaning(Blame.PLATFORM, Remedy.READ_IDENTITY),
    FailureKind.REFUSED: Meaning(Blame.ITEM),
    FailureKind.FILE_CHANGED: Meaning(Blame.NOBODY, Remedy.LOOK_AGAIN),
    FailureKind.FILE_UNREADABLE: Meaning(Blame.FILE, Remedy.LOOK_AGAIN),
    FailureKind.ABANDONED: Meaning(Blame.NOBODY),
}

BY_HTTP_STATUS: dict[int, Meaning] = {
    400: Meaning(Blame.ITEM),
    413: Meaning(Blame.ITEM),
    415: Meaning(Blame.ITEM),
    422: Meaning(Blame.ITEM),
    502: Meaning(Blame.PLATFORM),
    503: Meaning(Blame.PLATFORM),
    504: Meaning(Blame.PLATFORM),
}
"""HTTP errors that say more than that there is one; what each means stands in `judging.py`."""

BY_STATUS: dict[int, Meaning] = {
    3002: Meaning(Blame.ITEM, Remedy.READ_IDENTITY),
    3003: Meaning(Blame.ITEM, Remedy.BOOK_ANEW),
}
"""PROTOCOL.md 2.5. For a record, which nothing comes before, 3003 is tried again as it is."""


def meaning(failure: PlatformFailure) -> Meaning:
    """Find the line for a failure: by the platform's code, the HTTP status, or its kind."""
    if failure.kind is FailureKind.REFUSED and failure.status in BY_STATUS:
        return BY_STATUS[failure.status]
    if failure.kind is FailureKind.HTTP_ERROR and failure.http_status in BY_HTTP_STATUS:
        return BY_HTTP_STATUS[failure.http_status]
    return BY_KIND[failure.kind]


def learn_from(
    failure: PlatformFailure, gate: Gate, what: str, read_identity: Callable[[], object]
) -> None:
    """Tell the gate what a failed report or poll, named `what`, says of the platform.

    `read_identity` reads the gateway's MAC address anew, where the failure asks for that.
    """
    found = meaning(failure)
    if found.blame is Blame.CONFIGURATION:
        gate.failed(Shut.CONFIGURATION, failure.message, failure.retry_after)
    elif found.blame is Blame.PLATFORM:
        gate.failed(Shut.OUTAGE, failure.message, failure.retry_after)
    elif found.blame is Blame.EITHER:
        gate.doubted(what, failure.message, failure.retry_after)
    elif found.blame is Blame.ITEM:
        gate.answered()
    else:
        gate.gave_up()
    if found.remedy is Remedy.READ_IDENTITY:
        read_identity()
