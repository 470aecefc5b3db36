"""The status page: what it shows, what it makes harmless, when it is written."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.boards.events import LineState, Peer
from agent.boards.link import LinkView
from agent.clock import ClockView
from agent.health import Health, Problem
from agent.history import DAY, SLOT, Sample
from agent.language import CHINESE, ENGLISH, language
from agent.page.chart import ceiling, columns
from agent.page.headline import HEADLINES, MOST_MESSAGES
from agent.page.panel import LAMPS, UNKNOWN
from agent.recordings.disk import Disk, DiskStatus
from agent.status import Status
from agent.status_page import BEAT, PAUSE, STALE, Page, StatusPage
from tests.clocks import NOON, HandClock
from tests.gateway import Box, box, wait_until
from tests.pages import (
    backlog,
    day,
    every_state,
    large,
    many_problems,
    ports,
    rising,
    small,
    told,
    well,
    without_ledger,
)

VOID = {"meta", "link", "br", "hr", "img", "input"}
ZH = language(CHINESE, {})
PAGES = {"en": Page(ENGLISH), "zh_CN": Page(ZH)}
SCENES = (well, many_problems, backlog, large, small, every_state, without_ledger)


class Reader(HTMLParser):
    """Reads a page as strictly as it can be read: each element closed where it was opened."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        """Text that is shown, without style and script."""
        self.feed(page)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> where it was not open"

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def named(self, tag: str, style: str = "") -> list[dict[str, str | None]]:
        """The attributes of all such elements, of one class where one is named."""
        return [
            attributes
            for name, attributes in self.elements
            if name == tag and (not style or style in (attributes.get("class") or "").split())
        ]


def drawn(status: Status, samples: list[Sample] | None = None, code: str = "en") -> str:
    return PAGES[code].draw(told(status), samples or [])


def read(status: Status, samples: list[Sample] | None = None, code: str = "en") -> Reader:
    return Reader(drawn(status, samples, code))


@pytest.fixture
def in_shanghai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the gateway stand in China."""
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


# What it shows.


@pytest.mark.parametrize("code", PAGES)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_every_page_is_well_formed_in_both_languages(scene: Any, code: str) -> None:
    page = read(scene(), day(scene(), 30, 900), code)
    assert page.named("html")[0]["lang"] == {"en": "en", "zh_CN": "zh-Hans"}[code]
    ids = [value["id"] for _, value in page.elements if "id" in value]
    assert len(ids) == len(set(ids))
    assert [name for name, _ in page.elements if re.fullmatch("h[1-6]", name)][:2] == ["h1", "h2"]
    uses = {value["href"] for value in page.named("use")}
    symbols = {f"#{value['id']}" for value in page.named("symbol")}
    assert uses <= symbols
    assert "$" not in page.text and "{" not in page.text


def test_the_words_are_chinese_where_the_agent_speaks_it() -> None:
    text = read(many_problems(), day(many_problems(), 30, 900), "zh_CN").text
    for word in ("请立即处理", "处理方法：", "通话中", "线路故障", "板卡 2", "链路中断", "已满"):
        assert word in text, word
    assert "What to do" not in text


@pytest.mark.parametrize("health", Health)
def test_the_banner_says_the_box_at_a_glance(health: Health) -> None:
    page = read(replace(well(), health=health))
    assert HEADLINES[health][0] in page.text
    assert page.named("section", "banner")[0]["class"] == f"banner {health}"
    assert page.named("html")[0]["data-health"] == health


def test_problems_stand_before_the_ports_the_gravest_first_with_what_to_do() -> None:
    text = read(many_problems()).text
    places = [
        text.index(words)
        for words in (
            "7 problems",
            "no room is left",
            "What to do: Check the recordings' disk",
            "board 2 on /dev/ttyS2: nothing is heard",
            "What to do: Check the board's power",
            "port 3 of board 1 reports a line fault",
            "platform does not accept the account",
            "not known 8",
        )
    ]
    assert places == sorted(places)


