"""What may stand in `recordings.pattern`, and how it becomes a regular expression.

The expression is anchored, every part of it has a longest length and only one part (`{any}`)
takes arbitrary text, so a hostile file name costs no more than a few thousand steps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType

LONGEST_NAME = 255
"""Bytes in one component of a path (NAME_MAX)."""

ENGLISH = (
    "write text and fields such as {start:%Y%m%d-%H%M%S}, {end:%H%M%S…}, {channel}, {serial},"
    " {direction}, {phone}, {duration} (seconds) and {any} (ignored); each at most once;"
    " {{ and }} stand for braces"
)

PLAIN_FIELDS = MappingProxyType(
    {
        "channel": "[0-9]{1,9}",
        "serial": "[0-9]{1,9}",
        "direction": "[A-Za-z]{1,12}",
        # A word stands for a number that was not given: "unknown", "anonymous".
        "phone": "[0-9*#+]{0,40}|[A-Za-z]{1,20}",
        "duration": r"[0-9]{1,7}(?:\.[0-9]{1,6})?",
        "any": f"[^/]{{0,{LONGEST_NAME}}}?",
    }
)
TIME_FIELDS = frozenset({"start", "end"})

DIRECTIVES = MappingProxyType(
    {
        "Y": "[0-9]{4}",
        "y": "[0-9]{2}",
        "m": "[0-9]{2}",
        "d": "[0-9]{2}",
        "j": "[0-9]{3}",
        "H": "[0-9]{2}",
        "I": "[0-9]{2}",
        "M": "[0-9]{2}",
        "S": "[0-9]{2}",
        "f": "[0-9]{1,6}",
        "p": "[AaPp][Mm]",
        "a": "[A-Za-z]{3}",
        "A": "[A-Za-z]{6,9}",
        "b": "[A-Za-z]{3}",
        "B": "[A-Za-z]{3,9}",
        "z": "[+-][0-9]{2}:?[0-9]{2}|Z",
        "%": "%",
    }
)
"""strptime's directives that have one spelling each; week numbers and locale forms have not."""

UNIX_SECONDS = "%s"
"""Not strptime's: UNIX seconds, or milliseconds where there are 12 or 13 digits."""

_TOKEN = re.compile(r"(\{\{|\}\}|\{[^{}]*\}|\{|\})")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern, ready for use."""

    text: str
    expression: re.Pattern[str]
    components: int
    """How many components of a path, from its end, the expression is for."""
    time_formats: tuple[tuple[str, str], ...]
    """Field and its strptime format."""


def compile_pattern(text: str) -> Pattern:
    """Make a pattern ready. Raises ValueError with a sentence that says what is accepted."""
    expression: list[str] = []
    formats: dict[str, str] = {}
    seen: set[str] = set()
    for token in filter(None, _TOKEN.split(text)):
        if token in {"{", "}"}:
            raise ValueError(f"a {token} without its other half; {ENGLISH}")
        if token in {"{{", "}}"}:
            expression.append(re.escape(token[0]))
        elif token.startswith("{"):
            name, _, time_format = token[1:-1].partition(":")
            if name in seen:
                raise ValueError(f"{{{name}}} stands in it twice; {ENGLISH}")
            seen.add(name)
            if name in TIME_FIELDS:
                formats[name] = time_format
            expression.append(f"(?P<{name}>{_field(name, time_format)})")
        else:
            expression.append(re.escape(token))
    if not seen - {"any"}:
        raise ValueError(f"it reads nothing from a name; {ENGLISH}")
    return Pattern(
        text,
        re.compile("".join(expression)),
        1 + text.count("/"),
        tuple(formats.items()),
    )


def _field(name: str, time_format: str) -> str:
    if name in TIME_FIELDS:
        return _time(name, time_format)
    if name not in PLAIN_FIELDS:
        raise ValueError(f"{{{name}}} is no field; {ENGLISH}")
    if time_format:
        raise ValueError(f"{{{name}}} takes no format; {ENGLISH}")
    return PLAIN_FIELDS[name]


def _time(name: str, time_format: str) -> str:
    if not time_format:
        raise ValueError(f"{{{name}}} needs a format, as in {{{name}:%Y%m%d-%H%M%S}}; {ENGLISH}")
    if time_format == UNIX_SECONDS:
        return "[0-9]{1,13}"
    parts: list[str] = []
    directives: set[str] = set()
    characters = iter(time_format)
    for character in characters:
        if character != "%":
            parts.append(re.escape(character))
            continue
        directive = next(characters, "")
        if directive not in DIRECTIVES:
            raise ValueError(
                f"%{directive} in {{{name}:…}} can't be read from a name; there are"
                f" {' '.join('%' + known for known in DIRECTIVES)}, and %s alone for UNIX seconds"
            )
        if directive != "%" and directive in directives:
            raise ValueError(f"%{directive} stands twice in {{{name}:…}}; once is enough")
        directives.add(directive)
        parts.append(f"(?:{DIRECTIVES[directive]})")
    _complete(name, directives)
    return "".join(parts)


def _complete(name: str, directives: set[str]) -> None:
    day = "j" in directives or ("d" in directives and directives & {"m", "b", "B"})
    hour = "H" in directives or {"I", "p"} <= directives
    if not (directives & {"Y", "y"} and day and hour):
        raise ValueError(
            f"{{{name}:…}} needs a year, a month, a day and an hour, as in"
            f" {{{name}:%Y%m%d-%H%M%S}}; the folder may give a part of it, as in"
            f" {{{name}:%Y-%m-%d/%H%M%S}}"
        )
