"""What an exception of requests, urllib3, ssl or socket means: a kind of failure, in words.

The same event arrives wrapped differently by release, protocol and phase, so the whole chain of
causes is looked at, against one table. Nothing is quoted but the system's own words for an error.
"""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from collections.abc import Callable, Iterator

import requests
import urllib3.exceptions
from msgspec import Struct
from urllib3.util.ssl_match_hostname import CertificateError

from agent.language import marked, said
from agent.platform.connections import Line, Phase
from agent.platform.failures import FailureKind, PlatformFailure
from agent.system_words import known

MOST_CAUSES = 32
"""Links of a chain of exceptions that are looked at; urllib3 and requests make about six."""

_UNREACHABLE = frozenset(
    {
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.EHOSTDOWN,
        errno.EADDRNOTAVAIL,
    }
)
NOT_YET_VALID = marked(
    "the platform's certificate is not valid yet; is the gateway's own clock right?"
)
EXPIRED = marked("the platform's certificate has expired; is the gateway's own clock right?")
SELF_SIGNED = marked("the platform's certificate is signed by itself; set platform.ca_file to it")
UNKNOWN_AUTHORITY = marked(
    "the platform's certificate comes from an unknown authority; set platform.ca_file"
)
WRONG_HOST = marked("the platform's certificate is for another host name than that in platform.url")
WRONG_ADDRESS = marked(
    "the platform's certificate is for another address than that in platform.url"
)
NO_TLS = marked("the platform does not speak TLS on this port; is http meant, and not https?")

_CERTIFICATE_WORDS = {
    9: NOT_YET_VALID,
    10: EXPIRED,
    18: SELF_SIGNED,
    19: UNKNOWN_AUTHORITY,
    20: UNKNOWN_AUTHORITY,
    21: UNKNOWN_AUTHORITY,
    62: WRONG_HOST,
    64: WRONG_ADDRESS,
}
"""By OpenSSL's X509_V_ERR number."""
_TLS_WORDS = {
    "WRONG_VERSION_NUMBER": NO_TLS,
    "HTTP_REQUEST": NO_TLS,
    "RECORD_LAYER_FAILURE": NO_TLS,
    "NO_CERTIFICATE_OR_CRL_FOUND": marked(
        "the file that platform.ca_file names holds no certificate"
    ),
}
"""By OpenSSL's reason."""


_CUT = marked("the connection was cut: {why}")
_CUT_WORDS = {
    Phase.CONNECTING: marked("the connection was cut while it was being made: {why}"),
    Phase.SENDING: marked("the connection was cut while the request was being sent: {why}"),
    Phase.AWAITING: marked("the connection was cut before an answer came: {why}"),
    Phase.ANSWERING: marked("the connection was cut in the middle of the answer: {why}"),
}


def failure_of(error: Exception, line: Line, connect_timeout: float) -> PlatformFailure:
    """Name the failure behind `error`, raised in an exchange that came as far as `line` says."""
    if line.abandoned:
        return abandoned()
    causes = tuple(_chain(line.send_error or error))
    for row in _TABLE:
        for cause in causes:
            if isinstance(cause, row.types) and row.applies(cause, line):
                return PlatformFailure(row.kind, row.words(cause, line, connect_timeout))
    return PlatformFailure(
        FailureKind.CONNECTION_CUT, said("the request failed: {kind}", kind=type(error).__name__)
    )


def abandoned() -> PlatformFailure:
    """The gateway itself ended the exchange."""
    return PlatformFailure(FailureKind.ABANDONED, said("stopped by the gateway"))


def _chain(error: BaseException) -> Iterator[BaseException]:
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < MOST_CAUSES:
        cause = waiting.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]


class _Row(Struct, frozen=True):
    types: tuple[type[BaseException], ...]
    kind: FailureKind
    words: Callable[[BaseException, Line, float], str]
    applies: Callable[[BaseException, Line], bool] = lambda _cause, _line: True


def _always(text: str) -> Callable[[BaseException, Line, float], str]:
    return lambda _cause, _line, _connect: text


def _system_words(cause: BaseException) -> str:
    words = getattr(cause, "strerror", None)
    return known(words) if isinstance(words, str) and words else type(cause).__name__


def _inner_words(cause: BaseException) -> str:
    inner = cause.args[0] if cause.args else None
    return _system_words(inner if isinstance(inner, BaseException) else cause)


def _connecting(_cause: BaseException, line: Line) -> bool:
    return line.phase <= Phase.CONNECTING


def _unreachable(cause: BaseException, line: Line) -> bool:
    return line.phase <= Phase.CONNECTING and getattr(cause, "errno", None) in _UNREACHABLE


def _certificate_words(cause: BaseException, _line: Line, _connect: float) -> str:
    code = getattr(cause, "verify_code", None)
    detail = getattr(cause, "verify_message", None) or "unknown"
    words = _CERTIFICATE_WORDS.get(code) if isinstance(code, int) else None
    if words is not None:
        return said(words)
    return said("the platform's certificate is not accepted: {detail}", detail=detail)


