"""How each fault of the matrix is made, for real: each gives a client that will meet it."""

from __future__ import annotations

import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import trustme

from agent.clock import SystemClock
from agent.platform.client import PlatformClient
from agent.platform.failures import PlatformFailure
from agent.platform.multipart import Body
from agent.platform.wire import Answer
from agent.settings import Account, Platform
from agent.simulation.platform import SimulatedPlatform
from tests.fault_table import PAUSE
from tests.lanes import SATELLITE
from tests.raw_server import RawServer, for_ever, http

USER, PASSWORD, TOKEN = "100008800", "0123456789ABCDEF0123456789ABCDEF", "a-secret-token"
SHORT = 0.25
"""Seconds: a time-out that is meant to pass."""
LONG = 10.0
"""Seconds: a time-out that is not."""
FOR_EVER = 60.0
"""Seconds that a stall lasts; the end of the test ends it."""
NO_SUCH_HOST = "no-such-host.invalid"


class ListeningClient(PlatformClient):
    """A client that remembers its failures."""

    def __init__(self, url: str, timeout: float = LONG, ca_file: Path | None = None) -> None:
        self.failures: list[PlatformFailure] = []
        settings = Platform(
            url=url,
            query={"token": TOKEN},
            account=Account(user=USER, password_md5=PASSWORD),
            ca_file=None if ca_file is None else str(ca_file),
            connect_timeout=timeout,
            read_timeout=timeout,
        )
        super().__init__(settings, lambda: SATELLITE, SystemClock())

    def _post(self, body: Body, content_type: str, *, callid_due: bool = False) -> Answer:
        try:
            return super()._post(body, content_type, callid_due=callid_due)
        except PlatformFailure as failure:
            self.failures.append(failure)
            raise


@contextmanager
def client_at(
    url: str, timeout: float = LONG, ca_file: Path | None = None
) -> Iterator[ListeningClient]:
    client = ListeningClient(url, timeout, ca_file)
    try:
        yield client
    finally:
        client.close()


Maker = Callable[[SimulatedPlatform, str, Path], AbstractContextManager[ListeningClient]]
"""Takes the platform, the command that is to fail, and an empty folder."""


def simulated(kind: str, value: str = "", timeout: float = LONG) -> Maker:
    """A fault of the simulated platform, for one request."""

    @contextmanager
    def make(platform: SimulatedPlatform, command: str, _: Path) -> Iterator[ListeningClient]:
        platform.faults.set(f"{command}:{kind}", value, times=1)
        with client_at(platform.url, timeout) as client:
            yield client

    return make


def http_error(status: str) -> Maker:
    return simulated("http", status)


def status(code: int) -> Maker:
    return simulated("status", str(code))


@contextmanager
def refused(_platform: SimulatedPlatform, _: str, __: Path) -> Iterator[ListeningClient]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with client_at(f"http://127.0.0.1:{port}/") as client:
        yield client


@contextmanager
def no_such_host(_platform: SimulatedPlatform, _: str, __: Path) -> Iterator[ListeningClient]:
    with (
        quick_resolver(),
        client_at(f"http://{NO_SUCH_HOST}/") as client,
    ):
        yield client


@contextmanager
def full_backlog(_platform: SimulatedPlatform, _: str, __: Path) -> Iterator[ListeningClient]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for connection in waiting:
                connection.setblocking(False)
                connection.connect_ex(address)
            with client_at(f"http://127.0.0.1:{address[1]}/", SHORT) as client:
                yield client
        finally:
            for connection in waiting:
                connection.close()


_resolver_is_honest: list[bool] = []


