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
from agent.delivery.by_hand import find, try_again
from agent.instance import holder
from agent.language import ENGLISH, Language, marked, said, text_of
from agent.ledger import FILE_NAME, Ledger, LedgerError, open_existing
from agent.ledger.rows import SENDABLE, QueueItem
from agent.logs import Phones
from agent.recordings.names import RecordingNames, display_name
from agent.recordings.verdict import Verdict
from agent.settings import Settings
from agent.text import masked_numbers, padded, printable

EXIT_DONE = 0
EXIT_NOT_FOUND = 1
EXIT_NO_LEDGER = 3
KINDS = {"record": marked("record"), "recording": marked("recording")}
PAGE = 500
"""Items read at once: a long queue is printed without being held in memory."""


def add_arguments(parser: argparse.ArgumentParser, language: Language = ENGLISH) -> None:
    """Add `list`, `show` and `retry`."""
    say = language.say
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help=say("all that waits or is kept, a line each, with the reason"))
    show = actions.add_parser("show", help=say("one item, or all of one call"))
    show.add_argument("id", metavar="ID", help=say("a number of the list, or a callid"))
    retry = actions.add_parser("retry", help=say("try again at once"))
    which = retry.add_mutually_exclusive_group(required=True)
    which.add_argument("id", metavar="ID", nargs="?", help=say("a number of the list, or a callid"))
    which.add_argument("--all", action="store_true", help=say("all that waits"))


def run(arguments: argparse.Namespace, settings: Settings, language: Language = ENGLISH) -> int:
    """Run one action on the ledger of `settings.state_directory`; return the exit status."""
    directory = Path(settings.state_directory)
    try:
        with _ledger(directory) as ledger:
            if ledger is None:
                absent = said(
                    "there is no ledger in {path}: the agent has not run here yet",
                    path=str(directory),
                )
                _complain(language.tell(absent))
                return EXIT_NO_LEDGER
            words = _Words(settings, language)
            if arguments.action == "list":
                return _list(ledger, words)
            if arguments.action == "show":
                return _show(ledger, words, arguments.id)
            return _retry(ledger, directory, words, None if arguments.all else arguments.id)
    except LedgerError as error:
        _complain(language.say("the ledger can't be used: {why}", why=text_of(error)))
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

    def __init__(self, settings: Settings, language: Language) -> None:
        self.say = language.say
        self.count = language.count
        self._phones = Phones(full=settings.log.phones == "full")
        self._names = RecordingNames(settings.recordings.patterns, None)

    def about(self, item: QueueItem) -> str:
        """Which call or file it is."""
        parts = []
        if item.channel is not None:
            parts.append(self.say("port {number}", number=item.channel))
        if item.phone:
            parts.append(self._phones.shown(item.phone))
        if item.started is not None:
            parts.append(_moment(item.started))
        if item.relative:
            parts.append(self.name(item.relative))
        return self.say(", ").join(parts) or self.say("of no known call")

    def name(self, relative: str) -> str:
        """A file's name, numbers masked."""
        return display_name(relative, self._names.places(relative), masked=not self._phones.full)

    def trouble(self, item: QueueItem) -> str:
        """What hinders it, numbers masked; as the ledger has it, which is English."""
        return printable(item.trouble if self._phones.full else masked_numbers(item.trouble))

    def kind(self, item: QueueItem) -> str:
        """A record or a recording."""
        return self.say(KINDS[item.kind])

    def state(self, item: QueueItem) -> str:
        """How far it is."""
        return self.say(item.state.value)

    def verdict(self, item: QueueItem) -> str:
        """What was found of its audio."""
        known = item.verdict in {each.value for each in Verdict}
        return self.say(item.verdict) if known else printable(item.verdict)

    def why(self, item: QueueItem) -> str:
        """What hinders it, and how often it was refused."""
        if not item.trouble:
            return ""
        trouble = self.trouble(item)
        if item.refusals:
            trouble = self.say(
                "{trouble} ({refused})",
                trouble=trouble,
                refused=self.count("{number} refusal", "{number} refusals", item.refusals),
            )
        return f"  {trouble}"


def _list(ledger: Ledger, words: _Words) -> int:
    after = found = 0
    while page := ledger.queue.items(PAGE, after):
        for item in page:
            found += 1
            kind = padded(words.kind(item), 9)
            line = f"{item.id}  {kind}  {words.state(item)}  {words.about(item)}"
            print(line + words.why(item))
        after = page[-1].id
    if not found:
        print(words.say("nothing waits"))
    return EXIT_DONE


def _show(ledger: Ledger, words: _Words, name: str) -> int:
    found = find(ledger, name)
    if not found:
        _complain(words.say("there is no item {name}", name=printable(name)))
        return EXIT_NOT_FOUND
    for item in found:
        print(f"{words.kind(item)} {item.id}")
        for label, text in _details(ledger, words, item):
            print(f"  {padded(words.say(label), 13)} {text}")
    return EXIT_DONE


def _details(ledger: Ledger, words: _Words, item: QueueItem) -> Iterator[tuple[str, str]]:
    yield marked("state"), words.state(item)
    yield marked("call"), words.about(item)
    yield marked("callid"), printable(item.callid or "") or words.say("none yet")
    yield marked("waits since"), _moment(item.since)
    yield marked("refusals"), str(item.refusals)
    if item.kind == "recording":
        yield marked("size"), words.say("{number} bytes", number=item.size)
        yield marked("audio"), words.verdict(item)
    if item.digest:
        yield marked("digest (XXH3)"), item.digest
    if item.trouble:
        yield marked("last trouble"), words.trouble(item)
    wait = item.due - time.monotonic()
    if item.state in SENDABLE and wait > 0 and not ledger.new_boot:
        yield marked("tried again"), words.say("in {seconds} s", seconds=f"{wait:.0f}")


def _retry(ledger: Ledger, directory: Path, words: _Words, name: str | None) -> int:
    again = try_again(ledger, name)
    if name is not None and not again.count:
        for item in again.found:
            _complain(f"{words.kind(item)} {item.id}: {words.state(item)}")
        nothing = said("nothing of it waits for its time")
        what = nothing if again.found else said("there is no such item")
        _complain(words.say("{name}: {what}", name=printable(name), what=what))
        return EXIT_NOT_FOUND
    told = _tell_daemon(directory)
    when = said("now") if told else said("when the agent looks at its queue next")
    print(
        words.count(
            "{number} item is tried again {when}",
            "{number} items are tried again {when}",
            again.count,
            when=when,
        )
    )
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


def _complain(words: str) -> None:
    print(words, file=sys.stderr)


def _moment(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
