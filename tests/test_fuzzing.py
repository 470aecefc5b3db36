"""Every parser of foreign bytes keeps its promise: the plain suite's share of the fuzzing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fuzz_engine import Parser, check, fuzz
from tests.fuzz_parsers import PARSERS
from tests.fuzzing import main

EXAMPLES = 100
"""Inputs for each parser besides its samples: some three seconds in all."""
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("parser", PARSERS, ids=[parser.name for parser in PARSERS])
def test_a_parser_of_foreign_bytes_keeps_its_promise(parser: Parser) -> None:
    fuzz(parser, EXAMPLES)


def test_a_parser_that_raises_what_it_did_not_promise_is_found() -> None:
    def careless(data: bytes) -> None:
        if b"-" in data:
            float(data)

    with pytest.raises(ValueError, match="convert"):
        fuzz(Parser("careless", (b"120", b"--5"), careless, (1000, 0)), 10)


def test_a_parser_that_takes_ever_more_steps_is_found() -> None:
    def slow(data: bytes) -> None:
        for first in range(len(data)):
            for second in range(first):
                max(data[first], data[second])

    parser = Parser("slow", (b"x",), slow, (100, 10))
    check(parser, b"x" * 10)
    with pytest.raises(AssertionError, match="at most 1100 are promised"):
        check(parser, b"x" * 100)


def test_the_command_fuzzes_the_parsers_it_is_told_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "0.05", "hours"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("hours: ")
    assert told.count("\n") == 1
    assert " no promise broken" in told


def test_the_command_refuses_a_parser_that_is_not_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["nothing"])
    assert refused.value.code == 2
    assert "no such parser: nothing" in capsys.readouterr().err


def test_the_command_stands_in_scripts() -> None:
    script = ROOT / "scripts" / "fuzz"
    assert script.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", script], check=True)
