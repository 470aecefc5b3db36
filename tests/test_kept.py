"""What is told again and again: kept while it is the same, told anew as soon as it is not."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from agent.boards.events import LineState
from agent.delivery.gate import Shut
from agent.history import SLOT, Sample, slot_of
from agent.kept import Kept
from agent.language import ENGLISH, language
from agent.ledger.rows import DialCounts
from agent.problems import Health, Problem
from agent.status import Status, as_json
from agent.status_page import Page, steady
from agent.status_words import as_words
from tests.test_status import STATUS

CHINESE = language("zh_CN", {})
(LINK,) = STATUS.links
FIRST, SECOND = STATUS.channels[1]
WATCHER = STATUS.watcher
assert WATCHER is not None
MINUTE = 60.0

CHANGES: dict[str, dict[str, Any]] = {
    "the time": {"updated": STATUS.updated + MINUTE},
    "the start": {"started": STATUS.started + MINUTE},
    "health": {"health": Health.FAILING},
    "a problem that goes": {"problems": []},
    "a problem that comes": {"problems": [*STATUS.problems, Problem("disk-low", 1.0, "a", "b")]},
    "the satellite": {"satellite": None},
    "an answer": {"gate": replace(STATUS.gate, last_good=STATUS.updated + MINUTE)},
    "the platform's clock": {"clock": replace(STATUS.clock, platform_ahead=9.5)},
    "a line heard": {"links": (replace(LINK, frames=LINK.frames + 1),)},
    "when it was heard": {"links": (replace(LINK, last_heard=STATUS.updated + MINUTE),)},
    "a link that is down": {"links": (replace(LINK, up=False),)},
    "one port that is up": {"links": (replace(LINK, up=False, channels_up=frozenset({2})),)},
    "a port": {"channels": {1: [FIRST, replace(SECOND, state=LineState.RINGING)]}},
    "a number": {"channels": {1: [replace(FIRST, phone="13900139001"), SECOND]}},
    "room on the disk": {"disk": replace(STATUS.disk, free_bytes=0)},
    "the disk": {"disk": replace(STATUS.disk, percent=77)},
    "the queue": {"queue": replace(STATUS.queue, delivered=41)},
    "a call placed": {"dial": DialCounts(1, 3, 3, 4)},
    "a file that can't be sent": {"queue": replace(STATUS.queue, kept=9)},
    "what waits": {"queue": replace(STATUS.queue, files_waiting=77, oldest_waiting=1.0)},
    "a platform that is lost": {"gate": replace(STATUS.gate, shut=Shut.OUTAGE, reason="cut")},
    "a clock that nobody holds": {"clock": replace(STATUS.clock, trusted=False)},
    "a directory in trouble": {"watcher": replace(WATCHER, trouble="gone")},
    "no board": {"links": (), "channels": {}},
    "another day": {"updated": STATUS.updated + 86_400},
    "an errand": {"errands": (replace(STATUS.errands[0], outcome="done"),)},
    "no errand": {"errands": ()},
}
MOVES_BY_ITSELF = {
    "the time",
    "another day",
    "an answer",
    "the platform's clock",
    "a line heard",
    "when it was heard",
    "room on the disk",
}
NOT_ON_THE_PAGE = {"the start", "a directory in trouble", "an errand", "no errand"}
"""Or only with something that is."""


def both(status: Status, kept: tuple[Kept, Kept], code: str = "en") -> tuple[dict[str, Any], str]:
    """What a teller that keeps what it told says of a status."""
    spoken = ENGLISH if code == "en" else CHINESE
    told = as_json(status, spoken, kept[0])
    return told, as_words(told, spoken, kept[1])


@pytest.mark.parametrize("what", CHANGES)
def test_each_change_shows_at_once_and_so_does_its_undoing(what: str) -> None:
    kept = (Kept(), Kept())
    changed = replace(STATUS, **CHANGES[what])
    assert as_json(changed) != as_json(STATUS), "a change that shows"
    for status in (STATUS, STATUS, changed, changed, STATUS):
        told, words = both(status, kept)
        assert told == as_json(status)
        assert words == as_words(as_json(status))


def test_another_language_is_spoken_at_once() -> None:
    kept = (Kept(), Kept())
    for code in ("en", "zh_CN", "en"):
        spoken = ENGLISH if code == "en" else CHINESE
        told, words = both(STATUS, kept, code)
        assert told == as_json(STATUS, spoken)
        assert words == as_words(told, spoken)


@pytest.mark.parametrize("code", ["en", "zh_CN"])
@pytest.mark.parametrize("what", CHANGES)
def test_each_change_is_on_the_next_page_and_so_is_its_undoing(what: str, code: str) -> None:
    spoken = ENGLISH if code == "en" else CHINESE
    page, kept = Page(spoken), Kept()
    changed = replace(STATUS, **CHANGES[what])
    day = (Sample(slot_of(STATUS.updated) - SLOT, 1, 2, 3, 4),)
    for samples in (day, (), day):
        for status in (STATUS, STATUS, changed, changed, STATUS):
            told = as_json(status, spoken, kept)
            assert page.draw(told, samples) == Page(spoken).draw(as_json(status, spoken), samples)


@pytest.mark.parametrize("what", CHANGES)
def test_what_moves_by_itself_is_no_reason_to_draw_the_page_and_all_else_that_it_shows_is(
    what: str,
) -> None:
    changed = replace(STATUS, **CHANGES[what])
    same = steady(as_json(changed)) == steady(as_json(STATUS))
    assert same == (what in MOVES_BY_ITSELF or what in NOT_ON_THE_PAGE)


def test_what_stays_as_it_is_is_made_once() -> None:
    kept, made = Kept(), []

    def make(source: list[int]) -> int:
        made.append(list(source))
        return len(source)

    for source in ([1], [1], [1, 2], [1, 2], [1]):
        assert kept.of("numbers", source, make) == len(source)
    assert made == [[1], [1, 2], [1]]


def test_things_of_two_names_are_kept_apart() -> None:
    kept = Kept()
    assert kept.of("first", 1, str) == "1"
    assert kept.of("second", 1, float) == 1.0
    assert kept.of("first", 1, str) == "1"
