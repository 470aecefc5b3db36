"""The platform's answers, in the document's several styles, and the ways in which they go wrong."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from agent.simulation.faults import Fault

LOG_IN_PAGE = b"<!DOCTYPE html><title>Welcome</title><form>Room <input name=room></form>"
HUGE = 2 * 1024 * 1024


class Answer(Struct, frozen=True):
    """What goes back: an HTTP status, a body, and how it is sent."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json; charset=utf-8"


class Styles:
    """Numbers come now as numbers, now as strings; time in seconds or milliseconds."""

    def __init__(self) -> None:
        self._styles: Iterator[tuple[bool, bool]] = itertools.cycle(
            [(True, False), (True, True), (False, False)]
        )

    def result(
        self, now: float, status: int, message: str | None, more: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return an answer of `upload_record`; `now` in UNIX seconds."""
        time_as_text, status_as_text = next(self._styles)
        answer: dict[str, Any] = {
            "time": str(int(now)) if time_as_text else int(now * 1000),
            "status": str(status) if status_as_text else status,
        }
        if message is not None:
            answer["message"] = message
        return {**answer, **more}


def as_json(value: object, status: int = 200, **headers: str) -> Answer:
    """Return an answer with this JSON body."""
    return Answer(json.dumps(value, ensure_ascii=False).encode(), status, headers)


def instead(faults: Mapping[str, Fault]) -> Answer | None:
    """Return what is answered in place of the platform's own word, nothing being booked."""
    if fault := faults.get("http"):
        headers = {
            name.title(): value
            for name, value in fault.options.items()
            if name in {"retry-after", "location"}
        }
        return Answer(b"<h1>not today</h1>", fault.code, headers, "text/html")
    for kind, (body, content_type) in _BODIES.items():
        if kind in faults:
            return Answer(body(), content_type=content_type)
    if fault := faults.get("answer"):
        return Answer(fault.value.encode("utf-8", "surrogatepass"))
    return None


_BODIES: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "html": (lambda: LOG_IN_PAGE, "text/html"),
    "empty": (lambda: b"", "application/json"),
    "array": (lambda: b'[{"status": 0}]', "application/json"),
    # Made only where it is asked for: it is large.
    "huge": (lambda: b'{"status": 0, "filler": "' + b"x" * HUGE + b'"}', "application/json"),
}


def distorted(answer: dict[str, Any], faults: Mapping[str, Fault]) -> dict[str, Any]:
    """Return the platform's own answer as the faults change it."""
    changed = dict(answer)
    if "no-callid" in faults:
        changed.pop("callid", None)
    if fault := faults.get("period"):
        changed["period"] = fault.value
    if "wrong-types" in faults:
        changed |= {"time": [], "status": {"code": 0}, "callid": 7.5e18, "data": "none"}
    return changed
