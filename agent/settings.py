"""What can be configured: every key with its type, default and limits.

`config.example.yaml` explains the keys to people; `agent.config` reads a file into these.
All sections are frozen and comparable: at a reload, a part whose sections are equal is left alone.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
SecondsOrNever = Annotated[float, Meta(ge=0, le=86_400)]
Text = Annotated[str, Meta(min_length=1, max_length=4096)]
Percent = Annotated[float, Meta(ge=0, le=100)]

_MAC = re.compile(r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}")
_MD5 = re.compile(r"[0-9A-Fa-f]{32}")
_WINDOW = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-4]):([0-5]\d)")
MOST_BOARDS = 32
MOST_CHANNELS = 99


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of keys; unknown ones are errors."""


class Identity(Section):
    """Who the gateway is (PROTOCOL.md 2: `satellite`)."""

    satellite: str = "auto"
    interface: Text = "auto"

    def __post_init__(self) -> None:
        if self.satellite != "auto" and not _MAC.fullmatch(self.satellite):
            raise ValueError("a MAC address such as 00:1A:2B:3C:4D:5E, or auto")


class Account(Section):
    """`sa_user` and `sa_password` of the query (PROTOCOL.md 1)."""

    user: str | int
    password_md5: str

    def __post_init__(self) -> None:
        if not _MD5.fullmatch(self.password_md5):
            raise ValueError("the password's MD5, 32 hex digits, or file:PATH of a file with it")

    def __repr__(self) -> str:
        return f"Account(user={self.user!r}, password_md5=…)"


class Platform(Section):
    """Where calls and recordings go."""

    url: Text
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
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("a full URL such as https://HOST:8080/voip/api/upload_record")


class Board(Section):
    """One box with RJ11 ports on a serial line."""

    port: Text
    serial: Annotated[int, Meta(ge=1, le=9999)] = 1
    driver: Text = "native"
    baudrate: Annotated[int, Meta(ge=50, le=4_000_000)] = 115_200
    channels: Annotated[int, Meta(ge=1, le=MOST_CHANNELS)] = 8


class Recordings(Section):
    """Where the recorder leaves its files and how they are read."""

    directory: Text
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
            try:
                ZoneInfo(self.timezone)
            except (OSError, ValueError, LookupError):
                raise ValueError("a time zone's name such as Asia/Shanghai, or null") from None

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns in the order in which they are tried."""
        return (self.pattern,) if isinstance(self.pattern, str) else self.pattern


class Reports(Section):
    """`channelstatus` (PROTOCOL.md 2.1)."""

    interval: Seconds = 30.0
    disk_unit: Literal["B", "KiB", "MiB", "GiB"] = "MiB"


class Polls(Section):
    """How often messages and calls are asked for; 0 turns one off."""

    messages: SecondsOrNever = 10.0
    calls: SecondsOrNever = 5.0


class Uploads(Section):
    """How recordings are sent."""

    workers: Annotated[int, Meta(ge=1, le=16)] = 2
    rate_limit: Annotated[float, Meta(ge=0)] = 0.0
    window: str | None = None

    def __post_init__(self) -> None:
        if self.window is not None and not _WINDOW.fullmatch(self.window):
            raise ValueError('hours and minutes such as "22:00-06:00", or null')


class Retry(Section):
    """When something that failed is tried again."""

    first: Seconds = 2.0
    longest: Seconds = 900.0
    attention_after: Annotated[int, Meta(ge=1, le=1_000_000)] = 10
    configuration_probe: Seconds = 180.0


class Dial(Section):
    """Calls that the platform asks for."""

    expire: Seconds = 60.0


class Functions(Section):
    """What messages may name."""

    directory: Text | None = None
    aliases: dict[str, str] = {}


class Log(Section):
    """What the log says."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    phones: Literal["masked", "full"] = "masked"


class Settings(Section):
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
    log: Log = Log()

    def __post_init__(self) -> None:
        for name in ("serial", "port"):
            seen: dict[Any, int] = {}
            for index, board in enumerate(self.boards):
                value = getattr(board, name)
                if value in seen:
                    raise ValueError(
                        f"boards[{index}].{name} is {value!r}, as boards[{seen[value]}] already has;"
                        f" each board needs its own {name}"
                    )
                seen[value] = index