def test_problems_that_ask_for_the_same_are_one_entry_with_the_remedy_once() -> None:
    page = read(many_problems())
    assert len(page.named("li", "problem")) == 4
    assert page.text.count("Check the telephone line and its plug") == 1
    assert page.text.count("reports a line fault") == 4


def test_a_thousand_problems_of_a_kind_are_cut_and_counted() -> None:
    many = [Problem("channel-fault", NOON, f"port {port}", "Check it.") for port in range(1000)]
    page = read(replace(well(), health=Health.DEGRADED, problems=many))
    assert "1000 problems" in page.text
    assert f"and {1000 - MOST_MESSAGES} more" in page.text
    assert f"port {MOST_MESSAGES - 1} " in page.text and f"port {MOST_MESSAGES} " not in page.text


def test_a_problem_that_this_page_does_not_know_is_shown_all_the_same() -> None:
    news = Problem("never-heard-of", NOON, "something new", "Do something.")
    page = read(replace(well(), health=Health.DEGRADED, problems=[news]))
    assert "something new" in page.text and "Do something." in page.text


def test_what_is_to_be_typed_stands_apart() -> None:
    assert "<code>smarttel-agent check</code>" in drawn(many_problems())


def test_each_state_of_a_port_has_a_shape_and_a_word_of_its_own() -> None:
    lamps = [*LAMPS.values(), UNKNOWN]
    assert set(LAMPS) == set(LineState)
    assert len({lamp.style for lamp in lamps}) == len({lamp.word for lamp in lamps}) == len(lamps)
    page = read(every_state())
    sockets = [str(value["class"]).split()[1] for value in page.named("li", "socket")]
    assert sockets == [LAMPS[state].style for state in LineState] + ["unknown"]
    labels = [value["aria-label"] for value in page.named("svg", "lamp") if "role" in value]
    assert labels == [LAMPS[state].word for state in LineState] + ["not known"]


def test_a_socket_says_its_number_the_other_party_the_way_and_since_when(in_shanghai: None) -> None:
    text = read(replace(well(), channels={1: ports()[1:2]})).text
    since = time.strftime("%H:%M", time.localtime(NOON - 94))
    assert f"2 in call 138****8000 since {since}" in text
    page = read(replace(well(), channels={1: ports()[1:2]}))
    assert [value["aria-label"] for value in page.named("svg", "arrow")] == ["incoming"]


def test_the_lamps_of_a_board_that_is_not_heard_are_not_lit() -> None:
    silent = LinkView(1, "native", "/dev/ttyS1", False, NOON - 900)
    page = read(replace(well(), links=(silent,)))
    assert {value["class"] for value in page.named("li", "socket")} == {"socket unknown"}
    assert "link down" in page.text and "138****8000" not in page.text


def test_of_a_pool_the_ports_that_are_heard_are_lit_while_others_are_not() -> None:
    pool = LinkView(1, "modem", "pool", False, NOON, channels_up=frozenset({2}))
    page = read(replace(well(), links=(pool,)))
    styles = [value["class"] for value in page.named("li", "socket")]
    assert styles == ["socket unknown", "socket call", *["socket unknown"] * 6]


def test_eight_boards_of_eight_are_sixty_four_sockets_and_one_of_one_is_one() -> None:
    assert len(read(large()).named("li", "socket")) == 64
    assert len(read(small()).named("li", "socket")) == 1


def test_a_box_without_a_ledger_says_what_it_does_not_know_and_no_zeros() -> None:
    text = read(without_ledger()).text
    assert "The boards are not known just now." in text
    assert "Queue not known just now" in text
    assert "Calls to place not known just now" in text
    assert "Platform no answer yet" in text
    assert "files kept" not in text
    assert "records waiting" not in text and "nothing waits" not in text


