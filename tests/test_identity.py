"""The gateway's identity is one MAC address, found the same way at each start."""

import socket
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.identity import ADDRESS_HOLDS, IdentitySource, Places, interface, lan_address, satellite
from agent.settings import Identity
from tests.clocks import HandClock

HEADER = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
ETHERNET = "00:1a:2b:3c:4d:01"
WIRELESS = "00:1a:2b:3c:4d:02"
BRIDGE = "00:1a:2b:3c:4d:03"


@dataclass
class Machine:
    """A kernel's folders, made by hand."""

    places: Places

    def add(self, name: str, mac: str, *, physical: bool = False) -> None:
        folder = self.places.interfaces / name
        folder.mkdir()
        (folder / "address").write_text(mac + "\n")
        if physical:
            (folder / "device").mkdir()

    def route(self, name: str, metric: int, destination: str = "00000000", flags: int = 3) -> None:
        mask = "00000000" if destination == "00000000" else "00FFFFFF"
        if not self.places.routes.exists():
            self.places.routes.write_text(HEADER)
        with self.places.routes.open("a") as file:
            fields = (name, destination, "0101A8C0", f"{flags:04X}", 0, 0, metric, mask, 0, 0, 0)
            file.write("\t".join(map(str, fields)) + "\n")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    interfaces = tmp_path / "net"
    interfaces.mkdir()
    made = Machine(Places(interfaces, tmp_path / "route"))
    made.add("lo", "00:00:00:00:00:00")
    return made


@pytest.mark.parametrize("written", ["00-1a-2b-3c-4d-5e", "00:1A:2b:3C:4d:5E"])
def test_a_configured_address_is_written_as_the_platform_has_it(
    machine: Machine, written: str
) -> None:
    assert satellite(Identity(satellite=written), machine.places) == "00:1A:2B:3C:4D:5E"


def test_the_default_routes_interface_gives_the_identity(machine: Machine) -> None:
    machine.add("eth0", ETHERNET, physical=True)
    machine.add("wlan0", WIRELESS, physical=True)
    machine.route("eth0", 100, destination="0001A8C0")
    machine.route("wlan0", 600)
    assert satellite(Identity(), machine.places) == WIRELESS.upper()


def test_of_two_default_routes_the_lower_metric_counts(machine: Machine) -> None:
    machine.add("eth0", ETHERNET, physical=True)
    machine.add("wlan0", WIRELESS, physical=True)
    machine.route("wlan0", 600)
    machine.route("eth0", 100)
    assert satellite(Identity(), machine.places) == ETHERNET.upper()


def test_a_route_that_is_down_does_not_count(machine: Machine) -> None:
    machine.add("eth0", ETHERNET, physical=True)
    machine.add("wlan0", WIRELESS, physical=True)
    machine.route("wlan0", 1, flags=2)
    machine.route("eth0", 100)
    assert interface(Identity(), machine.places) == "eth0"


def test_a_default_route_over_a_tunnel_without_an_address_is_passed_over(machine: Machine) -> None:
    machine.add("eth0", ETHERNET, physical=True)
    machine.add("tun0", "", physical=False)
    machine.route("tun0", 1)
    assert satellite(Identity(), machine.places) == ETHERNET.upper()


def test_without_a_route_a_physical_interface_comes_before_a_bridge(machine: Machine) -> None:
    machine.add("br0", BRIDGE)
    machine.add("eth0", ETHERNET, physical=True)
    assert satellite(Identity(), machine.places) == ETHERNET.upper()


def test_without_a_physical_interface_the_first_by_name_is_taken(machine: Machine) -> None:
    machine.add("eth1", WIRELESS)
    machine.add("eth0", ETHERNET)
    assert satellite(Identity(), machine.places) == ETHERNET.upper()


def test_a_named_interface_is_taken_whatever_the_routes_say(machine: Machine) -> None:
    machine.add("eth0", ETHERNET, physical=True)
    machine.add("wlan0", WIRELESS, physical=True)
    machine.route("eth0", 1)
    assert satellite(Identity(interface="wlan0"), machine.places) == WIRELESS.upper()


@pytest.mark.parametrize("name", ["eth7", "../net/eth0", "..", "lo"])
def test_an_interface_that_gives_no_address_gives_no_identity(machine: Machine, name: str) -> None:
    machine.add("eth0", ETHERNET, physical=True)
    assert satellite(Identity(interface=name), machine.places) is None


