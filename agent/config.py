"""Reads the configuration's file into `Settings`, or says in one line what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from agent.boards.driver import BadOption, UnknownDriver, find_driver
from agent.config_text import (
    MOST_BYTES,
    Document,
    Unreadable,
    key_path,
    parse,
    read_bounded,
    unusable_character,
)
from agent.config_types import Problem, SectionReader, Unfit
from agent.language import Said, said, text_of
from agent.recordings.patterns import compile_pattern
from agent.settings import Board, Recordings, Settings
from agent.text import printable

INSTALLED_PATH = Path("/etc/smarttel-agent/config.yaml")
PATH_VARIABLE = "SMARTTEL_CONFIG"

MOST_SECRET_BYTES = 64 * 1024
"""Size of a secret's file; a password's digest has 32 bytes, a token some thousand."""

_FILE = "file:"
_NOT_READ = "0" * 32
_REFERENCE = re.compile(r"\$(?P<escaped>\$\{)|\$\{(?P<name>[^}]*)(?P<end>\})?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ConfigError(Exception):
    """The configuration cannot be used; `str()` is one readable line."""

    def __init__(self, path: Path, problems: tuple[str, ...]) -> None:
        self.lines = tuple(
            said("{path}: {problem}", path=str(path), problem=problem) for problem in problems
        )
        """Every problem found, one line each."""
        more = len(problems) - 1
        first = self.lines[0]
        if more:
            first = said(
                "{line} ({number} more: see smarttel-agent check)", line=first, number=more
            )
        super().__init__(first)


def default_path(environment: Mapping[str, str]) -> Path:
    """Return where the configuration is looked for when no `--config` names it."""
    named = environment.get(PATH_VARIABLE)
    return Path(named) if named else INSTALLED_PATH


def load(path: Path, environment: Mapping[str, str], *, secrets: bool = True) -> Settings:
    """Read and check the file at `path`. Raises ConfigError.

    `secrets=False` is for commands that only look at this machine: what may be secret is checked
    for its type, but neither a secret's file nor its environment variable has to be readable by
    the one who asks, and the value that `Settings` then holds is of no use to sign in with.
    """
    try:
        document = parse(read_bounded(path, MOST_BYTES))
    except Unreadable as error:
        raise ConfigError(path, (text_of(error),)) from None
    secret_value = (
        partial(_secret, environment=environment, folder=path.parent) if secrets else _no_secret
    )
    reader = SectionReader(partial(_expanded, environment=environment), secret_value)
    settings = reader.section(Settings, document.data)
    problems = reader.problems
    if settings is not None:
        problems = [*_recordings_problems(settings.recordings), *_driver_problems(settings)]
    if settings is None or problems:
        raise ConfigError(path, tuple(_located(problem, document) for problem in problems))
    return settings


def _located(problem: Problem, document: Document) -> str:
    line = document.lines.get(problem.path)
    place = problem.path or said("the whole file")
    if line is None or not problem.path:
        return said("{place}: {problem}", place=place, problem=problem.text)
    return said("line {line}: {place}: {problem}", line=line, place=place, problem=problem.text)


def _recordings_problems(section: Recordings) -> Iterator[Problem]:
    single = isinstance(section.pattern, str)
    for index, pattern in enumerate(section.patterns):
        try:
            compile_pattern(pattern)
        except ValueError as error:
            place = "recordings.pattern" if single else f"recordings.pattern[{index}]"
            yield Problem(place, said("found '{value}'; {why}", value=pattern, why=text_of(error)))


def _driver_problems(settings: Settings) -> Iterator[Problem]:
    for index, board in enumerate(settings.boards):
        place = f"boards[{index}].driver"
        try:
            yield from _option_problems(board, f"boards[{index}].options")
        except UnknownDriver as error:
            yield Problem(place, text_of(error))
        except Exception as error:  # a driver of another package may fail in any way
            reason = printable(f"{type(error).__name__}: {error}")
            yield Problem(
                place,
                said(
                    "the driver '{driver}' is installed but cannot be loaded: {why}; install its"
                    " package anew",
                    driver=board.driver,
                    why=reason,
                ),
            )


def _option_problems(board: Board, place: str) -> Iterator[Problem]:
    driver = find_driver(board.driver)
    try:
        driver.check_options(board.options)
    except BadOption as error:
        yield Problem(key_path(place, error.key), _one_line(error.problem))
    except ValueError as error:
        yield Problem(place, _one_line(text_of(error)))


def _one_line(text: str) -> str:
    return text if isinstance(text, Said) else printable(text)


def _expanded(text: str, environment: Mapping[str, str]) -> str:
    def value(reference: re.Match[str]) -> str:
        if reference["escaped"]:
            return "${"
        name = reference["name"]
        if reference["end"] is None or not _VARIABLE.fullmatch(name):
            raise Unfit(
                said(
                    "found '${{{name}', which names no environment variable; accepted: ${{NAME}},"
                    " or $${{ for the two characters themselves",
                    name=name,
                )
            )
        if name not in environment:
            raise Unfit(
                said(
                    "found ${{{name}}}, but the environment has no {name}; set it where the agent"
                    " is started (EnvironmentFile= of the unit), or write the value here",
                    name=name,
                )
            )
        if unusable_character(environment[name]) is not None:
            raise Unfit(
                said("the environment's {name} holds a control character; take it out", name=name)
            )
        return environment[name]

    return _REFERENCE.sub(value, text)


def _secret(text: str, environment: Mapping[str, str], folder: Path) -> str:
    expanded = _expanded(text, environment)
    if not expanded.startswith(_FILE):
        return expanded
    # Relative to the configuration, so that it means the same wherever the agent is started.
    path = folder / expanded.removeprefix(_FILE)
    try:
        secret = read_bounded(path, MOST_SECRET_BYTES).decode("utf-8").strip()
    except Unreadable as error:
        raise Unfit(_in_secret(path, text_of(error))) from None
    except UnicodeDecodeError:
        raise Unfit(_in_secret(path, said("it is not UTF-8 text"))) from None
    if not secret:
        raise Unfit(_in_secret(path, said("it is empty")))
    return secret


def _in_secret(path: Path, why: str) -> Said:
    return said("the secret's file {path}: {why}", path=str(path), why=why)


def _no_secret(_text: str) -> str:
    return _NOT_READ
