"""Reads the status page for tests: strictly, and what a person would see of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser

from agent.history import Sample
from agent.language import CHINESE, ENGLISH, language
from agent.status import Status
from agent.status_page import Page
from tests.pages import told

VOID = {"meta", "link", "br", "hr", "img", "input"}
ZH = language(CHINESE, {})
PAGES = {"en": Page(ENGLISH), "zh_CN": Page(ZH)}


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


@contextmanager
def in_shanghai() -> Iterator[None]:
    """Have the gateway stand in China; also a decorator of tests."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Shanghai"
    time.tzset()
    try:
        yield
    finally:
        del os.environ["TZ"]
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()
