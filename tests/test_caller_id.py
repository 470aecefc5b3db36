"""Caller ID: every form seen in the field gives its number, every damaged one gives none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.boards.caller_id import (
    MDMF,
    SDMF,
    SILENCE,
    STALE,
    BadPacket,
    CallerId,
    is_packet,
    packet_number,
)

LINES = ("DATE = 0504", "TIME = 2149", "NMBR = 4075551212", "NAME = Chmielewski Joh")


def burst(*lines: str) -> CallerId:
    """A caller ID that took these lines, one each tenth of a second."""
    gathered = CallerId()
    for tenth, line in enumerate(lines):
        assert gathered.take(line, tenth / 10), line
    return gathered


FORMS: dict[str, tuple[tuple[str, ...], str]] = {
    "the usual one": (LINES, "4075551212"),
    "without spaces": (("DATE=0801", "TIME=1801", "NMBR=8055554567", "NAME=Test1"), "8055554567"),
    "in another order": (LINES[::-1], "4075551212"),
    "a private number": (("DATE = 0421", "TIME = 0934", "NMBR = P", "NAME = WITHHELD"), ""),
    "out of area": (("NMBR = O", "NAME = O"), ""),
    "empty date and time": (("DATE =", "TIME=", "NAME = NO DATE", "NMBR = 5551234"), "5551234"),
    "a time of five digits": (
        ("DATE = 0312", "TIME = 12541", "NMBR = 6305551500", "NAME = ELMHURST, IL"),
        "6305551500",
    ),
    "a dialable number only": (
        ("DATE = 0103", "TIME = 1254", "NAME = SARASOTA,FL", "DDN_NMBR = 9415557218"),
        "9415557218",
    ),
    "a dialable number beside another": (("DDN_NMBR = 1", "NMBR = 2"), "2"),
    "the number twice: the first counts": (("NMBR = 111", "NMBR = 222"), "111"),
    "withheld first, then a number": (("NMBR = P", "NMBR = 222"), ""),
    "NBR": (("NBR=5551234",), "5551234"),
    "+CLIP with the kind of number": (('+CLIP: "+4930123456",145,,,"",0',), "+4930123456"),
    "+CLIP without quotes": (("+CLIP: 5551234,129",), "5551234"),
    "a message item before": (("MESG = 110101", "NMBR = 5551234"), "5551234"),
    "the number that was dialled is not the caller's": (("NDID = 99", "NMBR = 5551234"), "5551234"),
    "dashes and blanks": (("NMBR = 800-240 4637",), "8002404637"),
    "a name in UTF-8": (("NAME = Zoë 王", "NMBR = 5551234"), "5551234"),
    "an endless number": (("NMBR = " + "7" * 90,), "7" * 32),
    "no number at all": (("NAME = SOMEBODY",), ""),
}


@pytest.mark.parametrize(("lines", "number"), FORMS.values(), ids=FORMS.keys())
def test_each_form_of_the_field_gives_its_number(lines: tuple[str, ...], number: str) -> None:
    assert burst(*lines).finish() == number


def test_a_burst_is_whole_with_all_four_items() -> None:
    assert not burst(*LINES[:3]).is_whole(0.2)
    assert burst(*LINES).is_whole(0.3)


def test_a_burst_with_a_number_is_whole_after_a_second_of_silence() -> None:
    gathered = burst("NMBR = 5551234")
    assert gathered.whole_at() == SILENCE
    assert not gathered.is_whole(SILENCE - 0.01)
    assert gathered.is_whole(SILENCE)


def test_a_burst_without_a_number_is_never_whole_by_silence() -> None:
    assert burst("DATE = 0504", "NMBR = P").whole_at() is None


def test_what_is_left_of_an_old_burst_does_not_spoil_the_next() -> None:
    gathered = burst("NMBR = P")
    gathered.take("NMBR = 5551234", STALE + 0.5)
    assert gathered.finish() == "5551234"


def test_a_finished_burst_begins_anew() -> None:
    gathered = burst(*LINES)
    gathered.finish()
    assert not gathered.begun
    assert gathered.finish() == ""


@pytest.mark.parametrize("line", ["OK", "RING", "NO CARRIER", "NMBR", "= 5", "X = 1", "nmbr = 1"])
def test_other_lines_are_nothing_of_a_caller_id(line: str) -> None:
    gathered = CallerId()
    assert not gathered.take(line, 0.0)
    assert not gathered.begun


def packet(kind: int, payload: bytes) -> str:
    """A raw packet with the check that makes its sum 0."""
    body = bytes((kind, len(payload))) + payload
    return (body + bytes((-sum(body) % 256,))).hex().upper()


def items(*pairs: tuple[int, bytes]) -> bytes:
    return b"".join(bytes((tag, len(data))) + data for tag, data in pairs)


WHEN = (0x01, b"05042149")
PACKETS: dict[str, tuple[str, str]] = {
    "SDMF": (packet(SDMF, b"050421494075551212"), "4075551212"),
    "SDMF, private": (packet(SDMF, b"05042149P"), ""),
    "SDMF without a number": (packet(SDMF, b"05042149"), ""),
    "MDMF": (packet(MDMF, items(WHEN, (2, b"4075551212"), (7, b"Chmielewski"))), "4075551212"),
    "MDMF, the name first": (packet(MDMF, items((7, b"A"), (2, b"5551234"))), "5551234"),
    "MDMF, absent number": (packet(MDMF, items(WHEN, (4, b"O"), (8, b"P"))), ""),
    "MDMF, dialable number": (packet(MDMF, items(WHEN, (3, b"9415557218"))), "9415557218"),
    "MDMF, number twice": (packet(MDMF, items((2, b"111"), (2, b"222"))), "111"),
    "MDMF, nothing in it": (packet(MDMF, b""), ""),
    "small hexadecimal digits": (packet(MDMF, items((2, b"5551234"))).lower(), "5551234"),
}


@pytest.mark.parametrize(("line", "number"), PACKETS.values(), ids=PACKETS.keys())
def test_each_raw_packet_gives_its_number(line: str, number: str) -> None:
    assert is_packet(line)
    assert packet_number(line) == number


def test_a_packet_written_out_byte_by_byte() -> None:
    # 04 kind, 0B length, 30 33 30 32 31 32 32 34 the 2nd of March 12:24, 35 35 35 number, check.
    assert packet_number("040B3033303231323234353535C4") == "555"


def test_a_packet_with_a_wrong_byte_gives_nothing() -> None:
    line = packet(MDMF, items(WHEN, (2, b"4075551212")))
    with pytest.raises(BadPacket, match="do not add up to 0"):
        packet_number(line.replace("34303735", "34303736"))


def test_a_packet_cut_short_gives_nothing() -> None:
    with pytest.raises(BadPacket, match="of 8 bytes that should have 21"):
        packet_number(packet(SDMF, b"050421494075551212")[:16])


def test_an_item_longer_than_its_packet_gives_nothing() -> None:
    with pytest.raises(BadPacket, match="cut short"):
        packet_number(packet(MDMF, b"\x02\x20555"))


@pytest.mark.parametrize("line", ["0504", "05042149", "80010", "80GG00", "OK", ""])
def test_other_lines_are_no_packets(line: str) -> None:
    assert not is_packet(line)


@given(st.binary(max_size=300))
def test_any_packet_gives_a_number_or_says_why_not(data: bytes) -> None:
    line = (b"\x80" + data).hex()
    if is_packet(line):
        try:
            assert set(packet_number(line)) <= set("0123456789*#+")
        except BadPacket as error:
            assert "packet" in str(error)


@given(st.lists(st.text(max_size=40) | st.sampled_from(LINES), max_size=20))
def test_any_lines_leave_the_next_burst_as_it_is(lines: list[str]) -> None:
    gathered = CallerId()
    for line in lines:
        gathered.take(line, 0.0)
    for line in LINES:
        gathered.take(line, 100.0)
    assert gathered.finish() == "4075551212"
