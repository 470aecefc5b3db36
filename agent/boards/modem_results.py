"""The result codes of modems, and what they mean for a call that is to be placed (BOARDS.md 2)."""

from __future__ import annotations

import re

DIALLED_WITHIN = 30.0
"""Seconds in which dialling ends: 32 digits by tone and a slow dial tone take half of it."""

OK = "OK"
NO_DIAL_TONE = "NO DIALTONE"
RESULTS = {
    "OK": OK,
    "CONNECT": "CONNECT",
    "NO CARRIER": "NO CARRIER",
    "BUSY": "BUSY",
    "NO DIALTONE": NO_DIAL_TONE,
    "NO DIAL TONE": NO_DIAL_TONE,
    "NO ANSWER": "NO ANSWER",
    "ERROR": "ERROR",
}
"""Result codes as modems spell them, and one name for each."""
DIALLED = frozenset({OK, "CONNECT"})
"""Results of a dial that was placed."""
NOT_DIALLED = {
    "NO CARRIER": "the modem broke off dialling: NO CARRIER",
    "BUSY": "the number called is busy",
    NO_DIAL_TONE: "there is no dial tone; check the telephone line and its plug at the modem",
    "NO ANSWER": "the number called does not answer",
    "ERROR": "the modem does not take the number",
    None: f"the modem did not answer within {DIALLED_WITHIN:g} s",
}
"""Why a call was not placed, by the result of ATDT; None: there was none in its time."""
OVER = frozenset({"NO CARRIER", "BUSY", "NO ANSWER"})
"""Results that, unasked for, mean that the call which the modem holds is over."""

_CONNECT = re.compile(r"CONNECT .*")


def result_of(line: str) -> str | None:
    """Return the name of the result code that a line is; None: it is another line."""
    return "CONNECT" if _CONNECT.fullmatch(line) else RESULTS.get(line)