def _tls_words(cause: BaseException, _line: Line, _connect: float) -> str:
    reason = getattr(cause, "reason", None)
    if not isinstance(reason, str):
        return said("TLS failed")
    if reason in _TLS_WORDS:
        return said(_TLS_WORDS[reason])
    return said("TLS failed: {reason}", reason=reason.replace("_", " ").lower())


def _cut_words(cause: BaseException, line: Line, _connect: float) -> str:
    phase = Phase.SENDING if line.send_error is not None else line.phase
    own = isinstance(cause, OSError)
    why = _system_words(cause) if own else said("closed by the platform")
    return said(_CUT_WORDS.get(phase, _CUT), why=why)


def _late_words(_cause: BaseException, line: Line, _connect: float) -> str:
    if line.send_error is not None or line.phase == Phase.SENDING:
        return said(
            "the platform took no more of the request for {seconds} s",
            seconds=f"{line.read_timeout:g}",
        )
    if line.phase == Phase.ANSWERING:
        return said("no whole answer within {seconds} s", seconds=f"{line.read_timeout:g}")
    return said("no answer within {seconds} s", seconds=f"{line.read_timeout:g}")


_TIMEOUTS = (TimeoutError, urllib3.exceptions.TimeoutError, requests.Timeout)
_TABLE = (
    _Row(
        (socket.gaierror,),
        FailureKind.NO_SUCH_HOST,
        lambda cause, _line, _connect: said(
            "the host name of platform.url was not found: {why}", why=_system_words(cause)
        ),
    ),
    _Row(
        # urllib3 1.26 has none; there the resolver's own error stands in the chain, see above.
        (getattr(urllib3.exceptions, "NameResolutionError", socket.gaierror),),
        FailureKind.NO_SUCH_HOST,
        _always(said("the host name of platform.url was not found")),
    ),
    _Row(
        (
            UnicodeError,
            requests.exceptions.InvalidURL,
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidSchema,
            urllib3.exceptions.LocationValueError,
        ),
        FailureKind.NO_SUCH_HOST,
        _always(said("platform.url has no usable host name")),
        _connecting,
    ),
    _Row(
        (ConnectionRefusedError,),
        FailureKind.CONNECTION_REFUSED,
        _always(said("the platform's host refuses the connection: nothing listens on this port")),
    ),
    _Row(
        (OSError,),
        FailureKind.CONNECTION_REFUSED,
        lambda cause, _line, _connect: said(
            "the platform's host cannot be reached: {why}", why=_system_words(cause)
        ),
        _unreachable,
    ),
    _Row((ssl.SSLCertVerificationError,), FailureKind.TLS, _certificate_words),
    # urllib3 1.26 compares the host's name itself.
    _Row((CertificateError,), FailureKind.TLS, _always(said(WRONG_HOST))),
    _Row(
        _TIMEOUTS,
        FailureKind.CONNECT_TIMEOUT,
        lambda _cause, _line, connect: said(
            "no connection within {seconds} s", seconds=f"{connect:g}"
        ),
        # urllib3 1.26 derives every error of a new connection from its connect time-out.
        lambda cause, line: (
            line.phase <= Phase.CONNECTING
            and not isinstance(cause, urllib3.exceptions.NewConnectionError)
        ),
    ),
    _Row(_TIMEOUTS, FailureKind.ANSWER_TIMEOUT, _late_words),
    _Row(
        (ssl.SSLEOFError, ssl.SSLZeroReturnError),
        FailureKind.TLS,
        _always(said("the platform broke off the TLS handshake; does it speak TLS on this port?")),
        _connecting,
    ),
    _Row((ssl.SSLEOFError, ssl.SSLZeroReturnError), FailureKind.CONNECTION_CUT, _cut_words),
    _Row((ssl.SSLError,), FailureKind.TLS, _tls_words),
    _Row(
        (urllib3.exceptions.SSLError,),
        FailureKind.TLS,
        lambda cause, _line, _connect: said(
            "platform.ca_file cannot be used: {why}", why=_inner_words(cause)
        ),
    ),
    _Row(
        (OSError,),
        FailureKind.TLS,
        _always(said("the file that platform.ca_file names is not there")),
        # requests looks for the file before anything else happens.
        lambda cause, line: (
            line.phase == Phase.BEFORE and not isinstance(cause, requests.RequestException)
        ),
    ),
    _Row(
        (ConnectionError, http.client.IncompleteRead, urllib3.exceptions.IncompleteRead),
        FailureKind.CONNECTION_CUT,
        _cut_words,
    ),
    _Row(
        (OSError,),
        FailureKind.CONNECTION_REFUSED,
        lambda cause, _line, _connect: said(
            "no connection could be made: {why}", why=_system_words(cause)
        ),
        lambda cause, line: (
            line.phase == Phase.CONNECTING and not isinstance(cause, requests.RequestException)
        ),
    ),
    _Row(
        (http.client.HTTPException, urllib3.exceptions.HTTPError, ValueError),
        FailureKind.UNUSABLE,
        _always(said("the platform's answer is not proper HTTP")),
        lambda _cause, line: line.phase == Phase.ANSWERING,
    ),
)
"""The first line that fits any link of the chain says what happened."""
