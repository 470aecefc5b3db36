"""The speed limit that all uploads share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.delivery.rate import LONGEST_BURST, RateLimit
from tests.clocks import HandClock

BLOCK = 256 * 1024


def test_without_a_limit_nobody_waits() -> None:
    limit = RateLimit(0, HandClock())
    assert [limit.reserve(BLOCK) for _ in range(3)] == [0, 0, 0]


def test_workers_share_one_allowance() -> None:
    limit = RateLimit(BLOCK, HandClock())
    assert [limit.reserve(BLOCK) for _ in range(4)] == [0, 1, 2, 3]


def test_a_pause_may_be_caught_up_for_a_moment_only() -> None:
    clock = HandClock()
    limit = RateLimit(BLOCK, clock)
    clock.turn(3600)
    waits = [limit.reserve(BLOCK) for _ in range(4)]
    assert waits == [0, 0, 1, 2], f"no more than {LONGEST_BURST:g} s of it"


def test_a_wall_clock_that_jumps_changes_nothing() -> None:
    clock = HandClock()
    limit = RateLimit(BLOCK, clock)
    limit.reserve(BLOCK)
    clock.jump(-1_000_000)
    assert limit.reserve(BLOCK) == 1


@given(
    rate=st.floats(1, 1e9),
    steps=st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 100)), max_size=50),
)
def test_no_more_is_sent_than_the_limit_allows(rate: float, steps: list[tuple[int, float]]) -> None:
    """Over any stretch: the rate times its length, a burst, and the block that is under way."""
    clock = HandClock()
    limit = RateLimit(rate, clock)
    sent: list[tuple[float, int]] = []
    for count, pause in steps:
        sent.append((clock.monotonic() + limit.reserve(count), count))
        clock.turn(pause)
    for first, (begin, _) in enumerate(sent):
        total = 0
        for moment, count in sent[first:]:
            allowed = rate * (moment - begin + LONGEST_BURST)
            assert total <= allowed * (1 + 1e-9) + 1e-3
            total += count
