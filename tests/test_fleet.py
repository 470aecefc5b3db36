"""A simulated fleet: the agent's own timing, ten thousand times, in simulated seconds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.cli import main
from agent.settings import Polls, Reports, Retry, Uploads
from agent.simulation import fleet
from agent.simulation.fleet_agenda import Agenda
from agent.simulation.fleet_course import Course, Plan, Scenario, least_time
from agent.simulation.fleet_gateway import Habits
from agent.simulation.fleet_platform import FleetPlatform, Outage

HABITS = Habits(Reports(), Polls(), Retry(), Uploads(), calls_an_hour=60, upload_seconds=0.5)
PLAN = Plan(
    gateways=200,
    habits=HABITS,
    scenario=Scenario.OUTAGE,
    outage=Outage.REFUSED,
    outage_seconds=600.0,
    connect_timeout=5.0,
    capacity=0.0,
    seed=1,
)
NOISE = 1.25
"""In a busiest second of few gateways chance shows more than in one of ten thousand."""


@pytest.mark.parametrize("kind", list(Outage))
def test_an_outage_of_ten_minutes_is_followed_by_no_storm_and_soon_caught_up(kind: Outage) -> None:
    account = Course(replace(PLAN, outage=kind)).run()
    assert account.backlog > 200 * 15
    assert account.peak_ratio < 2 * NOISE
    assert account.drain_ratio < 2 * NOISE


def test_a_fleet_started_in_one_second_does_not_ask_in_one_second() -> None:
    account = Course(replace(PLAN, scenario=Scenario.POWER_CUT)).run()
    assert account.peak_ratio < 2 * NOISE
    # Three requests of each would be due at once.
    assert account.peak < 200


def test_a_dead_platform_is_asked_less_than_a_living_one() -> None:
    account = Course(PLAN).run()
    outage = [step.mean for step in account.steps if -500 < step.begin < -10]
    assert max(outage) < account.steady / 2


def test_what_waits_at_the_end_of_the_outage_is_what_its_calls_left() -> None:
    account = Course(PLAN).run()
    calls = PLAN.gateways * HABITS.calls_an_hour * PLAN.outage_seconds / 3600
    assert account.backlog == pytest.approx(2 * calls, rel=0.15)
    assert account.steps[-1].waiting == 0


def test_a_platform_with_a_limit_gets_its_backlog_all_the_same() -> None:
    steady = Course(PLAN).run().steady
    account = Course(replace(PLAN, capacity=steady * 1.5)).run()
    assert account.drained_after is not None


def test_the_same_seed_lives_the_same_life() -> None:
    small = replace(PLAN, gateways=20)
    assert Course(small).run() == Course(small).run()
    assert Course(small).run() != Course(replace(small, seed=2)).run()


def test_the_least_time_is_bound_by_the_peak_the_platform_or_the_last_report() -> None:
    assert least_time(backlog=10_000, steady=100, report_interval=30, capacity=0) == 100
    assert least_time(backlog=10_000, steady=100, report_interval=30, capacity=150) == 200
    assert least_time(backlog=1000, steady=100, report_interval=30, capacity=0) == 30


def test_things_are_done_in_the_order_of_their_time() -> None:
    agenda, done = Agenda(), list[tuple[str, float]]()
    agenda.after(2.0, lambda: done.append(("second", agenda.monotonic())))
    agenda.after(1.0, lambda: done.append(("first", agenda.monotonic())))
    agenda.after(9.0, lambda: done.append(("late", agenda.monotonic())))
    agenda.run(5.0)
    assert done == [("first", 1.0), ("second", 2.0)]
    assert agenda.monotonic() == 5.0


def test_a_platform_over_its_capacity_answers_no_more_in_that_second() -> None:
    agenda = Agenda()
    platform = FleetPlatform(agenda, Outage.BUSY, 5.0, capacity=2.0)
    assert [platform.ask().good for _ in range(3)] == [True, True, False]
    agenda.run(1.0)
    assert platform.ask().good


def test_a_silent_platform_costs_the_connect_time_out_and_a_closed_port_nothing() -> None:
    for kind, seconds in ((Outage.SILENT, 5.0), (Outage.REFUSED, 0.0)):
        platform = FleetPlatform(Agenda(), kind, 5.0, 0.0, down=True)
        reply = platform.ask()
        assert (reply.good, reply.after) == (False, seconds)


def test_an_operator_sees_rates_the_backlog_and_a_verdict(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = main(["simulate", "fleet", "--gateways", "300", "--calls", "10", "--outage", "120"])
    shown = capsys.readouterr().out
    assert status == 0, shown
    assert "x the steady rate" in shown
    assert "x the least possible 30 s" in shown
    assert shown.rstrip().endswith("both are kept")


def test_the_account_is_had_as_json_and_the_intervals_from_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "platform: {url: http://127.0.0.1:9/}\nboards: [{port: loop://}]\n"
        "recordings: {directory: /tmp}\npolls: {messages: 0, calls: 0}\nreports: {interval: 10}\n",
        "utf-8",
    )
    small = ["simulate", "fleet", "--gateways", "100", "--calls", "0", "--outage", "30", "--json"]
    main([*small, "--config", str(config)])
    account = json.loads(capsys.readouterr().out)
    assert account["steady"] == pytest.approx(100 / 9, rel=0.15)
    assert account["backlog"] == 0


@pytest.mark.parametrize("wrong", [["--gateways", "0"], ["--outage", "nan"], ["--calls", "-1"]])
def test_numbers_that_make_no_fleet_are_refused(wrong: list[str]) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    fleet.add_arguments(parser)
    with pytest.raises(argparse.ArgumentError):
        parser.parse_args(wrong)
