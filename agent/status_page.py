"""The status as a page for a browser: `status.html` beside the status file.

The page holds all that it needs: its style and its script stand in it and are the only ones that it
lets a browser use, and all that others had a hand in is escaped text. It looks again by itself at
what the agent wrote, and says so where the agent writes no more.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from operator import itemgetter
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from agent.clock import Clock
from agent.files import replace_file
from agent.history import History, Sample, slot_of
from agent.kept import Kept
from agent.language import Language, marked
from agent.page.cards import agent_card, clock_card, dial_card, disk_card, platform_card, queue_card
from agent.page.headline import HEADLINES, headline, problems
from agent.page.markup import Pen
from agent.page.panel import panel
from agent.problems import Health

BEAT = 30.0
"""Seconds after which the page is written even where nothing changed: the sign of life."""
PAUSE = 2.0
"""Seconds at least between two pages, however often something changes: drawing costs."""
STALE = 90.0
"""Seconds without a new page after which it calls itself stale: three beats are missing."""

_PARTS = Path(__file__).with_name("page")
_COLOURS = {Health.OK: "#1a8f4c", Health.DEGRADED: "#d97a06", Health.FAILING: "#d42a2a"}
_MARKS = {
    Health.OK: '<circle cx="8" cy="8" r="8" fill="{}"/>'
    '<path d="m4.5 8.3 2.4 2.4 4.6-5" fill="none" stroke="#fff" stroke-width="1.8"/>',
    Health.DEGRADED: '<path d="M8 0 16 15H0z" fill="{}"/>'
    '<path d="M8 5v5m0 1.4v1.8" stroke="#fff" stroke-width="1.8"/>',
    Health.FAILING: '<path d="M4.7 0h6.6L16 4.7v6.6L11.3 16H4.7L0 11.3V4.7z" fill="{}"/>'
    '<path d="m5 5 6 6m0-6-6 6" stroke="#fff" stroke-width="1.8"/>',
}
_WHOLE = itemgetter("health", "problems", "queue", "dial", "clock", "satellite")
_PLATFORM = itemgetter("url", "reachable", "last_error")
_DISK = itemgetter("percent", "size_mib", "status")
_FILES = itemgetter("kept", "missing")
_BOARD = itemgetter("serial", "driver", "port", "link", "channels")
"""What the page shows of a status and its sections, but for what moves without anybody's doing:
lines heard, answers, a clock's drift, a megabyte of the disk. That is no reason to draw the page
before its beat."""


class Page:
    """Draws pages in one language; reads the frame once."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._kept = Kept()
        self._words: dict[str, str] = {}
        """What a pen says without values: as much as stands in the code of the page."""
        style = (_PARTS / "status.css").read_text("utf-8")
        script = (_PARTS / "status.js").read_text("utf-8")
        frame = Template((_PARTS / "status.html").read_text("utf-8"))
        self._frame = Template(
            frame.safe_substitute(
                style=style,
                script=script,
                style_hash=_hash(style),
                script_hash=_hash(script),
                lang=language.code.replace("zh_CN", "zh-Hans"),
                stale=f"{STALE:g}",
                beat=f"{BEAT:g}",
                **_signs(Pen(language, 0.0)),
            )
        )

    def draw(self, told: dict[str, Any], samples: Sequence[Sample]) -> str:
        """Return the page of a status, as `agent.status.as_json` tells it, and of the last day."""
        pen = Pen(self.language, told["updated"], self._words)
        # What a moment's date is told by, and what the chart ends with, besides.
        silent = [board["last_heard"] for board in told["boards"] if board["link"] != "up"]
        day = (samples, slot_of(told["updated"]), pen.today)
        source = (steady(told), told["started"], told["pid"], silent, day)
        settled = self._kept.of("settled", source, lambda _: self._settled(told, samples, pen))
        disk = (told["disk"], _FILES(told["recordings"]), bool(told["boards"]))
        moving = {
            "stamp": f"{told['updated']:.3f}",
            "platform": platform_card(told, pen),
            "disk": self._kept.of("disk", disk, lambda _: disk_card(told, pen)),
            "clock": clock_card(told, pen),
            "written": pen.timed(marked("written at {time}"), told["updated"], seconds=True),
            "zone": pen.zone(),
        }
        return self._frame.substitute({**settled, **moving})

    def _settled(self, told: dict[str, Any], samples: Sequence[Sample], pen: Pen) -> dict[str, str]:
        """Return what stays as it is from one beat to the next while nothing happens."""
        health = Health(told["health"])
        mark = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">{_MARKS[health]}</svg>'
        return {
            "health": health.value,
            "icon": "data:image/svg+xml," + quote(mark.format(_COLOURS[health])),
            "title": f"{pen.say(HEADLINES[health][0])} · {pen.say('gateway')} "
            + (escape(told["satellite"]) if told["satellite"] else ""),
            "banner": headline(told, pen),
            "problems": problems(told, pen),
            "panel": panel(told["boards"], pen),
            "queue": queue_card(told, samples, pen),
            "dial": dial_card(told, pen),
            "agent": agent_card(told, pen),
            "satellite": escape(told["satellite"] or ""),
            "version": escape(told["agent"]),
        }


