"""The configuration's file as plain data: bounded reading, and YAML that guesses nothing.

Every scalar but null stays the text that stands in the file; the types in `agent.settings` say
what it means. So a MAC address is never a base-60 number, `no` is never false, and a password
hash of digits keeps its leading zeros.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

import yaml
from msgspec import Struct, field

from agent.language import Said, said
from agent.system_words import system_words
from agent.text import printable

Plain = None | str | list["Plain"] | dict[str, "Plain"]
"""What a file can say: nothing, text, a list, a mapping of names."""

MOST_BYTES = 1024 * 1024
"""Size of a configuration file; 32 boards fill 5 KiB, so a larger file is some other file."""
MOST_VALUES = 10_000
"""Values after aliases are followed, so that a few lines of aliases cannot fill the memory."""
MOST_DEPTH = 16
"""Levels of nesting; the configuration itself has four."""

_NULL = "tag:yaml.org,2002:null"
_STRING = "tag:yaml.org,2002:str"
_LIST = "tag:yaml.org,2002:seq"
_MAPPING = "tag:yaml.org,2002:map"
_LONGEST_KEY_SHOWN = 60


class Unreadable(Exception):
    """The file cannot be taken as plain data; the message is a sentence without the file's name."""


class Document(Struct, frozen=True):
    """A file's content."""

    data: Plain
    lines: dict[str, int]
    """Line, counted from 1, on which each key's value begins; by path, such as `boards[0].port`."""


def key_path(parent: str, key: str) -> str:
    """Path of a key within the section at `parent`; "" is the whole file."""
    shown = printable(key, _LONGEST_KEY_SHOWN)
    return f"{parent}.{shown}" if parent else shown


def read_bounded(path: Path, most: int) -> bytes:
    """Read a regular file of at most `most` bytes. Raises Unreadable."""
    try:
        # Not to block for ever where a pipe stands in the file's place.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Unreadable(said("it is not a regular file"))
            content = file.read(most + 1)
    except FileNotFoundError:
        raise Unreadable(said("there is no such file")) from None
    except IsADirectoryError:
        raise Unreadable(said("it is a directory, not a file")) from None
    except PermissionError:
        raise Unreadable(said("user {user} may not read it", user=user_name())) from None
    except (OSError, ValueError) as error:
        why = system_words(error)
        raise Unreadable(said("it cannot be read: {why}", why=why)) from None
    if len(content) > most:
        raise Unreadable(said("it is larger than {number} KiB", number=most // 1024))
    return content


def parse(content: bytes) -> Document:
    """Take a file's bytes as one YAML document. Raises Unreadable, with line and column."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Unreadable(_at(line, said("it is not UTF-8 text"))) from None
    node = _compose(text)
    if node is None:
        raise Unreadable(
            said("it is empty; at least platform, boards and recordings must stand in it")
        )
    reader = _Reader()
    return Document(reader.plain(node, "", 1), reader.lines)


def _compose(text: str) -> yaml.Node | None:
    try:
        loader = _TextLoader(text)
        try:
            node: yaml.Node | None = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise Unreadable(_syntax(error)) from None
    except yaml.reader.ReaderError as error:
        raise Unreadable(_unprintable(text, error)) from None
    except RecursionError:
        words = said("it is nested deeper than {number} levels", number=MOST_DEPTH)
        raise Unreadable(words) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise Unreadable(said("it is not YAML: {why}", why=str(error))) from None
    return node


class _TextLoader(yaml.SafeLoader):
    """Knows null and text only."""


# PyYAML finds a plain scalar's type by its first character in this table.
_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag == _NULL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Reader(Struct):
    """Walks a composed document once."""

    lines: dict[str, int] = field(default_factory=dict)
    values: int = 0

    def plain(self, node: yaml.Node, path: str, depth: int) -> Plain:
        line = node.start_mark.line + 1
        self.values += 1
        if depth > MOST_DEPTH:
            words = said("nested deeper than {number} levels", number=MOST_DEPTH)
            raise Unreadable(_at(line, words))
        if self.values > MOST_VALUES:
            raise Unreadable(
                _at(line, said("more than {number} values, aliases followed", number=MOST_VALUES))
            )
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode) and node.tag == _MAPPING:
            return dict(self._pairs(node, path, depth))
        if isinstance(node, yaml.SequenceNode) and node.tag == _LIST:
            return [
                self.plain(item, f"{path}[{index}]", depth + 1)
                for index, item in enumerate(node.value)
            ]
        if isinstance(node, yaml.ScalarNode) and node.tag in {_NULL, _STRING}:
            return None if node.tag == _NULL else _usable(node.value, line)
        tag = printable(node.tag.replace("tag:yaml.org,2002:", "!!"), _LONGEST_KEY_SHOWN)
        raise Unreadable(
            _at(line, said("the tag {tag} has no meaning here; write the value alone", tag=tag))
        )

    def _pairs(self, node: yaml.MappingNode, path: str, depth: int) -> Iterator[tuple[str, Plain]]:
        first_lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _STRING:
                raise Unreadable(_at(line, said("a key must be a name, followed by a colon")))
            key = _usable(key_node.value, line)
            if key in first_lines:
                raise Unreadable(
                    _at(
                        line,
                        said(
                            "the key {key} stands here a second time, the first is on line {first};"
                            " keep one",
                            key=key_path(path, key),
                            first=first_lines[key],
                        ),
                    )
                )
            first_lines[key] = line
            self.lines.setdefault(key_path(path, key), line)
            yield key, self.plain(value_node, key_path(path, key), depth + 1)


def unusable_character(text: str) -> str | None:
    """Name the first character that no value may hold: a control or half a surrogate pair."""
    for character in text:
        if character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff":
            return printable(character)
    return None


def _usable(text: str, line: int) -> str:
    character = unusable_character(text)
    if character is not None:
        raise Unreadable(
            _at(
                line,
                said(
                    "the text holds the control character {character}; take it out",
                    character=character,
                ),
            )
        )
    return text


def _syntax(error: yaml.MarkedYAMLError) -> Said:
    mark = error.problem_mark or error.context_mark
    words = said("not YAML: {why}", why=error.problem or error.context or "unreadable")
    return _at(mark.line + 1, words, mark.column + 1) if mark else words


def _unprintable(text: str, error: yaml.reader.ReaderError) -> Said:
    before = text[: error.position]
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    words = said(
        "the control character {character} may not stand here",
        character=text[error.position : error.position + 1],
    )
    return _at(line, words, column)


def _at(line: int, words: Said, column: int | None = None) -> Said:
    if column is None:
        return said("line {line}: {words}", line=line, words=words)
    return said("line {line}, column {column}: {words}", line=line, column=column, words=words)


def user_name() -> str:
    """Name the user whose permissions count, for a sentence about them."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
