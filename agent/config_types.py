"""Plain data into the sections of `agent.settings`: every mistake found, each in plain words."""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct, field
from msgspec.structs import FieldInfo, fields

from agent.config_text import Plain, key_path
from agent.config_words import accepted, found_words, metadata
from agent.language import Said, said, text_of
from agent.settings import Section, Unacceptable

SectionType = TypeVar("SectionType", bound=Section)
Kind = Any
"""A field's annotation as `agent.settings` writes it, such as `Text | None`."""

_FAILED = object()
_ALIKE = 0.4
"""How near a key must be (difflib's ratio) to be suggested; below it all keys are listed."""


class Unfit(Exception):
    """A text could not be replaced by what it stands for; the message is a sentence."""


class Problem(Struct, frozen=True):
    """One mistake in the configuration."""

    path: str
    """The key's path, such as `boards[0].baudrate`; "" for the whole file."""
    text: str
    """What stood there and what is accepted."""


class SectionReader(Struct):
    """Reads plain data into sections; `problems` holds what was wrong, in the file's order."""

    text_value: Callable[[str], str]
    """Replaces `${NAME}`; raises Unfit."""
    secret_value: Callable[[str], str]
    """The secret that a text is or names; raises Unfit."""
    problems: list[Problem] = field(default_factory=list)
    _found: dict[str, str] = field(default_factory=dict)

    def section(self, kind: type[SectionType], raw: Plain, path: str = "") -> SectionType | None:
        """Build one section; None where a problem was found in it."""
        built = self._value(kind, raw, path)
        return built if isinstance(built, kind) else None

    def _value(self, kind: Kind, raw: Plain, path: str) -> object:
        self._found[path] = found_words(raw, secret=_holds_secret(kind))
        alternatives = list(_alternatives(kind))
        if raw is None and len(alternatives) == 1 and _shape(alternatives[0]) is Section:
            raw = {}  # a section whose keys are all commented out
        fitting = [each for each in alternatives if _fits(_shape(each), raw)]
        if not fitting:
            return self._refuse(kind, path)
        if isinstance(raw, dict):
            bare = _bare(fitting[0])
            if _shape(fitting[0]) is Section:
                return self._keys(bare, raw, path)
            return self._names(bare, raw, path)
        if isinstance(raw, list):
            return self._items(fitting[0], raw, path)
        return None if raw is None else self._scalar(kind, raw, path)

    def _keys(self, kind: type[Section], raw: Mapping[str, Plain], path: str) -> object:
        known = {each.name: each for each in fields(kind)}
        before = len(self.problems)
        values: dict[str, object] = {}
        for key, value in raw.items():
            if key in known:
                values[key] = self._value(known[key].type, value, key_path(path, key))
            else:
                self._problem(key_path(path, key), _unknown(key, list(known)))
        for name, info in known.items():
            if name not in raw and (info.required or name in kind.required_beside(raw)):
                problem = said("missing; accepted: {accepted}", accepted=accepted(info.type))
                self._problem(key_path(path, name), problem)
        if len(self.problems) > before:
            return _FAILED
        try:
            return kind(**values)
        except Unacceptable as error:
            place = f"{path}.{error.key}" if path else error.key
            found = self._found.get(place) or _default_words(known.get(error.key))
            return self._problem(place, _found(found, error.accepted))

    def _names(self, kind: Kind, raw: Mapping[str, Plain], path: str) -> object:
        _, value_kind = get_args(kind)
        read = {key: self._value(value_kind, raw[key], key_path(path, key)) for key in raw}
        return _FAILED if _FAILED in read.values() else read

    def _items(self, kind: Kind, raw: list[Plain], path: str) -> object:
        for meta in metadata(kind):
            if len(raw) < (meta.min_length or 0) or len(raw) > (meta.max_length or len(raw)):
                self._found[path] = said("a list of {number}", number=len(raw))
                return self._refuse(kind, path)
        item_kind = get_args(_bare(kind))[0]
        read = [self._value(item_kind, raw[at], f"{path}[{at}]") for at in range(len(raw))]
        return _FAILED if any(each is _FAILED for each in read) else tuple(read)

    def _scalar(self, kind: Kind, raw: str, path: str) -> object:
        try:
            text = self.secret_value(raw) if _holds_secret(kind) else self.text_value(raw)
        except Unfit as error:
            return self._problem(path, text_of(error))
        try:
            value: object = msgspec.convert(text, kind, strict=False)
        except msgspec.ValidationError:
            return self._refuse(kind, path)
        if isinstance(value, float) and not math.isfinite(value):
            return self._refuse(kind, path)
        return value

    def _refuse(self, kind: Kind, path: str) -> object:
        return self._problem(path, _found(self._found[path], accepted(kind)))

    def _problem(self, path: str, text: str) -> object:
        self.problems.append(Problem(path, text))
        return _FAILED


def _alternatives(kind: Kind) -> Iterator[Kind]:
    origin: Any = get_origin(kind)
    if origin in {Union, types.UnionType}:
        for each in get_args(kind):
            yield from _alternatives(each)
    else:
        yield kind


def _bare(kind: Kind) -> Kind:
    origin: Any = get_origin(kind)
    return get_args(kind)[0] if origin is Annotated else kind


def _shape(kind: Kind) -> type | None:
    """What a kind looks like in a file: Section, dict, tuple, str for any scalar, None for null."""
    bare = _bare(kind)
    if bare is None or bare is types.NoneType:
        return None
    if isinstance(bare, type) and issubclass(bare, Section):
        return Section
    origin: Any = get_origin(bare)
    return origin if origin in (dict, tuple) else str


def _fits(shape: type | None, raw: Plain) -> bool:
    if isinstance(raw, dict):
        return shape in {Section, dict}
    if isinstance(raw, list):
        return shape is tuple
    return shape is (None if raw is None else str)


def _holds_secret(kind: Kind) -> bool:
    for each in _alternatives(kind):
        if any((meta.extra or {}).get("secret") for meta in metadata(each)):
            return True
        if _shape(each) is Section and any(
            _holds_secret(info.type) for info in fields(_bare(each))
        ):
            return True
        if _shape(each) in {dict, tuple} and any(map(_holds_secret, get_args(_bare(each)))):
            return True
    return False


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=_ALIKE)
    if near:
        return said("unknown key; did you mean {key}?", key=near[0])
    return said("unknown key; known here: {keys}", keys=", ".join(known))


def _default_words(info: FieldInfo | None) -> str:
    if info is None:
        return said("its default")
    return said("its default, {value}", value=str(info.default))


def _found(found: str, wanted: str) -> Said:
    return said("found {found}; accepted: {accepted}", found=found, accepted=wanted)
