"""README.zh-CN.md says what README.md says: section by section, command by command."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGLISH = (ROOT / "README.md").read_text("utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text("utf-8")


def sections(text: str) -> list[tuple[str, str]]:
    """Headings, with their marks, and what stands below each."""
    parts = re.split(r"^(#+ .*)\n", text, flags=re.M)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def commands(body: str) -> list[str]:
    """The lines of code blocks; of a line that explains itself, what is typed."""
    # What stands further to the right goes on with the explanation of the line above.
    code = [line.strip() for line in body.splitlines() if re.match(r" {4,19}\S", line)]
    typed = [line for line in code if not line.startswith("#")]
    return [re.split(r" {2,}|(?<=monitor) |(?<=simulate) ", line)[0] for line in typed]


def names(body: str) -> Counter[str]:
    """What stands in backticks, without messages."""
    rows = [line for line in body.splitlines() if not line.startswith("|")]
    tables = [line.split(" | ") for line in body.splitlines() if line.startswith("|")]
    quoting = len(tables) > 0 and "`check`" in tables[0][1]
    cells = [cell for row in tables for at, cell in enumerate(row) if not (quoting and at == 1)]
    found = re.findall(r"`([^`]+)`", "\n".join([*rows, *cells]))
    return Counter(" ".join(name.split()) for name in found)


PAIRS = list(zip(sections(ENGLISH), sections(CHINESE), strict=False))


def test_there_are_the_same_headings_in_the_same_order() -> None:
    assert len(sections(ENGLISH)) == len(sections(CHINESE))
    for (english, _), (chinese, _) in PAIRS:
        assert english.partition(" ")[0] == chinese.partition(" ")[0], (english, chinese)


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=[pair[0][0] for pair in PAIRS])
def test_each_section_shows_the_same(english: tuple[str, str], chinese: tuple[str, str]) -> None:
    one, other = english[1], chinese[1]
    assert commands(one) == commands(other)
    assert names(one) == names(other)
    assert one.count("\n|") == other.count("\n|"), "rows of tables"
    assert len(re.findall(r"^(?:\d+\.|-) ", one, re.M)) == len(
        re.findall(r"^(?:\d+\.|-) ", other, re.M)
    ), "items of lists"
    links = r"\]\(([^)]+)\)"
    one_links, other_links = re.findall(links, one), re.findall(links, other)
    assert [link for link in one_links if "README" not in link] == [
        link for link in other_links if "README" not in link
    ]
    assert sorted(re.findall(r"\d[\d,.]*\d", one)) == sorted(re.findall(r"\d[\d,.]*\d", other)), (
        "figures"
    )


def test_each_readme_leads_to_the_other() -> None:
    assert "](README.zh-CN.md)" in ENGLISH.partition("\n## ")[0]
    assert "](README.md)" in CHINESE.partition("\n## ")[0]


def test_every_section_of_the_chinese_one_is_chinese() -> None:
    for heading, body in sections(CHINESE)[1:]:
        assert re.search("[\u4e00-\u9fff]", heading)
        prose = re.sub(r"`[^`]*`|\]\([^)]*\)|^ {4}.*$", "", body, flags=re.M)
        assert len(re.findall("[\u4e00-\u9fff]", prose)) > len(re.findall(r"[A-Za-z]{3,}", prose))
