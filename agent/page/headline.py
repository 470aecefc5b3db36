"""The top of the page: the box at a glance, then what is wrong and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from agent.language import marked
from agent.page.markup import SINCE, Pen, icon
from agent.page.panel import tally
from agent.problems import KINDS, Health

MOST_MESSAGES = 24
"""Messages of one kind of problem that are written out; the boards show where the others are."""

_COMMAND = re.compile("`([^`]+)`")

HEADLINES = {
    Health.OK: (marked("All is well"), marked("Nothing is wrong; no call is being lost.")),
    Health.DEGRADED: (
        marked("Something needs a look"),
        marked("Something waits or is down; nothing is being lost."),
    ),
    Health.FAILING: (
        marked("Act now"),
        marked("Calls or recordings may be lost until this is mended."),
    ),
}


def headline(told: dict[str, Any], pen: Pen) -> str:
    """Return the banner: health in words, and what the ports do."""
    health = Health(told["health"])
    title, words = HEADLINES[health]
    return (
        f'<section class="banner {health}" aria-labelledby="health">'
        f"{icon(f'health-{health}', 'seal')}"
        f'<div><h1 id="health">{pen.say(title)}</h1><p>{pen.say(words)}</p></div>'
        f"{_facts(told, pen)}</section>"
    )


def problems(told: dict[str, Any], pen: Pen) -> str:
    """Return the list of what is wrong, one entry for all that asks for the same to be done."""
    kinds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for problem in told["problems"]:
        kinds.setdefault((problem["code"], problem["hint"]), []).append(problem)
    if not kinds:
        return ""
    # The gravest first; else in the order of the table of problems.
    order = sorted(kinds.items(), key=lambda kind: _health(kind[0][0]) is not Health.FAILING)
    items = "".join(_problem(code, hint, found, pen) for (code, hint), found in order)
    number = len(told["problems"])
    title = pen.count("{number} problem", "{number} problems", number)
    return (
        f'<section aria-labelledby="problems"><h2 id="problems">{title}</h2>'
        f'<ol class="problems">{items}</ol></section>'
    )


def _problem(code: str, hint: str, found: Sequence[dict[str, Any]], pen: Pen) -> str:
    health = _health(code)
    lines = [
        f"<li>{escape(one['message'])} <small>{pen.timed(SINCE, one['since'])}</small></li>"
        for one in found[:MOST_MESSAGES]
    ]
    if len(found) > MOST_MESSAGES:
        more = pen.say("and {number} more", number=len(found) - MOST_MESSAGES)
        lines.append(f"<li>{more}</li>")
    return (
        f'<li class="problem {health}">{icon(f"health-{health}", "seal")}<div>'
        f'<ul class="{"many" if len(lines) > 3 else "few"}">{"".join(lines)}</ul>'
        f'<p class="remedy"><b>{pen.say("What to do:")}</b> {_with_commands(hint)}</p>'
        f'<p class="code">{escape(code)}</p></div></li>'
    )


def _health(code: str) -> Health:
    return KINDS[code].health if code in KINDS else Health.DEGRADED


def _with_commands(hint: str) -> str:
    """Set what stands between backticks apart: it is to be typed."""
    return _COMMAND.sub(r"<code>\1</code>", escape(hint))


def _facts(told: dict[str, Any], pen: Pen) -> str:
    ports = tally(told["boards"])
    queue = told["queue"]
    facts = [
        (pen.say("ports"), sum(ports.values())),
        (pen.say("in call"), ports.get("call", 0) + ports.get("answered", 0)),
        (pen.say("ringing"), ports.get("ringing", 0)),
        (pen.say("waiting"), queue["records_waiting"] + queue["files_waiting"]),
    ]
    if not told["boards"]:
        return ""
    return (
        '<dl class="facts">'
        + "".join(f"<div><dt>{name}</dt><dd>{number:,}</dd></div>" for name, number in facts)
        + "</dl>"
    )
