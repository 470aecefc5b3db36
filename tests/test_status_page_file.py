"""The status page's file: when it is written, where, and by the real daemon."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.boards.events import Peer
from agent.history import SLOT
from agent.language import ENGLISH
from agent.status_page import BEAT, PAUSE, STALE, StatusPage
from tests.clocks import NOON, HandClock
from tests.gateway import Box, box, wait_until
from tests.page_reader import PAGES, ZH, Reader, drawn, read
from tests.pages import day, large, many_problems, ports, told, well


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def page(tmp_path: Path, clock: HandClock) -> StatusPage:
    return StatusPage(tmp_path / "status.json", clock)


def stamp(page: StatusPage) -> float:
    """When the page that lies there was written."""
    found = re.search(r'data-stamp="([^"]+)"', page.path.read_text("utf-8"))
    assert found
    return float(found[1])


def test_the_page_stands_beside_the_status_file_for_everybody_to_read(
    page: StatusPage, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        page.take(told(well()), ENGLISH)
    finally:
        os.umask(before)
    assert page.path == tmp_path / "status.html"
    assert page.path.stat().st_mode & 0o777 == 0o644
    names = ["status-history.json", "status.html"]
    assert sorted(one.name for one in tmp_path.iterdir()) == names


def test_a_status_file_that_is_called_html_itself_is_not_overwritten(
    tmp_path: Path, clock: HandClock
) -> None:
    assert StatusPage(tmp_path / "status.html", clock).path == tmp_path / "status.html.html"


def test_while_nothing_happens_the_page_is_written_at_its_beat_alone(
    page: StatusPage, clock: HandClock
) -> None:
    stamps = []
    for turn in range(121):
        status = well(clock.wall())
        # What moves by itself: lines heard, answers, a clock's drift, a byte of the disk.
        link = replace(status.links[0], frames=turn, bad_frames=turn, last_heard=clock.wall())
        gate = replace(status.gate, last_good=clock.wall())
        drift = replace(status.clock, platform_ahead=turn / 100)
        disk = replace(status.disk, free_bytes=status.disk.free_bytes - turn * 1_000_000)
        moved = replace(status, links=(link,), gate=gate, clock=drift, disk=disk)
        page.take(told(replace(moved, channels={1: ports(now=NOON)})), ENGLISH)
        stamps.append(stamp(page))
        clock.turn(5)
    assert len(set(stamps)) == 1 + 600 / BEAT


def test_a_change_is_shown_at_the_next_turn_and_a_storm_of_them_is_not_drawn_each(
    page: StatusPage, clock: HandClock
) -> None:
    page.take(told(well(clock.wall())), ENGLISH)
    clock.turn(PAUSE)
    page.take(told(many_problems(clock.wall())), ENGLISH)
    assert stamp(page) == clock.wall()
    stamps = set()
    for turn in range(200):
        clock.turn(0.1)
        status = well(clock.wall())
        page.take(told(replace(status, dial=replace(status.dial, placed=turn))), ENGLISH)
        stamps.add(stamp(page))
    assert len(stamps) <= 1 + 20 / PAUSE


def test_a_page_counts_as_stale_only_after_beats_are_missing() -> None:
    assert STALE >= 3 * BEAT
    assert f'data-stale="{STALE:g}"' in drawn(well())


def test_a_wall_clock_that_is_set_back_holds_no_page_up(page: StatusPage, clock: HandClock) -> None:
    page.take(told(well(clock.wall())), ENGLISH)
    clock.jump(-86_400)
    clock.turn(BEAT)
    page.take(told(well(clock.wall())), ENGLISH)
    assert stamp(page) == clock.wall()


def test_another_language_is_spoken_from_the_next_page_on(
    page: StatusPage, clock: HandClock
) -> None:
    page.take(told(well()), ENGLISH)
    assert "All is well" in page.path.read_text("utf-8")
    clock.turn(BEAT)
    page.take(told(well()), ZH)
    assert "一切正常" in page.path.read_text("utf-8")


def test_the_chart_goes_on_where_the_agent_before_left_it(
    page: StatusPage, clock: HandClock
) -> None:
    page.take(told(well(clock.wall() - SLOT)), ENGLISH)
    anew = StatusPage(page.path.with_suffix(".json"), clock)
    anew.take(told(well(clock.wall())), ENGLISH)
    assert len(Reader(anew.path.read_text("utf-8")).named("rect", "gap")) == 2


def test_drawing_the_largest_ordinary_box_costs_little() -> None:
    status = told(large())
    samples = day(large(), 60, 9000)
    PAGES["en"].draw(status, samples)
    began = time.thread_time()
    for _ in range(10):
        PAGES["en"].draw(status, samples)
    # A millisecond here; the promise is five, and a test asserts its tenfold.
    assert (time.thread_time() - began) / 10 < 0.05


def test_a_number_of_a_party_that_nobody_knows_leaves_no_gap() -> None:
    silent = replace(ports()[1], phone="", peer=Peer.UNKNOWN)
    page = read(replace(well(), channels={1: [silent]}))
    assert page.named("p", "party") == [] and page.named("svg", "arrow") == []


# Beside the real daemon.


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Box]:
    with box(tmp_path) as running:
        yield running


def page_of(gateway: Box) -> str:
    """The page that the daemon wrote; empty while there is none."""
    try:
        return gateway.status_file.with_suffix(".html").read_text("utf-8")
    except FileNotFoundError:
        return ""


def test_the_daemon_shows_its_ports_on_a_page_with_the_one_that_rings(
    gateway: Box,
) -> None:
    gateway.board.ring(3, "13800138000")
    gateway.start()

    def rings() -> bool:
        # The status is written every few seconds, or at once when somebody asks to look.
        gateway.signal(signal.SIGUSR1)
        return "138****8000" in page_of(gateway)

    wait_until(rings, "the call is on the page")
    page = Reader(page_of(gateway))
    assert len(page.named("li", "socket")) == gateway.board.channels
    ringing = page.named("li", "ringing")
    assert len(ringing) == 2, "in the legend and at its socket"
    assert "13800138000" not in page_of(gateway)
    assert gateway.status_file.with_name("status-history.json").exists()


def test_a_page_that_nobody_wants_is_not_written(gateway: Box) -> None:
    gateway.start(status_page=False)
    names = sorted(one.name for one in gateway.status_file.parent.iterdir())
    assert names == ["status.json", "status.txt"]
