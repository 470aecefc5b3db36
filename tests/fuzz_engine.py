"""The engine of fuzzing: valid samples with changes, and each parser held to its promise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, example, given, seed, settings
from hypothesis import strategies as st

MOST_BYTES = 200_000
"""Bytes of one input; changes may make a sample long."""


@dataclass(frozen=True)
class Parser:
    """One parser with what it promises."""

    name: str
    samples: tuple[bytes, ...]
    """Valid inputs, which are mutated."""
    check: Callable[[bytes], None]
    """Parses, and raises where the contract is broken: any exception but those it promises."""
    steps: tuple[int, int]
    """Calls that it may make at most: so many, and so many more for each byte of input."""


def check(parser: Parser, data: bytes) -> None:
    """Hold the parser to its contract, its time counted in calls and not by a watch."""
    with _counted() as count:
        parser.check(data)
    most = parser.steps[0] + parser.steps[1] * len(data)
    assert count[0] <= most, f"{count[0]} calls for {len(data)} bytes, at most {most} are promised"


@contextmanager
def _counted() -> Iterator[list[int]]:
    count = [0]

    def step(_frame: object, event: str, _argument: object) -> None:
        if event in {"call", "c_call"}:
            count[0] += 1

    before = sys.getprofile()
    sys.setprofile(step)
    try:
        yield count
    finally:
        sys.setprofile(before)


# Mutations.

_TOKENS = (
    *(b"\0", b"\n", b"\r\n", b"\x1b[2J", b"\xff", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\\ud800"),
    *(b'"', b"{", b"[", b"[" * 2000, b'{"a":' * 1500, b"9" * 400, b"A" * 300, b"$", b"*", b","),
    *(b"-", b"--5", b"+", b"1e999", b"-0", b"NaN", b"null", b"true", b"%", b"%00", b"%s"),
    *(b"/", b"../", b"..", b"&a=b", b"&x *x", b"!!python/name:os.system ", b"${HOME}", b"${"),
    *(b"file:", b"RIFF", b"data", b"fmt ", b"ds64", b"ID3", b"\xff\xfb\x90\x00", b"Xing"),
    *(b"\xff\xff\xff\xff", b"\x00\x00\x00\x80"),
)
"""What parsers stumble over."""


def mutated(samples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Valid samples with up to five changes, and now and then bytes of any kind."""
    # What is decided is often decided at the beginning.
    places = st.one_of(st.integers(0, 16), st.integers(0, max(map(len, samples))))
    changes = st.one_of(
        st.tuples(st.just("flip"), places, st.integers(0, 7)),
        st.tuples(st.just("cut"), places, st.integers(0, 64)),
        st.tuples(st.just("end"), places, st.just(0)),
        st.tuples(st.just("put"), places, st.sampled_from(_TOKENS)),
        st.tuples(st.just("set"), places, st.binary(min_size=1, max_size=4)),
        st.tuples(st.just("again"), places, st.integers(1, 200)),
        st.tuples(st.just("splice"), places, st.sampled_from(list(samples))),
    )
    from_samples = st.builds(
        _changed, st.sampled_from(list(samples)), st.lists(changes, max_size=5)
    )
    return st.one_of(from_samples, from_samples, from_samples, st.binary(max_size=400))


def _changed(sample: bytes, changes: Sequence[tuple[str, int, Any]]) -> bytes:
    data = sample
    for kind, place, value in changes:
        data = _CHANGES[kind](data, min(place, len(data)), value)[:MOST_BYTES]
    return data


_CHANGES: dict[str, Callable[[bytes, int, Any], bytes]] = {
    "flip": lambda data, at, bit: (
        data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :] if at < len(data) else data
    ),
    "cut": lambda data, at, count: data[:at] + data[at + count :],
    "end": lambda data, at, _: data[:at],
    "put": lambda data, at, token: data[:at] + token + data[at:],
    "set": lambda data, at, some: data[:at] + some + data[at + len(some) :],
    "again": lambda data, at, times: data[:at] + data[at : at + 16] * times + data[at:],
    "splice": lambda data, at, other: data[:at] + other[len(other) // 2 :],
}


def fuzz(parser: Parser, examples: int, random_seed: int | None = None) -> None:
    """Try mutated samples; None: the same ones at each run. Raises at the first broken promise."""

    @settings(
        max_examples=examples,
        derandomize=random_seed is None,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated(parser.samples))
    def one(data: bytes) -> None:
        check(parser, data)

    for sample in parser.samples:
        one = example(sample)(one)
    if random_seed is not None:
        one = seed(random_seed)(one)
    one()
