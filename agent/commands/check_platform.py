"""The platform's part of `smarttel-agent check`: does it answer, and do the clocks agree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from agent.commands import status_file
from agent.commands.findings import Device, Finding
from agent.identity import lan_address, satellite
from agent.platform.client import PlatformClient
from agent.platform.failures import FailureKind, PlatformFailure
from agent.platform.wire import Answer
from agent.recordings import disk
from agent.reports import UNITS
from agent.settings import Settings

MOST_CLOCK_DIFFERENCE = 60.0
"""Seconds; more puts calls into the wrong minute on the platform's lists."""

_REPORT_ID = 1
_NETWORK = "see that the address in platform.url is right and that nothing filters the way there"
_ADVICE = MappingProxyType(
    {
        FailureKind.NO_SUCH_HOST: "correct the host in platform.url, or set a working name server",
        FailureKind.CONNECTION_REFUSED: _NETWORK,
        FailureKind.CONNECT_TIMEOUT: _NETWORK,
        FailureKind.ANSWER_TIMEOUT: "ask the platform's operator; or raise platform.read_timeout",
        FailureKind.CONNECTION_CUT: _NETWORK,
        FailureKind.TLS: "see platform.ca_file, the clock, and whether the platform speaks https",
        FailureKind.REDIRECT: "set platform.url to the address that is meant; a log-in page of the"
        " network may also stand in the way",
        FailureKind.AUTHENTICATION: "correct platform.account; recordings wait until it is right",
        FailureKind.HTTP_ERROR: "see that the path in platform.url is right",
        FailureKind.TOO_MANY: "ask the platform's operator, or raise reports.interval and polls",
        FailureKind.UNUSABLE: "see that platform.url is the method's address and not a web page's",
        FailureKind.REFUSED: "have this gateway's MAC address entered at the platform",
        FailureKind.IDENTITY_UNKNOWN: "set identity.satellite or identity.interface",
    }
)


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
        yield Finding(
            f"platform: {failure.message}",
            _ADVICE.get(failure.kind, "see the agent's log (journalctl -u smarttel-agent)"),
        )
        return
    finally:
        client.close()
    yield Finding("platform: reachable, and took a report")
    yield from _clock_findings(answer, device.clock.wall())


def _as_the_daemon_sees_it(device: Device) -> Finding:
    path = Path(device.settings.status_file)
    try:
        platform = status_file.look(path, device.clock.wall()).status.platform
    except status_file.NoStatus as error:
        return Finding(f"platform: not known: {error}", "see that the status file can be written")
    if platform.reachable:
        return Finding("platform: reachable, says the running agent")
    return Finding(
        "platform: not reachable, says the running agent: "
        + (platform.last_error or "no answer yet"),
        "see smarttel-agent status",
    )


def _clock_findings(answer: Answer, now: float) -> Iterator[Finding]:
    if answer.time is None:
        yield Finding("platform: does not say its time, so the clocks cannot be compared")
        return
    difference = answer.time - now
    text = f"clock: the platform's is {difference:+.0f} s from ours"
    if abs(difference) > MOST_CLOCK_DIFFERENCE:
        yield Finding(text, "set up NTP (timedatectl set-ntp true); the agent corrects until then")
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
