"""The native board's lines: good ones are understood, damage is counted once and skipped."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.boards.frames import MOST_BYTES, Frame, FrameReader, check, frame

BEAT = frame("BEAT", 7)
UNDERSTOOD = Frame("BEAT", ("7",))
LETTERS = frame("OK", 10)
fields = st.text(
    alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="$*,"),
    max_size=8,
)


def test_the_check_is_the_published_one() -> None:
    assert check(b"123456789") == 0x29B1


def test_a_line_is_built_as_the_document_draws_it() -> None:
    body = b"CH,12,1,3,2,138A,0"
    assert frame("CH", 12, 1, 3, 2, "138A", 0) == b"$" + body + b"*%04X\r\n" % check(body)


@given(kind=fields.filter(bool), values=st.lists(fields, max_size=8))
def test_what_was_built_is_read_back(kind: str, values: list[str]) -> None:
    assert FrameReader().feed(frame(kind, *values)) == [Frame(kind, tuple(values))]


@pytest.mark.parametrize("field", ["a$", "*", "1,2", "é", "\0", "line\n"])
def test_a_field_that_would_break_the_line_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        frame("CH", field)


def test_a_line_without_a_type_is_refused() -> None:
    with pytest.raises(ValueError, match="type"):
        frame("", 1)


def test_the_longest_line_passes_and_one_byte_more_is_refused() -> None:
    overhead = len(frame("X", ""))
    longest = frame("X", "f" * (MOST_BYTES - overhead))
    assert len(longest) == MOST_BYTES
    assert FrameReader().feed(longest) == [Frame("X", ("f" * (MOST_BYTES - overhead),))]
    with pytest.raises(ValueError, match="at most 128"):
        frame("X", "f" * (MOST_BYTES - overhead + 1))


def test_a_received_line_of_one_byte_too_many_is_bad_though_its_check_fits() -> None:
    body = b"X" * 122
    line = b"$%b*%04X\n" % (body, check(body))
    assert len(line) == MOST_BYTES + 1
    reader = FrameReader()
    assert reader.feed(line) == []
    assert reader.bad == 1
    shorter = b"$%b*%04X\n" % (body[1:], check(body[1:]))
    assert len(reader.feed(shorter)) == 1


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\n\r\n\n"])
def test_either_line_end_ends_a_line_and_empty_lines_are_nothing(end: bytes) -> None:
    reader = FrameReader()
    assert reader.feed(BEAT.strip() + end) == [UNDERSTOOD]
    assert (reader.good, reader.bad) == (1, 0)


DAMAGE = {
    "bytes between lines": b"noise",
    "a line without $": b"BEAT,7*0000\r\n",
    "many bytes between lines": b"\x00\xff" * 5000,
    "a wrong check": b"$BEAT,7*0000\r\n",
    "a check in lower case": LETTERS[:-6] + LETTERS[-6:].lower(),
    "no check": b"$BEAT,7\r\n",
    "a short check": BEAT[:-3] + b"\r\n",
    "bytes after the check": BEAT[:-2] + b"x\r\n",
    "a line cut off by the next": BEAT[:5],
    "only the first byte of a line": b"$",
    "an over-long line": b"$" + b"x" * 5000 + b"\r\n",
    "an over-long line that never ends": b"$" + b"x" * 5000,
    "NUL in a line": b"$A\0B*%04X\r\n" % check(b"A\0B"),
    "a byte over 127 in a line": b"$A\xe9*%04X\r\n" % check(b"A\xe9"),
    "no type": b"$,7*%04X\r\n" % check(b",7"),
    "nothing but a check": b"$*FFFF\r\n",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_each_damage_is_bad_once_and_the_next_line_is_understood(damage: bytes, step: int) -> None:
    told: list[tuple[bytes, str]] = []
    reader = FrameReader(on_bad=lambda piece, reason: told.append((piece, reason)))
    data = BEAT + damage + BEAT
    frames = [
        found for at in range(0, len(data), step) for found in reader.feed(data[at : at + step])
    ]
    assert frames == [UNDERSTOOD, UNDERSTOOD]
    assert (reader.good, reader.bad) == (2, 1)
    assert len(told) == 1
    piece, reason = told[0]
    assert piece in damage
    assert len(piece) <= MOST_BYTES
    assert reason


def test_two_stray_lines_are_two_and_one_run_is_one() -> None:
    reader = FrameReader()
    reader.feed(b"one\r\ntwo\r\nthree four" + BEAT)
    assert reader.bad == 3


def test_a_half_line_is_forgotten_when_the_port_is_opened_anew() -> None:
    reader = FrameReader()
    reader.feed(BEAT[:6])
    reader.reset()
    assert reader.feed(BEAT) == [UNDERSTOOD]
    assert reader.bad == 0


noise = st.lists(
    st.one_of(st.binary(max_size=40), st.sampled_from([b"$", b"\r", b"\n", b"*", BEAT, BEAT[:6]])),
    max_size=20,
).map(b"".join)


@given(noise)
@example(b"$BEAT")
def test_after_any_bytes_the_next_good_line_is_understood(data: bytes) -> None:
    reader = FrameReader()
    reader.feed(data)
    assert reader.feed(BEAT) == [UNDERSTOOD]


@given(noise, st.lists(st.integers(1, 50), max_size=20))
def test_how_the_bytes_are_cut_up_makes_no_difference(data: bytes, sizes: list[int]) -> None:
    whole, cut_up = FrameReader(), FrameReader()
    expected = whole.feed(data)
    got, rest = [], data
    for size in sizes:
        got += cut_up.feed(rest[:size])
        rest = rest[size:]
    got += cut_up.feed(rest)
    assert got == expected
    assert (cut_up.good, cut_up.bad) == (whole.good, whole.bad)
