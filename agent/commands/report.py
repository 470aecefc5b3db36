"""`smarttel-agent report`: a support bundle, fit to be sent to those who help."""

from __future__ import annotations

import argparse
import platform
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from agent import __version__
from agent.clock import Clock, SystemClock
from agent.commands.report_bundle import Member, packed, write
from agent.commands.report_members import Gateway, gateway, members
from agent.commands.report_scrub import Scrubber
from agent.identity import satellite
from agent.language import AUTO, ENGLISH, Language, language, marked
from agent.system_words import system_words
from agent.text import printable

EXIT_WRITTEN = 0
EXIT_NOT_WRITTEN = 1
EXIT_BAD_CONFIGURATION = 2

STANDARD_OUTPUT = "-"
MOST_SAID = 2000
"""Characters of a line; a path and a sentence fit."""
NOT_IN_IT = marked(
    "Not in it: recordings and their names, whole telephone numbers, passwords, tokens and other"
    " secrets of the configuration and its environment."
)


def add_arguments(parser: argparse.ArgumentParser, speech: Language = ENGLISH) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--output",
        metavar="FILE",
        help=speech.say(
            "where the bundle is written, - is standard output (else"
            " smarttel-report-SATELLITE-TIME.tar.gz in the current folder)"
        ),
    )


def run(
    arguments: argparse.Namespace,
    path: Path,
    environment: Mapping[str, str],
    clock: Clock | None = None,
) -> int:
    """Make the bundle of the gateway that is configured at `path`; return the exit status."""
    ticking = clock or SystemClock()
    output: str | None = arguments.output
    to_standard_output = output == STANDARD_OUTPUT
    words = sys.stderr if to_standard_output else sys.stdout
    found = gateway(path, environment, ticking)
    wanted = found.settings.language if found.settings else AUTO
    speech = language(wanted, environment)
    if to_standard_output and sys.stdout.isatty():
        _say(
            sys.stderr, speech.say("this is a terminal: name a file, or send the output elsewhere")
        )
        return EXIT_NOT_WRITTEN
    for line in found.trouble.splitlines():
        _say(sys.stderr, line)
    _say(sys.stderr, speech.say("looking at the gateway; that may take a minute …"))
    made, scrubber = members(found)
    name = _name(found, scrubber)
    content = packed(name, [_contents(name, made, found, scrubber), *made], ticking.wall())
    try:
        if to_standard_output:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        else:
            write(Path(output or f"{name}.tar.gz"), content)
    except BrokenPipeError:
        raise
    except OSError as error:
        _say(sys.stderr, _not_written(output or f"{name}.tar.gz", error, speech))
        return EXIT_NOT_WRITTEN
    for each in made:
        if each.missing:
            # Of these alone others have words.
            _say(
                words,
                scrubber.text(
                    speech.say("missing: {name}: {reason}", name=each.name, reason=each.missing)
                ),
            )
    for line in _closing(output or f"{name}.tar.gz", len(content), speech):
        _say(words, line)
    return EXIT_WRITTEN if found.settings else EXIT_BAD_CONFIGURATION


def _name(found: Gateway, scrubber: Scrubber) -> str:
    mac = satellite(found.settings.identity) if found.settings else None
    who = scrubber.text(mac.replace(":", "-") if mac else platform.node() or "gateway")
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(found.clock.wall()))
    # A host's name may hold anything.
    return f"smarttel-report-{re.sub(r'[^A-Za-z0-9-]+', '_', who)[:64]}-{moment}"


def _contents(name: str, made: Sequence[Member], found: Gateway, scrubber: Scrubber) -> Member:
    """The bundle's first member says what the others are, and which could not be made."""
    lines = [
        f"configuration: {found.path}",
        "",
        *(f"{each.name:<14} {_size_words(each)}" for each in made),
        "",
        NOT_IN_IT,
    ]
    # The name was scrubbed before it got its date, which looks like a number.
    title = f"{name}: support bundle of smarttel-agent {__version__}"
    return Member("CONTENTS.txt", "\n".join([title, *map(scrubber.text, lines)]) + "\n")


def _size_words(member: Member) -> str:
    return f"missing: {member.missing}" if member.missing else f"{len(member.content)} bytes"


def _closing(output: str, size: int, speech: Language) -> list[str]:
    where = speech.say("standard output") if output == STANDARD_OUTPUT else output
    return [
        speech.say("{path}: {size} KiB", path=where, size=max(1, size // 1024)),
        speech.say(
            "Send this file to those who look after the gateway; it can be unpacked and read with"
            " any text editor before."
        ),
        speech.say(NOT_IN_IT),
    ]


def _not_written(output: str, error: OSError, speech: Language) -> str:
    return speech.say(
        "{path} can't be written: {reason}; name another place with --output, or send it over the"
        " network: ssh BOX smarttel-agent report --output - > FILE",
        path=output,
        reason=system_words(error),
    )


def _say(stream: TextIO, line: str) -> None:
    print(printable(line, MOST_SAID), file=stream, flush=True)
