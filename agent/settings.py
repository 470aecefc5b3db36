"""What can be configured: every key with its type, default and limits.

`config.example.yaml` explains the keys to people; `agent.config` reads a file into these.
All sections are frozen and comparable: at a reload, a part whose sections are equal is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct
from msgspec.structs import replace

from agent.language import marked, said
from agent.text import printable

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
SecondsOrNever = Annotated[float, Meta(ge=0, le=86_400)]
Text = Annotated[str, Meta(min_length=1, max_length=4096)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Secret = Annotated[str, Meta(extra={"secret": True})]
"""Never shown in an error; may be written as file:PATH."""

_MAC = re.compile(r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}")
_MD5 = re.compile(r"[0-9A-Fa-f]{32}")
_HOUR = r"(?:(?:[01]?\d|2[0-3]):[0-5]\d|24:00)"
_WINDOW = re.compile(f"{_HOUR}-{_HOUR}")
_URL = marked("a full URL such as https://HOST:8080/voip/api/upload_record")
_PORT = marked(
    "a device such as /dev/ttyS1, or a URL that pyserial opens, such as socket://HOST:PORT"
)
_DIRECTORY = marked("the path of the directory in which the recorder leaves its files")
_POOL = marked("a mapping of port numbers to devices, such as {{1: /dev/ttyACM0, 2: /dev/ttyACM1}}")
MOST_BOARDS = 32
MOST_CHANNELS = 99
FUNCTION_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
"""A built-in function's or a program's: never a path, an option, or a hidden file."""
_MESSAGE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What a message's functionname may be (agent/platform/listing.py)."""
_POOL_PORT = re.compile(r"[1-9][0-9]?")


class Unacceptable(ValueError):
    """A section's key holds what it does not accept."""

    def __init__(self, key: str, accepted: str) -> None:
        super().__init__(f"{key}: accepted: {accepted}")
        self.key = key
        """The key's path within the section that says so."""
        self.accepted = accepted
        """What would be accepted, in words."""


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of keys; unknown ones are errors."""

    @classmethod
    def required_beside(cls, given: Mapping[str, object]) -> tuple[str, ...]:
        """Keys with a default that must be given all the same, beside those that are."""
        return ()


class Identity(Section, frozen=True):
    """Who the gateway is (PROTOCOL.md 2: `satellite`)."""

    satellite: str = "auto"
    interface: Text = "auto"

    def __post_init__(self) -> None:
        if self.satellite != "auto" and not _MAC.fullmatch(self.satellite):
            raise Unacceptable(
                "satellite", said("a MAC address such as 00:1A:2B:3C:4D:5E, or auto")
            )


class Account(Section, frozen=True):
    """`sa_user` and `sa_password` of the query (PROTOCOL.md 1)."""

    user: str | int
    password_md5: Secret

    def __post_init__(self) -> None:
        if not _MD5.fullmatch(self.password_md5):
            raise Unacceptable(
                "password_md5",
                said("the password's MD5, 32 hex digits, or file:PATH of a file that holds it"),
            )

    def __repr__(self) -> str:
        return f"Account(user={self.user!r}, password_md5=…)"


class Platform(Section, frozen=True):
    """Where calls and recordings go."""

    url: Annotated[str, Meta(description=_URL, min_length=1, max_length=4096)]
    query: dict[str, str | int] = {}
    account: Account | None = None
    ca_file: Text | None = None
    connect_timeout: Seconds = 5.0
    read_timeout: Seconds = 60.0
    message_command: Text = "getMessageList"
    duplicate_status: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            _ = parts.port
            usable = (
                parts.scheme in {"http", "https"}
                and bool(parts.hostname)
                and not any(character.isspace() for character in self.url)
            )
        except ValueError:
            usable = False
        if not usable:
            raise Unacceptable("url", said(_URL))


class Board(Section, frozen=True):
    """One box with RJ11 ports on a serial line, or a pool of one-port boxes that counts as one."""

    port: Annotated[str, Meta(description=_PORT, min_length=1, max_length=4096)] = ""
    """Empty for a pool: there each port has a device of its own."""
    serial: Annotated[int, Meta(ge=1, le=9999)] = 1
    driver: Text = "native"
    baudrate: Annotated[int, Meta(ge=50, le=4_000_000)] | None = None
    """None: the driver's own, 115200 for `native`."""
    channels: (
        Annotated[int, Meta(ge=1, le=MOST_CHANNELS)]
        | Annotated[
            dict[str, Text], Meta(description=_POOL, min_length=1, max_length=MOST_CHANNELS)
        ]
    ) = 8
    options: dict[str, str | int | float | bool] = {}
    """What the driver alone understands; it checks them itself."""

    @classmethod
    def required_beside(cls, given: Mapping[str, object]) -> tuple[str, ...]:
        """Require a device, unless there is one for each port."""
        return () if isinstance(given.get("channels"), dict) else ("port",)

    def __post_init__(self) -> None:
        if isinstance(self.channels, int):
            if not self.port:
                raise Unacceptable("port", said(_PORT))
            return
        if self.port:
            raise Unacceptable("port", said("nothing, as `channels` names a device for each port"))
        for key in self.channels:
            if not _POOL_PORT.fullmatch(str(key)):
                shown = printable(str(key), 60)
                raise Unacceptable(
                    f"channels.{shown}", said("a port's number from 1 to 99 as the key")
                )
        if not self.channels:
            raise Unacceptable("channels", said(_POOL))

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the ports, in order."""
        if isinstance(self.channels, int):
            return tuple(range(1, self.channels + 1))
        return tuple(sorted(int(key) for key in self.channels))

    @property
    def devices(self) -> dict[str, str]:
        """The devices, by their keys' paths within this section."""
        if isinstance(self.channels, int):
            return {"port": self.port}
        return {f"channels.{key}": device for key, device in self.channels.items()}

    def members(self) -> dict[int, Board]:
        """Of a pool: a one-port board for each port, by the port's number; empty for others."""
        if isinstance(self.channels, int):
            return {}
        devices = sorted((int(key), device) for key, device in self.channels.items())
        return {number: replace(self, port=device, channels=1) for number, device in devices}


