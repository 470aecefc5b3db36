"""What the gateway says to the platform: one method for each command (PROTOCOL.md 2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

from agent.clock import Clock
from agent.language import said
from agent.platform.failures import FailureKind, PlatformFailure
from agent.platform.judging import judge
from agent.platform.listing import Listing, read_listing
from agent.platform.multipart import (
    CONTENT_TYPES,
    Body,
    Container,
    RecordingBody,
    block_buffer,
    wire_name,
)
from agent.platform.wire import Answer, RecordFields, form, record_body
from agent.settings import Platform

if TYPE_CHECKING:
    from agent.platform.transport import Transport

__all__ = ["PlatformClient", "RecordFields", "record_body"]

SHORTEST_SECRET = 4
"""Characters; hiding a shorter value would hide half of every message."""

_FORM = "application/x-www-form-urlencoded; charset=UTF-8"


class PlatformClient:
    """The platform over one kept-alive connection; used by one thread, `abandon` by any.

    `satellite` gives the gateway's MAC address, or empty text while it is not known: that
    raises IDENTITY_UNKNOWN. `on_answer` is told each JSON answer of a 2xx, refusals included:
    they carry the platform's clock and the hours for recordings.

    Every method raises PlatformFailure and nothing else.
    """

    def __init__(
        self,
        settings: Platform,
        satellite: Callable[[], str],
        clock: Clock,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> None:
        self._settings = settings
        self._satellite = satellite
        self._clock = clock
        self._on_answer = on_answer
        self._transport: Transport | None = None
        """From the first command on."""
        self._abandoned = False
        self._buffer: memoryview | None = None
        """For the blocks of recordings, from the first one on: most clients send none."""
        self._secrets = _secrets(settings)
        self._asking = lru_cache(maxsize=2)(_asking)
        """Polls ask the same again and again."""

    def report(self, report_id: int, time_ms: int, status_json: str) -> Answer:
        """`channelstatus` (PROTOCOL.md 2.1)."""
        body = form(
            (
                ("cmd", "channelstatus"),
                ("satellite", self._identity()),
                ("id", report_id),
                ("time", time_ms),
                ("status", status_json),
            )
        )
        return self._post(body, _FORM)

    def record(self, body: bytes) -> Answer:
        """A call record, made by `record_body`; the answer has a callid (PROTOCOL.md 2.2)."""
        return self._post(body, _FORM, callid_due=True)

    def recording(
        self,
        callid: str,
        file: BinaryIO,
        size: int,
        modified_ns: int,
        name: str,
        container: Container,
        before_block: Callable[[int], None],
    ) -> tuple[Answer, str]:
        """A recording for a booked call (PROTOCOL.md 2.2, step 2): the answer, the digest in hex.

        `file` is an open regular file that had `size` bytes and `modified_ns` when it was found;
        it stays open. `before_block` as in `RecordingBody`; it is not called while the answer is
        awaited, which takes up to `read_timeout`.
        """
        if self._buffer is None:
            self._buffer = block_buffer()
        body = RecordingBody(
            (("cmd", "upload"), ("satellite", self._identity()), ("callid", callid)),
            file,
            size,
            modified_ns,
            wire_name(name, container),
            CONTENT_TYPES[container],
            before_block,
            self._buffer,
        )
        answer = self._post(body, body.content_type)
        return answer, body.digest

    def messages(self) -> Listing:
        """What waits for the gateway, by the configured command (PROTOCOL.md 2.3)."""
        return self._list(self._settings.message_command)

    def calls(self) -> Listing:
        """`getCallList` (PROTOCOL.md 2.4)."""
        return self._list("getCallList")

    def abandon(self) -> None:
        """End the exchange under way, and all later ones, as ABANDONED; from any thread."""
        # In this order, which `_open` turns round: one of the two sees what the other did.
        self._abandoned = True
        if self._transport is not None:
            self._transport.abandon()

    def close(self) -> None:
        """Close the connection; the next command opens another."""
        if self._transport is not None:
            self._transport.close()

    def _list(self, command: str) -> Listing:
        return read_listing(self._post(self._asking(command, self._identity()), _FORM).data)

    def _post(self, body: Body, content_type: str, *, callid_due: bool = False) -> Answer:
        transport = self._transport or self._open()
        http = transport.post(body, content_type)
        try:
            return judge(http, self._clock.wall(), self._hide, self._on_answer, callid_due)
        except PlatformFailure as failure:
            # Whoever answers out of turn may not be the platform; a refusal is its proper word.
            if failure.kind is not FailureKind.REFUSED:
                transport.close()
            raise

    def _open(self) -> Transport:
        # requests takes a tenth of the agent's start to load; calls are heard before the first
        # command needs it.
        from agent.platform.transport import Transport  # noqa: PLC0415

        self._transport = transport = Transport(self._settings, self._clock)
        if self._abandoned:
            transport.abandon()
        return transport

    def _identity(self) -> str:
        satellite = self._satellite()
        if not satellite:
            raise PlatformFailure(
                FailureKind.IDENTITY_UNKNOWN,
                said(
                    "the gateway's MAC address is not known; set identity.satellite or .interface"
                ),
            )
        return satellite

    def _hide(self, text: str) -> str:
        # A platform may quote the request in its message.
        return text if self._secrets is None else self._secrets.sub("…", text)


def _asking(command: str, satellite: str) -> bytes:
    return form((("cmd", command), ("satellite", satellite)))


def _secrets(settings: Platform) -> re.Pattern[str] | None:
    """What identifies or opens the account: it, and the query's values but for the method."""
    parts = urlsplit(settings.url)
    pairs = [*settings.query.items(), *parse_qsl(parts.query)]
    values = [str(value) for name, value in pairs if name != "method"]
    values += [part for part in (parts.username, parts.password) if part]
    if settings.account is not None:
        values += [str(settings.account.user), settings.account.password_md5]
    values = [value for value in values if len(value) >= SHORTEST_SECRET]
    # A quoted request has them as they went over the wire.
    spelt = {form for value in values for form in (value, quote(value, safe=""), quote_plus(value))}
    hidden = sorted(spelt, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, hidden)), re.IGNORECASE) if hidden else None
