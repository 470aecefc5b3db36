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
from dataclasses import dataclass

import requests
import urllib3.exceptions

from agent.platform.connections import Line, Phase
from agent.platform.failures import FailureKind, PlatformFailure

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
_CLOCK_HINT = "; is the gateway's own clock right?"
_CERTIFICATE_WORDS = {
    9: "the platform's certificate is not valid yet" + _CLOCK_HINT,
    10: "the platform's certificate has expired" + _CLOCK_HINT,
    18: "the platform's certificate is signed by itself; set platform.ca_file to it",
    19: "the platform's certificate comes from an unknown authority; set platform.ca_file",
    20: "the platform's certificate comes from an unknown authority; set platform.ca_file",
    21: "the platform's certificate comes from an unknown authority; set platform.ca_file",
    62: "the platform's certificate is for another host name than that in platform.url",
    64: "the platform's certificate is for another address than that in platform.url",
}
"""By OpenSSL's X509_V_ERR number."""
_NO_TLS = "the platform does not speak TLS on this port; is http meant, and not https?"
_TLS_WORDS = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "NO_CERTIFICATE_OR_CRL_FOUND": "the file that platform.ca_file names holds no certificate",
}
"""By OpenSSL's reason."""


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
        FailureKind.CONNECTION_CUT, f"the request failed: {type(error).__name__}"
    )


def abandoned() -> PlatformFailure:
    """The gateway itself ended the exchange."""
    return PlatformFailure(FailureKind.ABANDONED, "stopped by the gateway")


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


@dataclass(frozen=True, slots=True)
class _Row:
    types: tuple[type[BaseException], ...]
    kind: FailureKind
    words: Callable[[BaseException, Line, float], str]
    applies: Callable[[BaseException, Line], bool] = lambda _cause, _line: True


def _said(text: str) -> Callable[[BaseException, Line, float], str]:
    return lambda _cause, _line, _connect: text


def _system_words(cause: BaseException) -> str:
    words = getattr(cause, "strerror", None)
    return words if isinstance(words, str) and words else type(cause).__name__


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
    known = _CERTIFICATE_WORDS.get(code) if isinstance(code, int) else None
    return known or f"the platform's certificate is not accepted: {detail}"


def _tls_words(cause: BaseException, _line: Line, _connect: float) -> str:
    reason = getattr(cause, "reason", None)
    if not isinstance(reason, str):
        return "TLS failed"
    return _TLS_WORDS.get(reason, f"TLS failed: {reason.replace('_', ' ').lower()}")


def _cut_words(cause: BaseException, line: Line, _connect: float) -> str:
    when = {
        Phase.CONNECTING: "while it was being made",
        Phase.SENDING: "while the request was being sent",
        Phase.AWAITING: "before an answer came",
        Phase.ANSWERING: "in the middle of the answer",
    }.get(line.phase, "")
    if line.send_error is not None:
        when = "while the request was being sent"
    why = _system_words(cause) if isinstance(cause, OSError) else "closed by the platform"
    return f"the connection was cut {when}: {why}"


def _late_words(_cause: BaseException, line: Line, _connect: float) -> str:
    if line.send_error is not None or line.phase == Phase.SENDING:
        return f"the platform took no more of the request for {line.read_timeout:g} s"
    part = "whole answer" if line.phase == Phase.ANSWERING else "answer"
    return f"no {part} within {line.read_timeout:g} s"


_TIMEOUTS = (TimeoutError, urllib3.exceptions.TimeoutError, requests.Timeout)
_TABLE = (
    _Row(
        (socket.gaierror, urllib3.exceptions.NameResolutionError),
        FailureKind.NO_SUCH_HOST,
        lambda cause, _line, _connect: (
            "the host name of platform.url was not found"
            + (f": {_system_words(cause)}" if isinstance(cause, socket.gaierror) else "")
        ),
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
        _said("platform.url has no usable host name"),
        _connecting,
    ),
    _Row(
        (ConnectionRefusedError,),
        FailureKind.CONNECTION_REFUSED,
        _said("the platform's host refuses the connection: nothing listens on this port"),
    ),
    _Row(
        (OSError,),
        FailureKind.CONNECTION_REFUSED,
        lambda cause, _line, _connect: (
            f"the platform's host cannot be reached: {_system_words(cause)}"
        ),
        _unreachable,
    ),
    _Row((ssl.SSLCertVerificationError,), FailureKind.TLS, _certificate_words),
    _Row(
        _TIMEOUTS,
        FailureKind.CONNECT_TIMEOUT,
        lambda _cause, _line, connect: f"no connection within {connect:g} s",
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
        _said("the platform broke off the TLS handshake; does it speak TLS on this port?"),
        _connecting,
    ),
    _Row((ssl.SSLEOFError, ssl.SSLZeroReturnError), FailureKind.CONNECTION_CUT, _cut_words),
    _Row((ssl.SSLError,), FailureKind.TLS, _tls_words),
    _Row(
        (urllib3.exceptions.SSLError,),
        FailureKind.TLS,
        lambda cause, _line, _connect: f"platform.ca_file cannot be used: {_inner_words(cause)}",
    ),
    _Row(
        (OSError,),
        FailureKind.TLS,
        _said("the file that platform.ca_file names is not there"),
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
        lambda cause, _line, _connect: f"no connection could be made: {_system_words(cause)}",
        lambda cause, line: (
            line.phase == Phase.CONNECTING and not isinstance(cause, requests.RequestException)
        ),
    ),
    _Row(
        (http.client.HTTPException, urllib3.exceptions.HTTPError, ValueError),
        FailureKind.UNUSABLE,
        _said("the platform's answer is not proper HTTP"),
        lambda _cause, line: line.phase == Phase.ANSWERING,
    ),
)
"""The first line that fits any link of the chain says what happened."""
