"""The last day as a chart: what belongs to which ten minutes, and what its axes say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.history import DAY, SLOT, Sample
from agent.page.chart import ceiling, columns
from tests.clocks import NOON
from tests.page_reader import in_shanghai, read
from tests.pages import backlog, day, rising, well


def sampled(slot: int, waiting: int = 0, delivered: int = 0) -> Sample:
    return Sample(int(NOON) // SLOT * SLOT + slot * SLOT, 0, waiting, 0, delivered)


def test_what_was_delivered_from_one_sample_to_the_next_belongs_to_the_earlier_slot() -> None:
    samples = [sampled(-3, 5, 100), sampled(-2, 4, 110), sampled(0, 1, 113)]
    found = columns(samples, sampled(0, 2, 115))
    assert [(one.place, one.waiting, one.delivered) for one in found] == [
        (DAY - 4, 5, 10),
        (DAY - 3, 4, 3),
        (DAY - 1, 2, 2),
    ]


def test_a_ledger_begun_anew_counts_nothing_as_delivered_and_nothing_below() -> None:
    found = columns([sampled(-1, 0, 5000), sampled(0, 0, 3)], sampled(0, 0, 4))
    assert [one.delivered for one in found] == [0, 1]


def test_samples_of_another_day_are_not_drawn() -> None:
    assert columns([sampled(-DAY), sampled(1)], sampled(0)) == []


@given(st.integers(0, 10**9))
def test_the_axis_ends_at_a_round_number_above_the_most_and_not_far_above(most: int) -> None:
    top = ceiling(most)
    assert top >= most and top % 2 == 0
    assert top <= max(2, most * 5 / 3 + 1)
    assert len(str(top // 2).rstrip("0")) <= 2


def test_the_chart_tells_its_figures_to_who_cannot_see_it_and_by_the_hour() -> None:
    status = backlog()
    page = read(status, rising(status))
    labels = [value["aria-label"] for value in page.named("svg", "chart")]
    assert labels == [
        "Waiting records and recordings in the last 24 hours: at most 100,002",
        "Recordings delivered in 10 minutes each, in the last 24 hours: 0 in 24 hours",
    ]
    assert 24 <= len(page.named("th")) - 3 <= 25


@in_shanghai()
def test_hours_on_the_axis_are_local_ones() -> None:
    text = read(well(), day(well(), 9, 90)).text
    assert "00:00 03:00 06:00 09:00 12:00 15:00 18:00" in text


def test_slots_without_figures_are_hatched_and_the_sign_is_explained() -> None:
    status = well()
    whole, holed = day(status, 9, 90), day(status, 9, 90, missing=range(40, 60))
    assert read(status, whole).named("rect", "gap") == []
    page = read(status, holed)
    assert len(page.named("rect", "gap")) == 2
    assert page.named("rect", "gap")[0]["x"] == "27.78%"
    assert page.named("rect", "gap")[0]["width"] == "13.89%"
    assert "the agent did not run" in page.text


def test_before_the_first_figures_the_chart_says_so() -> None:
    assert "There are no figures of the last day yet." in read(well()).text


def test_a_day_on_which_nothing_happened_is_drawn_too() -> None:
    page = read(well(), day(well(), 0, 0))
    assert len(page.named("svg", "chart")) == 2
    assert "0 in 24 hours" in page.text
