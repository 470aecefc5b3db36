"""A fleet of gateways on one platform, in simulated time: what an outage makes of it.

smarttel-agent simulate fleet --gateways 10000 --calls 20 --outage 600
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

from msgspec import to_builtins

from agent.config import load
from agent.settings import Polls, Reports, Retry, Settings, Uploads
from agent.simulation.command import say
from agent.simulation.fleet_course import (
    TIMES_LEAST,
    TIMES_STEADY,
    Account,
    Course,
    Plan,
    Scenario,
    Step,
)
from agent.simulation.fleet_gateway import Habits
from agent.simulation.fleet_platform import Outage

EXIT_KEPT = 0
EXIT_BROKEN = 1
"""A promise was not kept."""
HEADING = f"{'second':>8}{'a second':>10}{'busiest':>9}{'waiting':>9}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.add_argument("--gateways", type=_number(1, int), default=10_000, metavar="N")
    parser.add_argument(
        "--calls",
        type=_number(0, float),
        default=20.0,
        metavar="N",
        help="calls an hour of each gateway (default: 20)",
    )
    parser.add_argument(
        "--scenario",
        choices=[scenario.value for scenario in Scenario],
        default=Scenario.OUTAGE.value,
        help="the platform is gone for a while, or all gateways start in the same second",
    )
    parser.add_argument(
        "--outage",
        type=_number(1, float),
        default=600.0,
        metavar="SECONDS",
        help="how long the platform is gone (default: 600)",
    )
    parser.add_argument(
        "--kind",
        choices=[outage.value for outage in Outage],
        default=Outage.REFUSED.value,
        help="connections are refused, nothing answers, or something answers 503",
    )
    parser.add_argument(
        "--recording",
        type=_number(0, float),
        default=480.0,
        metavar="KB",
        help="size of a recording (default: 480, a minute of telephone sound)",
    )
    parser.add_argument(
        "--line",
        type=_number(1, float),
        default=1000.0,
        metavar="KB/S",
        help="what a gateway's line carries (default: 1000)",
    )
    parser.add_argument(
        "--capacity",
        type=_number(0, float),
        default=0.0,
        metavar="N",
        help="requests a second that the platform answers, more get a 503 (default: any number)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="a gateway's configuration, for its intervals and time-outs (default: the defaults)",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="another draw of chance")
    parser.add_argument("--json", action="store_true", help="print the account as JSON alone")


def run(arguments: argparse.Namespace) -> int:
    """Simulate a fleet; exit status 0 where both promises were kept."""
    plan = plan_of(arguments)
    if not arguments.json:
        say(HEADING)
    account = Course(plan, (lambda step: None) if arguments.json else _tell).run()
    if arguments.json:
        say(json.dumps(_as_json(account)))
    else:
        for line in _in_words(plan, account):
            say(line)
    return EXIT_KEPT if account.kept else EXIT_BROKEN


def plan_of(arguments: argparse.Namespace) -> Plan:
    """The plan that the arguments tell. Raises ConfigError for a bad configuration."""
    config: Path | None = getattr(arguments, "config", None)
    settings = None if config is None else load(config, os.environ, secrets=False)
    return Plan(
        gateways=arguments.gateways,
        habits=habits_of(settings, arguments.calls, arguments.recording / arguments.line),
        scenario=Scenario(arguments.scenario),
        outage=Outage(arguments.kind),
        outage_seconds=arguments.outage,
        connect_timeout=5.0 if settings is None else settings.platform.connect_timeout,
        capacity=arguments.capacity,
        seed=arguments.seed,
    )


def habits_of(settings: Settings | None, calls_an_hour: float, upload_seconds: float) -> Habits:
    """A gateway as configured; without a configuration, as one that names no interval."""
    return Habits(
        reports=settings.reports if settings else Reports(),
        polls=settings.polls if settings else Polls(),
        retry=settings.retry if settings else Retry(),
        uploads=settings.uploads if settings else Uploads(),
        calls_an_hour=calls_an_hour,
        upload_seconds=upload_seconds,
    )


def _tell(step: Step) -> None:
    say(f"{step.begin:>8.0f}{step.mean:>10.0f}{step.peak:>9}{step.waiting:>9}")


def _in_words(plan: Plan, account: Account) -> list[str]:
    lines = [
        f"steady: {account.steady:,.0f} requests a second,"
        f" {account.steady / plan.gateways:.3f} of each of {plan.gateways:,} gateways",
        f"busiest second afterwards: {account.peak:,}, {account.peak_ratio:.2f} x the steady rate"
        f" (to reach: at most {TIMES_STEADY:g})",
    ]
    if plan.scenario is Scenario.OUTAGE:
        drained = account.drained_after
        lines += [
            f"busiest second of the outage: {account.peak_in_outage:,}",
            f"left by the outage: {account.backlog:,} records and recordings; the last was taken"
            f" {'not within hours' if drained is None else f'{drained:.0f} s after its end'},"
            f" {account.drain_ratio:.2f} x the least possible {account.least:.0f} s"
            f" (to reach: at most {TIMES_LEAST:g})",
        ]
    lines.append("both are kept" if account.kept else "NOT KEPT")
    return lines


def _as_json(account: Account) -> dict[str, object]:
    ratios = {"peak_ratio": account.peak_ratio, "drain_ratio": account.drain_ratio}
    return {**to_builtins(account), **ratios, "kept": account.kept}


def _number(least: float, kind: type[int] | type[float]) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = kind(text)
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not a number of at least {least:g}")
        return value

    return number
