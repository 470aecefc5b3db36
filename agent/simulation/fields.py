"""What the platform accepts in each field, as PROTOCOL.md 2 says; one table a command."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

BAD_PARAMETER = -1
"""PROTOCOL.md 1: bad or missing parameter."""
SATELLITE_MISSING = 3002
RECORD_NOT_FOUND = 3003
LONG = 2**63 - 1
EARLIEST = 1_000_000_000
"""9 September 2001: a gateway that says less has a clock that was never set."""
LATEST = 4_102_444_800
"""The year 2100: more is a time in milliseconds."""
MOST_CHANNELS = 99
LONGEST_PHONE = 64
LONGEST_NAME = 200

_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,19}")
_PHONE = re.compile(rf"\+?[0-9*#]{{0,{LONGEST_PHONE}}}")
_NAME = re.compile(r"[^\s./\\\"<>|:;?%]+\.(wav|mp3)")

Check = Callable[[str], None]
"""Raises ValueError with what is accepted."""


class Refusal(Exception):
    """The platform answers `status` and `message`."""

    def __init__(self, status: int, message: str, *, violation: bool = True) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.violation = violation
        """True: the protocol forbids what was sent. False: it was well formed but cannot be met."""


def whole(lowest: int = 0, highest: int = LONG) -> Check:
    """Accept whole numbers of this range, written without leading zeros."""

    def check(text: str) -> None:
        if not _WHOLE.fullmatch(text) or not lowest <= int(text) <= highest:
            raise ValueError(f"a whole number from {lowest} to {highest}")

    return check


def one_of(*accepted: str) -> Check:
    """Accept these words only."""

    def check(text: str) -> None:
        if text not in accepted:
            raise ValueError(f"one of {', '.join(map(repr, accepted))}")

    return check


def mac(text: str) -> None:
    """Accept a MAC address with colons."""
    if not _MAC.fullmatch(text):
        raise ValueError("a MAC address with colons")


def phone(text: str) -> None:
    """Accept a number as dialled, or nothing where it is not known."""
    if not _PHONE.fullmatch(text):
        raise ValueError("a telephone number of digits, * and #")


def moment(text: str) -> None:
    """Accept UNIX time in seconds or milliseconds (PROTOCOL.md 2.1)."""
    whole(EARLIEST, LATEST * 1000)(text)
    if LATEST < int(text) < EARLIEST * 1000:
        raise ValueError("UNIX time, in seconds or milliseconds")


SATELLITE = ("satellite", mac)
RECORD: dict[str, Check] = {
    "cmd": one_of("upload"),
    "satellite": mac,
    "channel": whole(1, MOST_CHANNELS),
    "start_time_secs": whole(EARLIEST, LATEST),
    "start_time_hangup": whole(EARLIEST, LATEST),
    "direction": one_of("in", "out", "unkown"),
    "callid_dialed": phone,
    "duration_secs": whole(0),
    "id": whole(0),
    "recorded": one_of("0", "1"),
}
FILE: dict[str, Check] = {
    "cmd": one_of("upload"),
    "satellite": mac,
    "callid": whole(1),
}
REPORT: dict[str, Check] = {
    "cmd": one_of("channelstatus"),
    "satellite": mac,
    "id": whole(0),
    "time": moment,
    "status": lambda text: None,
}
QUESTION: dict[str, Check] = {"cmd": lambda text: None, "satellite": mac}

_DISK: dict[str, Check] = {
    "diskUsagePercent": whole(0, 100),
    "diskSize": whole(0),
    "diskSurplusSize": whole(0),
}
_CHANNEL: dict[str, Check] = {
    "ch": whole(1, MOST_CHANNELS),
    "state": whole(0, 5),
    "phone": phone,
    "timelen": whole(0),
    "peer": one_of("", "0", "1", "2"),
    "serial": whole(1),
}


def check_form(form: Mapping[str, str], table: Mapping[str, Check]) -> None:
    """Refuse a missing, a surplus and a bad field. Raises Refusal."""
    if not form.get("satellite"):
        raise Refusal(SATELLITE_MISSING, "satellite is missing")
    for name in form:
        if name not in table:
            raise Refusal(BAD_PARAMETER, f"{_shown(name)} is not a field of this command")
    _check_texts("", form, table)


def check_record(form: Mapping[str, str]) -> None:
    """Refuse a call record that PROTOCOL.md 2.2 does not allow. Raises Refusal."""
    check_form(form, RECORD)
    start, hangup = int(form["start_time_secs"]), int(form["start_time_hangup"])
    if hangup < start:
        raise Refusal(BAD_PARAMETER, f"start_time_hangup {hangup} is before the start {start}")
    if int(form["duration_secs"]) > hangup - start:
        raise Refusal(
            BAD_PARAMETER,
            f"duration_secs {form['duration_secs']} is longer than from start to hang-up,"
            f" {hangup - start}",
        )


def check_report(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the report's `status` as an object, or raise Refusal (PROTOCOL.md 2.1)."""
    check_form(form, REPORT)
    try:
        status = json.loads(form["status"])
    except ValueError as error:
        raise Refusal(BAD_PARAMETER, f"status is not JSON: {error}") from None
    if not isinstance(status, dict):
        raise Refusal(BAD_PARAMETER, "status must be a JSON object")
    _check_texts("status.", status, _DISK)
    if int(status["diskSurplusSize"]) > int(status["diskSize"]):
        raise Refusal(BAD_PARAMETER, "status.diskSurplusSize is more than diskSize")
    disk = status.get("diskStatus")
    if type(disk) is not int or disk not in (0, -1, -2, -3, -4):
        raise Refusal(BAD_PARAMETER, "status.diskStatus must be the number 0, -1, -2, -3 or -4")
    try:
        ipaddress.ip_address(_text("status.ip", status.get("ip")))
    except ValueError:
        raise Refusal(BAD_PARAMETER, "status.ip must be an IP address") from None
    _check_channels(status.get("channels"))
    return status


