"""The status page in a browser: nothing sticks out, all can be read, it keeps itself fresh."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.language import CHINESE, language
from agent.status import Status
from agent.status_page import STALE, Page
from tests.browser import Browser, Folder, browsing, chromium
from tests.pages import (
    backlog,
    day,
    every_state,
    large,
    many_problems,
    rising,
    small,
    told,
    well,
    without_ledger,
)

PROGRAM = chromium()
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="there is no Chromium here: apt-get install chromium"
)

PAGES = {code: Page(language(code, {})) for code in ("en", CHINESE)}
PHONE, TABLET, LAPTOP = 360, 800, 1280
SCENES: dict[str, Callable[[float], Status]] = {
    scene.__name__: scene
    for scene in (well, many_problems, backlog, large, small, every_state, without_ledger)
}

STICKS_OUT = """[...document.querySelectorAll("body *")].filter(one => {
  const box = one.getBoundingClientRect();
  const hidden = !one.checkVisibility() || one.closest(".symbols, .skip, .unseen");
  return !hidden && (box.right > innerWidth + 0.5 || box.left < -0.5
    || (one instanceof HTMLElement && one.scrollWidth > one.clientWidth + 1 && one.clientWidth));
}).map(one => one.tagName + "." + one.getAttribute("class") + ": " + one.textContent)"""
"""Everything that leaves the window, or whose content leaves it."""

HARD_TO_READ = """(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = colour => {
    const [r, g, b] = rgba(colour).map(part => part / 255)
      .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const grounds = one => {
    for (; one; one = one.parentElement) {
      const style = getComputedStyle(one);
      const stops = style.backgroundImage.match(/rgba?\\([^)]*\\)/g);
      if (stops) return stops;
      if (rgba(style.backgroundColor)[3] === 255) return [style.backgroundColor];
    }
    return ["white"];
  };
  const ratio = (...both) => {
    const [dim, bright] = both.map(light).sort((a, b) => a - b);
    return (bright + 0.05) / (dim + 0.05);
  };
  const away = one => !one.checkVisibility() || one.closest(".symbols, .skip, .unseen");
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = texts.nextNode());) {
    const one = text.parentElement;
    if (!text.data.trim() || away(one)) continue;
    const style = getComputedStyle(one);
    const ink = one instanceof SVGElement ? style.fill : style.color;
    for (const ground of grounds(one)) {
      if (ratio(ink, ground) < 4.5) found.push([text.data, ink, ground, ratio(ink, ground)]);
    }
    if (parseFloat(style.fontSize) < 12) found.push([text.data, style.fontSize]);
  }
  for (const lamp of document.querySelectorAll(".lamp")) {
    for (const ground of grounds(lamp)) {
      const ink = getComputedStyle(lamp).color;
      if (ratio(ink, ground) < 3) found.push([lamp.outerHTML, ink, ground]);
    }
  }
  return found;
})()"""
"""Texts below the contrast of 4.5, lamps below 3 (WCAG 2.2, level AA), letters below 12 pixels."""

HIDDEN = (
    """[...document.querySelectorAll(".sign[id]")].filter(one => !one.hidden).map(one => one.id)"""
)


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with a status page, which a browser looks at."""

    browser: Browser
    folder: Folder

    def write(self, status: Status, code: str = "en", name: str = "status.html") -> None:
        samples = rising(status) if status.queue.files_waiting > 50_000 else day(status, 40, 900)
        (self.folder.path / name).write_text(PAGES[code].draw(told(status), samples), "utf-8")

    def look(self, status: Status, code: str = "en") -> None:
        self.write(status, code)
        self.browser.open(f"{self.folder.url}/status.html")

    def signs(self) -> Any:
        return self.browser.ask(HIDDEN)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert PROGRAM is not None
    with browsing(PROGRAM) as started:
        yield started


@pytest.fixture
def place(browser: Browser, tmp_path: Path) -> Iterator[Place]:
    browser.new_page()
    browser.show(LAPTOP)
    with Folder(tmp_path) as folder:
        yield Place(browser, folder)


IN_CHINESE = ("many_problems", "every_state")
"""Whose texts are all that there are."""


@pytest.mark.parametrize("name", SCENES)
def test_nothing_sticks_out_and_all_can_be_read_on_a_phone_and_a_laptop_by_day_and_by_night(
    place: Place, name: str
) -> None:
    browser, status = place.browser, SCENES[name](time.time())
    for code in PAGES if name in IN_CHINESE else ("en",):
        place.look(status, code)
        browser.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
        for width in (PHONE, TABLET, LAPTOP):
            browser.show(width)
            assert browser.ask("document.documentElement.scrollWidth") == width
            assert browser.ask(STICKS_OUT) == [], (code, width)
        for dark in (False, True):
            browser.show(LAPTOP, dark=dark)
            assert browser.ask(HARD_TO_READ) == [], (code, dark)
        assert place.signs() == []
        assert browser.complaints() == []
        assert browser.requests() - {place.folder.url + "/status.html"} == set()


