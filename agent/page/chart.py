"""The last day as two drawings: what waited, and what was delivered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from agent.history import DAY, SLOT, Sample
from agent.page.markup import Pen, grouped

_HOURS = 6
"""Between two labels of the time axis where the page is narrow, twice as many where it is wide."""
_LEAST_SHOWN = 2.0
"""Percent of a drawing's height that a figure above zero fills: one call is to be seen."""


class Column(Struct, frozen=True):
    """One slot of the day that ends now."""

    place: int
    """From 0, a day ago, to 143, now."""
    slot: int
    waiting: int
    delivered: int


def columns(samples: Sequence[Sample], now: Sample) -> list[Column]:
    """Return a column for each sample of the day that ends with `now`, the queue as it is.

    What was delivered from a sample to the next belongs to the earlier one's slot: an agent that
    did not run meanwhile delivered nothing.
    """
    first = now.slot - (DAY - 1) * SLOT
    day = [one for one in samples if first <= one.slot <= now.slot]
    found = [
        Column(
            (one.slot - first) // SLOT,
            one.slot,
            one.waiting,
            # A ledger that was begun anew counts from nothing.
            max(0, after.delivered - one.delivered),
        )
        for one, after in pairwise([*day, now])
    ]
    if found and found[-1].slot == now.slot:
        last = found[-1]
        found[-1] = Column(last.place, last.slot, now.waiting, last.delivered)
    return found


def chart(samples: Sequence[Sample], now: Sample, pen: Pen) -> str:
    """Draw both, with the same figures by the hour as a table for who can't see them."""
    day = columns(samples, now)
    if not day:
        return f'<p class="nothing">{pen.say("There are no figures of the last day yet.")}</p>'
    axis = _time_axis(now.slot)
    most = max(day, key=lambda column: column.waiting)
    peak = pen.say("at most {number}", number=grouped(most.waiting))
    waiting = pen.say("Waiting records and recordings in the last 24 hours")
    delivered = pen.say("Recordings delivered in 10 minutes each, in the last 24 hours")
    total = pen.say("{number} in 24 hours", number=grouped(sum(one.delivered for one in day)))
    gaps = len(day) < DAY
    return (
        _figure(waiting, peak, "waiting", day, lambda one: one.waiting, _area, axis)
        + _figure(delivered, total, "delivered", day, lambda one: one.delivered, _bars, axis)
        + (f'<p class="key">{pen.say("Hatched: no figures, the agent did not run.")}</p>' * gaps)
        + _table(day, pen)
    )


def ceiling(most: int) -> int:
    """Return the upper end of an axis: a round number whose half is one as well."""
    if most <= 10:
        return max(2, most + most % 2)
    power = 1
    while most > 100 * power:
        power *= 10
    return next(step * power for step in (12, 16, 20, 30, 40, 60, 80, 100) if most <= step * power)


def _figure(
    title: str,
    sum_words: str,
    style: str,
    day: Sequence[Column],
    value: Callable[[Column], int],
    draw: Callable[[Sequence[tuple[int, float]]], str],
    axis: str,
) -> str:
    top = ceiling(max(value(column) for column in day))
    heights = [(column.place, _height(value(column), top)) for column in day]
    return (
        f'<figure class="plot {style}"><figcaption><span>{title}</span> <b>{sum_words}</b>'
        f'</figcaption><svg class="chart" role="img" aria-label="{title}: {sum_words}">'
        f"{_gaps([column.place for column in day])}"
        '<line class="grid" x2="100%" y1="18" y2="18"/>'
        '<line class="grid" x2="100%" y1="68" y2="68"/>'
        '<svg y="18" width="100%" height="100" viewBox="0 0 144 100" preserveAspectRatio="none">'
        f'{draw(heights)}</svg><line class="base" x2="100%" y1="118" y2="118"/>'
        f'<text class="scale" y="13">{grouped(top)}</text>'
        f'<text class="scale" y="63">{grouped(top // 2)}</text>{axis}</svg></figure>'
    )


def _height(value: int, top: int) -> float:
    return max(_LEAST_SHOWN, 100 * value / top) if value else 0.0


def _runs(heights: Sequence[tuple[int, float]]) -> Iterator[list[tuple[int, float]]]:
    """Part the columns where slots are missing between them."""
    run: list[tuple[int, float]] = []
    for place, height in heights:
        if run and run[-1][0] != place - 1:
            yield run
            run = []
        run.append((place, height))
    yield run


def _area(heights: Sequence[tuple[int, float]]) -> str:
    lines, areas = [], []
    for run in _runs(heights):
        steps = "h1".join(f"V{100 - height:.4g}" for _, height in run) + "h1"
        areas.append(f"M{run[0][0]} 100{steps}V100z")
        lines.append(f"M{run[0][0]} {100 - run[0][1]:.4g}{steps}")
    return f'<path class="area" d="{"".join(areas)}"/><path class="line" d="{"".join(lines)}"/>'


def _bars(heights: Sequence[tuple[int, float]]) -> str:
    bars = "".join(f"M{place}.1 100v-{height:.4g}h.8V100z" for place, height in heights if height)
    return f'<path class="bar" d="{bars}"/>'


def _gaps(places: Sequence[int]) -> str:
    edges = [-1, *places, DAY]
    return "".join(
        f'<rect class="gap" x="{100 * (left + 1) / DAY:.4g}%" y="18" height="100"'
        f' width="{100 * (right - left - 1) / DAY:.4g}%"/>'
        for left, right in pairwise(edges)
        if right - left > 1
    )


def _time_axis(last: int) -> str:
    """Label full hours in local time; the hour is that of the first slot that begins in it."""
    ticks = []
    first = last - (DAY - 1) * SLOT
    before = time.localtime(first - SLOT).tm_hour
    for place in range(DAY):
        hour = time.localtime(first + place * SLOT).tm_hour
        if hour != before and hour % (_HOURS // 2) == 0:
            x = f"{100 * place / DAY:.4g}%"
            style = "tick" if hour % _HOURS == 0 else "tick fine"
            # Not where a label would leave the drawing.
            words = f'<text x="{x}" y="137">{hour:02}:00</text>' if 5 < place < DAY - 5 else ""
            ticks.append(
                f'<g class="{style}"><line x1="{x}" x2="{x}" y1="118" y2="123"/>{words}</g>'
            )
        before = hour
    return "".join(ticks)


def _table(day: Sequence[Column], pen: Pen) -> str:
    hours: dict[int, list[Column]] = {}
    for column in day:
        hours.setdefault(column.slot // 3600, []).append(column)
    rows = "".join(
        f'<tr><th scope="row">{pen.time(held[0].slot)}</th>'
        f"<td>{grouped(max(one.waiting for one in held))}</td>"
        f"<td>{grouped(sum(one.delivered for one in held))}</td></tr>"
        for held in reversed(hours.values())
    )
    return (
        f'<details id="figures"><summary>{pen.say("The figures by the hour")}</summary>'
        f'<table><thead><tr><th scope="col">{pen.say("from")}</th>'
        f'<th scope="col">{pen.say("waiting, at most")}</th>'
        f'<th scope="col">{pen.say("delivered")}</th></tr></thead><tbody>{rows}</tbody></table>'
        "</details>"
    )
