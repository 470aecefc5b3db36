"""Draws the status for people: problems first, then each part, within 80 columns."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agent.commands.status import Board, Problem, Status, duration_words
from agent.text import printable

HEALTH_STYLES = {"ok": "bold green", "degraded": "bold yellow", "failing": "bold red"}
PEERS = {1: "out", 2: "in"}
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")


def draw(
    status: Status, absent: str, now: float, clear: bool, console: Console | None = None
) -> None:
    """Print the whole picture; `now` is UNIX seconds, `absent` why no daemon stands behind it."""
    screen = console or Console(markup=False, highlight=False, emoji=False)
    if clear:
        screen.clear()
    screen.print(_headline(status, absent, now))
    if absent:
        screen.print(Text(f"!! {absent}", "bold red"))
        screen.print(Text("   → systemctl status smarttel-agent says why; what follows is old"))
    for problem in status.problems:
        for line in _problem_lines(problem, now):
            screen.print(line)
    screen.print()
    screen.print(_parts(status, now))
    for board in status.boards:
        screen.print()
        screen.print(_board_line(board, now))
        if board.channels:
            screen.print(Padding(_channels(board, now), (0, 0, 0, 2)))


def size_words(count: float) -> str:
    """Write a number of bytes by a unit that leaves up to four digits."""
    for unit in _SIZES[:-1]:
        if abs(count) < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.0f} {_SIZES[-1]}"


def _headline(status: Status, absent: str, now: float) -> Text:
    words = Text(f"smarttel-agent {_shown(status.agent)}  {_shown(status.satellite or 'no MAC')}  ")
    if absent:
        words.append("not running", "bold red")
    else:
        words.append(_shown(status.health), HEALTH_STYLES.get(status.health, "bold"))
        started = f"up {duration_words(now - status.started)}, " if status.started else ""
        words.append(f"  ({started}as of {_ago(status.updated, now)})")
    return words


def _problem_lines(problem: Problem, now: float) -> Iterable[Text]:
    line = Text("!! ", "bold red")
    line.append(_shown(problem.code), "bold")
    lasts = f" for {duration_words(now - problem.since)}" if problem.since else ""
    line.append(f"{lasts}: {_shown(problem.message)}", "default")
    yield line
    if problem.hint:
        yield Text(f"   → {_shown(problem.hint)}")


def _parts(status: Status, now: float) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, words in (
        ("platform", _platform_words(status, now)),
        ("queue", _queue_words(status, now)),
        ("delivered", f"{status.queue.delivered}, {size_words(status.queue.delivered_bytes)}"),
        ("disk", _disk_words(status)),
        ("dialling", _dial_words(status)),
    ):
        table.add_row(Text(name, "bold"), Text(words))
    return table


def _platform_words(status: Status, now: float) -> str:
    platform = status.platform
    reachable = {True: "reachable", False: "NOT reachable", None: "not asked yet"}
    words = [_shown(platform.url), f"{reachable[platform.reachable]}"]
    words.append(f"last good answer {_ago(platform.last_ok, now)}")
    if platform.clock_offset is not None:
        words.append(f"its clock {platform.clock_offset:+.1f} s from ours")
    if platform.last_error:
        words.append(f"last error: {_shown(platform.last_error)}")
    return ", ".join(words)


def _queue_words(status: Status, now: float) -> str:
    queue = status.queue
    if not queue.records_waiting and not queue.files_waiting:
        return "nothing waits"
    words = (
        f"{queue.records_waiting} records, {queue.files_waiting} recordings"
        f" ({size_words(queue.bytes_waiting)}) wait, the oldest since"
        f" {_ago(queue.oldest_waiting, now)}"
    )
    if queue.attention:
        words += f"; {queue.attention} need attention: smarttel-agent queue list"
    return words


def _disk_words(status: Status) -> str:
    disk = status.disk
    if disk.percent is None or disk.size_mib is None or disk.free_mib is None:
        return f"not known, status {disk.status}"
    mebibyte = 1024 * 1024
    return (
        f"{disk.percent:g} % used, {size_words(disk.free_mib * mebibyte)} of"
        f" {size_words(disk.size_mib * mebibyte)} free, "
        + ("in order" if disk.status == 0 else f"FAULT {disk.status}")
    )


def _dial_words(status: Status) -> str:
    dial = status.dial
    return (
        f"{dial.waiting} waiting, {dial.placed} placed, {dial.expired} expired,"
        f" {dial.failed} failed"
    )


def _board_line(board: Board, now: float) -> Text:
    line = Text(f"board {board.serial}", "bold")
    line.append(f"  {_shown(board.driver)} on {_shown(board.port)}, link ", "default")
    line.append(_shown(board.link), "green" if board.link == "up" else "bold red")
    line.append(
        f", heard {_ago(board.last_heard, now)}, {board.frames} frames, {board.bad_frames} bad"
    )
    return line


def _channels(board: Board, now: float) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("port", "state", "number", "way", "since"):
        table.add_column(heading, overflow="fold")
    for channel in board.channels:
        cells = (
            str(channel.ch),
            channel.name or str(channel.state),
            channel.phone,
            PEERS.get(channel.peer or 0, ""),
            _ago(channel.since, now) if channel.since else "",
        )
        table.add_row(*(Text(_shown(cell)) for cell in cells))
    return table


def _ago(moment: float | None, now: float) -> str:
    return f"{duration_words(now - moment)} ago" if moment else "never"


def _shown(text: str) -> str:
    return printable(text, 400)
