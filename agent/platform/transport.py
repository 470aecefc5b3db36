"""One POST over one kept-alive connection: what came back, or a PlatformFailure."""

from __future__ import annotations

import http.client
import zlib
from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit, urlunsplit

import requests
import urllib3.exceptions

from agent import __version__
from agent.clock import Clock
from agent.language import said
from agent.platform.connections import MOST_ANSWER, Line, LineAdapter, Phase
from agent.platform.diagnosis import abandoned, failure_of
from agent.platform.failures import FailureKind, PlatformFailure
from agent.platform.multipart import Body, RecordingBody
from agent.platform.wire import HttpAnswer
from agent.settings import Platform

_LIBRARY_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)
if TYPE_CHECKING:
    # Of these urllib3 1.26 has no name in common.
    _Response = urllib3.BaseHTTPResponse | http.client.HTTPResponse
    """Read undecoded."""


class _Session(requests.Session):
    """A session that looks at no redirect, not even to read its body to whatever end it has."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


class Transport:
    """The platform's URL and the connection to it; used by one thread, `abandon` by any."""

    def __init__(self, settings: Platform, clock: Clock) -> None:
        self._settings = settings
        self._line = Line(_query(settings), settings.read_timeout, clock)
        self._session = _session(self._line)
        self._template: requests.PreparedRequest | None = None
        self._verify = settings.ca_file or True
        self._timeouts = (settings.connect_timeout, settings.read_timeout)

    def post(self, body: Body, content_type: str) -> HttpAnswer:
        """Send `body`; raise PlatformFailure where no HTTP answer came.

        A kept-alive connection that the platform closed just as it was used again gets one fresh
        one. The same bytes go, and nothing was heard, so this is the retry that would come
        anyway, without its wait.
        """
        try:
            return self._attempt(body, content_type)
        except _StaleConnection:
            if isinstance(body, RecordingBody):
                body.rewind()
            return self._attempt(body, content_type)

    def abandon(self) -> None:
        """End the exchange under way, and all later ones, as ABANDONED; from any thread."""
        self._line.abandon()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _attempt(self, body: Body, content_type: str) -> HttpAnswer:
        self._line.begin()
        if self._line.abandoned:
            raise abandoned()
        try:
            return self._exchange(body, content_type)
        except PlatformFailure:
            self.close()
            raise
        except _LIBRARY_ERRORS as error:
            failure = self._failure(error)
            self.close()
        # Outside the handler: a failure that is kept must not keep traces, and blocks, alive.
        raise failure

    def _failure(self, error: Exception) -> Exception:
        failure = failure_of(error, self._line, self._settings.connect_timeout)
        reused = not self._line.fresh and self._line.phase in {Phase.SENDING, Phase.AWAITING}
        if reused and failure.kind is FailureKind.CONNECTION_CUT:
            return _StaleConnection()
        return failure

    def _exchange(self, body: Body, content_type: str) -> HttpAnswer:
        if self._line.stands:
            return self._exchange_again(body, content_type)
        response = self._session.send(
            self._request(body, content_type),
            stream=True,
            allow_redirects=False,
            verify=self._verify,
            timeout=self._timeouts,
        )
        try:
            return self._answer(response.raw)
        finally:
            # Gives a connection whose answer was read to its end back, and closes any other.
            response.close()

    def _exchange_again(self, body: Body, content_type: str) -> HttpAnswer:
        response = self._line.post_again(body, content_type)
        if isinstance(response, bytes):
            return HttpAnswer(200, response, None, None)
        try:
            return self._answer(response)
        finally:
            if response.will_close or not response.isclosed():
                self._line.drop()
            response.close()

    def _answer(self, response: _Response) -> HttpAnswer:
        if not 200 <= response.status < 300:
            return _http_answer(response, _whatever_is_there(response))
        if not self._line.sent:
            raise PlatformFailure(
                FailureKind.CONNECTION_CUT,
                said("the platform answered and closed before it had the whole request"),
                http_status=response.status,
            )
        return _http_answer(response, _body(response))

    def _request(self, body: Body, content_type: str) -> requests.PreparedRequest:
        if self._template is None:
            self._template = self._session.prepare_request(
                requests.Request("POST", _bare_url(self._settings.url))
            )
        request = self._template.copy()
        request.headers.update({"Content-Type": content_type, "Content-Length": str(len(body))})
        request.body = body  # type: ignore[assignment]
        return request


class _StaleConnection(Exception):
    """A connection used again was gone, and nothing was heard on it."""


def _session(line: Line) -> requests.Session:
    session = _Session()
    # A proxy or a .netrc of whoever started the daemon would send recordings elsewhere.
    session.trust_env = False
    # Cookies mean nothing here, and a jar grows as the other side likes.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers = requests.structures.CaseInsensitiveDict(
        {
            "User-Agent": f"smarttel-agent/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "keep-alive",
        }
    )
    adapter = LineAdapter(line)
    for prefix in tuple(session.adapters):
        session.mount(prefix, adapter)
    return session


def _query(settings: Platform) -> str:
    account = settings.account
    pairs = [(name, str(value)) for name, value in settings.query.items()]
    if account is not None:
        pairs.append(("sa_user", str(account.user)))
        pairs.append(("sa_password", account.password_md5.upper()))
    of_url = urlsplit(settings.url).query
    written = [part for part in (of_url, urlencode(pairs, errors="replace")) if part]
    return "?" + requests.utils.requote_uri("&".join(written)) if written else ""


def _bare_url(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


def _http_answer(response: _Response, body: bytes) -> HttpAnswer:
    headers = response.headers
    retry_after = headers.get("Retry-After")
    date = None if retry_after is None else headers.get("Date")
    return HttpAnswer(response.status, body, retry_after, date)


def _whatever_is_there(response: _Response) -> bytes:
    # The HTTP status says enough; a body that is cut or late must not hide it.
    try:
        return _body(response)
    except (PlatformFailure, *_LIBRARY_ERRORS):
        return b""


def _body(response: _Response) -> bytes:
    body = _read_to_its_end(response)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    decode = _DECODERS.get(encoding)
    if decode is None:
        raise _unusable(said("is in an encoding that was not asked for"))
    try:
        decoded = decode(body)
    except zlib.error:
        raise _unusable(said("says it is compressed and is not")) from None
    if max(len(body), len(decoded)) > MOST_ANSWER:
        raise _unusable(said("is larger than 1 MiB"))
    return decoded


def _read_to_its_end(response: _Response) -> bytes:
    # One read may come back short without a word; only the one after it tells cut from complete.
    body = bytearray()
    while len(body) <= MOST_ANSWER:
        piece: bytes = response.read(MOST_ANSWER + 1 - len(body))
        if not piece:
            if isinstance(response, http.client.HTTPResponse) and response.length:
                raise http.client.IncompleteRead(bytes(body), response.length)
            break
        body += piece
    return bytes(body)


def inflated(body: bytes) -> bytes:
    """Unpack up to MOST_ANSWER + 1 bytes of gzip or zlib data. Raises zlib.error."""
    # Some servers compress unasked; a few bytes may stand for gigabytes.
    return zlib.decompressobj(wbits=47).decompress(body, MOST_ANSWER + 1)


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": inflated,
    "x-gzip": inflated,
    "deflate": inflated,
}


def _unusable(what: str) -> PlatformFailure:
    return PlatformFailure(FailureKind.UNUSABLE, said("the platform's answer {what}", what=what))
