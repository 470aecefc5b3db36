"""The platform's part of `smarttel-agent check`: does it answer, and do the clocks agree."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from agent.commands.findings import Device, Finding
from agent.identity import AUTO, interface, lan_address, satellite
from agent.language import Said, marked, said
from agent.platform.client import PlatformClient
from agent.platform.diagnosis import (
    EXPIRED,
    NO_TLS,
    NOT_YET_VALID,
    SELF_SIGNED,
    UNKNOWN_AUTHORITY,
    WRONG_ADDRESS,
    WRONG_HOST,
)
from agent.platform.failures import FailureKind, PlatformFailure
from agent.platform.wire import Answer
from agent.problems import KINDS
from agent.recordings import disk
from agent.reports import UNITS
from agent.settings import Settings

MOST_CLOCK_DIFFERENCE = 60.0
"""Seconds; more puts calls into the wrong minute on the platform's lists."""

_REPORT_ID = 1
_IDENTITY_CODES = frozenset({3001, 3002, 3003})
"""PROTOCOL.md 2.5: to a report, which names nothing but the gateway, all three mean the gateway."""
_PLATFORM_CODES = frozenset({"identity-unknown", "platform-unreachable", "platform-refuses"})
_NETWORK = marked(
    "see that the address in platform.url is right and that nothing filters the way there"
)
_LOG_IN_PAGE = marked(
    "where the network asks users to log in, have the gateway's MAC address let through; else set"
    " platform.url to the address that is meant"
)
_ADVICE = MappingProxyType(
    {
        FailureKind.NO_SUCH_HOST: marked("correct the host in platform.url"),
        FailureKind.CONNECTION_REFUSED: _NETWORK,
        FailureKind.CONNECT_TIMEOUT: _NETWORK,
        FailureKind.ANSWER_TIMEOUT: marked(
            "ask the platform's operator; or raise platform.read_timeout"
        ),
        FailureKind.CONNECTION_CUT: _NETWORK,
        FailureKind.TLS: marked(
            "see platform.ca_file, the clock, and whether the platform speaks https"
        ),
        FailureKind.REDIRECT: _LOG_IN_PAGE,
        FailureKind.AUTHENTICATION: marked(
            "correct platform.account; recordings wait until it is right"
        ),
        FailureKind.HTTP_ERROR: marked("see that the path in platform.url is right"),
        FailureKind.TOO_MANY: marked(
            "ask the platform's operator, or raise reports.interval and polls"
        ),
        FailureKind.UNUSABLE: _LOG_IN_PAGE,
        FailureKind.IDENTITY_UNKNOWN: marked("set identity.satellite or identity.interface"),
    }
)
_ELSE = marked("see the agent's log (journalctl -u smarttel-agent)")
_TLS_ADVICE = MappingProxyType(
    {
        NOT_YET_VALID: marked("set the clock: it shows {date}; else ask the platform's operator"),
        EXPIRED: marked(
            "see that the clock is right: it shows {date}; where it is, the platform's operator"
            " must renew the certificate"
        ),
        SELF_SIGNED: marked(
            "get the platform's certificate from its operator as a PEM file and name it in"
            " platform.ca_file"
        ),
        UNKNOWN_AUTHORITY: marked(
            "get the certificate of the platform's authority from its operator as a PEM file and"
            " name it in platform.ca_file"
        ),
        WRONG_HOST: marked(
            "write the host in platform.url as the certificate has it; where it is right, something"
            " on the way answers in the platform's place"
        ),
        WRONG_ADDRESS: marked(
            "write the host in platform.url as the certificate has it, most likely a name and not"
            " an address"
        ),
        NO_TLS: marked("write http:// in platform.url, or its port for https"),
    }
)
"""By what diagnosis says of it."""
_NAME_SERVERS = Path("/etc/resolv.conf")
_UNANSWERED = "Temporary failure in name resolution"
"""EAI_AGAIN: no name server answered, whatever the name."""


