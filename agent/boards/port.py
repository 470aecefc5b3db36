"""A serial port, or any URL that pyserial opens: read without spinning, written without hanging."""

from __future__ import annotations

import errno
import os
import select
import termios
from contextlib import suppress
from types import TracebackType

import serial

from agent.boards.driver import baudrate
from agent.language import Said, marked, said
from agent.settings import Board

MOST_READ = 4096
"""Bytes taken in one read: bounds what a driver is handed at once."""
BLOCK_LONGEST = 0.5
"""Seconds that a read may block on ports that cannot be waited for together with `Wake`."""
WRITE_WITHIN = 2.0
"""Seconds in which an order, a few dozen bytes, must have left; longer means a stuck line."""

_ERRORS = (OSError, ValueError, termios.error)
_HELD = marked("another program holds {port}; stop that one (fuser {port} names it)")
_GONE = marked("{port} vanished; plug the adapter in again, or see what became of the other end")
_NO_DATA = "returned no data"
"""Of pyserial's words, without a number, for a device that hung up."""
_ADVICE = {
    errno.ENOENT: marked(
        "{port} is not there; check that the adapter is plugged in and boards[].port"
    ),
    errno.EACCES: marked("no permission to open {port}; add the agent's user to the port's group"),
    errno.EPERM: marked("no permission to open {port}; add the agent's user to the port's group"),
    errno.EAGAIN: _HELD,
    errno.EBUSY: _HELD,
    errno.EIO: _GONE,
    errno.ENODEV: _GONE,
    errno.ENXIO: _GONE,
    errno.ENOTTY: marked("{port} is not a serial port; check boards[].port"),
    errno.EISDIR: marked("{port} is a directory, not a serial port; check boards[].port"),
    errno.ECONNREFUSED: marked("nothing listens at {port}; check that the serial server runs"),
}


class PortFailed(Exception):
    """The port could not be opened, or broke; the message says what a technician can do."""


class Wake:
    """Ends a wait in `Port.read` from another thread."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def fileno(self) -> int:
        """What a selector waits for."""
        return self._reader

    def set(self) -> None:
        """End the present wait, or the next one."""
        # A pipe full of earlier calls wakes as well.
        with suppress(BlockingIOError):
            os.write(self._writer, b"\0")

    def clear(self) -> None:
        """Forget the calls so far."""
        with suppress(BlockingIOError):
            os.read(self._reader, MOST_READ)

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._reader)
        os.close(self._writer)


class Port:
    """An open port: 8N1, no flow control; a device is opened exclusively. A context manager."""

    def __init__(self, settings: Board, wake: Wake) -> None:
        """Open it. Raises PortFailed."""
        self._name = settings.port
        self._wake, self._woken = wake, wake.fileno()
        try:
            self._serial = serial.serial_for_url(
                settings.port,
                baudrate=baudrate(settings),
                timeout=0,
                write_timeout=WRITE_WITHIN,
                exclusive=None if "://" in settings.port else True,
            )
        except _ERRORS as error:
            raise PortFailed(port_trouble(error, settings.port)) from error
        self._device = self._serial.fileno() if type(self._serial) is serial.Serial else None
        """The descriptor of a plain device, which is read without pyserial's own waiting."""
        self._poll = self._polled()
        if self._poll is None:
            try:
                self._serial.timeout = BLOCK_LONGEST
            except _ERRORS as error:
                self.close()
                raise PortFailed(port_trouble(error, settings.port)) from error

    def __enter__(self) -> Port:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def read(self, within: float) -> bytes:
        """Wait for bytes, at most `within` seconds or until woken; b"" where none came.

        Ports without a file descriptor (loop://, rfc2217://) wait BLOCK_LONGEST whatever `within`
        is, and cannot be woken. Raises PortFailed.
        """
        try:
            if self._poll is None:
                return self._read_blocking()
            data = b""
            for descriptor, _ in self._poll.poll(within * 1000):
                if descriptor == self._woken:
                    self._wake.clear()
                else:
                    data = self._read_waiting()
            return data
        except _ERRORS as error:
            raise PortFailed(port_trouble(error, self._name)) from error

    def write(self, data: bytes) -> None:
        """Send all of it within WRITE_WITHIN seconds or so. Raises PortFailed."""
        stuck = said("{port} takes no bytes; check flow control and the board", port=self._name)
        try:
            if self._poll is not None and not self._is_writable():
                raise PortFailed(stuck)
            self._serial.write(data)
        except serial.SerialTimeoutException as error:
            raise PortFailed(stuck) from error
        except _ERRORS as error:
            raise PortFailed(port_trouble(error, self._name)) from error

    def close(self) -> None:
        """Close it, however broken it is."""
        # A vanished device may fail even here; its descriptor is gone all the same.
        with suppress(*_ERRORS):
            self._serial.close()

    def _polled(self) -> select.poll | None:
        poll = select.poll()
        try:
            poll.register(self._serial.fileno(), select.POLLIN)
        except (OSError, ValueError, AttributeError):
            return None
        poll.register(self._woken, select.POLLIN)
        return poll

    def _read_waiting(self) -> bytes:
        data = b"" if self._device is None else os.read(self._device, MOST_READ)
        # Where nothing comes, pyserial tells a device that hung up from one that has nothing.
        return data or self._serial.read(MOST_READ)

    def _read_blocking(self) -> bytes:
        first: bytes = self._serial.read(1)
        more = min(self._serial.in_waiting, MOST_READ - 1) if first else 0
        return first + (self._serial.read(more) if more else b"")

    def _is_writable(self) -> bool:
        # pyserial's own write spins on a full buffer until its time is over.
        poll = select.poll()
        poll.register(self._serial.fileno(), select.POLLOUT)
        return bool(poll.poll(WRITE_WITHIN * 1000))


def port_trouble(error: BaseException, name: str) -> Said:
    """Say in words what failed and what to do; `name` is the port as configured."""
    cause: BaseException | None = error
    while cause is not None:
        # pyserial wraps the system's error, and at times drops its number.
        number = cause.args[0] if isinstance(cause, termios.error) else _number(cause)
        if number is not None and number in _ADVICE:
            return said(_ADVICE[number], port=name)
        cause = cause.__cause__ or cause.__context__
    if _NO_DATA in str(error):
        return said(_GONE, port=name)
    return said("{port} fails: {why}", port=name, why=str(error))


def _number(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None
