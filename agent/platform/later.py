"""Libraries that requests loads at once and needs hardly ever: they are loaded when first used.

charset_normalizer (3 MiB) guesses the encoding of text that does not name its own, idna (1 MiB)
spells host names in other scripts. Answers are read as bytes here, and a host name is mostly ASCII.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

SELDOM: Mapping[str, str] = {"charset_normalizer": "3.0.0", "chardet": "5.0.0", "idna": "3.0"}
"""By name, the version that is told while it is not loaded: one that every requests takes."""


class _Later(ModuleType):
    """Stands in for a module until something is asked of it."""

    def __init__(self, spec: ModuleSpec, version: str) -> None:
        super().__init__(spec.name)
        self.__spec__ = spec
        self.__path__ = spec.submodule_search_locations or []
        self.__version__ = version

    def __getattr__(self, attribute: str) -> Any:
        # The import system asks for such names, and so does whoever looks through all modules.
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        part = f"{self.__name__}.{attribute}"
        if find_spec(part) is not None:
            return import_module(part)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), attribute)


def load_later(libraries: Mapping[str, str] = SELDOM) -> None:
    """Put off these libraries, as far as they are installed and not loaded yet."""
    for name, version in libraries.items():
        spec = None if name in sys.modules else find_spec(name)
        if spec is not None:
            sys.modules[name] = _Later(spec, version)
