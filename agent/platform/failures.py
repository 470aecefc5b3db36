"""What can go wrong between gateway and platform: one kind for each thing to do about it."""

from __future__ import annotations

from enum import StrEnum

from agent.language import Said
from agent.platform.wire import Answer
from agent.text import printable


class FailureKind(StrEnum):
    """Why a request did not succeed."""

    NO_SUCH_HOST = "no such host"
    CONNECTION_REFUSED = "connection refused"
    """Also: no route to the host, network down."""
    CONNECT_TIMEOUT = "connect time-out"
    """Nobody took the connection, or the TLS handshake did not end, within `connect_timeout`."""
    ANSWER_TIMEOUT = "answer time-out"
    """Connected, then `read_timeout` passed: no whole answer, or a block that was not taken."""
    CONNECTION_CUT = "connection cut"
    TLS = "TLS"
    REDIRECT = "redirect"
    """HTTP 301, 302, 303, 307, 308; never followed (DESIGN.md, rule 4)."""
    AUTHENTICATION = "authentication failed"
    """The account or the permission is wrong: a matter of configuration, never of one item."""
    HTTP_ERROR = "HTTP error"
    """Any other HTTP status that is not 2xx; `http_status` tells."""
    TOO_MANY = "too many requests"
    """HTTP 429."""
    UNUSABLE = "unusable answer"
    """An answer that is not what the protocol promises; also one over the limit of its size."""
    REFUSED = "refused"
    """A proper answer whose `status` is not 0; `status` tells (PROTOCOL.md 2.5)."""
    FILE_CHANGED = "file changed"
    """The recording is not what it was when it was found; the platform has no whole copy."""
    FILE_UNREADABLE = "file unreadable"
    ABANDONED = "abandoned"
    """Stopped by the gateway itself."""
    IDENTITY_UNKNOWN = "identity unknown"
    """There is no MAC address to go with the request."""


class PlatformFailure(Exception):
    """The one exception of this folder.

    `message` is one line fit for a log; it holds no URL, query, account or secret.
    `retry_after` is in seconds, 0 to one day. `answer` is set where there was a JSON object:
    the answer to a repeated record may carry its callid.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        status: int | None = None,
        http_status: int | None = None,
        retry_after: float | None = None,
        answer: Answer | None = None,
    ) -> None:
        self.kind = kind
        # A text of ours keeps what it needs to be told in another language.
        own = isinstance(message, Said)
        self.message = message if own else printable(message, MOST_MESSAGE)
        self.status = status
        self.http_status = http_status
        self.retry_after = retry_after
        self.answer = answer
        super().__init__(self.message)


MOST_MESSAGE = 400
"""Characters of a failure's message: our own words and up to 200 of the platform's."""
