"""English stands in the code, Chinese in a catalogue; none is missing and none breaks a line."""

from __future__ import annotations

import gettext
import io
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog

from agent.language import Language, Said, counted, joined, language, marked, said
from tests.catalogues import (
    PO,
    calls,
    collected,
    compiled,
    forms,
    is_translated,
    messages,
    placeholders,
    said_of,
    written,
)


def speaking(entries: dict[str | tuple[str, str], str | tuple[str, ...]]) -> Language:
    """A language of a few words."""
    catalog = Catalog(locale="zh_CN")
    for english, translated in entries.items():
        catalog.add(english, translated)
    return Language("zh_CN", gettext.GNUTranslations(io.BytesIO(compiled(catalog))))


TOY = speaking(
    {
        "board {serial} on {port}": "{port} 上的线路板 {serial}",
        "nothing is heard": "收不到数据",
        "{serial} misspelt": "{seriall}",
        "{serial} malformed": "{serial",
        "{where}: {what}": "{where}：{what}",
        ("{number} call of {serial}", "{number} calls of {serial}"): (
            "{serial} 的 {number} 个通话",
        ),
        ("{number} lost", "{number} are lost"): ("{numberr} 个",),
    }
)


def test_a_message_is_said_in_the_language_with_its_values_where_that_language_wants_them() -> None:
    assert TOY.say("board {serial} on {port}", serial=1, port="/dev/ttyS1") == (
        "/dev/ttyS1 上的线路板 1"
    )


def test_a_message_without_a_translation_is_said_in_english() -> None:
    assert TOY.say("{count} new", count=3) == "3 new"


@pytest.mark.parametrize("message", ["{serial} misspelt", "{serial} malformed"])
def test_a_translation_that_the_values_do_not_fit_gives_way_to_english(message: str) -> None:
    assert TOY.say(message, serial=7) == message.format(serial=7)


def test_nothing_is_said_as_nothing() -> None:
    assert TOY.say("") == ""


def test_a_number_is_said_with_its_form() -> None:
    english = Language()
    forms_of_call = ("{number} call of {serial}", "{number} calls of {serial}")
    assert english.count(*forms_of_call, 1, serial=2) == "1 call of 2"
    assert english.count(*forms_of_call, 0, serial=2) == "0 calls of 2"
    assert TOY.count(*forms_of_call, 5, serial=2) == "2 的 5 个通话"


def test_a_form_that_the_values_do_not_fit_gives_way_to_english() -> None:
    assert TOY.count("{number} lost", "{number} are lost", 4) == "4 are lost"


def test_a_text_of_the_code_is_told_in_the_language_down_to_what_it_quotes() -> None:
    told = said(
        "{where}: {what}",
        where=said("board {serial} on {port}", serial=1, port="p"),
        what=said("nothing is heard"),
    )
    assert told == "board 1 on p: nothing is heard"
    assert TOY.tell(told) == "p 上的线路板 1：收不到数据"
    assert TOY.say("{where}: {what}", where="x", what=said("nothing is heard")) == "x：收不到数据"
    assert Language().tell(told) == told


def test_a_number_is_told_in_its_form() -> None:
    told = counted("{number} call of {serial}", "{number} calls of {serial}", 1, serial=2)
    assert told == "1 call of 2"
    assert TOY.tell(told) == "2 的 1 个通话"


def test_anybodys_text_is_told_as_it_is() -> None:
    assert TOY.tell("nothing is {heard}") == "nothing is {heard}"


def test_what_others_wrote_into_a_text_forges_no_line_and_is_cut() -> None:
    told = said("{where}: {what}", where="a\nb\x1b[2J", what="x" * 1000)
    assert told.startswith("a\\x0ab\\x1b[2J: xxx")
    assert len(told) < 500
    assert TOY.tell(told).startswith("a\\x0ab\\x1b[2J：xxx")


def test_braces_in_what_others_wrote_are_no_placeholders() -> None:
    told = said("{where}: {what}", where="{what}", what="{0.__class__}")
    assert told == "{what}: {0.__class__}"
    assert TOY.tell(said("{where}: {what}", where=told, what="")) == "{what}：{0.__class__}："


def test_several_texts_become_one() -> None:
    several = joined(["", "one", said("nothing is heard"), "two"])
    assert several == "one; nothing is heard; two"
    assert TOY.tell(several) == "one; 收不到数据; two"
    assert joined([]) == ""
    assert joined([said("nothing is heard")]).__class__ is Said


def test_a_marked_message_stays_as_it_is() -> None:
    assert marked("nothing is heard") == "nothing is heard"