def check_file_name(name: str | None) -> str:
    """Return the name if the platform keeps it whole (PROTOCOL.md 2.2), or raise Refusal."""
    if name is None:
        raise Refusal(BAD_PARAMETER, "file has no file name")
    if not name.isascii() or len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise Refusal(
            BAD_PARAMETER,
            f"file's name {_shown(name)} must be plain ASCII with one dot, ending in .wav or .mp3",
        )
    return name


def check_audio(name: str, beginning: bytes) -> None:
    """Refuse a file whose first bytes are not what its ending says. Raises Refusal."""
    wav = beginning[:4] in (b"RIFF", b"RF64") and beginning[8:12] == b"WAVE"
    mp3 = beginning[:3] == b"ID3" or (
        len(beginning) > 1 and beginning[0] == 0xFF and beginning[1] & 0xE0 == 0xE0
    )
    if not (wav if name.endswith(".wav") else mp3):
        raise Refusal(BAD_PARAMETER, f"file {_shown(name)} is not {name[-3:].upper()} audio")


def _check_channels(channels: object) -> None:
    if not isinstance(channels, list):
        raise Refusal(BAD_PARAMETER, "status.channels must be a list")
    seen: set[tuple[str, str]] = set()
    for index, channel in enumerate(channels):
        where = f"status.channels[{index}]"
        if not isinstance(channel, dict):
            raise Refusal(BAD_PARAMETER, f"{where} must be an object")
        _check_texts(f"{where}.", channel, _CHANNEL)
        key = channel["serial"], channel["ch"]
        if key in seen:
            raise Refusal(BAD_PARAMETER, f"{where} repeats port {key[1]} of box {key[0]}")
        seen.add(key)


def _check_texts(where: str, values: Mapping[str, object], table: Mapping[str, Check]) -> None:
    for name, check in table.items():
        if name not in values:
            raise Refusal(BAD_PARAMETER, f"{where}{name} is missing")
        text = _text(where + name, values[name])
        try:
            check(text)
        except ValueError as error:
            raise Refusal(
                BAD_PARAMETER, f"{where}{name} is {_shown(text)}, must be {error}"
            ) from None


def _text(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise Refusal(BAD_PARAMETER, f"{where} must be a string")
    return value


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:80] + "…")
