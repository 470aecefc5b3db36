"""What stands in a configuration and what would be accepted, in words for the one who edits it."""

from __future__ import annotations

import re
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from msgspec import Meta
from msgspec.structs import fields

from agent.config_text import Plain
from agent.settings import Section
from agent.text import printable

MOST_SHOWN = 80
"""Characters of a value that an error shows; enough to find it by."""

_URL_ACCOUNT = re.compile(r"://[^/@\s]*@")
_URL_QUERY = re.compile(r"\?[^\s?]*=.*", re.DOTALL)


def found_words(raw: Plain, *, secret: bool) -> str:
    """Name what stands in the file, without what a secret says or a list or mapping holds."""
    if raw is None:
        return "nothing"
    if isinstance(raw, list):
        return "a list"
    if isinstance(raw, dict):
        return "a mapping"
    if secret:
        return "a value that is not shown, as it may be secret"
    shown = _URL_QUERY.sub("?…", _URL_ACCOUNT.sub("://…@", raw))
    return f"'{printable(shown, MOST_SHOWN)}'"


def accepted(kind: Any) -> str:
    """Say what a field's annotation accepts, such as "a whole number from 1 to 99"."""
    if get_origin(kind) in {Union, types.UnionType}:
        words = [accepted(each) for each in get_args(kind)]
        return " or ".join(dict.fromkeys(words))
    metas = metadata(kind)
    described = next((meta.description for meta in metas if meta.description), None)
    return described or _undescribed(kind, metas)


def metadata(kind: Any) -> tuple[Meta, ...]:
    """Limits and marks that an annotation carries."""
    if get_origin(kind) is not Annotated:
        return ()
    return tuple(each for each in get_args(kind)[1:] if isinstance(each, Meta))


def _undescribed(kind: Any, metas: tuple[Meta, ...]) -> str:
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    origin = get_origin(bare)
    if bare in _SIMPLE:
        return _SIMPLE[bare] + "".join(map(_limits, metas))
    if origin is Literal:
        return "one of " + ", ".join(map(str, get_args(bare)))
    if origin is tuple:
        return f"a list{''.join(map(_count, metas))}, each {accepted(get_args(bare)[0])}"
    if origin is dict:
        return f"a mapping of names to {accepted(get_args(bare)[1])}"
    if isinstance(bare, type) and issubclass(bare, Section):
        return "a section with " + ", ".join(each.name for each in fields(bare))
    return str(bare)


_SIMPLE: dict[Any, str] = {
    None: "null",
    types.NoneType: "null",
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def _limits(meta: Meta) -> str:
    if meta.min_length is not None or meta.max_length is not None:
        return _count(meta) + " characters"
    lowest = meta.ge if meta.ge is not None else meta.gt
    if lowest is None:
        return f", at most {meta.le}" if meta.le is not None else ""
    if meta.ge is not None:
        return f" from {lowest} to {meta.le}" if meta.le is not None else f", {lowest} or more"
    return f" above {lowest}" + (f", at most {meta.le}" if meta.le is not None else "")


def _count(meta: Meta) -> str:
    if meta.max_length is None:
        return f" of at least {meta.min_length}"
    return f" of {meta.min_length or 0} to {meta.max_length}"
