"""Foreign text is shown, never obeyed."""

from hypothesis import given
from hypothesis import strategies as st

from agent.text import flowed, masked_phone, padded, printable, width


def test_a_terminal_escape_is_shown_and_not_obeyed() -> None:
    assert printable("\x1b[2Jgone") == "\\x1b[2Jgone"


def test_a_line_break_cannot_forge_a_second_log_line() -> None:
    assert printable("one\ntwo\u2028three") == "one\\x0atwo\\u2028three"


def test_long_text_is_cut_and_says_so() -> None:
    assert printable("x" * 1000, most=10) == "x" * 10 + "…"


def test_text_of_just_the_limit_is_whole() -> None:
    assert printable("x" * 10, most=10) == "x" * 10


@given(st.text())
def test_anything_becomes_one_line_that_utf8_can_carry(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")


def test_a_mobile_number_keeps_its_ends() -> None:
    assert masked_phone("13800138000") == "138****8000"


def test_no_number_stays_no_number() -> None:
    assert masked_phone("") == ""


@given(st.text(alphabet="0123456789*#", min_size=1, max_size=40))
def test_at_least_four_digits_are_hidden_or_the_whole_number(phone: str) -> None:
    shown = masked_phone(phone)
    visible = shown.replace("****", "", 1)
    assert len(visible) <= max(0, len(phone) - 4)
    assert len(visible) <= 7


def test_a_chinese_character_takes_two_columns() -> None:
    assert width("振铃 ok。") == 9
    assert padded("振铃", 6) == "振铃  "
    assert padded("ringing", 3) == "ringing"


def test_an_accent_takes_no_column_of_its_own() -> None:
    assert width("e\u0301") == 1


def test_chinese_is_broken_between_any_two_characters_and_words_at_blanks() -> None:
    assert flowed("请检查网络和 platform.url 的设置", 12) == [
        "请检查网络和",
        "platform.url",
        "的设置",
    ]


def test_no_line_begins_with_a_mark_that_closes_or_ends_with_one_that_opens() -> None:
    assert flowed("甲乙丙，丁", 6) == ["甲乙", "丙，丁"]
    assert flowed("甲乙（丙）", 6) == ["甲乙", "（丙）"]


def test_what_has_no_place_to_break_is_broken_where_the_line_ends() -> None:
    assert flowed("/dev/serial/by-id", 8) == ["/dev/ser", "ial/by-i", "d"]


def test_an_empty_text_is_one_empty_line() -> None:
    assert flowed("", 8) == [""]


@given(st.text(alphabet="ab （，。漢字\u0301/", max_size=60), st.integers(2, 20))
def test_no_line_is_too_long_and_nothing_is_lost(text: str, columns: int) -> None:
    lines = flowed(text, columns)
    assert all(width(line) <= columns for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())
