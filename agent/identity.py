"""Who the gateway is: the MAC address of every command (PROTOCOL.md 2), and the LAN address.

An interface may come up after the agent, so an identity that is not known is asked for again; and
a known one is read anew when the platform says that it is missing (PROTOCOL.md 2.5, 3002).
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psutil
from msgspec import Struct

from agent.clock import Clock
from agent.settings import Identity

AUTO = "auto"
LOCALHOST = "127.0.0.1"
_NO_MAC = "00:00:00:00:00:00"
_MAC = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2}){5}")
ADDRESS_HOLDS = 300.0
"""Seconds for which the LAN address counts as the same: all interfaces are listed to find it."""
_LOOPBACK = "lo"
_ROUTE_UP = 0x1
"""RTF_UP of the flags in /proc/net/route."""
_MOST_ROUTES = 1024 * 1024
"""Bytes of the routing table that are looked at; a gateway has a few lines."""


class Address(Protocol):
    """One address of an interface, as psutil gives it."""

    @property
    def family(self) -> int:
        """AF_INET, AF_INET6 or another."""

    @property
    def address(self) -> str:
        """The address as text."""


class Places(Struct, frozen=True):
    """Where the kernel tells of its interfaces; tests hand in folders of their own."""

    interfaces: Path = Path("/sys/class/net")
    routes: Path = Path("/proc/net/route")


SYSTEM_PLACES = Places()


def normalised_mac(text: str) -> str:
    """Write a MAC address as the platform has it: upper case, with colons."""
    return text.strip().upper().replace("-", ":")


def satellite(identity: Identity, places: Places = SYSTEM_PLACES) -> str | None:
    """Return the gateway's MAC address, such as 00:1A:2B:3C:4D:5E; None while there is none."""
    if identity.satellite != AUTO:
        return normalised_mac(identity.satellite)
    name = interface(identity, places)
    return None if name is None else _mac(places, name)


def interface(identity: Identity, places: Places = SYSTEM_PLACES) -> str | None:
    """Return the interface that gives the identity; None where the machine has none that could."""
    if identity.interface != AUTO:
        return identity.interface
    for name in _default_routes(places.routes):
        if _mac(places, name):
            return name
    return next(iter(_with_a_mac(places)), None)


def lan_address(
    identity: Identity,
    places: Places = SYSTEM_PLACES,
    addresses: Callable[[], Mapping[str, Sequence[Address]]] = psutil.net_if_addrs,
) -> str:
    """Return the interface's IPv4 address, else its IPv6 address, else 127.0.0.1."""
    name = interface(identity, places)
    try:
        known = addresses().get(name, ()) if name else ()
    except OSError:
        return LOCALHOST
    for family in (socket.AF_INET, socket.AF_INET6):
        for each in known:
            if each.family == family:
                # An IPv6 address of the link names its interface after a percent sign.
                return each.address.partition("%")[0]
    return LOCALHOST


class IdentitySource:
    """The identity, kept once known. Any thread may ask."""

    def __init__(
        self,
        identity: Identity,
        clock: Clock,
        places: Places = SYSTEM_PLACES,
        addresses: Callable[[], Mapping[str, Sequence[Address]]] = psutil.net_if_addrs,
    ) -> None:
        self._identity = identity
        self._addresses = addresses
        self._clock = clock
        self._places = places
        self._lock = threading.Lock()
        self._known: str | None = None
        self._address = ""
        self._listed = float("-inf")
        """When the address was looked for; monotonic seconds."""

    def satellite(self) -> str | None:
        """Return the MAC address; looked for at each call until it is known."""
        with self._lock:
            if self._known is None:
                self._known = satellite(self._identity, self._places)
            return self._known

    def read_anew(self) -> str | None:
        """Look for it again; one that was known stays where nothing is found now."""
        with self._lock:
            self._known = satellite(self._identity, self._places) or self._known
            return self._known

    def lan_address(self) -> str:
        """Return the LAN address as it is, or was ADDRESS_HOLDS seconds ago: a lease may end."""
        with self._lock:
            now = self._clock.monotonic()
            if now - self._listed >= ADDRESS_HOLDS:
                self._address = lan_address(self._identity, self._places, self._addresses)
                self._listed = now
            return self._address


def _default_routes(routes: Path) -> list[str]:
    """Interfaces of IPv4 default routes that are up, the lowest metric first."""
    try:
        with routes.open("r", encoding="ascii", errors="replace") as file:
            lines = file.read(_MOST_ROUTES).splitlines()[1:]
    except OSError:
        return []
    found: list[tuple[int, str]] = []
    for line in lines:
        fields = line.split()
        try:
            name, destination, flags, metric, mask = (fields[at] for at in (0, 1, 3, 6, 7))
            is_default = int(destination, 16) == 0 and int(mask, 16) == 0
            if is_default and int(flags, 16) & _ROUTE_UP:
                found.append((int(metric), name))
        except (IndexError, ValueError):
            continue
    return [name for _, name in sorted(found)]


def _with_a_mac(places: Places) -> Iterator[str]:
    """Interfaces that could give an identity: physical ones first, each kind by name."""
    try:
        names = sorted(each.name for each in places.interfaces.iterdir())
    except OSError:
        return
    usable = [name for name in names if name != _LOOPBACK and _mac(places, name)]
    physical = [name for name in usable if (places.interfaces / name / "device").exists()]
    yield from physical
    yield from (name for name in usable if name not in physical)


def _mac(places: Places, name: str) -> str | None:
    if "/" in name or name in {"", ".", ".."}:
        return None
    try:
        mac = normalised_mac((places.interfaces / name / "address").read_text("ascii"))
    except (OSError, ValueError):
        return None
    return mac if _MAC.fullmatch(mac) and mac != _NO_MAC else None
