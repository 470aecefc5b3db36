"""What stands in cards below the front panel: the queue, the platform, the disk, the clock."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from agent.history import Sample, sample_of
from agent.language import marked
from agent.page.chart import chart
from agent.page.markup import Pen, grouped, icon, size_words
from agent.recordings.disk import MEBIBYTE, DiskStatus

_DISK_WORDS = {
    DiskStatus.NORMAL: marked("in order"),
    DiskStatus.NO_DISK: marked("no disk"),
    DiskStatus.NOT_MOUNTED: marked("not mounted"),
    DiskStatus.NOT_WRITABLE: marked("not writable"),
    DiskStatus.FULL: marked("full"),
}
_NEARLY_FULL = 90
"""Percent used, from which on the bar warns; whether it is a problem, health says."""

Rows = Sequence[tuple[str, str]]
"""Names and values, both text for the page."""


def queue_card(told: dict[str, Any], samples: Sequence[Sample], pen: Pen) -> str:
    """Draw what waits and was delivered, just now and over the last day."""
    queue = told["queue"]
    if not told["boards"]:
        return _card("queue", pen.say("Queue"), _not_known(pen))
    waits = queue["records_waiting"] + queue["files_waiting"]
    figures = [
        (pen.say("records waiting"), queue["records_waiting"], ""),
        (pen.say("recordings waiting"), queue["files_waiting"], _small(queue["bytes_waiting"])),
        (pen.say("need attention"), queue["attention"], ""),
        (pen.say("delivered in all"), queue["delivered"], _small(queue["delivered_bytes"])),
    ]
    cells = "".join(
        f"<div><dt>{name}</dt><dd>{grouped(number)}{size}</dd></div>"
        for name, number, size in figures
    )
    if waits:
        oldest = pen.timed(marked("the oldest waits since {time}"), queue["oldest_waiting"])
        verdict = _verdict("waits", oldest)
    else:
        verdict = _verdict("ok", pen.say("Everything is delivered; nothing waits."))
    drawn = chart(samples, sample_of(told), pen)
    return _card("queue", pen.say("Queue"), f'{verdict}<dl class="figures">{cells}</dl>{drawn}')


def platform_card(told: dict[str, Any], pen: Pen) -> str:
    """Tell how the platform answers."""
    platform = told["platform"]
    reached = platform["reachable"]
    style, words = ("ok", pen.say("reachable")) if reached else ("bad", pen.say("not reached"))
    if not reached and not platform["last_ok"] and not platform["last_error"]:
        style, words = "unknown", pen.say("no answer yet")
    rows = [
        (pen.say("address"), f'<span class="code">{escape(platform["url"])}</span>'),
        (pen.say("last good answer"), pen.time(platform["last_ok"])),
    ]
    if platform["last_error"]:
        rows.append((pen.say("last error"), escape(platform["last_error"])))
    return _card("platform", pen.say("Platform"), _verdict(style, words) + _rows(rows))


def disk_card(told: dict[str, Any], pen: Pen) -> str:
    """Tell how full the recordings' disk is."""
    disk, kept = told["disk"], told["recordings"]
    known = disk["status"] in set(DiskStatus)
    words = _DISK_WORDS[DiskStatus(disk["status"])] if known else marked("not known")
    percent = min(100, max(0, disk["percent"]))
    style = "bad" if disk["status"] else "waits" if percent >= _NEARLY_FULL else "ok"
    used = pen.say("{percent} % used", percent=percent)
    free = pen.say(
        "{free} of {size} free",
        free=size_words(disk["free_mib"] * MEBIBYTE),
        size=size_words(disk["size_mib"] * MEBIBYTE),
    )
    bar = (
        f'<svg class="meter {style}" role="img" aria-label="{used}"><rect class="whole"'
        f' width="100%" height="100%" rx="5"/><rect class="used" width="{percent}%" height="100%"'
        ' rx="5"/></svg>'
        f'<p class="measure"><b>{used}</b> <span>{free}</span></p>'
    )
    counted = [
        (pen.say("files kept, not sent"), grouped(kept["kept"])),
        (pen.say("recordings gone missing"), grouped(kept["missing"])),
    ]
    rows = _rows(counted) if told["boards"] else ""
    verdict = _verdict("bad" if disk["status"] else "ok", pen.say(words))
    return _card("disk", pen.say("Disk"), verdict + bar * bool(disk["size_mib"]) + rows)


def clock_card(told: dict[str, Any], pen: Pen) -> str:
    """Tell what the gateway's clock says and who holds it."""
    clock, ahead = told["clock"], told["platform"]["clock_offset"]
    if clock["unset"]:
        style, words = "bad", pen.say("never set")
    elif clock["trusted"]:
        style, words = "ok", pen.say("confirmed by a time server or the platform")
    else:
        style, words = "waits", pen.say("confirmed by nobody yet")
    shown = pen.time(told["updated"], seconds=True)
    rows = [(pen.say("shows"), f"{shown} {pen.zone()}")]
    if ahead is not None:
        rows.append((pen.say("the platform's clock is ahead by"), f"{ahead:.1f} s"))
    return _card("clock", pen.say("Clock"), _verdict(style, words) + _rows(rows))


def dial_card(told: dict[str, Any], pen: Pen) -> str:
    """Tell what became of the calls that the platform asked for."""
    if not told["boards"]:
        return _card("dial", pen.say("Calls to place"), _not_known(pen))
    dial = told["dial"]
    rows = [
        (pen.say("waiting for a free port"), grouped(dial["waiting"])),
        (pen.say("placed"), grouped(dial["placed"])),
        (pen.say("expired"), grouped(dial["expired"])),
        (pen.say("failed"), grouped(dial["failed"])),
    ]
    return _card("dial", pen.say("Calls to place"), _rows(rows))


def agent_card(told: dict[str, Any], pen: Pen) -> str:
    """Tell which program runs, and on which gateway."""
    satellite = escape(told["satellite"] or "") or pen.say("not known")
    rows = [
        (pen.say("gateway"), f'<span class="code">{satellite}</span>'),
        (pen.say("version"), escape(told["agent"])),
        (pen.say("process"), str(told["pid"])),
        (pen.say("running since"), pen.time(told["started"])),
    ]
    return _card("agent", pen.say("Agent"), _rows(rows))


def _card(name: str, title: str, content: str) -> str:
    return (
        f'<section class="card {name}" aria-labelledby="{name}"><h2 id="{name}">{title}</h2>'
        f"{content}</section>"
    )


def _not_known(pen: Pen) -> str:
    """What the ledger counts, where none is open."""
    return _verdict("unknown", pen.say("not known just now"))


def _verdict(style: str, words: str) -> str:
    return f'<p class="verdict {style}">{icon(f"mark-{style}")}<span>{words}</span></p>'


def _small(size: int) -> str:
    return f"<small>{size_words(size)}</small>"


def _rows(rows: Rows) -> str:
    return (
        "<dl>"
        + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)
        + "</dl>"
    )