def test_each_lamp_is_drawn_in_a_shape_of_its_own_and_glows_in_the_dark(place: Place) -> None:
    place.look(every_state(time.time()))
    shapes = place.browser.ask(
        "[...document.querySelectorAll('.socket .lamp use')].map(one => [one.getAttribute('href'),"
        " one.getBBox().width > 5, one.getBoundingClientRect().width > 8])"
    )
    assert len({shape for shape, *_ in shapes}) == len(shapes) == 7
    assert all(drawn and shown for _, drawn, shown in shapes)
    pictures = set()
    for dark in (False, True):
        for width in (PHONE, LAPTOP):
            place.browser.show(width, dark=dark)
            pictures.add(place.browser.picture())
    assert len(pictures) == 4


def test_what_is_meant_to_run_on_the_page_does_not_even_where_it_got_there(place: Place) -> None:
    place.write(well(time.time()))
    path = place.folder.path / "status.html"
    planted = (
        "<img src='/planted.png' onerror='window.taken = 1'><script>window.taken = 2</script>"
        "<script src='/planted.js'></script><p style='position: fixed'>x</p>"
    )
    path.write_text(path.read_text("utf-8").replace("<main>", "<main>" + planted), "utf-8")
    place.browser.open(f"{place.folder.url}/status.html")
    assert place.browser.ask("window.taken === undefined") is True
    assert place.browser.ask("getComputedStyle(document.querySelector('main > p')).position") == (
        "static"
    )
    assert place.folder.asked == ["/status.html"]


# How it keeps itself fresh.


def test_a_new_page_is_taken_over_where_it_stands_and_what_was_opened_stays_open(
    place: Place,
) -> None:
    browser, now = place.browser, time.time()
    place.look(well(now))
    browser.ask("document.querySelector('details').open = true; window.mine = 1")
    place.write(many_problems(now + 5))
    # As where the gateway's clock was set back meanwhile.
    os.utime(place.folder.path / "status.html", (now - 3600, now - 3600))
    browser.let_pass(6)
    assert browser.ask("document.getElementById('health').textContent") == "Act now"
    assert browser.ask("document.getElementById('announcement').textContent") == "Act now"
    assert browser.ask("document.title").startswith("Act now")
    assert browser.ask("document.querySelector('details').open") is True
    assert browser.ask("window.mine") == 1
    assert "d42a2a" in browser.ask("document.getElementById('icon').href")
    assert browser.complaints() == []


def test_a_page_that_is_written_no_more_says_that_it_is_stale_until_there_is_a_new_one(
    place: Place,
) -> None:
    browser = place.browser
    place.look(well(time.time()))
    browser.let_pass(STALE - 10)
    assert place.signs() == []
    browser.let_pass(25)
    assert place.signs() == ["sign-stale"]
    assert "grayscale" in browser.ask("getComputedStyle(document.getElementById('page')).filter")
    browser.show(PHONE)
    assert browser.ask(STICKS_OUT) == [] and browser.ask(HARD_TO_READ) == []
    place.write(well(time.time() + 200))
    browser.let_pass(6)
    assert place.signs() == []


def test_a_gateway_that_does_not_answer_is_told_from_one_that_writes_no_more(
    place: Place,
) -> None:
    browser, now = place.browser, time.time()
    place.look(well(now))
    place.folder.closed = True
    browser.let_pass(6)
    assert place.signs() == ["sign-gone"]
    (place.folder.path / "status.html").write_text("<h1>Log in to the hotel's network</h1>")
    place.folder.closed = False
    browser.let_pass(6)
    assert place.signs() == ["sign-gone"]
    place.write(well(now + 30))
    browser.let_pass(6)
    assert place.signs() == []


@pytest.mark.parametrize("apart", [-9 * 3600.0, 40 * 365 * 86_400.0])
def test_clocks_that_differ_make_no_page_stale_that_is_written(place: Place, apart: float) -> None:
    browser, then = place.browser, time.time() + apart
    place.look(well(then))
    assert place.signs() == (["sign-doubtful"] if apart < 0 else [])
    for beat in range(1, 6):
        place.write(well(then + 30 * beat))
        browser.let_pass(30)
        assert place.signs() == []


def test_a_page_opened_as_a_file_is_judged_by_the_clock(place: Place) -> None:
    for age, signs in ((5.0, []), (STALE + 60, ["sign-stale"])):
        place.write(well(time.time() - age))
        place.browser.open((place.folder.path / "status.html").as_uri())
        assert place.signs() == signs
        assert place.browser.complaints() == []


def test_without_scripts_the_page_reads_as_well_and_says_what_it_cannot_tell(
    place: Place,
) -> None:
    place.browser.do("Emulation.setScriptExecutionDisabled", value=True)
    try:
        place.look(many_problems(time.time()))
        shown = place.browser.picture()
    finally:
        place.browser.do("Emulation.setScriptExecutionDisabled", value=False)
    place.look(many_problems(time.time()))
    assert shown != place.browser.picture()
    assert len(shown) > 50_000
