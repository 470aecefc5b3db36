"""What may stand in `recordings.pattern`, and how it becomes a regular expression.

The expression is anchored, every part of it has a longest length and only one part (`{any}`)
takes arbitrary text, so a hostile file name costs no more than a few thousand steps.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from msgspec import Struct

from agent.language import Said, said

LONGEST_NAME = 255
"""Bytes in one component of a path (NAME_MAX)."""

ACCEPTED = said(
    "write text and fields such as {{start:%Y%m%d-%H%M%S}}, {{end:%H%M%S…}}, {{channel}},"
    " {{serial}}, {{direction}}, {{phone}}, {{duration}} (seconds) and {{any}} (ignored); each at"
    " most once; {{{{ and }}}} stand for braces"
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


class Pattern(Struct, frozen=True):
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
            raise _refused(said("a {field} without its other half", field=token))
        if token in {"{{", "}}"}:
            expression.append(re.escape(token[0]))
        elif token.startswith("{"):
            name, _, time_format = token[1:-1].partition(":")
            if name in seen:
                raise _refused(said("{field} stands in it twice", field=_shown(name)))
            seen.add(name)
            if name in TIME_FIELDS:
                formats[name] = time_format
            expression.append(f"(?P<{name}>{_field(name, time_format)})")
        else:
            expression.append(re.escape(token))
    if not seen - {"any"}:
        raise _refused(said("it reads nothing from a name"))
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
        raise _refused(said("{field} is no field", field=_shown(name)))
    if time_format:
        raise _refused(said("{field} takes no format", field=_shown(name)))
    return PLAIN_FIELDS[name]


def _time(name: str, time_format: str) -> str:
    if not time_format:
        raise _refused(
            said(
                "{field} needs a format, as in {example}",
                field=_shown(name),
                example=_shown(f"{name}:%Y%m%d-%H%M%S"),
            )
        )
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
                said(
                    "%{directive} in {field} can't be read from a name; there are {directives}, and"
                    " %s alone for UNIX seconds",
                    directive=directive,
                    field=_shown(f"{name}:…"),
                    directives=" ".join("%" + known for known in DIRECTIVES),
                )
            )
        if directive != "%" and directive in directives:
            raise ValueError(
                said(
                    "%{directive} stands twice in {field}; once is enough",
                    directive=directive,
                    field=_shown(f"{name}:…"),
                )
            )
        directives.add(directive)
        parts.append(f"(?:{DIRECTIVES[directive]})")
    _complete(name, directives)
    return "".join(parts)


def _complete(name: str, directives: set[str]) -> None:
    day = "j" in directives or ("d" in directives and directives & {"m", "b", "B"})
    hour = "H" in directives or {"I", "p"} <= directives
    if not (directives & {"Y", "y"} and day and hour):
        raise ValueError(
            said(
                "{field} needs a year, a month, a day and an hour, as in {example}; the folder may"
                " give a part of it, as in {folder}",
                field=_shown(f"{name}:…"),
                example=_shown(f"{name}:%Y%m%d-%H%M%S"),
                folder=_shown(f"{name}:%Y-%m-%d/%H%M%S"),
            )
        )


def _shown(field: str) -> str:
    return "{" + field + "}"


def _refused(words: Said) -> ValueError:
    return ValueError(said("{words}; {accepted}", words=words, accepted=ACCEPTED))
