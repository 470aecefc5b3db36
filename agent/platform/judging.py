"""What an HTTP answer means: an `Answer` of success, or which failure (PROTOCOL.md 2.5)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from agent.language import Said, marked, said
from agent.platform.answers import (
    AUTHENTICATION_CODES,
    Answer,
    parse_answer,
    says_authentication_failed,
)
from agent.platform.failures import FailureKind, PlatformFailure
from agent.platform.wire import HttpAnswer

LONGEST_RETRY_AFTER = 86_400.0
"""Seconds; a platform that asks for more has its clock or its digits wrong."""

_SECONDS = re.compile(r"[+-]?[0-9]+")
_HTTP_KINDS = {
    301: FailureKind.REDIRECT,
    302: FailureKind.REDIRECT,
    303: FailureKind.REDIRECT,
    307: FailureKind.REDIRECT,
    308: FailureKind.REDIRECT,
    401: FailureKind.AUTHENTICATION,
    403: FailureKind.AUTHENTICATION,
    407: FailureKind.AUTHENTICATION,
    429: FailureKind.TOO_MANY,
}
_HTTP_WORDS = {
    FailureKind.REDIRECT: marked(
        "the platform points elsewhere, and redirects are not followed;"
        " is platform.url right, or does a log-in page stand before it?"
    ),
    FailureKind.AUTHENTICATION: marked("the platform does not accept the account"),
    FailureKind.TOO_MANY: marked("the platform asks for fewer requests"),
    FailureKind.HTTP_ERROR: marked("the platform answers with an HTTP error"),
}
_HTTP_ERROR_WORDS = {
    400: marked("the platform finds the request wrong"),
    404: marked("nothing stands at platform.url on the platform"),
    405: marked("what stands at platform.url takes no POST"),
    413: marked("the platform finds it too large"),
    415: marked("the platform takes no such file"),
    422: marked("the platform finds the request wrong"),
    500: marked("the platform's program failed"),
    502: marked("the platform behind its proxy is down"),
    503: marked("the platform is not available just now"),
    504: marked("the platform behind its proxy does not answer"),
}
_STATUS_WORDS = {
    3001: marked("the data matches nothing that the platform holds for this gateway"),
    3002: marked("the gateway's MAC address is missing"),
    3003: marked("the platform does not find the gateway or the record"),
}
"""PROTOCOL.md 2.5."""
_REFUSED_WORDS = marked("the platform refuses")


def judge(
    http: HttpAnswer,
    wall: float,
    hide: Callable[[str], str] = str,
    heard: Callable[[Answer], None] | None = None,
    callid_due: bool = False,
) -> Answer:
    """Give out the answer where it says success; raise PlatformFailure for everything else.

    `wall` is UNIX seconds, for a Retry-After date in an answer without a Date. `hide` as in
    `parse_answer`. `heard` is told each answer of a 2xx, refusals too.
    """
    if not 200 <= http.status < 300:
        raise _http_failure(http, wall, hide)
    answer = parse_answer(http.body, hide)
    if heard is not None:
        heard(answer)
    if answer.status != 0:
        raise _refusal(answer, http, wall)
    if callid_due and answer.callid is None:
        raise PlatformFailure(
            FailureKind.UNUSABLE,
            said("the platform's answer says success and has no callid"),
            status=0,
            http_status=http.status,
            answer=answer,
        )
    return answer


def retry_after(value: str | None, date: str | None, wall: float) -> float | None:
    """Seconds to wait, 0 to one day, from a Retry-After header; None: none, or unreadable."""
    if value is None:
        return None
    value = value.strip()
    if _SECONDS.fullmatch(value):
        seconds = float(value[:20])
    else:
        then = _http_date(value)
        if then is None:
            return None
        now = _http_date(date) if date is not None else None
        seconds = then - (wall if now is None else now)
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER) if math.isfinite(seconds) else None


def _http_failure(http: HttpAnswer, wall: float, hide: Callable[[str], str]) -> PlatformFailure:
    kind = _HTTP_KINDS.get(http.status, FailureKind.HTTP_ERROR)
    answer = None
    try:
        answer = parse_answer(http.body, hide)
    except PlatformFailure as failure:
        if kind is FailureKind.HTTP_ERROR and failure.kind is FailureKind.AUTHENTICATION:
            kind = failure.kind
    if answer is not None and kind is FailureKind.HTTP_ERROR and _blames_account(answer):
        kind = FailureKind.AUTHENTICATION
    words = _HTTP_WORDS[kind]
    if kind is FailureKind.HTTP_ERROR:
        words = _HTTP_ERROR_WORDS.get(http.status, words)
    message = "" if answer is None else answer.message
    return PlatformFailure(
        kind,
        _with_message(said("{words} (HTTP {code})", words=said(words), code=http.status), message),
        status=None if answer is None else answer.status,
        http_status=http.status,
        retry_after=retry_after(http.retry_after, http.date, wall),
        answer=answer,
    )


def _refusal(answer: Answer, http: HttpAnswer, wall: float) -> PlatformFailure:
    if _blames_account(answer):
        kind, words = FailureKind.AUTHENTICATION, _HTTP_WORDS[FailureKind.AUTHENTICATION]
    else:
        kind, words = FailureKind.REFUSED, _STATUS_WORDS.get(answer.status, _REFUSED_WORDS)
    coded = said("{words} (status {code})", words=said(words), code=answer.status)
    return PlatformFailure(
        kind,
        _with_message(coded, answer.message),
        status=answer.status,
        http_status=http.status,
        retry_after=retry_after(http.retry_after, http.date, wall),
        answer=answer,
    )


def _with_message(words: Said, message: str) -> Said:
    """Our words, and behind them the platform's own, where it has any."""
    return said("{words}: {message}", words=words, message=message) if message else words


def _blames_account(answer: Answer) -> bool:
    return answer.status in AUTHENTICATION_CODES or (
        answer.status != 0 and says_authentication_failed(answer.message)
    )


def _http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