class Recordings(Section, frozen=True):
    """Where the recorder leaves its files and how they are read."""

    directory: Annotated[str, Meta(description=_DIRECTORY, min_length=1, max_length=4096)]
    pattern: Text | Annotated[tuple[Text, ...], Meta(min_length=1, max_length=32)] = (
        "{start:%Y%m%d-%H%M%S}_{channel}_{direction}_{phone}"
    )
    timezone: Text | None = None
    settle: Seconds = 2.0
    attach_window: SecondsOrNever = 15.0
    shortest: SecondsOrNever = 0.0
    after_upload: Literal["keep", "delete"] = "keep"
    keep_days: Annotated[float, Meta(ge=0, le=36_500)] = 30.0
    keep_free_percent: Percent = 10.0
    scan: Seconds = 300.0
    mount_point: Text | None = None

    def __post_init__(self) -> None:
        if self.timezone is not None:
            from zoneinfo import ZoneInfo  # noqa: PLC0415 - needed where one is named

            try:
                ZoneInfo(self.timezone)
            except (OSError, ValueError, LookupError):
                raise Unacceptable(
                    "timezone", said("a time zone's name such as Asia/Shanghai, or null")
                ) from None

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns in the order in which they are tried."""
        return (self.pattern,) if isinstance(self.pattern, str) else self.pattern


class Reports(Section, frozen=True):
    """`channelstatus` (PROTOCOL.md 2.1)."""

    interval: Seconds = 30.0
    disk_unit: Literal["B", "KiB", "MiB", "GiB"] = "MiB"


class Polls(Section, frozen=True):
    """How often messages and calls are asked for; 0 turns one off."""

    messages: SecondsOrNever = 10.0
    calls: SecondsOrNever = 5.0


class Uploads(Section, frozen=True):
    """How recordings are sent."""

    workers: Annotated[int, Meta(ge=1, le=16)] = 2
    rate_limit: Annotated[float, Meta(ge=0)] = 0.0
    window: str | None = None

    def __post_init__(self) -> None:
        if self.window is not None and not _WINDOW.fullmatch(self.window):
            raise Unacceptable("window", said('hours and minutes such as "22:00-06:00", or null'))


class Retry(Section, frozen=True):
    """When something that failed is tried again."""

    first: Seconds = 2.0
    longest: Seconds = 900.0
    attention_after: Annotated[int, Meta(ge=1, le=1_000_000)] = 10
    configuration_probe: Seconds = 180.0

    def __post_init__(self) -> None:
        if self.longest < self.first:
            raise Unacceptable(
                "longest",
                said("at least retry.first, which is {seconds}", seconds=f"{self.first:g}"),
            )


class Dial(Section, frozen=True):
    """Calls that the platform asks for."""

    expire: Seconds = 60.0


class Functions(Section, frozen=True):
    """What messages may name."""

    directory: Text | None = None
    aliases: dict[str, str] = {}
    time_limit: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    """Seconds."""
    reboot: bool = False
    reboot_command: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=16)] = (
        "/usr/bin/systemctl",
        "--no-ask-password",
        "reboot",
    )

    def __post_init__(self) -> None:
        if self.directory is not None and not self.directory.startswith("/"):
            raise Unacceptable("directory", "an absolute path, or null")
        if not self.reboot_command[0].startswith("/"):
            raise Unacceptable("reboot_command", "a list that begins with a program's whole path")
        for name, function in self.aliases.items():
            key = f"aliases.{printable(name, 60)}"
            if not _MESSAGE_NAME.fullmatch(name):
                raise Unacceptable(key, "1 to 64 of A-Z a-z 0-9 . _ - as the key")
            if not FUNCTION_NAME.fullmatch(function):
                raise Unacceptable(key, "the name of a built-in function or of a program")


class Log(Section, frozen=True):
    """What the log says."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    phones: Literal["masked", "full"] = "masked"
    format: Literal["text", "json"] = "text"


class Settings(Section, frozen=True):
    """The whole configuration."""

    platform: Platform
    boards: Annotated[tuple[Board, ...], Meta(min_length=1, max_length=MOST_BOARDS)]
    recordings: Recordings
    identity: Identity = Identity()
    reports: Reports = Reports()
    polls: Polls = Polls()
    uploads: Uploads = Uploads()
    retry: Retry = Retry()
    dial: Dial = Dial()
    functions: Functions = Functions()
    state_directory: Text = "/var/lib/smarttel-agent"
    status_file: Text = "/run/smarttel-agent/status.json"
    status_page: bool = True
    language: Literal["auto", "en", "zh", "zh_CN"] = "auto"
    metrics_file: Text | None = None
    log: Log = Log()

    def __post_init__(self) -> None:
        _refuse_twice("serial", [{"serial": board.serial} for board in self.boards])
        _refuse_twice("port", [board.devices for board in self.boards])


def _refuse_twice(noun: str, boards: Sequence[Mapping[str, object]]) -> None:
    """Refuse what two boards, or two ports of a pool, have in common; by its key's path."""
    seen: dict[object, int] = {}
    for index, values in enumerate(boards):
        for key, value in values.items():
            if value in seen:
                raise Unacceptable(
                    f"boards[{index}].{key}",
                    said(
                        "a {noun} of its own; boards[{index}] has {value} already",
                        noun=noun,
                        index=seen[value],
                        value=str(value),
                    ),
                )
            seen[value] = index
