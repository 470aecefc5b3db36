"""The status page: what it shows, what it makes harmless, when it is written."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.boards.events import LineState
from agent.boards.link import LinkView
from agent.clock import ClockView
from agent.page.headline import HEADLINES, MOST_MESSAGES
from agent.page.panel import LAMPS, UNKNOWN
from agent.problems import Health, Problem
from agent.recordings.disk import Disk, DiskStatus
from tests.clocks import NOON
from tests.page_reader import PAGES, Reader, drawn, in_shanghai, read
from tests.pages import (
    backlog,
    day,
    every_state,
    large,
    many_problems,
    ports,
    small,
    told,
    well,
    without_ledger,
)

SCENES = (well, many_problems, backlog, large, small, every_state, without_ledger)


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


@in_shanghai()
def test_a_socket_says_its_number_the_other_party_the_way_and_since_when() -> None:
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


@in_shanghai()
def test_times_are_the_gateway_s_own_and_it_says_so() -> None:
    page = read(well(NOON))
    assert time.strftime("%H:%M:%S", time.localtime(NOON)) == "22:13:20"
    assert "written at 22:13:20" in page.text
    assert "All times are the gateway's local time, UTC+08:00." in page.text
    assert {value["datetime"] for value in page.named("time")} >= {"2026-09-21T22:13:20+0800"}


@in_shanghai()
def test_a_moment_of_another_day_has_its_date_and_of_another_year_its_year() -> None:
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
