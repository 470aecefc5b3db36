"""Shows the status on a terminal, once or as it changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from msgspec.structs import replace
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from agent.commands.screen import console_for, signs_for
from agent.commands.status import WATCH_INTERVAL, complain
from agent.commands.status_file import EXIT_NO_DAEMON, NoStatus, Seen
from agent.commands.status_table import Picture
from agent.language import Language, said


class Screen:
    """Draws what was seen in the status file."""

    def __init__(
        self,
        language: Language,
        console: Console | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._language = language
        self._console = console or console_for()
        self._signs = signs_for(self._console.encoding, language, environment)
        self._last: Seen | None = None
        """What was last seen of a daemon, in a watch."""

    def show(self, seen: Seen | NoStatus, now: float) -> int:
        """Draw one look; return the command's exit status."""
        if isinstance(seen, NoStatus):
            complain(self._without(seen).plain)
        else:
            self._console.print(self._picture(seen, now))
        return seen.exit_status

    def watch(
        self,
        look: Callable[[], Seen | NoStatus],
        wall: Callable[[], float],
        pause: Callable[[float], None],
    ) -> int:
        """Look again and again until Ctrl-C; return the last look's exit status.

        A terminal is drawn on in place, and keeps the last picture. Elsewhere each look is
        printed below the one before.
        """
        exit_status = EXIT_NO_DAEMON
        frame: RenderableType = Text()
        in_place = self._console.is_terminal and not self._console.is_dumb_terminal
        live = Live(console=self._console, screen=in_place, auto_refresh=False)
        try:
            if in_place:
                live.start()
            while True:
                seen = look()
                exit_status = seen.exit_status
                frame = self._frame(seen, wall())
                if in_place:
                    live.update(Fitted(frame, self._language), refresh=True)
                else:
                    self._console.print(frame)
                pause(WATCH_INTERVAL)
        except KeyboardInterrupt:
            return exit_status
        finally:
            if in_place:
                live.stop()
                self._console.print(frame)

    def _frame(self, seen: Seen | NoStatus, now: float) -> RenderableType:
        if not isinstance(seen, NoStatus):
            self._last = seen
            return self._picture(seen, now)
        missing = self._without(seen)
        missing.stylize("bold red")
        if self._last is None:
            return missing
        # The file is gone for a moment where the agent is started anew.
        absent = said("{why}; it is looked for again and again", why=seen.why)
        return self._picture(replace(self._last, absent=absent), now)

    def _without(self, seen: NoStatus) -> Text:
        say = self._language.say
        return Text(say("{why}; {advice}", why=seen.why, advice=seen.advice))

    def _picture(self, seen: Seen, now: float) -> RenderableType:
        return Picture(seen.status, seen.absent, now, self._language, self._signs).whole()


class Fitted:
    """A picture cut to the terminal's height, saying how much is not shown."""

    def __init__(self, picture: RenderableType, language: Language) -> None:
        self._picture = picture
        self._language = language

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = console.size.height
        lines = console.render_lines(self._picture, options.update(height=None), pad=False)
        hidden = max(0, len(lines) - height + 1) if len(lines) > height else 0
        for index, line in enumerate(lines[: len(lines) - hidden]):
            if index:
                yield Segment.line()
            yield from line
        if hidden:
            yield Segment.line()
            more = self._language.count("{number} more line", "{number} more lines", hidden)
            yield Text(more, "dim", end="")
