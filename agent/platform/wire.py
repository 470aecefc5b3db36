"""The shapes that cross the wire: a call record as it is sent, an answer as it came and as it was
understood.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote_plus

from msgspec import Struct

MOST_QUOTED = 4
"""Values that are remembered as they go over the wire; the longest is a report's of a few KiB."""


class HttpAnswer(Struct, frozen=True):
    """An HTTP answer whose body, where it is 2xx, was read whole."""

    status: int
    body: bytes
    retry_after: str | None
    """The header as it stood there."""
    date: str | None
    """The header Date as it stood there, where there is a Retry-After for it to explain."""


class Answer(Struct, frozen=True):
    """A JSON object of the platform, taken leniently in types (PROTOCOL.md 1, 2)."""

    status: int
    """`status`, or `code` where there is no `status`; 0 is success."""
    time: float | None
    """The platform's clock, UNIX seconds; None: not said, or not plausible."""
    callid: str | None
    """What the platform calls the record; an opaque string."""
    message: str
    """Why not, in the platform's words, fit for a log line; often empty."""
    period: str | None
    """Hours in which recordings may be sent, such as `16-17`, as it stood there."""
    has_period: bool
    """True: the answer had a `period`, usable (then `period` is set) or not."""
    data: object
    """`data` as decoded, for `listing.read_listing`; None where there was none."""


class RecordFields(Struct, frozen=True):
    """A finished call as `cmd=upload` reports it (PROTOCOL.md 2.2)."""

    satellite: str
    channel: int
    """RJ11 port, from 1."""
    start: int
    """UNIX seconds."""
    hang_up: int
    """UNIX seconds."""
    direction: str
    """`in`, `out` or `unkown`, so spelt."""
    phone: str
    duration: int
    """Seconds."""
    record_id: int
    recorded: bool


def record_body(fields: RecordFields) -> bytes:
    """The body of a call record, the same bytes for the same fields (PROTOCOL.md 2.2, step 1)."""
    return form(
        (
            ("cmd", "upload"),
            ("satellite", fields.satellite),
            ("channel", fields.channel),
            ("start_time_secs", fields.start),
            ("start_time_hangup", fields.hang_up),
            ("direction", fields.direction),
            ("callid_dialed", fields.phone),
            ("duration_secs", fields.duration),
            ("id", fields.record_id),
            ("recorded", int(fields.recorded)),
        )
    )


def form(fields: Iterable[tuple[str, str | int]]) -> bytes:
    """`application/x-www-form-urlencoded` in UTF-8; what UTF-8 cannot carry becomes `?`.

    Names are ours: letters, digits and `_`.
    """
    return "&".join([f"{name}={_coded(str(value))}" for name, value in fields]).encode("ascii")


def _coded(value: str) -> str:
    # Most values need no other spelling, and to find that out by quote_plus takes the longest.
    if value.isalnum() and value.isascii():
        return value
    return _quoted(value)


@lru_cache(MOST_QUOTED)
def _quoted(value: str) -> str:
    # An idle gateway reports the same again and again, a kilobyte and a half.
    return quote_plus(value, encoding="utf-8", errors="replace")
