"""Catalogues of messages, collected from the code and compiled: scripts/translate.

Babel does the reading and writing; it is needed by whoever changes a message, never on the box.
"""

from __future__ import annotations

import argparse
import ast
import io
import string
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from agent.language import CATALOGUES, CHINESE, DOMAIN

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "agent"
PO = CATALOGUES / CHINESE / "LC_MESSAGES" / f"{DOMAIN}.po"
UNDATED = datetime(2024, 1, 1, tzinfo=UTC)
HEADER = """\
# Simplified Chinese for smarttel-agent. scripts/translate brings this file up to date.
msgid ""
msgstr ""
"Language: zh_CN\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: nplurals=1; plural=0;\\n"

"""
"""Without dates and versions: what is written depends on the messages alone."""
KEYWORDS = {"say": 1, "marked": 1, "said": 1, "count": 2, "counted": 2}
"""Functions that take messages, and how many: two are a singular and its plural."""
SILENT = "simulation"
"""The folder whose commands are for integrators, in English."""


def calls(sources: Path = SOURCES) -> Iterator[tuple[Path, ast.Call, tuple[str, ...]]]:
    """Every call that says a literal message: its file, the call, and one message or both forms.

    Not by Babel's own reader, which takes `count(b"...")` of bytes for one and fails on it.
    """
    for path in sorted(sources.rglob("*.py")):
        if SILENT in path.relative_to(sources).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and (found := _messages(node)):
                yield path, node, found


def _messages(call: ast.Call) -> tuple[str, ...]:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    wanted = KEYWORDS.get(name, 0)
    given = tuple(
        argument.value
        for argument in call.args[:wanted]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    )
    return given if len(given) == wanted else ()


def collected(sources: Path = SOURCES) -> Catalog:
    """Every message that the code can say."""
    catalog = Catalog(domain=DOMAIN, charset="utf-8")
    for path, _, found in calls(sources):
        # Without line numbers: else every change of the code would change the catalogue.
        where = f"agent/{path.relative_to(sources).as_posix()}"
        catalog.add(found[0] if len(found) == 1 else found, locations=[(where, 0)])
    return catalog


def written(path: Path = PO) -> Catalog:
    """The catalogue as it stands in the tree."""
    with path.open("rb") as file:
        return read_po(file, locale=CHINESE, domain=DOMAIN)


def compiled(catalog: Catalog) -> bytes:
    """What the running agent reads; unfinished (fuzzy) translations are left out."""
    # The moment of compiling would make each compiled file another one.
    catalog.creation_date = UNDATED
    file = io.BytesIO()
    write_mo(file, catalog, use_fuzzy=False)
    return file.getvalue()


def update(path: Path = PO) -> list[str]:
    """Bring the catalogue up to date and compile it; return the messages that want translation."""
    catalog = written(path)
    catalog.update(collected(), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    file = io.BytesIO()
    write_po(file, catalog, width=96, omit_header=True, include_lineno=False, sort_output=True)
    path.write_text(HEADER + file.getvalue().decode("utf-8"), "utf-8")
    path.with_suffix(".mo").write_bytes(compiled(written(path)))
    return [said_of(message) for message in messages(catalog) if not is_translated(message)]


def messages(catalog: Catalog) -> Iterator[Message]:
    """The messages of a catalogue, without its header."""
    yield from (message for message in catalog if message.id)


def said_of(message: Message) -> str:
    """What the code says; the singular, where there are two forms."""
    return message.id if isinstance(message.id, str) else message.id[0]


def forms(message: Message) -> tuple[str, ...]:
    """The translation's forms: one, or one for each kind of number."""
    string = message.string or ""
    return (string,) if isinstance(string, str) else tuple(string)


def is_translated(message: Message) -> bool:
    """Whether there is a whole and finished translation."""
    return not message.fuzzy and bool(forms(message)) and all(forms(message))


def placeholders(text: str) -> list[str]:
    """The fields that a message is filled in at, each as often as it stands there."""
    return sorted(
        f"{name}!{conversion}:{spec}" if conversion or spec else name
        for _, name, spec, conversion in string.Formatter().parse(text)
        if name is not None
    )


def main() -> int:
    """Update and compile; exit status 1 while something wants translation."""
    parser = argparse.ArgumentParser(
        prog="scripts/translate",
        description=f"Collects the messages of the code into {PO.relative_to(ROOT)}, drops those"
        " that nobody says any more, and compiles it. Then lists what wants translation: fill in"
        " each empty msgstr and run it again.",
    )
    parser.parse_args()
    wanting = update()
    for message in wanting:
        print(f"wants translation: {message}")
    print(f"{len(list(messages(written())))} messages, {len(wanting)} want translation")
    return 1 if wanting else 0


if __name__ == "__main__":
    raise SystemExit(main())