@pytest.mark.parametrize("status", DiskStatus)
def test_each_state_of_the_disk_is_told(status: DiskStatus) -> None:
    words = {0: "in order", -1: "no disk", -2: "not mounted", -3: "not writable", -4: "full"}
    text = read(replace(well(), disk=Disk(70, 1000 << 20, 300 << 20, status, "x"))).text
    assert f"Disk {words[status]}" in text
    assert "70 % used 300 MiB of 1000 MiB free" in text


@pytest.mark.parametrize(
    ("clock", "words"),
    [
        (ClockView(True, False, 0.2), "confirmed by a time server or the platform"),
        (ClockView(False, False, None), "confirmed by nobody yet"),
        (ClockView(False, True, None), "never set"),
    ],
)
def test_the_clock_is_told_with_who_holds_it(clock: ClockView, words: str) -> None:
    assert f"Clock {words}" in read(replace(well(), clock=clock)).text


def test_times_are_the_gateway_s_own_and_it_says_so(in_shanghai: None) -> None:
    page = read(well(NOON))
    assert time.strftime("%H:%M:%S", time.localtime(NOON)) == "22:13:20"
    assert "written at 22:13:20" in page.text
    assert "All times are the gateway's local time, UTC+08:00." in page.text
    assert {value["datetime"] for value in page.named("time")} >= {"2026-09-21T22:13:20+0800"}


def test_a_moment_of_another_day_has_its_date_and_of_another_year_its_year(
    in_shanghai: None,
) -> None:
    problems = [
        Problem("disk-low", NOON - age * 86_400, f"old {age}", "x") for age in (0.5, 30, 400)
    ]
    text = read(replace(well(), health=Health.DEGRADED, problems=problems)).text
    assert "old 0.5 since 10:13" in text
    assert "old 30 since 08-22 22:13" in text
    assert "old 400 since 2025-08-17 22:13" in text


@pytest.mark.parametrize("moment", [1e20, float("inf"), float("nan"), -1e20, -1e11])
def test_a_moment_that_no_calendar_has_is_no_error(moment: float) -> None:
    gate = replace(well().gate, last_good=moment)
    assert "last good answer at an unknown time" in read(replace(well(), gate=gate)).text


# The chart.


