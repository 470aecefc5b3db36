"""Prints what `smarttel-agent check` finds, as it is found: drawn on a terminal, else in lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TextIO

from rich.text import Text

from agent.commands.findings import Finding
from agent.commands.screen import Flowing, beside, console_for, signs_for
from agent.language import Language

Print = Callable[[Finding], None]


def printer(language: Language, output: TextIO, environment: Mapping[str, str]) -> Print:
    """Return what prints one finding on `output`, in `language`."""
    console = console_for(output)
    signs = signs_for(console.encoding, language, environment)

    def plain(finding: Finding) -> None:
        print(finding.line(language), file=output, flush=True)

    def drawn(finding: Finding) -> None:
        text, advice = finding.told(language)
        mark = (signs.well, "green") if finding.well else (signs.ill, "bold red")
        row = beside(Text(*mark), Flowing(text, "" if finding.well else "bold"))
        if advice:
            row.add_row(Text(), beside(Text(signs.arrow, "cyan"), Flowing(advice, "cyan")))
        console.print(row)

    return drawn if output.isatty() else plain
