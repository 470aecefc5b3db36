"""The status as a picture for people: problems first, with what to do, then each part."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agent.commands.screen import Flowing, Signs, beside
from agent.commands.status_file import Board, Channel, Problem, Status, duration
from agent.language import Language, marked
from agent.text import printable

HEALTH_STYLES = {"ok": "bold green", "degraded": "bold yellow", "failing": "bold red"}
STATE_STYLES = {
    marked("not known yet"): "dim",
    marked("not connected"): "dim",
    marked("idle"): "",
    marked("in call"): "green",
    marked("ringing"): "yellow",
    marked("answered"): "green",
    marked("line fault"): "bold red",
}
HEALTH_NAMES = {
    "ok": marked("all is well"),
    "degraded": marked("degraded: something waits or is down, nothing is being lost"),
    "failing": marked("failing: calls or recordings may be lost"),
}
DIRECTIONS = {1: marked("out"), 2: marked("in")}
DISK_FAULTS = {
    -1: marked("no disk"),
    -2: marked("not mounted"),
    -3: marked("not writable"),
    -4: marked("full"),
}
"""PROTOCOL.md 2.1, as the agent uses it."""
BAR = 20
"""Columns of the disk's bar."""
MEBIBYTE = 1024 * 1024
MOST_SHOWN = 400
"""Characters of a text of the file."""
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")


