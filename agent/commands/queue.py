"""`smarttel-agent queue`: what waits for delivery and why, and trying it again at once."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from agent.clock import SystemClock
from agent.instance import holder
from agent.ledger import FILE_NAME, Ledger, LedgerError, open_existing
from agent.ledger.rows import SENDABLE, QueueItem, State
from agent.logs import Phones
from agent.recordings.names import RecordingNames, display_name
from agent.settings import Settings
from agent.text import masked_numbers, printable

EXIT_DONE = 0
EXIT_NOT_FOUND = 1
EXIT_NO_LEDGER = 3
PAGE = 500
"""Items read at once: a long queue is printed without being held in memory."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `list`, `show` and `retry`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="all that waits or is kept, a line each, with the reason")
    show = actions.add_parser("show", help="one item, or all of one call")
    show.add_argument("id", metavar="ID", help="a number of the list, or a callid")
    retry = actions.add_parser("retry", help="try again at once")
    which = retry.add_mutually_exclusive_group(required=True)
    which.add_argument("id", metavar="ID", nargs="?", help="a number of the list, or a callid")
    which.add_argument("--all", action="store_true", help="all that waits")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run one action on the ledger of `settings.state_directory`; return the exit status."""
    directory = Path(settings.state_directory)
    try:
        with _ledger(directory) as ledger:
            if ledger is None:
                print(
                    f"there is no ledger in {directory}: the agent has not run here yet",
                    file=sys.stderr,
                )
                return EXIT_NO_LEDGER
            words = _Words(settings)
            if arguments.action == "list":
                return _list(ledger, words)
            if arguments.action == "show":
                return _show(ledger, words, arguments.id)
            return _retry(ledger, directory, None if arguments.all else arguments.id)
    except LedgerError as error:
        print(f"the ledger can't be used: {error}", file=sys.stderr)
        return EXIT_NO_LEDGER


@contextlib.contextmanager
def _ledger(directory: Path) -> Iterator[Ledger | None]:
    try:
        exists = (directory / FILE_NAME).exists()
    except OSError as error:
        raise LedgerError(f"{directory}: {error.strerror}") from error
    if not exists:
        yield None
        return
    ledger = open_existing(directory, SystemClock())
    try:
        yield ledger
    finally:
        ledger.close()


class _Words:
    """Items in words, telephone numbers as the log shows them."""

    def __init__(self, settings: Settings) -> None:
        self._phones = Phones(full=settings.log.phones == "full")
        self._names = RecordingNames(settings.recordings.patterns, None)

    def about(self, item: QueueItem) -> str:
        """Which call or file it is."""
        parts = []
        if item.channel is not None:
            parts.append(f"port {item.channel}")
        if item.phone:
            parts.append(self._phones.shown(item.phone))
        if item.started is not None:
            parts.append(_moment(item.started))
        if item.relative:
            parts.append(self.name(item.relative))
        return ", ".join(parts) or "of no known call"

    def name(self, relative: str) -> str:
        """A file's name, numbers masked."""
        return display_name(relative, self._names.facts(relative), masked=not self._phones.full)

    def trouble(self, item: QueueItem) -> str:
        """What hinders it, numbers masked."""
        return printable(item.trouble if self._phones.full else masked_numbers(item.trouble))


def _list(ledger: Ledger, words: _Words) -> int:
    after = found = 0
    while page := ledger.queue.items(PAGE, after):
        for item in page:
            found += 1
            line = f"{item.id}  {item.kind:<9}  {item.state.value}  {words.about(item)}"
            print(line + _why(item, words))
        after = page[-1].id
    if not found:
        print("nothing waits")
    return EXIT_DONE


def _show(ledger: Ledger, words: _Words, name: str) -> int:
    found = _find(ledger, name)
    if not found:
        print(f"there is no item {printable(name)}", file=sys.stderr)
        return EXIT_NOT_FOUND
    for item in found:
        lines = [
            ("", f"{item.kind} {item.id}"),
            ("state", item.state.value),
            ("call", words.about(item)),
            ("callid", printable(item.callid or "none yet")),
            ("waits since", _moment(item.since)),
            ("refusals", str(item.refusals)),
        ]
        if item.kind == "recording":
            lines += [("size", f"{item.size} bytes"), ("audio", item.verdict)]
        if item.digest:
            lines.append(("digest (XXH3)", item.digest))
        if item.trouble:
            lines.append(("last trouble", words.trouble(item)))
        wait = item.due - time.monotonic()
        if item.state in SENDABLE and wait > 0 and not ledger.new_boot:
            lines.append(("tried again", f"in {wait:.0f} s"))
        for label, text in lines:
            print(f"  {label:<13} {text}" if label else text)
    return EXIT_DONE


def _retry(ledger: Ledger, directory: Path, name: str | None) -> int:
    if name is None:
        count = ledger.deliveries.retry(None)
    else:
        found = _find(ledger, name)
        waiting = [item for item in found if item.state in SENDABLE]
        # A recording that waits for its record goes when that one went.
        waiting = waiting or [item for item in found if item.state is State.WAITING_FOR_RECORD]
        if not waiting:
            for item in found:
                print(f"{item.kind} {item.id}: {item.state.value}", file=sys.stderr)
            what = "nothing of it waits for its time" if found else "there is no such item"
            print(f"{printable(name)}: {what}", file=sys.stderr)
            return EXIT_NOT_FOUND
        count = sum(ledger.deliveries.retry(item.id) for item in waiting)
    told = _tell_daemon(directory)
    when = "now" if told else "when the agent looks at its queue next"
    print(f"{count} {'item is' if count == 1 else 'items are'} tried again {when}")
    return EXIT_DONE


def _tell_daemon(directory: Path) -> bool:
    found = holder(directory)
    if found is None or found.pid is None:
        return False
    try:
        os.kill(found.pid, signal.SIGUSR1)
    except OSError:
        return False
    return True


def _find(ledger: Ledger, name: str) -> list[QueueItem]:
    by_number = ledger.queue.find(int(name)) if _is_number(name) else []
    # No callid holds what UTF-8 can't carry, and SQLite would not take it.
    return by_number or ledger.queue.find_callid(name.encode("utf-8", "replace").decode("utf-8"))


def _is_number(name: str) -> bool:
    # A longer one is a callid, and is none of ours: SQLite's integers end here.
    return name.isascii() and name.isdigit() and len(name) < 19


def _why(item: QueueItem, words: _Words) -> str:
    if not item.trouble:
        return ""
    refused = f" ({item.refusals} refusals)" if item.refusals else ""
    return f"  {words.trouble(item)}{refused}"


def _moment(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
