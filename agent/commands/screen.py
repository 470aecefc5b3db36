"""A terminal to draw on: what it can show, and signs that it does."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import TextIO

from msgspec import Struct
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from agent.language import Language
from agent.text import flowed, width

_NO_LOCALE = frozenset({"", "C", "POSIX"})
_COERCED = "C.UTF-8"
"""What Python itself sets LC_CTYPE to where there is no locale (PEP 538)."""
WIDTH_OF_A_FILE = 100
"""Columns where the output is no terminal: a pipe, a file, a ticket."""


class Signs(Struct, frozen=True):
    """The signs that pictures are made of."""

    arrow: str
    dot: str
    well: str
    ill: str
    full: str
    empty: str
    frame: box.Box
    line: box.Box


_ASCII_LINE = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
UNICODE = Signs("→", "●", "✓", "✗", "█", "░", box.ROUNDED, box.SIMPLE_HEAD)
ASCII = Signs("->", "*", "ok", "!!", "#", ".", box.ASCII, _ASCII_LINE)


class Flowing(Struct, frozen=True):
    """A text that is broken into lines as its language is: Chinese between any two characters."""

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in flowed(self.text, options.max_width):
            yield Text(line, self.style, no_wrap=True)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, max(1, width(self.text))).with_maximum(options.max_width)


def beside(sign: Text, words: RenderableType) -> Table:
    """Put a sign before words that may go over several lines; more such rows may be added."""
    row = Table.grid(padding=(0, 1))
    row.add_column(no_wrap=True)
    row.add_column()
    row.add_row(sign, words)
    return row


def signs_for(encoding: str, language: Language, environment: Mapping[str, str]) -> Signs:
    """Choose signs that the terminal shows.

    Where no locale is set, Python writes UTF-8 all the same and the terminal may not read it.
    Whoever wants Chinese has a terminal that does.
    """
    if not encoding.lower().replace("-", "").startswith("utf"):
        return ASCII
    names = ("LC_ALL", "LC_CTYPE", "LANG")
    told = {name: environment.get(name, "") for name in names}
    if told["LC_CTYPE"] == _COERCED:
        told["LC_CTYPE"] = ""
    locale = next(filter(None, told.values()), "")
    return ASCII if locale in _NO_LOCALE and language.code == "en" else UNICODE


def console_for(file: TextIO | None = None) -> Console:
    """Return a console on the standard output, or on `file`, that never fails on a sign."""
    output = file or sys.stdout
    if isinstance(output, io.TextIOWrapper):
        # A question mark is better than no status at all.
        output.reconfigure(errors="replace")
    terminal = output.isatty()
    return Console(
        file=output,
        width=None if terminal else WIDTH_OF_A_FILE,
        markup=False,
        highlight=False,
        emoji=False,
    )