def test_a_machine_without_interfaces_has_no_identity(tmp_path: Path) -> None:
    nowhere = Places(tmp_path / "none", tmp_path / "none")
    assert satellite(Identity(), nowhere) is None
    assert lan_address(Identity(), nowhere) == "127.0.0.1"


@dataclass(frozen=True)
class Address:
    family: int
    address: str


def test_the_lan_address_is_the_interfaces_ipv4_address(machine: Machine) -> None:
    machine.add("eth0", ETHERNET, physical=True)
    known = {
        "lo": [Address(socket.AF_INET, "127.0.0.1")],
        "eth0": [
            Address(socket.AF_PACKET, ETHERNET),
            Address(socket.AF_INET6, "fe80::1%eth0"),
            Address(socket.AF_INET, "192.168.1.7"),
        ],
    }
    assert lan_address(Identity(), machine.places, lambda: known) == "192.168.1.7"


def test_without_ipv4_the_lan_address_is_the_ipv6_one(machine: Machine) -> None:
    machine.add("eth0", ETHERNET, physical=True)
    known = {"eth0": [Address(socket.AF_INET6, "fe80::1%eth0")]}
    assert lan_address(Identity(), machine.places, lambda: known) == "fe80::1"


def test_the_lan_address_is_listed_every_five_minutes(machine: Machine) -> None:
    machine.add("eth0", ETHERNET, physical=True)
    clock, leased = HandClock(), ["192.168.1.7", "192.168.1.9"]
    source = IdentitySource(
        Identity(),
        clock,
        machine.places,
        lambda: {"eth0": [Address(socket.AF_INET, leased.pop(0))]},
    )
    assert [source.lan_address() for _ in range(3)] == ["192.168.1.7"] * 3
    clock.turn(ADDRESS_HOLDS)
    assert source.lan_address() == "192.168.1.9"


def test_the_real_loopback_has_its_address() -> None:
    assert lan_address(Identity(interface="lo")) == "127.0.0.1"


def test_an_identity_that_comes_later_is_found_at_the_next_question(machine: Machine) -> None:
    source = IdentitySource(Identity(), HandClock(), machine.places)
    assert source.satellite() is None
    machine.add("eth0", ETHERNET, physical=True)
    assert source.satellite() == ETHERNET.upper()


def test_a_known_identity_stays_while_interfaces_come_and_go(machine: Machine) -> None:
    machine.add("wlan0", WIRELESS, physical=True)
    source = IdentitySource(Identity(), HandClock(), machine.places)
    assert source.satellite() == WIRELESS.upper()
    machine.add("eth0", ETHERNET, physical=True)
    assert source.satellite() == WIRELESS.upper()


def test_when_the_platform_misses_it_the_identity_is_read_anew(machine: Machine) -> None:
    machine.add("wlan0", WIRELESS, physical=True)
    source = IdentitySource(Identity(), HandClock(), machine.places)
    source.satellite()
    machine.add("eth0", ETHERNET, physical=True)
    assert source.read_anew() == ETHERNET.upper()
    assert source.satellite() == ETHERNET.upper()


def test_reading_anew_loses_no_known_identity(machine: Machine) -> None:
    machine.add("eth0", ETHERNET, physical=True)
    source = IdentitySource(Identity(), HandClock(), machine.places)
    source.satellite()
    (machine.places.interfaces / "eth0" / "address").unlink()
    assert source.read_anew() == ETHERNET.upper()


def test_many_threads_may_ask_at_once(machine: Machine) -> None:
    machine.add("eth0", ETHERNET, physical=True)
    source = IdentitySource(Identity(), HandClock(), machine.places)
    heard: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: heard.extend((source.satellite(), source.read_anew())))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == [ETHERNET.upper()] * 16


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=40))
def test_whatever_the_kernel_says_there_is_an_address_or_none(
    tmp_path: Path, routes: bytes, address: bytes
) -> None:
    folder = tmp_path / "net" / "eth0"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "address").write_bytes(address)
    (tmp_path / "route").write_bytes(HEADER.encode() + routes)
    found = satellite(Identity(), Places(tmp_path / "net", tmp_path / "route"))
    assert found is None or len(found) == 17
