"""The configuration as a support bundle may show it, and every secret that stands in it.

What the schema in `agent.settings` knows as plain is shown as it stands in the file; what it does
not know, and what may be secret, is removed rather than shown. It works on the file's plain data,
so a configuration that the agent refuses is shown as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Meta, Struct, field
from msgspec.structs import fields

from agent.commands.report_scrub import REMOVED
from agent.config import MOST_SECRET_BYTES
from agent.config_text import Plain, Unreadable, read_bounded
from agent.settings import Section, Settings
from agent.status import shown_url

PUBLIC = frozenset({"upload_record"})
"""Values that PROTOCOL.md itself gives for what may be secret elsewhere: to take them out of every
text would hide the method and the URL."""
SHORTEST_UNKNOWN = 6
"""Characters from which on the value of an unknown key is taken for a secret wherever it stands:
`pasword: hunter22` is one, `levle: info` is not."""
MOST_FILES = 100
"""Secrets' files that are read."""

_HIDDEN = frozenset({"platform.query", "platform.account.user"})
"""Paths of values that are removed though their type calls them plain."""
_OPTIONS = "boards.options"
"""Values that only a driver understands: shown where they can be no secret."""
_HARMLESS = re.compile(r"[0-9.]{1,6}|true|false|yes|no|on|off|null|[A-Za-z]", re.I)
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_FILE_PREFIX = "file:"
_FILE = re.compile(r"\bfile:([^\s\"'#,}\]]+)")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"']+")
_KEYED = re.compile(
    r"\b(?:user|pass\w*|secret|token|key)\w*[\"']?\s*[:=]\s*[\"']?([^\s\"',#}]+)", re.I
)


class ShownConfiguration(Struct):
    """Walks a configuration once; then `secrets` holds what no text of the bundle may hold."""

    environment: Mapping[str, str]
    folder: Path
    """Where the file lies: paths of secrets' files begin there."""
    secrets: set[str] = field(default_factory=set)
    _files: int = 0

    def shown(self, document: Plain) -> Plain:
        """Return the document without what is or may be secret."""
        return self._section(Settings, document, "")

    def collect(self, text: str) -> None:
        """Take note of what is secret in a file that is no YAML, as far as its text tells."""
        self._collect_references(text)
        for url in _URL.findall(text):
            self._collect_url(self._expanded(url))
        self.secrets.update(_KEYED.findall(text))

    def _section(self, kind: type[Section], raw: Plain, path: str) -> Plain:
        if not isinstance(raw, dict):
            return None if raw is None else self._unknown(raw)
        known = {each.name: each.type for each in fields(kind)}
        shown: dict[str, Plain] = {
            key: self._value(known[key], value, f"{path}.{key}".lstrip("."))
            for key, value in raw.items()
            if key in known
        }
        unknown = [self._unknown(value) for key, value in raw.items() if key not in known]
        if unknown:
            # The key's name too may be a secret in the wrong place.
            shown["(unknown keys)"] = f"[{len(unknown)} removed]"
        return shown

    def _value(self, kind: Any, raw: Plain, path: str) -> Plain:
        section = next(_sections(kind), None)
        if section is not None:
            if isinstance(raw, list):
                return [self._section(section, each, path) for each in raw]
            return self._section(section, raw, path)
        secret = path in _HIDDEN or _is_secret(kind)
        if isinstance(raw, dict):
            return {
                # A parameter without a value is one itself.
                key if value or not secret else self._hidden(key): self._leaf(
                    value, path, secret=secret
                )
                for key, value in raw.items()
            }
        if isinstance(raw, list):
            return [self._leaf(value, path, secret=secret) for value in raw]
        return self._leaf(raw, path, secret=secret)

    def _leaf(self, raw: Plain, path: str, *, secret: bool) -> Plain:
        if raw is None or raw == "auto":
            return raw
        if not isinstance(raw, str):
            return self._unknown(raw)
        self._collect_references(raw)
        if secret or (path == _OPTIONS and not _HARMLESS.fullmatch(raw)):
            return self._hidden(raw)
        if "://" in raw:
            self._collect_url(self._expanded(raw))
            return _shown_url(raw)
        return raw

    def _hidden(self, raw: str) -> str:
        """Remove a value; what only says where the secret stands is shown."""
        if raw.startswith(_FILE_PREFIX) or _REFERENCE.fullmatch(raw):
            return raw
        if raw not in PUBLIC:
            self.secrets.update({raw, self._expanded(raw)})
        return REMOVED

    def _unknown(self, raw: Plain) -> str:
        for text in _texts(raw):
            self._collect_references(text)
            if len(text) >= SHORTEST_UNKNOWN:
                self.secrets.add(text)
        return REMOVED

    def _collect_references(self, text: str) -> None:
        for name in _REFERENCE.findall(text):
            if name in self.environment:
                self.secrets.add(self.environment[name])
        expanded = self._expanded(text)
        if expanded.startswith(_FILE_PREFIX):
            self._collect_file(expanded.removeprefix(_FILE_PREFIX))
        for named in _FILE.findall(expanded):
            self._collect_file(named)

    def _collect_file(self, named: str) -> None:
        self._files += 1
        if self._files <= MOST_FILES:
            try:
                content = read_bounded(self.folder / named, MOST_SECRET_BYTES)
            except (Unreadable, ValueError):
                # Whoever may not read the secret has none to give away but by the log.
                return
            self.secrets.add(content.decode("utf-8", "replace").strip())

    def _collect_url(self, url: str) -> None:
        try:
            parts = urlsplit(url)
        except ValueError:
            self.secrets.add(url)
            return
        account = parts.netloc.rpartition("@")[0]
        if account:
            user, _, password = account.partition(":")
            self.secrets.update({account, user, password, unquote(user), unquote(password)})
            self.secrets.add(f"{unquote(user)}:{unquote(password)}")
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        values = {value or name for name, value in pairs} | {parts.query, parts.fragment}
        self.secrets |= values - PUBLIC

    def _expanded(self, text: str) -> str:
        return _REFERENCE.sub(lambda found: self.environment.get(found[1], found[0]), text)


def references(text: str) -> set[str]:
    """Names of the environment's variables that a configuration's text refers to."""
    return set(_REFERENCE.findall(text))


def _shown_url(raw: str) -> str:
    try:
        shown = shown_url(raw)
    except ValueError:
        return REMOVED
    return f"{shown}?{REMOVED}" if "?" in raw else shown


def _sections(kind: Any) -> Iterator[type[Section]]:
    if isinstance(kind, type) and issubclass(kind, Section):
        yield kind
    elif get_origin(kind) is Annotated:
        yield from _sections(get_args(kind)[0])
    else:
        for each in get_args(kind):
            yield from _sections(each)


def _is_secret(kind: Any) -> bool:
    if get_origin(kind) is Annotated:
        bare, *notes = get_args(kind)
        marked = any((note.extra or {}).get("secret") for note in notes if isinstance(note, Meta))
        return marked or _is_secret(bare)
    return any(map(_is_secret, get_args(kind)))


def _texts(raw: Plain) -> Iterable[str]:
    if isinstance(raw, str):
        yield raw
    elif isinstance(raw, dict):
        for key, value in raw.items():
            yield key
            yield from _texts(value)
    elif isinstance(raw, list):
        for value in raw:
            yield from _texts(value)