@contextmanager
def quick_resolver() -> Iterator[None]:
    """Let the resolver say that a name is unknown: itself, where it does so soon.

    Some networks answer for every name, and some take long not to.
    """
    if not _resolver_is_honest:
        thread = threading.Thread(target=_ask_resolver, daemon=True)
        thread.start()
        thread.join(1.0)
        if not _resolver_is_honest:
            _resolver_is_honest.append(False)
    if _resolver_is_honest[0]:
        yield
        return
    original = socket.getaddrinfo

    def nobody(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    socket.getaddrinfo = nobody  # type: ignore[assignment]
    try:
        yield
    finally:
        socket.getaddrinfo = original


def _ask_resolver() -> None:
    try:
        socket.getaddrinfo(NO_SUCH_HOST, 80)
    except socket.gaierror:
        _resolver_is_honest.append(True)
    except OSError:
        return


# TLS

AUTHORITY = trustme.CA()
"""The one that the client trusts, but for the test of an unknown one."""
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


def secure(
    certificate: trustme.LeafCert,
    *,
    trusted: bool = True,
    prepare: Callable[[ssl.SSLContext], None] = lambda context: None,
) -> Maker:
    """A server that shows a certificate."""

    @contextmanager
    def make(_platform: SimulatedPlatform, _: str, folder: Path) -> Iterator[ListeningClient]:
        ca_file = folder / "authority.pem"
        AUTHORITY.cert_pem.write_to_path(ca_file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        prepare(context)
        with (
            RawServer(for_ever(http()), context) as server,
            client_at(
                f"https://127.0.0.1:{server.port}/", LONG, ca_file if trusted else None
            ) as client,
        ):
            yield client

    return make


def old_tls_only(context: ssl.SSLContext) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")


@contextmanager
def no_tls(_platform: SimulatedPlatform, _: str, __: Path) -> Iterator[ListeningClient]:
    with (
        RawServer(lambda peer: peer.send(http(b"", "400 Bad Request"))) as server,
        client_at(f"https://127.0.0.1:{server.port}/") as client,
    ):
        yield client


ELSEWHERE = ";location=http://127.0.0.1:9/log-in"
ASKED = f";retry-after={PAUSE:g}"

MAKERS: dict[str, Maker] = {
    "connection refused": refused,
    "host name not found": no_such_host,
    "connection not taken in time": full_backlog,
    "TLS: certificate expired": secure(AUTHORITY.issue_cert("127.0.0.1", not_after=LONG_AGO)),
    "TLS: certificate of another host": secure(AUTHORITY.issue_cert("elsewhere.example")),
    "TLS: unknown authority": secure(AUTHORITY.issue_cert("127.0.0.1"), trusted=False),
    "TLS: nothing newer than TLS 1.1": secure(
        AUTHORITY.issue_cert("127.0.0.1"), prepare=old_tls_only
    ),
    "TLS: none spoken on the port": no_tls,
    "stall before the answer": simulated("stall-before", str(FOR_EVER), SHORT),
    "stall in the answer": simulated("stall-inside", str(FOR_EVER), SHORT),
    "reset before booking": simulated("reset-before"),
    "reset after booking": simulated("reset-after"),
    "answer cut off": simulated("cut"),
    "HTTP 301": http_error("301" + ELSEWHERE),
    "HTTP 302": http_error("302" + ELSEWHERE),
    "HTTP 307": http_error("307" + ELSEWHERE),
    "HTTP 429 with Retry-After: 120": http_error("429" + ASKED),
    "HTTP 503 with Retry-After: 120": http_error("503" + ASKED),
    **{f"HTTP {code}": http_error(str(code)) for code in (400, 401, 403, 404, 413, 429)},
    **{f"HTTP {code}": http_error(str(code)) for code in (500, 502, 503, 504)},
    "HTML log-in page": simulated("html"),
    "empty body": simulated("empty"),
    "JSON array": simulated("array"),
    "body over 1 MiB": simulated("huge"),
    "values of wrong types": simulated("wrong-types"),
    "status 0 without a callid": simulated("no-callid"),
    **{f"status {code}": status(code) for code in (3001, 3002, 3003)},
    **{f"status {code}": status(code) for code in (-1, -2, -3, -5, -6, -10, -11, -12)},
}
