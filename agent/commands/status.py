"""`smarttel-agent status`: what the status file says, for people and, by exit status, scripts."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from agent.clock import Clock, SystemClock
from agent.commands.status_file import NoStatus, Seen, look
from agent.language import ENGLISH, Language
from agent.settings import Settings

WATCH_INTERVAL = 2.0
"""Seconds between two looks of `--watch`."""


def add_arguments(parser: argparse.ArgumentParser, language: Language = ENGLISH) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--json", action="store_true", help=language.say("print the status file as it is")
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help=language.say(
            "look again every {seconds} seconds, until Ctrl-C", seconds=f"{WATCH_INTERVAL:g}"
        ),
    )


def run(
    arguments: argparse.Namespace,
    settings: Settings,
    language: Language = ENGLISH,
    clock: Clock | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Show the status once, or again and again; return the last look's exit status."""
    path = Path(settings.status_file)
    wall = (clock or SystemClock()).wall
    if not arguments.json:
        # What draws is not for the daemon, and not for scripts.
        from agent.commands import status_screen  # noqa: PLC0415

        screen = status_screen.Screen(language)
        if arguments.watch:
            return screen.watch(lambda: seen_or_not(path, wall()), wall, pause)
        return screen.show(seen_or_not(path, wall()), wall())
    exit_status = _print_file(path, wall(), language)
    try:
        while arguments.watch:
            pause(WATCH_INTERVAL)
            exit_status = _print_file(path, wall(), language)
    except KeyboardInterrupt:
        # The proper end of a watch.
        return exit_status
    return exit_status


def seen_or_not(path: Path, now: float) -> Seen | NoStatus:
    """Read the status file as `look` does; say why not where it can't be."""
    try:
        return look(path, now)
    except NoStatus as error:
        return error


def _print_file(path: Path, now: float, language: Language) -> int:
    try:
        seen = look(path, now)
    except NoStatus as error:
        complain(language.say("{why}; {advice}", why=error.why, advice=error.advice))
        return error.exit_status
    sys.stdout.write(seen.content.decode("utf-8", "replace"))
    sys.stdout.flush()
    if seen.absent:
        complain(language.tell(seen.absent))
    return seen.exit_status


def complain(words: str) -> None:
    """Say on the error output why there is nothing to see."""
    print(f"smarttel-agent: {words}", file=sys.stderr)