class Picture(Struct, frozen=True):
    """Draws one status."""

    status: Status
    absent: str
    """Why no daemon stands behind it; empty where one does."""
    now: float
    """UNIX seconds."""
    language: Language
    signs: Signs

    def whole(self) -> RenderableType:
        """All of it, from top to bottom."""
        parts: list[RenderableType] = [self._headline(), Text()]
        if self.absent:
            parts.append(self._absence())
        if self.status.problems:
            parts.append(self._problems())
        parts += [self._parts(), Text()]
        boards = [self._board(each) for each in self.status.boards]
        parts.append(Columns(boards, padding=(1, 4)))
        return Group(*parts)

    def say(self, message: str, /, **values: object) -> str:
        """Say it in the reader's language."""
        return self.language.say(message, **values)

    def _headline(self) -> Text:
        style = HEALTH_STYLES.get(self.status.health, "bold")
        words = HEALTH_NAMES.get(self.status.health)
        health = self.say(words) if words else _shown(self.status.health)
        if self.absent:
            style, health = "bold red", self.say("not running")
        line = Text.assemble((f"{self.signs.dot} {health}", style), "\n  ")
        line.append(f"smarttel-agent {_shown(self.status.agent)}", "dim")
        about = [_shown(self.status.satellite or self.say("without a MAC address"))]
        if self.status.started and not self.absent:
            about.append(self.say("up {age}", age=duration(self.now - self.status.started)))
        about.append(self.say("as of {moment}", moment=self._ago(self.status.updated)))
        line.append("   ".join(["", *about]), "dim")
        return line

    def _absence(self) -> RenderableType:
        words = Flowing(self.language.tell(self.absent), "bold")
        hint = self.say("systemctl status smarttel-agent says why; what follows is old")
        return Panel(Group(words, self._advice(hint)), box=self.signs.frame, border_style="red")

    def _problems(self) -> RenderableType:
        problems = self.status.problems
        style = "red" if self.status.health == "failing" else "yellow"
        lines: list[RenderableType] = []
        for problem in problems:
            if lines:
                lines.append(Text())
            lines += self._problem(problem)
        title = self.language.count("{number} problem", "{number} problems", len(problems))
        return Panel(
            Group(*lines),
            title=Text(title, "bold"),
            title_align="left",
            box=self.signs.frame,
            border_style=style,
        )

    def _problem(self, problem: Problem) -> Iterator[RenderableType]:
        head = Text(_shown(problem.code), "bold")
        if problem.since:
            age = duration(self.now - problem.since)
            head.append("  " + self.say("for {age}", age=age), "dim")
        yield head
        yield Flowing(_shown(problem.told(self.language)))
        hint = problem.told_hint(self.language)
        if hint:
            yield self._advice(_shown(hint))

    def _advice(self, words: str) -> RenderableType:
        return beside(Text(self.signs.arrow, "bold cyan"), Flowing(words, "cyan"))

    def _parts(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, words in (
            (self.say("platform"), self._platform()),
            (self.say("queue"), self._queue()),
            (self.say("delivered"), self._delivered()),
            (self.say("disk"), self._disk()),
            (self.say("dial"), self._dial()),
        ):
            table.add_row(Text(name, "bold"), words)
        return Padding(table, (0, 0, 0, 2))

    def _platform(self) -> RenderableType:
        platform = self.status.platform
        reached = {
            True: (self.say("reached"), "green"),
            False: (self.say("not reached"), "bold red"),
            None: (self.say("not asked yet"), "dim"),
        }
        answered = self.say("no good answer yet")
        if platform.last_ok:
            answered = self.say("last good answer {moment}", moment=self._ago(platform.last_ok))
        if platform.clock_offset is not None:
            seconds = f"{platform.clock_offset:+.1f}"
            answered += self.say(", its clock {seconds} s from ours", seconds=seconds)
        lines: list[RenderableType] = [
            Text.assemble(reached[platform.reachable], f"  {_shown(platform.url)}"),
            Flowing(answered),
        ]
        if platform.last_error and not self.status.problems:
            lines.append(
                Flowing(self.say("last error: {error}", error=_shown(platform.last_error)))
            )
        return Group(*lines)

    def _queue(self) -> RenderableType:
        queue = self.status.queue
        if not queue.records_waiting and not queue.files_waiting:
            return Text(self.say("nothing waits"), "green")
        waiting = self.say(
            "{records} records, {files} recordings ({size}) wait, the oldest since {moment}",
            records=queue.records_waiting,
            files=queue.files_waiting,
            size=size_words(queue.bytes_waiting),
            moment=self._ago(queue.oldest_waiting),
        )
        if not queue.attention:
            return Flowing(waiting)
        attention = self.language.count(
            "{number} needs attention: smarttel-agent queue list",
            "{number} need attention: smarttel-agent queue list",
            queue.attention,
        )
        return Group(Flowing(waiting), Flowing(attention, "yellow"))

    def _delivered(self) -> Text:
        queue = self.status.queue
        return Text(
            self.say(
                "{number} recordings, {size}",
                number=queue.delivered,
                size=size_words(queue.delivered_bytes),
            )
        )

    def _disk(self) -> Text:
        disk = self.status.disk
        fault = DISK_FAULTS.get(disk.status)
        if disk.status != 0:
            return Text(self.say(fault) if fault else f"{disk.status}", "bold red")
        if disk.percent is None or disk.size_mib is None or disk.free_mib is None:
            return Text(self.say("not known yet"), "dim")
        filled = round(BAR * min(100.0, max(0.0, disk.percent)) / 100)
        bar = self.signs.full * filled + self.signs.empty * (BAR - filled)
        words = self.say(
            "{percent} % used, {free} of {size} free",
            percent=f"{disk.percent:g}",
            free=size_words(disk.free_mib * MEBIBYTE),
            size=size_words(disk.size_mib * MEBIBYTE),
        )
        return Text.assemble((bar, "cyan"), f"  {words}")

    def _dial(self) -> Text:
        dial = self.status.dial
        return Text(
            self.say(
                "{waiting} wait, {placed} placed, {expired} expired, {failed} failed",
                waiting=dial.waiting,
                placed=dial.placed,
                expired=dial.expired,
                failed=dial.failed,
            )
        )

    def _board(self, board: Board) -> RenderableType:
        up = board.link == "up"
        line = Text.assemble(
            (f"{self.signs.dot} ", "green" if up else "bold red"),
            (self.say("board {serial}", serial=board.serial), "bold"),
            "  ",
            (self.say("up") if up else self.say("down"), "green" if up else "bold red"),
            f"  {_shown(board.driver)}  {_shown(board.port)}",
        )
        heard = self.say("nothing heard yet")
        if board.last_heard:
            heard = self.say(
                "heard {moment}, {frames} lines, {bad} bad",
                moment=self._ago(board.last_heard),
                frames=board.frames,
                bad=board.bad_frames,
            )
        parts: list[RenderableType] = [line, Text(f"  {heard}", "dim")]
        if board.channels:
            parts.append(self._channels(board))
        return Group(*parts)

    def _channels(self, board: Board) -> Table:
        table = Table(box=self.signs.line, padding=(0, 1), header_style="dim", show_edge=False)
        for heading in ("port", "state", "number", "direction", "since"):
            table.add_column(self.say(_HEADINGS[heading]), overflow="fold")
        for channel in board.channels:
            table.add_row(*self._cells(channel))
        return table

    def _cells(self, channel: Channel) -> Iterator[Text]:
        known = channel.name in STATE_STYLES
        name = self.say(channel.name) if known else _shown(channel.name or str(channel.state))
        direction = DIRECTIONS.get(channel.peer or 0)
        yield Text(str(channel.ch))
        yield Text(name, STATE_STYLES.get(channel.name, ""))
        yield Text(_shown(channel.phone))
        yield Text(self.say(direction) if direction else "")
        yield Text(self._ago(channel.since) if channel.since else "", "dim")

    def _ago(self, moment: float | None) -> str:
        if not moment:
            return self.say("never")
        return self.say("{age} ago", age=duration(self.now - moment))


_HEADINGS = {
    "port": marked("port"),
    "state": marked("state"),
    "number": marked("number"),
    "direction": marked("direction"),
    "since": marked("since"),
}


def size_words(count: float) -> str:
    """Write a number of bytes by a unit that leaves up to four digits."""
    for unit in _SIZES:
        if abs(count) < 1024 or unit == _SIZES[-1]:
            break
        count /= 1024
    digits = 1 if 0 < abs(count) < 10 and unit != "B" else 0
    return f"{count:.{digits}f} {unit}"


def _shown(text: str) -> str:
    return printable(text, MOST_SHOWN)
