"""Reading a driver's own options: each out of a file is text, and says in words what it accepts."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from agent.boards.driver import BadOption, OptionValue
from agent.language import said
from agent.text import printable

_YES = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_MOST_SHOWN = 80


def known(options: Mapping[str, OptionValue], keys: Collection[str]) -> None:
    """Raise BadOption where an option is none of `keys`."""
    for key in options:
        if key not in keys:
            raise BadOption(key, said("unknown option; known here: {keys}", keys=", ".join(keys)))


def seconds(
    options: Mapping[str, OptionValue], key: str, default: float, least: float, most: float
) -> float:
    """Return a number of seconds from `least` to `most`. Raises BadOption."""
    value = options.get(key, default)
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        wanted = said(
            "a number of seconds from {lowest} to {highest}",
            lowest=f"{least:g}",
            highest=f"{most:g}",
        )
        raise _refused(key, value, wanted)
    return number


def choice(
    options: Mapping[str, OptionValue], key: str, default: str, choices: Collection[str]
) -> str:
    """Return one of `choices`. Raises BadOption."""
    value = options.get(key, default)
    if value not in choices:
        raise _refused(key, value, said("one of {values}", values=", ".join(choices)))
    return str(value)


def yes_or_no(options: Mapping[str, OptionValue], key: str, default: bool) -> bool:
    """Return whether something is wanted. Raises BadOption."""
    value = options.get(key, default)
    wanted = value if isinstance(value, bool) else _YES.get(str(value).lower())
    if wanted is None:
        raise _refused(key, value, said("yes or no"))
    return wanted


def _refused(key: str, value: OptionValue, accepted: str) -> BadOption:
    found = said("'{value}'", value=printable(str(value), _MOST_SHOWN))
    return BadOption(
        key, said("found {found}; accepted: {accepted}", found=found, accepted=accepted)
    )