@pytest.mark.parametrize(
    ("wanted", "environment", "code"),
    [
        ("en", {"LANG": "zh_CN.UTF-8"}, "en"),
        ("zh_CN", {}, "zh_CN"),
        ("zh", {"LANG": "en_US.UTF-8"}, "zh_CN"),
        ("auto", {}, "en"),
        ("auto", {"LANG": "zh_CN.UTF-8"}, "zh_CN"),
        ("auto", {"LANG": "zh_TW.UTF-8"}, "zh_CN"),
        ("auto", {"LANG": "zh_CN.GB18030@stroke"}, "zh_CN"),
        ("auto", {"LANG": "de_DE.UTF-8"}, "en"),
        ("auto", {"LANG": "C.UTF-8"}, "en"),
        ("auto", {"LC_ALL": "en_GB.UTF-8", "LANG": "zh_CN.UTF-8"}, "en"),
        ("auto", {"LC_MESSAGES": "zh_CN.UTF-8", "LANG": "en_US.UTF-8"}, "zh_CN"),
        ("auto", {"LC_ALL": "", "LANG": "zh_CN.UTF-8"}, "zh_CN"),
        ("auto", {"LANGUAGE": "zh", "LANG": "en_US.UTF-8"}, "zh_CN"),
        ("auto", {"LANGUAGE": "de:zh_CN:en", "LANG": "en_US.UTF-8"}, "zh_CN"),
        ("auto", {"LANGUAGE": "de:en:zh_CN", "LANG": "zh_CN.UTF-8"}, "en"),
        ("auto", {"LANGUAGE": "zh_CN", "LANG": "C"}, "en"),
        ("auto", {"LANGUAGE": "zh_CN", "LC_ALL": "POSIX", "LANG": "zh_CN.UTF-8"}, "en"),
        ("auto", {"LANG": "\udcff\x00" * 50}, "en"),
    ],
)
def test_the_language_is_the_configured_one_else_the_environments(
    wanted: str, environment: dict[str, str], code: str
) -> None:
    assert language(wanted, environment).code == code


def test_a_damaged_catalogue_makes_the_language_english(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.language.CATALOGUES", tmp_path)
    assert language("zh_CN", {}).code == "en"
    path = tmp_path / "zh_CN" / "LC_MESSAGES" / "smarttel-agent.mo"
    path.parent.mkdir(parents=True)
    for damage in (b"", b"\xde\x12\x04\x95", b"no catalogue at all", PO.read_bytes()):
        path.write_bytes(damage)
        assert language("zh_CN", {}).code == "en"


# The catalogue against the code


def test_every_message_of_the_code_has_a_chinese_translation() -> None:
    catalog = written()
    missing = [
        said_of(message)
        for message in messages(collected())
        if (known := catalog.get(message.id)) is None or not is_translated(known)
    ]
    assert not missing, "scripts/translate collects them; then fill in each empty msgstr"


def test_no_translation_is_left_of_what_nobody_says() -> None:
    alive = collected()
    assert [said_of(each) for each in messages(written()) if alive.get(each.id) is None] == []


def test_each_translation_has_the_placeholders_of_its_message() -> None:
    for message in messages(written()):
        for form in forms(message):
            assert placeholders(form) == placeholders(said_of(message)), form


def test_each_message_is_filled_with_just_what_it_names() -> None:
    for path, call, found in calls():
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        if name == "marked" or any(keyword.arg is None for keyword in call.keywords):
            continue
        given = {keyword.arg for keyword in call.keywords}
        given |= {"number"} if len(found) == 2 else set()
        named = {place for form in found for place in placeholders(form)}
        assert named == given, f"{path}:{call.lineno}: {found[0]}"


def test_what_is_installed_is_what_the_catalogue_compiles_to() -> None:
    with PO.with_suffix(".mo").open("rb") as file:
        installed = gettext.GNUTranslations(file)
    fresh = gettext.GNUTranslations(io.BytesIO(compiled(written())))
    assert entries(installed) == entries(fresh), "run scripts/translate"


def entries(translations: gettext.GNUTranslations) -> dict[object, str]:
    """All but the header, which names the version of what compiled it."""
    catalogue: dict[object, str] = vars(translations)["_catalog"]
    return {message: form for message, form in catalogue.items() if message}


def test_messages_are_found_where_they_are_said_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "room.py").write_text(
        'words.say("one " "line", x=1)\nlanguage.count("a", "b", n)\nTABLE = marked("c")\n'
        'text.count(b"\\n")\ntext.count("/")\nsay(sentence)\nsay(f"{sentence}")\n',
        "utf-8",
    )
    assert [found for _, _, found in calls(tmp_path)] == [("one line",), ("a", "b"), ("c",)]
