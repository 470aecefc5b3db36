"""The command that fuzzes: `scripts/fuzz [--seconds N] [PARSER…]`.

`tests/test_fuzzing.py` gives each parser its share of the plain suite, the same inputs at each run.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Sequence

from tests.fuzz_engine import Parser, fuzz
from tests.fuzz_parsers import PARSERS

BATCH = 100
"""Inputs under one seed, which is named where a promise is broken."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz with seeds of chance until the time is over; 1 where a promise was broken."""
    options = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    options.add_argument("--seconds", type=float, default=60.0, help="in all (default: 60)")
    names = [parser.name for parser in PARSERS]
    options.add_argument("parsers", metavar="PARSER", nargs="*", help=f"of {', '.join(names)}")
    chosen = options.parse_args(arguments)
    unknown = set(chosen.parsers) - set(names)
    if unknown:
        options.error(f"no such parser: {', '.join(sorted(unknown))}")
    parsers = [one for one in PARSERS if not chosen.parsers or one.name in chosen.parsers]
    broken = [one.name for one in parsers if not _run(one, chosen.seconds / len(parsers))]
    return 1 if broken else 0


def _run(parser: Parser, seconds: float) -> bool:
    """Fuzz one parser for so long; tell whether it kept its promise."""
    begun, tried = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        number = secrets.randbits(32)
        try:
            fuzz(parser, BATCH, number)
        except Exception as error:  # whatever it is, the parser did not promise it
            print(f"{parser.name}: FAILED with seed {number}", flush=True)
            sys.excepthook(type(error), error, error.__traceback__)
            return False
        tried += BATCH
    print(f"{parser.name}: {tried} inputs, no promise broken", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
