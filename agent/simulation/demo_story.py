"""What the demo prints: one readable line for each thing that happens, numbers masked."""

from __future__ import annotations

from typing import Any

from agent.boards.events import LineState
from agent.text import masked_phone

_TALKING = (LineState.IN_CALL, LineState.ANSWERED)


class Story:
    """Turns the lines of the three journals into sentences."""

    def __init__(self) -> None:
        self._states: dict[int, int] = {}
        self._phones: dict[int, str] = {}
        self._channels: dict[str, int] = {}

    def tell(self, line: dict[str, Any]) -> str | None:
        """Return the sentence for a journal's line; None where it is not worth one."""
        event = line.get("event")
        if event == "state":
            return self._state(line)
        if event == "call":
            return self._call(line)
        if event == "recorded":
            return _at(line["channel"], f"recorded: {line['seconds']:.1f} s, {_size(line['size'])}")
        if event == "record":
            self._channels[line["callid"]] = line["channel"]
            return _at(line["channel"], f"record booked: callid {line['callid']}")
        if event == "file":
            said = f"file delivered: {_size(line['size'])}, SHA-256 {line['sha256'][:16]}…"
            return _at(self._channels.get(line["callid"], 0), said)
        return None

    def _state(self, line: dict[str, Any]) -> str | None:
        channel, state, phone = line["channel"], line["state"], line["phone"]
        before = self._states.get(channel, LineState.ON_HOOK)
        known = self._phones.get(channel, "")
        self._states[channel], self._phones[channel] = state, phone
        caller = masked_phone(phone)
        if state == LineState.RINGING and before != LineState.RINGING:
            return _at(channel, f"rings{f', {caller} calls' if caller else ''}")
        if state == LineState.RINGING and phone != known:
            return _at(channel, f"the number is {caller}")
        if state in _TALKING and before == LineState.RINGING:
            return _at(channel, f"answered, {caller}")
        if state in _TALKING and before == LineState.ON_HOOK:
            return _at(channel, f"off hook{f', {caller} is dialled' if caller else ', dialling'}")
        if state in _TALKING and before in _TALKING and state != before:
            return _at(channel, "call waiting")
        return None

    def _call(self, line: dict[str, Any]) -> str:
        phone = masked_phone(line["phone"])
        if line["answered"] is None:
            return _at(line["channel"], f"nobody answered {phone}")
        seconds = line["ended"] - line["answered"]
        return _at(line["channel"], f"hung up after {seconds:.1f} s with {phone}")


def _at(channel: int, said: str) -> str:
    return f"port {channel}  {said}"


def _size(size: int) -> str:
    return f"{size / 1024:.0f} KiB"
