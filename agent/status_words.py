"""The status in words, as status.txt has it: what is wrong first, then the figures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

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


def as_words(told: dict[str, Any], language: Language = ENGLISH) -> str:
    """Write out a status, given as the status file has it, for `cat`."""
    lines = [*_headline(told, language), ""]
    for problem in told["problems"]:
        line = language.say(
            "!! {code} since {moment}: {message}",
            code=problem["code"],
            moment=_moment(problem["since"], language),
            message=problem["message"],
        )
        lines += [line, f"   {problem['hint']}"]
    lines += [padded(label, LABEL_COLUMNS) + words for label, words in _parts(told, language)]
    for board in told["boards"]:
        lines += _board_lines(board, language)
    return "\n".join(lines) + "\n"


def _headline(told: dict[str, Any], language: Language) -> tuple[str, str]:
    health = language.say(HEALTH_NAMES[told["health"]])
    updated = _moment(told["updated"], language)
    return (
        f"smarttel-agent {told['agent']}: {health}   {updated}",
        language.say(
            "gateway {satellite}, process {pid}, since {moment}",
            satellite=told["satellite"] or said("without a MAC address"),
            pid=told["pid"],
            moment=_moment(told["started"], language),
        ),
    )


def _parts(told: dict[str, Any], language: Language) -> Iterator[tuple[str, str]]:
    queue, disk, platform = told["queue"], told["disk"], told["platform"]
    yield (
        language.say("platform"),
        language.say(
            "{url}: {reached}, last answer {moment}",
            url=platform["url"],
            reached=said("reached") if platform["reachable"] else said("not reached"),
            moment=_moment(platform["last_ok"], language),
        ),
    )
    yield (
        language.say("queue"),
        language.say(
            "{records} records and {files} recordings wait ({size} MiB), {attention} need"
            " attention, {delivered} recordings delivered",
            records=queue["records_waiting"],
            files=queue["files_waiting"],
            size=queue["bytes_waiting"] // MEBIBYTE,
            attention=queue["attention"],
            delivered=queue["delivered"],
        ),
    )
    yield (
        language.say("dial"),
        language.say(
            "{waiting} wait, {placed} placed, {expired} expired, {failed} failed", **told["dial"]
        ),
    )
    yield (
        language.say("disk"),
        language.say(
            "{percent} % used, {free} of {size} MiB free",
            percent=disk["percent"],
            free=disk["free_mib"],
            size=disk["size_mib"],
        ),
    )


def _board_lines(board: dict[str, Any], language: Language) -> Iterator[str]:
    label = language.say("board {serial}", serial=board["serial"])
    words = language.say(
        "{driver} on {port}: link {link}, {frames} lines heard, {bad} bad",
        driver=board["driver"],
        port=board["port"],
        link=said("up") if board["link"] == "up" else said("down"),
        frames=board["frames"],
        bad=board["bad_frames"],
    )
    yield padded(label, LABEL_COLUMNS) + words
    for channel in board["channels"]:
        port = language.say("port {number}", number=f"{channel['ch']:>2}")
        name = padded(language.say(channel["name"]), 14)
        yield f"   {port}  {name} {channel['phone']}".rstrip()


def _moment(moment: float | None, language: Language) -> str:
    if moment is None:
        return language.say("never")
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    except (OverflowError, ValueError, OSError):
        return language.say("at an unknown time")