def sampled(slot: int, waiting: int = 0, delivered: int = 0) -> Sample:
    return Sample(int(NOON) // SLOT * SLOT + slot * SLOT, 0, waiting, 0, delivered)


def test_what_was_delivered_from_one_sample_to_the_next_belongs_to_the_earlier_slot() -> None:
    samples = [sampled(-3, 5, 100), sampled(-2, 4, 110), sampled(0, 1, 113)]
    found = columns(samples, sampled(0, 2, 115))
    assert [(one.place, one.waiting, one.delivered) for one in found] == [
        (DAY - 4, 5, 10),
        (DAY - 3, 4, 3),
        (DAY - 1, 2, 2),
    ]


def test_a_ledger_begun_anew_counts_nothing_as_delivered_and_nothing_below() -> None:
    found = columns([sampled(-1, 0, 5000), sampled(0, 0, 3)], sampled(0, 0, 4))
    assert [one.delivered for one in found] == [0, 1]


def test_samples_of_another_day_are_not_drawn() -> None:
    assert columns([sampled(-DAY), sampled(1)], sampled(0)) == []


@given(st.integers(0, 10**9))
def test_the_axis_ends_at_a_round_number_above_the_most_and_not_far_above(most: int) -> None:
    top = ceiling(most)
    assert top >= most and top % 2 == 0
    assert top <= max(2, most * 5 / 3 + 1)
    assert len(str(top // 2).rstrip("0")) <= 2


def test_the_chart_tells_its_figures_to_who_cannot_see_it_and_by_the_hour() -> None:
    status = backlog()
    page = read(status, rising(status))
    labels = [value["aria-label"] for value in page.named("svg", "chart")]
    assert labels == [
        "Waiting records and recordings in the last 24 hours: at most 100,002",
        "Recordings delivered in 10 minutes each, in the last 24 hours: 0 in 24 hours",
    ]
    assert 24 <= len(page.named("th")) - 3 <= 25


def test_hours_on_the_axis_are_local_ones(in_shanghai: None) -> None:
    text = read(well(), day(well(), 9, 90)).text
    assert "00:00 03:00 06:00 09:00 12:00 15:00 18:00" in text


def test_slots_without_figures_are_hatched_and_the_sign_is_explained() -> None:
    status = well()
    whole, holed = day(status, 9, 90), day(status, 9, 90, missing=range(40, 60))
    assert read(status, whole).named("rect", "gap") == []
    page = read(status, holed)
    assert len(page.named("rect", "gap")) == 2
    assert page.named("rect", "gap")[0]["x"] == "27.78%"
    assert page.named("rect", "gap")[0]["width"] == "13.89%"
    assert "the agent did not run" in page.text


def test_before_the_first_figures_the_chart_says_so() -> None:
    assert "There are no figures of the last day yet." in read(well()).text


def test_a_day_on_which_nothing_happened_is_drawn_too() -> None:
    page = read(well(), day(well(), 0, 0))
    assert len(page.named("svg", "chart")) == 2
    assert "0 in 24 hours" in page.text


# What it makes harmless.


def allowed(page: Reader) -> dict[str, list[str]]:
    """The page's Content-Security-Policy."""
    (policy,) = (
        str(value["content"])
        for value in page.named("meta")
        if value.get("http-equiv") == "Content-Security-Policy"
    )
    return {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}


def test_a_browser_may_use_the_page_s_own_style_and_script_and_nothing_else() -> None:
    text = drawn(many_problems(), day(many_problems(), 3, 9))
    found = allowed(Reader(text))
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert found.pop(f"{tag}-src") == [f"'sha256-{digest}'"]
    assert found == {
        "default-src": ["'none'"],
        "connect-src": ["'self'"],
        "img-src": ["data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }


def test_nothing_is_fetched_from_anywhere_and_no_style_stands_at_an_element() -> None:
    text = drawn(many_problems(), day(many_problems(), 3, 9))
    for tag, attributes in Reader(text).elements:
        assert "src" not in attributes and "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert str(attributes.get("href", "#")).startswith(("#", "data:")), tag
    assert not re.search(r"url\((?!#)|@import", text)


def hostile(text: str) -> Reader:
    """The page of a status in which everybody who has a word in it says `text`, as it is."""
    status = told(many_problems())
    status.update(satellite=text, agent=text)
    status["platform"].update(url=text, last_error=text)
    status["problems"] = [{"code": text, "since": NOON, "message": text, "hint": text}]
    for board in status["boards"]:
        board.update(driver=text, port=text, trouble=text)
        for channel in board["channels"]:
            channel.update(phone=text, name=text)
    return Reader(PAGES["en"].draw(status, []))


def skeleton(page: Reader) -> list[tuple[str, frozenset[str]]]:
    return [(tag, frozenset(attributes)) for tag, attributes in page.elements]


HARMLESS = skeleton(hostile("x"))


@settings(max_examples=50)
@given(
    st.text(alphabet=st.sampled_from("<>&\"'`=/ ${}%scriptonerror;\\\x00\n-!")) | st.text(),
)
def test_whatever_anybody_says_the_page_has_the_same_elements(text: str) -> None:
    # Backticks make commands of a hint; they are the one thing that a text may do.
    said = text.replace("`", "") + "x"
    assert skeleton(hostile(said)) == HARMLESS


@pytest.mark.parametrize(
    "text",
    [
        "<script>document.title='taken'</script>",
        "</style><script>1</script>",
        '"><img src=x onerror=alert(1)>',
        "'><svg onload=alert(1)>",
        "`<script>1</script>`",
        "--><script>1</script>",
        "$style ${script} $$",
        "{0} {time} {number!r}",
    ],
)
def test_what_is_meant_to_become_markup_is_shown_as_it_was_said(text: str) -> None:
    page = hostile(text)
    assert len(page.named("script")) == 1 and page.named("img") == []
    assert text.replace("`", "") in "".join(page.words)


# When it is written.


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
