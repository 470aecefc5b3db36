"""A platform to try a gateway against: PROTOCOL.md 2 and 3 over real HTTP, with faults."""

from __future__ import annotations

import argparse
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agent.simulation.booking import BookedFile, BookedRecord
from agent.simulation.command import say, signals_held, wait_for_signal
from agent.simulation.desk import Desk
from agent.simulation.faults import BadFault, Fault, Faults, explained, parse
from agent.simulation.platform_http import PlatformServer

DEFAULT_LISTEN = "127.0.0.1:8080"
PAGE = "/voip/api/upload_record"
_MESSAGE = """A message that names a function comes out of the gateway's next list:
  curl -d '{"mac": "02:00:00:00:00:01", "function": "retry", "parameters": {"item": "all"}}' \\
      http://127.0.0.1:8080/simulation/functions"""


class SimulatedPlatform:
    """The platform in this process: `start()`, look at it, `stop()`; may be started again.

    Records and files lie in `directory`, so another object on the same directory knows them.
    """

    def __init__(
        self,
        directory: Path,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        account: tuple[str, str] | None = None,
        certificate: tuple[Path, Path] | None = None,
        announce: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`account` is (user, MD5 of the password); `certificate` the PEM files (chain, key)."""
        self.faults = Faults()
        self.desk = Desk(directory, self.faults, announce)
        self.port = port
        self._host = host
        self._account = account
        self._certificate = certificate
        self._server: PlatformServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen; a port of 0 becomes the chosen one, and stays so. Raises OSError."""
        server = PlatformServer((self._host, self.port), self.desk, self._account, self._tls())
        self.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="platform")
        thread.start()
        self._server, self._thread = server, thread

    def stop(self) -> None:
        """Stop listening and break the connections; harmless where it does not run."""
        if self._server is not None and self._thread is not None:
            self._server.end()
            self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> SimulatedPlatform:
        self.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._certificate else 'http'}://{host}:{self.port}"

    @property
    def url(self) -> str:
        """What a gateway's `platform.url` must be."""
        return self.origin + PAGE

    @property
    def records(self) -> list[BookedRecord]:
        """Booked call records, in the order of booking."""
        with self.desk.changed:
            return list(self.desk.bookings.records.values())

    @property
    def files(self) -> list[BookedFile]:
        """Booked recordings, in the order of booking."""
        with self.desk.changed:
            return list(self.desk.bookings.files)

    @property
    def reports(self) -> list[dict[str, Any]]:
        """Reports (satellite, id, time, status, received), oldest first."""
        with self.desk.changed:
            return list(self.desk.reports)

    @property
    def violations(self) -> list[str]:
        """What a gateway sent that the protocol forbids, one line each."""
        with self.desk.changed:
            return list(self.desk.violations)

    @property
    def requests(self) -> Mapping[str, int]:
        """How many requests came, by command: record, file, report, messages, calls, unknown."""
        with self.desk.changed:
            return self.desk.requests.copy()

    @property
    def repeats(self) -> int:
        """How often a booked record came again."""
        return self.desk.bookings.repeats

    @property
    def repeated_files(self) -> int:
        """How often a booked file came again for the same record."""
        return self.desk.bookings.repeated_files

    @property
    def uploading(self) -> int:
        """How many files are on their way now."""
        return self.desk.uploading

    @property
    def cut_uploads(self) -> int:
        """How many files broke off."""
        return self.desk.cut_uploads

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        return self.desk.connections

    def file_path(self, file: BookedFile) -> Path:
        """Where a booked recording lies."""
        return self.desk.bookings.directory / file.stored

    def send_call(self, mac: str, channel: int, phone: str, serial: int = 1) -> None:
        """As a business system's `sendTelCall` (PROTOCOL.md 3)."""
        self.desk.send_call(mac, channel, phone, serial)

    def send_message(self, mac: str, entry: object) -> None:
        """Put an entry, whatever it is, into the gateway's next `getMessageList`."""
        self.desk.send_message(mac, entry)

    def send_function(self, mac: str, name: str, **parameters: str) -> None:
        """Put a message that names a function into the gateway's next `getMessageList`."""
        self.desk.send_function(mac, name, parameters)

    def forget(self, callid: str) -> None:
        """Lose a record: its files are refused with 3003 until it is booked anew."""
        self.desk.forget(callid)

    def wait_for(self, predicate: Callable[[], bool], seconds: float) -> bool:
        """Wait until the predicate holds, looking after each change; False: it did not in time."""
        return self.desk.wait_for(predicate, seconds)

    def _tls(self) -> ssl.SSLContext | None:
        if self._certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._certificate)
        return context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line of `simulate platform`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{explained()}\n\n{_MESSAGE}"
    parser.add_argument("--listen", default=DEFAULT_LISTEN, metavar="HOST:PORT", type=_address)
    parser.add_argument("--directory", required=True, type=Path, help="where it keeps what it gets")
    parser.add_argument("--fault", action="append", default=[], type=_fault, help="see below")
    parser.add_argument("--account", type=_account, metavar="USER:MD5", help="ask for this account")
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="PEM: speak HTTPS")
    parser.add_argument("--key", type=Path, metavar="FILE", help="PEM: the certificate's key")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; the first line printed says where."""
    host, port = arguments.listen
    certificate = None
    if arguments.certificate or arguments.key:
        certificate = (arguments.certificate, arguments.key or arguments.certificate)
    with signals_held():
        try:
            platform = SimulatedPlatform(
                arguments.directory,
                port,
                host=host,
                account=arguments.account,
                certificate=certificate,
                announce=say,
            )
            for fault in arguments.fault:
                platform.faults.add(fault)
            platform.start()
        except OSError as error:
            say(f"The platform cannot start at {host}:{port} on {arguments.directory}: {error}")
            return 1
        try:
            say(f"listening on {platform.url}")
            wait_for_signal()
        finally:
            platform.stop()
    return 0


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as {DEFAULT_LISTEN}")
    return host.strip("[]"), int(port)


def _account(text: str) -> tuple[str, str]:
    user, _, password = text.partition(":")
    if not user or not password:
        raise argparse.ArgumentTypeError("not USER:MD5")
    return user, password


def _fault(text: str) -> Fault:
    try:
        return parse(text)
    except BadFault as error:
        raise argparse.ArgumentTypeError(str(error)) from None
