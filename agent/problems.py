"""The table of problems: how grave each is, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from agent.language import marked


class Health(StrEnum):
    """The box at a glance."""

    OK = "ok"
    DEGRADED = "degraded"
    """Something waits or is down; nothing is being lost."""
    FAILING = "failing"
    """Recordings or calls may be lost."""


class Kind(Struct, frozen=True):
    """One line of the table of problems."""

    health: Health
    hint: str
    """What to do, to be translated where it is shown."""


KINDS: dict[str, Kind] = {
    "board-down": Kind(
        Health.DEGRADED,
        marked("Check the board's power, its cable and boards[].port; see `smarttel-agent check`."),
    ),
    "channel-fault": Kind(
        Health.DEGRADED, marked("Check the telephone line and its plug at this RJ11 socket.")
    ),
    "platform-unreachable": Kind(
        Health.DEGRADED,
        marked(
            "Check the network and platform.url; everything waits and goes out by itself"
            " afterwards."
        ),
    ),
    "platform-refuses": Kind(
        Health.DEGRADED,
        marked(
            "Check platform.account, platform.url and identity.satellite; sending goes on when the"
            " platform accepts them."
        ),
    ),
    "queue-attention": Kind(
        Health.DEGRADED,
        marked("See `smarttel-agent queue list` for the reasons; these are still tried again."),
    ),
    "recording-unusable": Kind(
        Health.DEGRADED,
        marked(
            "Check the recorder: these files are kept and not sent; see `smarttel-agent queue"
            " list`."
        ),
    ),
    "recording-missing": Kind(
        Health.DEGRADED,
        marked(
            "Put the file back and it is sent, or find out who removed it; see `smarttel-agent"
            " queue list`."
        ),
    ),
    "recordings-trouble": Kind(
        Health.DEGRADED, marked("Check recordings.directory and the permissions of its folders.")
    ),
    "disk-low": Kind(
        Health.DEGRADED,
        marked("Make room on the recordings' disk, or lower recordings.keep_days."),
    ),
    "disk-fault": Kind(
        Health.FAILING,
        marked("Check the recordings' disk: is it plugged in, mounted, writable, with room left?"),
    ),
    "clock-unset": Kind(
        Health.DEGRADED,
        marked("Give the gateway a time server or set its clock; calls wait for a true time."),
    ),
    "clock-differs": Kind(
        Health.DEGRADED,
        marked("Give the gateway a time server: its clock is not that of the platform."),
    ),
    "identity-unknown": Kind(
        Health.DEGRADED,
        marked("Set identity.satellite to the gateway's MAC address, or identity.interface."),
    ),
    "state-damaged": Kind(
        Health.DEGRADED,
        marked(
            "The damaged ledger was set aside and a new one begun. Keep the file for inspection or"
            " remove it; this line goes with it."
        ),
    ),
    "state-unusable": Kind(
        Health.FAILING,
        marked(
            "Check that state_directory exists, is writable and has room; the agent goes on by"
            " itself."
        ),
    ),
    "part-failed": Kind(
        Health.FAILING,
        marked("The agent begins this part anew; if it stays, read its log and report it."),
    ),
}
"""Every code that `problems[].code` can have, the gravest of each kind's consequences, and what
to do. The same table stands in the README."""


class Finding(Struct, frozen=True):
    """Something that is wrong just now."""

    code: str
    subject: str
    """What it is about, where there may be several: a board, a port, a part."""
    message: str
    """What is so; a `Said` where it can be told in another language."""


class Problem(Struct, frozen=True):
    """A finding with its time, as the status file shows it."""

    code: str
    since: float
    message: str
    hint: str


def health_of(problems: Iterable[Finding | Problem]) -> Health:
    """The gravest consequence of all that is wrong."""
    found = {KINDS[problem.code].health for problem in problems}
    for health in (Health.FAILING, Health.DEGRADED):
        if health in found:
            return health
    return Health.OK
