"""The status in words, as status.txt has it: what is wrong first, then the figures."""

from __future__ import annotations

import time
from typing import Any

from agent.kept import Kept
from agent.language import ENGLISH, Language, marked, said
from agent.problems import Health
from agent.recordings.disk import MEBIBYTE
from agent.text import padded

HEALTH_NAMES = {
    Health.OK: marked("ok"),
    Health.DEGRADED: marked("degraded"),
    Health.FAILING: marked("failing"),
}
LABEL_COLUMNS = 10
"""Columns of the labels in status.txt."""
_FIRST, _SECOND = "\x00", "\x01"
"""Stand in a line that is kept where the figures belong that move by themselves; no text of anybody
has them."""


def as_words(told: dict[str, Any], language: Language = ENGLISH, kept: Kept | None = None) -> str:
    """Write out a status, given as the status file has it, for `cat`.

    `kept`: what was written out before, by whoever does so again and again.
    """
    kept = kept or Kept()
    origin = (told["satellite"], told["pid"], told["started"], told["problems"], language)
    figures = (told["queue"], told["dial"], language)
    platform = told["platform"]
    reached = (platform["url"], platform["reachable"], language)
    texts = [
        kept.of("headline", (told["agent"], told["health"], language), _headline),
        _moment(told["updated"], language),
        "\n",
        kept.of("origin", origin, _origin),
        kept.of("platform", reached, _platform).replace(
            _FIRST, _moment(platform["last_ok"], language)
        ),
        kept.of("figures", figures, _figures),
        kept.of("disk", (told["disk"], language), _disk),
    ]
    for board in told["boards"]:
        wire = (board["serial"], board["driver"], board["port"], board["link"], language)
        line = kept.of(("wire", board["serial"]), wire, _board)
        texts += [
            line.replace(_FIRST, str(board["frames"])).replace(_SECOND, str(board["bad_frames"])),
            kept.of(board["serial"], (board["channels"], language), _channels),
        ]
    return "".join(texts)


def _headline(source: tuple[str, Health, Language]) -> str:
    version, health, language = source
    return f"smarttel-agent {version}: {language.say(HEALTH_NAMES[health])}   "


def _origin(origin: tuple[str | None, int, float, list[dict[str, Any]], Language]) -> str:
    satellite, process, started, problems, language = origin
    words = language.say(
        "gateway {satellite}, process {pid}, since {moment}",
        satellite=satellite or said("without a MAC address"),
        pid=process,
        moment=_moment(started, language),
    )
    return f"{words}\n\n" + "".join(_problem(problem, language) for problem in problems)


def _problem(problem: dict[str, Any], language: Language) -> str:
    words = language.say(
        "!! {code} since {moment}: {message}",
        code=problem["code"],
        moment=_moment(problem["since"], language),
        message=problem["message"],
    )
    return f"{words}\n   {problem['hint']}\n"


def _platform(source: tuple[str, bool, Language]) -> str:
    url, reachable, language = source
    words = language.say(
        "{url}: {reached}, last answer {moment}",
        url=url,
        reached=said("reached") if reachable else said("not reached"),
        moment=_FIRST,
    )
    return _labelled(language.say("platform"), words)


def _figures(sections: tuple[dict[str, Any], dict[str, Any], Language]) -> str:
    queue, dial, language = sections
    return _queue(queue, language) + _dial(dial, language)


def _queue(queue: dict[str, Any], language: Language) -> str:
    words = language.say(
        "{records} records and {files} recordings wait ({size} MiB), {attention} need"
        " attention, {delivered} recordings delivered",
        records=queue["records_waiting"],
        files=queue["files_waiting"],
        size=queue["bytes_waiting"] // MEBIBYTE,
        attention=queue["attention"],
        delivered=queue["delivered"],
    )
    return _labelled(language.say("queue"), words)


def _dial(dial: dict[str, Any], language: Language) -> str:
    words = language.say(
        "{waiting} wait, {placed} placed, {expired} expired, {failed} failed", **dial
    )
    return _labelled(language.say("dial"), words)


def _disk(source: tuple[dict[str, Any], Language]) -> str:
    disk, language = source
    words = language.say(
        "{percent} % used, {free} of {size} MiB free",
        percent=disk["percent"],
        free=disk["free_mib"],
        size=disk["size_mib"],
    )
    return _labelled(language.say("disk"), words)


def _labelled(label: str, words: str) -> str:
    return f"{padded(label, LABEL_COLUMNS)}{words}\n"


def _board(wire: tuple[int, str, str, str, Language]) -> str:
    serial, driver, port, link, language = wire
    label = language.say("board {serial}", serial=serial)
    words = language.say(
        "{driver} on {port}: link {link}, {frames} lines heard, {bad} bad",
        driver=driver,
        port=port,
        link=said("up") if link == "up" else said("down"),
        frames=_FIRST,
        bad=_SECOND,
    )
    return _labelled(label, words)


def _channels(told: tuple[list[dict[str, Any]], Language]) -> str:
    channels, language = told
    return "".join(_channel(channel, language) for channel in channels)


def _channel(channel: dict[str, Any], language: Language) -> str:
    port = language.say("port {number}", number=f"{channel['ch']:>2}")
    name = padded(language.say(channel["name"]), 14)
    return f"   {port}  {name} {channel['phone']}".rstrip() + "\n"


def _moment(moment: float | None, language: Language) -> str:
    if moment is None:
        return language.say("never")
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    except (OverflowError, ValueError, OSError):
        return language.say("at an unknown time")
