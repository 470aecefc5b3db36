"""scripts/bench: measure the agent's rows, print the table, tell whether a target was missed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from agent import __version__
from agent.simulation.bench.figures import Bench, Figure, Row, Unmeasurable, Verdict
from agent.simulation.bench.peers import PACKAGES, version
from agent.simulation.bench.rows import ROWS
from agent.simulation.command import say

EXIT_REACHED, EXIT_MISSED, EXIT_STOPPED = 0, 1, 130
PATIENCE_WORDS = "the whole takes about forty minutes, --short about four minutes"


class Result(Struct, frozen=True):
    """What became of a row."""

    row: Row
    figures: tuple[Figure, ...] = ()
    trouble: str = ""
    """Why it was not measured, or not to its end; empty where it was."""
    lacking: bool = False
    """True: a program is missing, and nothing went wrong."""
    seconds: float = 0.0
    """That measuring it took."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 0 only where every figure that counts reaches its target."""
    options = _parser().parse_args(arguments)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    results: list[Result] = []
    try:
        for row in ROWS:
            if not options.rows or row.name in options.rows:
                results.append(measure(row, options.directory, short=options.short))
    except KeyboardInterrupt:
        say("stopped; all processes have ended")
        return EXIT_STOPPED
    finally:
        say("\n".join(("", *table(results), "")))
    machine = facts()
    if options.json:
        told = json.dumps(as_json(results, machine), indent=2, ensure_ascii=False)
        options.json.write_text(told + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(markdown(results, machine), encoding="utf-8")
    missed = failures(results, structural_only=options.short)
    for line in missed:
        say(f"missed: {line}")
    return EXIT_MISSED if missed else EXIT_REACHED


def measure(row: Row, directory: Path | None, *, short: bool) -> Result:
    """Measure one row in a folder of its own, which is removed afterwards."""
    say(f"{row.name}: {row.title}")
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"smarttel-bench-{row.name}-", dir=directory))
    figures: tuple[Figure, ...] = ()
    trouble, lacking = "", False
    try:
        figures = tuple(row.measure(Bench(folder, short, lambda words: say(f"  … {words}"))))
    except Unmeasurable as missing:
        trouble, lacking = str(missing), True
    except Exception as failure:  # whatever it is, the other rows go on
        trouble = f"{type(failure).__name__}: {failure}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Result(row, figures, trouble, lacking, time.monotonic() - began)


def failures(results: Sequence[Result], *, structural_only: bool) -> list[str]:
    """What makes the exit status 1: figures that missed, and rows that were not measured.

    `structural_only`: a time or a ratio of times, which a busy machine spoils, is no failure, nor
    is a row whose peers are not installed.
    """
    missed = [
        f"{result.row.name}: {figure.name}: {target(figure)}, and it is {_number(figure.measured)}"
        for result in results
        for figure in result.figures
        if figure.verdict is Verdict.MISSED and (figure.structural or not structural_only)
    ]
    return missed + [
        f"{one.row.name}: {one.trouble}"
        for one in results
        if one.trouble and not (one.lacking and structural_only)
    ]


def table(results: Sequence[Result]) -> list[str]:
    """The lines of a plain table: what was measured, the figure, its target, the verdict."""
    cells = [("figure", "measured", "target", "verdict")]
    for result in results:
        cells += [
            (f"{result.row.name}: {one.name}", _measured(one), target(one), one.verdict.value)
            for one in result.figures
        ]
        if result.trouble:
            cells.append((f"{result.row.name}: {result.trouble}", "", "", "not measured"))
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def markdown(results: Sequence[Result], machine: dict[str, str]) -> str:
    """The same for docs/BENCHMARKS.md, the machine above it."""
    lines = ["| machine | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in machine.items()]
    lines += [
        "",
        "| row | figure | measured | target | verdict |",
        "| --- | --- | --- | --- | --- |",
    ]
    for result in results:
        lines += [
            f"| `{result.row.name}` | {one.name} | {_measured(one)} | {target(one)} |"
            f" {_shown_verdict(one)} |"
            for one in result.figures
        ]
        if result.trouble:
            lines.append(f"| `{result.row.name}` | {result.trouble} | | | not measured |")
    return "\n".join(lines) + "\n"


def as_json(results: Sequence[Result], machine: dict[str, str]) -> dict[str, Any]:
    """All of it for programs."""
    return {
        "machine": machine,
        "rows": [
            {
                "name": result.row.name,
                "title": result.row.title,
                "seconds": round(result.seconds, 1),
                "trouble": result.trouble,
                "figures": [
                    {
                        "name": one.name,
                        "measured": one.measured,
                        "unit": one.unit,
                        "most": one.most,
                        "least": one.least,
                        "structural": one.structural,
                        "verdict": one.verdict.value,
                    }
                    for one in result.figures
                ],
            }
            for result in results
        ],
    }


def facts() -> dict[str, str]:
    """What the figures depend on: the machine, and the versions of all that was compared."""
    described = {
        "date": time.strftime("%Y-%m-%d"),
        "agent": __version__,
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 2**20} MiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }
    return described | {name: version(name) or "not installed" for name in PACKAGES}


def target(figure: Figure) -> str:
    """What a figure is to reach, in words; empty where it only explains."""
    bounds = [("at least", figure.least), ("at most", figure.most)]
    return ", ".join(f"{word} {_number(bound)}" for word, bound in bounds if bound is not None)


def _measured(figure: Figure) -> str:
    return f"{_number(figure.measured)} {figure.unit}".strip()


def _shown_verdict(figure: Figure) -> str:
    words = {Verdict.TOLD: "", Verdict.MISSED: "**missed**"}
    return words.get(figure.verdict, figure.verdict.value)


def _number(value: float) -> str:
    """Three significant digits, and no exponent."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):g}" if abs(value) >= 1e-4 else f"{value:.6f}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Model"}:
            return value.strip()
    return platform.machine()


def _row(name: str) -> str:
    if name not in {row.name for row in ROWS}:
        names = ", ".join(row.name for row in ROWS)
        raise argparse.ArgumentTypeError(f"{name!r} is no row; there are {names}")
    return name


def _parser() -> argparse.ArgumentParser:
    rows = "\n".join(f"  {row.name:15}{row.title}" for row in ROWS)
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=f"Measure the agent against its targets and its peers; {PATIENCE_WORDS}."
        " Peers come from Debian's packages curl, inotify-tools and rclone.",
        epilog=f"rows:\n{rows}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "rows", nargs="*", type=_row, metavar="ROW", help="rows to measure; without: all"
    )
    parser.add_argument(
        "--short",
        action="store_true",
        help="as little as shows the structure; only memory, bytes and counts fail",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument(
        "--directory", type=Path, help="where to work; needs 7 GB, of which most is not written"
    )
    return parser