class StatusPage:
    """The page's file: written when it shows something new, and at a beat as a sign of life."""

    def __init__(self, status_file: Path, clock: Clock) -> None:
        """`status_file` is the JSON beside which the page and the last day's figures stand."""
        # Where the JSON itself is called .html, the page needs another name.
        taken = status_file.suffix == ".html"
        self.path = (
            status_file.with_name(f"{status_file.name}.html")
            if taken
            else status_file.with_suffix(".html")
        )
        self._page: Page | None = None
        self._clock = clock
        self._history = History(status_file.with_name(f"{status_file.stem}-history.json"))
        self._shown: object = None
        self._drawn: float | None = None

    def take(self, told: dict[str, Any], language: Language) -> None:
        """Take note of a status, and write the page where it is time to. Raises OSError."""
        self._history.take(told)
        now = self._clock.monotonic()
        if self._drawn is not None and now - self._drawn < PAUSE:
            return
        shown = steady(told)
        if self._drawn is not None and now - self._drawn < BEAT and shown == self._shown:
            return
        # First the time: a page that can't be written is not drawn again at once.
        self._drawn = now
        if self._page is None or self._page.language != language:
            self._page = Page(language)
        replace_file(self.path, self._page.draw(told, self._history.samples))
        self._shown = shown


def steady(told: dict[str, Any]) -> object:
    """Return of a status what the page shows and what changes only when something happens."""
    return (
        _WHOLE(told),
        _PLATFORM(told["platform"]),
        _DISK(told["disk"]),
        _FILES(told["recordings"]),
        list(map(_BOARD, told["boards"])),
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _signs(pen: Pen) -> dict[str, str]:
    """Return the frame's own words, which no status changes."""
    return {
        "sign_stale": pen.say(
            "This page is stale: the agent has written no new one for over {seconds} seconds."
            " It is stuck or stopped; what you see is old.",
            seconds=f"{STALE:g}",
        ),
        "sign_gone": pen.say(
            "The gateway does not answer this browser: the network is cut, or the agent has"
            " stopped. What you see is old; this page goes on by itself when there is a new one."
        ),
        "sign_doubtful": pen.say(
            "By this computer's clock this page is old. Either the clocks differ or the agent"
            " writes no more; that shows within {seconds} seconds.",
            seconds=f"{STALE:g}",
        ),
        "sign_noscript": pen.say(
            "Without scripts this page can't tell whether it is stale. It is written every"
            " {seconds} seconds: compare the time it was written with the gateway's clock.",
            seconds=f"{BEAT:g}",
        ),
        "name": pen.say("Call-recording gateway"),
        "panel_title": pen.say("Ports"),
        "zone_words": pen.say("All times are the gateway's local time, {zone}.", zone="$zone"),
        "skip": pen.say("To the ports"),
    }
