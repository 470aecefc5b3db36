"""What stands in a configuration and what would be accepted, in words for the one who edits it."""

from __future__ import annotations

import re
import types
from functools import reduce
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from msgspec import Meta
from msgspec.structs import fields

from agent.config_text import Plain
from agent.language import Said, marked, said
from agent.settings import Section
from agent.text import printable

MOST_SHOWN = 80
"""Characters of a value that an error shows; enough to find it by."""

_URL_ACCOUNT = re.compile(r"://[^/@\s]*@")
_URL_QUERY = re.compile(r"\?[^\s?]*=.*", re.DOTALL)


def found_words(raw: Plain, *, secret: bool) -> Said:
    """Name what stands in the file, without what a secret says or a list or mapping holds."""
    if raw is None:
        return said("nothing")
    if isinstance(raw, list):
        return said("a list")
    if isinstance(raw, dict):
        return said("a mapping")
    if secret:
        return said("a value that is not shown, as it may be secret")
    shown = _URL_QUERY.sub("?…", _URL_ACCOUNT.sub("://…@", raw))
    return said("'{value}'", value=printable(shown, MOST_SHOWN))


def accepted(kind: Any) -> Said:
    """Say what a field's annotation accepts, such as "a whole number from 1 to 99".

    A description in its metadata is a message as `said` takes it, braces doubled.
    """
    if get_origin(kind) in {Union, types.UnionType}:
        words = dict.fromkeys(accepted(each) for each in get_args(kind))
        return reduce(lambda one, other: said("{one} or {other}", one=one, other=other), words)
    metas = metadata(kind)
    described = next((meta.description for meta in metas if meta.description), None)
    return said(described) if described else _undescribed(kind, metas)


def metadata(kind: Any) -> tuple[Meta, ...]:
    """Limits and marks that an annotation carries."""
    if get_origin(kind) is not Annotated:
        return ()
    return tuple(each for each in get_args(kind)[1:] if isinstance(each, Meta))


def _undescribed(kind: Any, metas: tuple[Meta, ...]) -> Said:
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    origin = get_origin(bare)
    if bare in _SIMPLE:
        return reduce(_limited, metas, said(_SIMPLE[bare]))
    if origin is Literal:
        return said("one of {values}", values=", ".join(map(str, get_args(bare))))
    if origin is tuple:
        several = reduce(_counted, metas, said("a list"))
        return said("{several}, each {item}", several=several, item=accepted(get_args(bare)[0]))
    if origin is dict:
        return said("a mapping of names to {item}", item=accepted(get_args(bare)[1]))
    if isinstance(bare, type) and issubclass(bare, Section):
        keys = ", ".join(each.name for each in fields(bare))
        return said("a section with {keys}", keys=keys)
    return said("{kind}", kind=str(bare))


_SIMPLE: dict[Any, str] = {
    None: marked("null"),
    types.NoneType: marked("null"),
    str: marked("text"),
    int: marked("a whole number"),
    float: marked("a number"),
    bool: marked("true or false"),
}


def _limited(kind: Said, meta: Meta) -> Said:
    if meta.min_length is not None or meta.max_length is not None:
        return said("{kind} characters", kind=_counted(kind, meta))
    lowest = meta.ge if meta.ge is not None else meta.gt
    limits = {"lowest": str(lowest), "highest": str(meta.le)}
    form = _FORMS[meta.ge is not None, meta.gt is not None, meta.le is not None]
    return Said(form, {"kind": kind, **limits})


_FORMS = {
    (False, False, False): "{kind}",
    (False, False, True): marked("{kind}, at most {highest}"),
    (True, False, True): marked("{kind} from {lowest} to {highest}"),
    (True, False, False): marked("{kind}, {lowest} or more"),
    (False, True, False): marked("{kind} above {lowest}"),
    (False, True, True): marked("{kind} above {lowest}, at most {highest}"),
}
"""By whether there is a `ge`, a `gt`, a `le`; no field has the first two."""


def _counted(kind: Said, meta: Meta) -> Said:
    least = meta.min_length or 0
    if meta.max_length is None:
        return said("{kind} of at least {number}", kind=kind, number=least)
    return said("{kind} of {least} to {most}", kind=kind, least=least, most=meta.max_length)
