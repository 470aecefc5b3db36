from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.platform.listing import (
    MOST_ENTRIES,
    CallToPlace,
    FunctionMessage,
    Listing,
    OtherEntry,
    read_listing,
)

CALL = {"status": "0", "mdcWan": "1", "mdcCode": "1", "phone": "1234567890"}
MESSAGE = {
    "status": "51",
    "mdcWan": "1",
    "mdcCode": "1",
    "phone": "1234567890",
    "memo": {"functionname": "list", "paramvalue": "a=b&c=d&bb=2323"},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
ENTRY = st.fixed_dictionaries(
    {"status": st.sampled_from([0, "0", 51, "51", 1, 2]) | JSON},
    optional=dict.fromkeys(("mdcWan", "mdcCode", "phone", "memo"), JSON),
)


def call(**changes: object) -> dict[str, object]:
    return {**CALL, **changes}


def message(memo: object) -> dict[str, object]:
    return {**MESSAGE, "memo": memo}


def only(entry: object) -> object:
    listing = read_listing([entry])
    assert (len(listing.entries), listing.malformed) == (1, 0), listing
    return listing.entries[0]


def reason(entry: object) -> str:
    listing = read_listing([entry])
    assert (listing.entries, listing.malformed) == ((), 1)
    return listing.reason


def test_the_call_of_the_protocol_is_understood() -> None:
    assert only(CALL) == CallToPlace(channel=1, serial=1, phone="1234567890")


def test_the_message_of_the_protocol_is_understood() -> None:
    parameters = (("a", "b"), ("c", "d"), ("bb", "2323"))
    assert only(MESSAGE) == FunctionMessage("list", parameters, 1, 1, "1234567890")


def test_an_entry_is_taken_by_what_it_says_whichever_list_brought_it() -> None:
    kinds = [type(entry) for entry in read_listing([MESSAGE, CALL]).entries]
    assert kinds == [FunctionMessage, CallToPlace]


def test_no_data_at_all_is_an_empty_list() -> None:
    assert read_listing(None) == Listing()


def test_data_that_is_no_list_is_counted() -> None:
    assert read_listing({"status": "0"}).malformed == 1


@pytest.mark.parametrize("written", ["(010) 1234-5678", "010 1234 5678", "010.1234.5678"])
def test_a_number_is_dialled_without_its_punctuation(written: str) -> None:
    entry = only(call(phone=written))
    assert isinstance(entry, CallToPlace)
    assert entry.phone == "01012345678"


def test_a_number_may_have_star_and_hash_and_may_be_a_json_number() -> None:
    phones = [entry.phone for entry in read_listing([call(phone="*21#"), call(phone=112)]).entries]  # type: ignore[union-attr]
    assert phones == ["*21#", "112"]


@pytest.mark.parametrize(
    "phone",
    [
        "",
        " - ",
        None,
        "12a4",
        "+8610",
        "1;2",
        "1\n2",
        "١٢",
        "1" * 33,
        "1" * 2**20,
        1.5,
        True,
        -1,
        [],
    ],
    ids=lambda phone: repr(phone)[:12],
)
def test_a_number_that_cannot_be_dialled_is_malformed(phone: object) -> None:
    assert "phone" in reason(call(phone=phone))


def test_a_number_of_nearly_nothing_but_punctuation_is_malformed() -> None:
    assert "characters" in reason(call(phone="1" + "-" * 2**20))


@pytest.mark.parametrize("port", ["", None, "0", 0, 100, -1, "one", 1.5, True, [], "1\n"])
def test_a_call_needs_a_port(port: object) -> None:
    assert "mdcWan" in reason(call(mdcWan=port))


@pytest.mark.parametrize("box", ["", " ", None])
def test_a_box_that_is_not_named_is_none(box: object) -> None:
    entry = only(call(mdcCode=box))
    assert isinstance(entry, CallToPlace)
    assert entry.serial is None


@pytest.mark.parametrize("box", ["x", 0, 10_000, {}])
def test_a_box_that_is_no_number_does_not_dial_on_another(box: object) -> None:
    assert "mdcCode" in reason(call(mdcCode=box))


@pytest.mark.parametrize(
    "memo",
    [
        {"functionname": "list", "paramvalue": "a=b&c=%E4%BD%A0"},
        '{"functionname": "list", "paramvalue": "a=b&c=%E4%BD%A0"}',
        "list?a=b&c=%E4%BD%A0",
    ],
)
def test_a_memo_may_be_an_object_json_text_or_plain_text(memo: object) -> None:
    entry = only(message(memo))
    assert isinstance(entry, FunctionMessage)
    assert (entry.name, entry.parameters) == ("list", (("a", "b"), ("c", "你")))


@pytest.mark.parametrize("memo", ["list", {"functionname": "list"}, '{"functionname":"list"}'])
def test_a_function_may_have_no_parameters(memo: object) -> None:
    entry = only(message(memo))
    assert isinstance(entry, FunctionMessage)
    assert (entry.name, entry.parameters) == ("list", ())


@pytest.mark.parametrize(
    "memo",
    [
        None,
        "",
        "two words",
        "../../bin/sh;",
        "{broken",
        "x" * 65,
        7,
        [],
        {"functionname": 7},
        {"functionname": "list\n"},
        {"functionname": "list", "paramvalue": {"a": "b"}},
        {"functionname": "list", "paramvalue": "a=" + "b" * 5000},
        {"functionname": "list", "paramvalue": "&".join(["a=b"] * 65)},
        {"functionname": "list", "paramvalue": "a=%00"},
        {"functionname": "list", "paramvalue": "a=%1b[2J"},
    ],
    ids=lambda memo: repr(memo)[:40],
)
def test_a_memo_that_could_do_harm_is_malformed(memo: object) -> None:
    assert "message" in reason(message(memo))


def test_a_message_may_name_no_port_no_box_and_no_number() -> None:
    entry = only({"status": 51, "memo": "report"})
    assert entry == FunctionMessage("report", (), None, None, "")


def test_an_illegible_status_is_listed_and_not_acted_on() -> None:
    entry = only(call(status="2"))
    assert isinstance(entry, OtherEntry)
    assert (entry.status, json.loads(entry.text)) == (2, call(status="2"))


def test_an_entry_that_cannot_be_written_down_is_malformed() -> None:
    assert "number too long" in reason({"status": 1, "x": 10**5000})


def test_entries_beyond_the_limit_are_counted_and_not_looked_at() -> None:
    listing = read_listing([CALL] * 10_000)
    assert (len(listing.entries), listing.dropped) == (MOST_ENTRIES, 10_000 - MOST_ENTRIES)


def test_one_malformed_entry_does_not_take_its_neighbours_along() -> None:
    listing = read_listing(["nonsense", CALL, call(phone="abc"), CALL])
    assert (len(listing.entries), listing.malformed) == (2, 2)
    assert listing.reason == "an entry is not an object"


def test_the_same_order_fetched_again_has_the_same_key() -> None:
    again = call(mdcWan=1, phone="123 456 7890", fetched="a key that changes at each poll")
    assert only(CALL).key == only(again).key  # type: ignore[attr-defined]


def test_different_orders_have_different_keys() -> None:
    entries = [CALL, call(mdcWan=2), call(mdcCode=2), call(mdcCode=""), call(phone="1")]
    entries += [MESSAGE, message("list"), message("other"), call(status=1), call(status=2)]
    keys = {entry.key for entry in read_listing(entries).entries}
    assert len(keys) == len(entries)
    assert all(len(key) < 64 for key in keys)


@given(JSON | st.lists(ENTRY | JSON, max_size=5))
def test_nothing_that_json_can_say_raises(data: object) -> None:
    listing = read_listing(data)
    assert len(listing.reason) <= 201
    assert all(len(entry.key) < 64 for entry in listing.entries)
    if isinstance(data, list):
        assert len(listing.entries) + listing.malformed == len(data)
