from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.platform.answers import Answer, parse_answer
from agent.platform.failures import FailureKind, PlatformFailure

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
KEYS = ("status", "code", "time", "callid", "message", "period", "data")


def parsed(**keys: object) -> Answer:
    return parse_answer(json.dumps(keys).encode())


def failure(body: bytes) -> PlatformFailure:
    with pytest.raises(PlatformFailure) as caught:
        parse_answer(body)
    return caught.value


def test_the_answer_of_the_protocol_is_understood() -> None:
    answer = parse_answer(b'{"time": "1563957071", "status": 0, "callid": "7687658987667780097"}')
    assert answer == Answer(0, 1563957071.0, "7687658987667780097", "", None, False, None)


@pytest.mark.parametrize("zero", [0, "0", " 0 ", 0.0, "0.0", "-0", "+0"])
def test_a_zero_is_a_zero_however_it_is_written(zero: object) -> None:
    assert parsed(status=zero).status == 0


def test_a_negative_status_may_come_as_text() -> None:
    assert parsed(status="-1").status == -1


@pytest.mark.parametrize("status", ["", True, False, [], {}, 0.5, "zero", "0x0", "٠", "0_0"])
def test_what_is_no_number_is_no_success(status: object) -> None:
    assert failure(json.dumps({"status": status}).encode()).kind is FailureKind.UNUSABLE


def test_a_broken_status_is_not_healed_by_a_good_code() -> None:
    assert failure(b'{"status": "", "code": 0}').kind is FailureKind.UNUSABLE


def test_code_stands_in_for_a_missing_status() -> None:
    assert parsed(code="-2").status == -2


def test_status_decides_where_both_are_there() -> None:
    assert parsed(status=3001, code=0).status == 3001


def test_milliseconds_are_told_from_seconds_by_size() -> None:
    assert parsed(status=0, time=1563957071000).time == 1563957071.0


@pytest.mark.parametrize("time", [0, -5, "", "soon", None, True, 1e300, "9" * 30, 86_400])
def test_an_implausible_time_is_no_time(time: object) -> None:
    assert parsed(status=0, time=time).time is None


def test_a_callid_that_is_a_number_keeps_every_digit() -> None:
    digits = "76876589876677800971234567890"
    assert parse_answer(b'{"status":0,"callid":' + digits.encode() + b"}").callid == digits


@pytest.mark.parametrize("digits", ["0", "-0", "-12", "9223372036854775808", "1" + "0" * 30])
def test_a_callid_that_is_a_number_is_told_as_it_was_written(digits: str) -> None:
    assert parse_answer(b'{"status":0,"callid":' + digits.encode() + b"}").callid == digits


@pytest.mark.parametrize("callid", ["", "  ", None])
def test_an_empty_callid_is_none(callid: object) -> None:
    assert parsed(status=0, callid=callid).callid is None


@pytest.mark.parametrize(
    "callid", [7.68e18, True, [], {}, "x" * 257, "a\r\nb", "a\x00", "a\u2028b"]
)
def test_a_callid_that_could_do_harm_makes_the_answer_unusable(callid: object) -> None:
    body = json.dumps({"status": 0, "callid": callid}).encode()
    assert "callid" in failure(body).message


def test_the_period_is_given_out_as_it_stands() -> None:
    answer = parsed(status=0, period="16-17")
    assert (answer.has_period, answer.period) == (True, "16-17")


@pytest.mark.parametrize("period", ["", None, 16, ["16-17"], "9" * 100])
def test_an_unusable_period_is_there_and_says_nothing(period: object) -> None:
    answer = parsed(status=0, period=period)
    assert (answer.has_period, answer.period) == (True, None)


def test_a_byte_order_mark_does_no_harm() -> None:
    assert parse_answer(b'\xef\xbb\xbf{"status": 0}').status == 0


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    assert parse_answer(b'{"status": 0, "status": 3003}').status == 3003


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"[]",
        b"0",
        b'"status"',
        b"{}",
        b'{"status": 0',
        b'{"status": 0, "x": "\xff"}',
        b'{"status": 0, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"status": 0, "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"status": 0, "message": "\\ud800"}',
        b'{"status": NaN}',
        b'{"status": 1e999}',
    ],
    ids=lambda body: body[:24].decode("latin-1"),
)
def test_what_is_no_json_object_is_unusable(body: bytes) -> None:
    assert failure(body).kind is FailureKind.UNUSABLE


def test_a_log_in_page_is_named_as_what_it_is() -> None:
    assert "web page" in failure(b"<!DOCTYPE html><html>Welcome to our hotel").message


def test_a_message_without_a_status_may_still_blame_the_account() -> None:
    body = b'{"message": "Authentication FAILED for user"}'
    assert failure(body).kind is FailureKind.AUTHENTICATION


def test_a_message_cannot_forge_a_log_line() -> None:
    assert parsed(status=1, message="no\nERROR disk gone\x1b[2J").message.isprintable()


def test_what_must_be_hidden_is_hidden_before_the_message_is_cut() -> None:
    body = json.dumps({"status": 1, "message": "x" * 190 + "secret-secret-secret"}).encode()
    answer = parse_answer(body, lambda text: text.replace("secret", "*"))
    assert "s" not in answer.message


def outcome(body: bytes) -> Answer | tuple[FailureKind, str]:
    try:
        return parse_answer(body)
    except PlatformFailure as error:
        return error.kind, error.message


USUAL = st.fixed_dictionaries(
    {"status": st.integers() | st.sampled_from(["0", "-1", "", True, 0.5])},
    optional={
        "time": JSON | st.sampled_from(["1563957071", 1563957071000]),
        "callid": JSON | st.text("0123456789", max_size=30),
        "message": JSON | st.just("authentication failed"),
        "period": JSON | st.just("16-17"),
        "data": JSON,
    },
)


@given(USUAL)
def test_a_code_that_does_not_count_changes_nothing(keys: dict[str, object]) -> None:
    body = json.dumps(keys).encode()
    assert outcome(body[:-1] + b', "code": 1e999}') == outcome(body)


@pytest.mark.parametrize("after", [b"", b', "callid": 12', b', "data": 1e999'])
def test_who_blames_the_account_is_heard_whatever_else_is_said(after: bytes) -> None:
    body = b'{"message": "authentication failed"' + after + b"}"
    assert failure(body).kind is FailureKind.AUTHENTICATION


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_a_platform_failure(body: bytes) -> None:
    try:
        parse_answer(body)
    except PlatformFailure as error:
        assert len(error.message.splitlines()) == 1


@given(st.dictionaries(st.sampled_from(KEYS), JSON))
def test_any_json_object_is_an_answer_or_a_platform_failure(keys: dict[str, object]) -> None:
    body = json.dumps(keys).encode()
    try:
        answer = parse_answer(body)
    except PlatformFailure as error:
        assert error.kind in {FailureKind.UNUSABLE, FailureKind.AUTHENTICATION}
    else:
        assert isinstance(answer.status, int)
        assert answer.callid is None or 0 < len(answer.callid) <= 256
        assert len(answer.message.splitlines()) <= 1