def check_platform(device: Device) -> Iterator[Finding]:
    """Look at the platform: through the running agent's eyes, else by one report of our own.

    A report is the one command that takes nothing away: fetching messages or calls would consume
    them. It names no channels, so the agent's own reports must not be mixed with it.
    """
    if device.daemon is not None:
        yield _as_the_daemon_sees_it(device)
        return
    settings = device.settings
    client = PlatformClient(
        settings.platform, lambda: satellite(settings.identity) or "", device.clock
    )
    try:
        answer = client.report(_REPORT_ID, int(device.clock.wall() * 1000), _status_json(settings))
    except PlatformFailure as failure:
        yield Finding(said("platform: {why}", why=failure.message), _advice(failure, device))
        return
    finally:
        client.close()
    yield Finding(said("platform: reachable, and took a report"))
    yield from _clock_findings(answer, device.clock.wall())


def _advice(failure: PlatformFailure, device: Device) -> Said:
    """Say what to do about a failure; by its kind, or more closely where that can be told."""
    message = failure.message
    template = message.template if isinstance(message, Said) else ""
    if failure.kind is FailureKind.REFUSED:
        return _refusal_advice(failure, device)
    if failure.kind is FailureKind.NO_SUCH_HOST and _UNANSWERED in message:
        return _name_server_advice()
    if template in _TLS_ADVICE:
        date = time.strftime("%Y-%m-%d %H:%M", time.localtime(device.clock.wall()))
        return said(_TLS_ADVICE[template], date=date)
    return said(_ADVICE.get(failure.kind, _ELSE))


def _refusal_advice(failure: PlatformFailure, device: Device) -> Said:
    if failure.status not in _IDENTITY_CODES:
        return said("ask the platform's operator what this status means")
    section = device.settings.identity
    mac = satellite(section) or ""
    if section.satellite != AUTO:
        return said(
            "have {mac} entered at the platform, or set identity.satellite to the address that the"
            " platform knows this gateway by",
            mac=mac,
        )
    return said(
        "have {mac}, the address of {interface}, entered at the platform, or set identity.satellite"
        " to the address that the platform knows this gateway by",
        mac=mac,
        interface=interface(section) or "",
    )


def _name_server_advice() -> Said:
    try:
        lines = _NAME_SERVERS.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    servers = [line.split()[1] for line in lines if re.match(r"nameserver\s+\S", line)]
    if not servers:
        return said("name a name server in /etc/resolv.conf: there is none")
    return said(
        "see that the network cable is plugged in and that the name servers of /etc/resolv.conf"
        " ({servers}) can be reached",
        servers=", ".join(servers),
    )


def _as_the_daemon_sees_it(device: Device) -> Finding:
    if device.seen is None:
        return Finding(
            said("platform: not known: the running agent's status can't be read"),
            said("see that the status file can be written"),
        )
    platform = device.seen.status.platform
    if platform.reachable:
        return Finding(said("platform: reachable, says the running agent"))
    problems = [each for each in device.seen.status.problems if each.code in _PLATFORM_CODES]
    why = problems[0].said() if problems else (platform.last_error or said("no answer yet"))
    return Finding(
        said("platform: not reachable, says the running agent: {why}", why=why),
        said(KINDS[problems[0].code].hint) if problems else said("see smarttel-agent status"),
    )


def _clock_findings(answer: Answer, now: float) -> Iterator[Finding]:
    if answer.time is None:
        yield Finding(said("platform: does not say its time, so the clocks cannot be compared"))
        return
    difference = answer.time - now
    text = said("clock: the platform's is {seconds} s from ours", seconds=f"{difference:+.0f}")
    if abs(difference) > MOST_CLOCK_DIFFERENCE:
        yield Finding(
            text, said("set up NTP (timedatectl set-ntp true); the agent corrects until then")
        )
    else:
        yield Finding(text)


def _status_json(settings: Settings) -> str:
    """Status without channels (PROTOCOL.md 2.1)."""
    section = settings.recordings
    seen = disk.look(Path(section.directory), section.mount_point)
    unit = UNITS[settings.reports.disk_unit]
    return json.dumps(
        {
            "diskUsagePercent": str(seen.percent),
            "diskSize": str(seen.size_bytes // unit),
            "diskSurplusSize": str(seen.free_bytes // unit),
            "diskStatus": int(seen.status),
            "ip": lan_address(settings.identity),
            "channels": [],
        }
    )
