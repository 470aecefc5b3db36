"""The metrics file: what it says, that monitoring can read it, how it is written."""

from __future__ import annotations

import logging
import os
import re
import signal
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as prometheus

from agent import __version__
from agent.boards.link import LinkView
from agent.calls import Direction
from agent.delivery.gate import GateView
from agent.ledger.rows import QueueCounts
from agent.metrics import METRICS, metrics_text
from agent.metrics_file import INTERVAL, MetricsFile
from agent.problems import KINDS, Health, Problem
from agent.switchboard import CallCounts
from tests.clocks import NOON, HandClock
from tests.gateway import Box, box, wait_until
from tests.test_status import PHONE, STATUS, hostile_status

DOCUMENT = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text("utf-8")
openmetrics: Callable[[str], Iterable[Metric]] = openmetrics_parser.text_string_to_metric_families
Labels = tuple[tuple[str, str], ...]


def samples(text: str) -> dict[tuple[str, Labels], float]:
    """Every sample of a file, read by the strict parser."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in openmetrics(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[name, tuple(sorted(labels.items()))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics" / "smarttel.prom"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Box]:
    with box(tmp_path) as made:
        yield made


# What it says.


def test_it_says_what_the_agent_knows() -> None:
    calls = CallCounts({Direction.IN: 7, Direction.UNKNOWN: 2}, unwritten=3, dropped=1)
    text = metrics_text(replace(STATUS, calls=calls))
    assert (
        value(text, "smarttel_agent_info", version=__version__, satellite="02:00:00:00:00:01") == 1
    )
    assert value(text, "smarttel_updated_time_seconds") == NOON
    assert value(text, "smarttel_start_time_seconds") == NOON - 100
    assert value(text, "smarttel_health", state="degraded") == 1
    assert value(text, "smarttel_health", state="failing") == 0
    assert value(text, "smarttel_problems", code="channel-fault") == 1
    assert value(text, "smarttel_platform_reachable") == 1
    assert value(text, "smarttel_platform_clock_offset_seconds") == 0.235
    assert value(text, "smarttel_board_link_up", board="1") == 1
    assert value(text, "smarttel_board_lines_total", board="1") == 120
    assert value(text, "smarttel_board_bad_lines_total", board="1") == 3
    assert value(text, "smarttel_channel_state", board="1", channel="2") == 5
    assert value(text, "smarttel_calls_total", direction="in") == 7
    assert value(text, "smarttel_calls_total", direction="out") == 0
    assert value(text, "smarttel_calls_total", direction="unknown") == 2
    assert value(text, "smarttel_calls_unwritten") == 3
    assert value(text, "smarttel_calls_lost_total") == 1
    assert value(text, "smarttel_disk_free_bytes") == 80 * 1024**2
    assert value(text, "smarttel_queue_bytes") == 3_000_000
    assert value(text, "smarttel_queue_oldest_age_seconds") == 9
    assert value(text, "smarttel_recordings_delivered_bytes_total") == 50_000_000
    assert value(text, "smarttel_dials_total", outcome="failed") == 4


def test_every_problem_and_state_has_a_sample_though_it_is_not_so() -> None:
    text = metrics_text(replace(STATUS, problems=(), health=Health.OK))
    assert {value(text, "smarttel_problems", code=code) for code in KINDS} == {0}
    assert [value(text, "smarttel_health", state=each) for each in Health] == [1, 0, 0]


def test_two_problems_of_one_code_count_as_two() -> None:
    fault = Problem("channel-fault", NOON, "a port reports a fault", "Check it.")
    text = metrics_text(replace(STATUS, problems=(fault, fault)))
    assert value(text, "smarttel_problems", code="channel-fault") == 2


def test_what_is_not_known_yet_has_no_sample() -> None:
    begun = replace(
        STATUS,
        gate=GateView(None, 0.0, "", None),
        clock=replace(STATUS.clock, platform_ahead=None),
        links=(LinkView(1, "native", "/dev/ttyS1"),),
        channels={},
        queue=QueueCounts(0, 0, 0, None, 0, 0, 0, 0, 0),
        watcher=None,
    )
    text = metrics_text(begun)
    for name in (
        "smarttel_platform_last_answer_time_seconds",
        "smarttel_platform_clock_offset_seconds",
        "smarttel_board_last_heard_time_seconds",
        "smarttel_channel_state",
        "smarttel_recordings_last_scan_time_seconds",
    ):
        assert name not in text
    assert value(text, "smarttel_queue_oldest_age_seconds") == 0
    assert value(text, "smarttel_platform_reachable") == 0


def test_a_clock_that_was_set_back_makes_no_age_negative() -> None:
    early = replace(STATUS, updated=NOON - 1000)
    assert value(metrics_text(early), "smarttel_queue_oldest_age_seconds") == 0


def test_without_a_ledger_no_counter_falls_to_nought() -> None:
    text = metrics_text(replace(STATUS, bare=True))
    kinds = {family.type for family in openmetrics(text)}
    assert kinds == {"gauge"}
    assert "smarttel_queue" not in text
    assert value(text, "smarttel_problems", code="channel-fault") == 1
    assert value(text, "smarttel_updated_time_seconds") == NOON


def test_nobody_s_words_and_no_telephone_number_stand_in_it() -> None:
    text = metrics_text(hostile_status(f"call {PHONE}"))
    assert PHONE not in text
    assert "call" not in re.sub(r"(?m)^#.*$|smarttel_calls", "", text)


# That monitoring can read it.


@pytest.mark.parametrize("parse", [openmetrics, prometheus])
@settings(max_examples=40)
@given(said=st.text(), number=st.integers(0, 2**63), seconds=st.floats(0, 1e10))
def test_both_official_parsers_read_it_whatever_the_agent_is_told(
    parse: Callable[[str], Iterable[Metric]], said: str, number: int, seconds: float
) -> None:
    links = (LinkView(1, said, said, True, seconds, number, number, said),)
    status = replace(
        hostile_status(said),
        satellite=said,
        links=links,
        channels=STATUS.channels,
        updated=seconds,
        queue=replace(STATUS.queue, delivered=number, oldest_waiting=seconds),
    )
    text = metrics_text(status)
    text.encode("utf-8")
    found = [sample for family in parse(text) for sample in family.samples]
    lines = [line for line in text.split("\n") if line and not line.startswith("#")]
    assert len(found) == len(lines) > 40


def test_it_keeps_to_what_the_textfile_collector_takes() -> None:
    text = metrics_text(STATUS)
    assert text.endswith("\n# EOF\n")
    for line in text.split("\n")[:-2]:
        # Its parser knows no other kinds, and it refuses a file with a timestamp in it.
        assert re.fullmatch(
            r"# HELP \w+ [^\\]+|# TYPE \w+ (gauge|counter)|\w+(\{[^}]*\})? [0-9.e+-]+", line
        ), line


def test_every_name_is_of_the_kind_that_its_end_says() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch(r"smarttel_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name


# The document.


def test_the_document_has_every_metric_as_it_is_in_its_order() -> None:
    rows = re.findall(r"^\| `(smarttel_\w+)` \| (\w+) \| (.*?) ?\| (.+) \|$", DOCUMENT, re.M)
    assert rows == [
        (each.name, each.kind, ", ".join(f"`{label}`" for label in each.labels), each.help)
        for each in METRICS
    ]


def alerts() -> list[dict[str, Any]]:
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.S)
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def test_the_alerts_of_the_document_ask_for_what_there_is() -> None:
    known = {metric.name: metric for metric in METRICS}
    assert len(alerts()) == 10
    for rule in alerts():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule
        expression = rule["expr"]
        assert expression.count("(") == expression.count(")")
        names = re.findall(r"smarttel_\w+", expression)
        assert set(names) <= set(known), expression
        for name, selector in re.findall(r"(smarttel_\w+)\{(.*?)\}", expression):
            assert set(re.findall(r"(\w+)=", selector)) <= set(known[name].labels)
        told = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) - {"instance"}
        assert told <= {label for name in names for label in known[name].labels}, rule
        counters = {name for name in names if known[name].kind == "counter"}
        assert all(re.search(rf"(rate|increase)\({name}\[", expression) for name in counters)


# How it is written.


def test_it_is_written_whole_for_everybody_to_read(path: Path) -> None:
    before = os.umask(0o077)
    try:
        MetricsFile(str(path), HandClock()).write(STATUS)
    finally:
        os.umask(before)
    assert path.read_text("utf-8") == metrics_text(STATUS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_it_is_written_no_oftener_than_monitoring_looks(path: Path) -> None:
    clock = HandClock()
    file = MetricsFile(str(path), clock)
    written = []
    for second in range(61):
        file.write(replace(STATUS, updated=float(second)))
        written.append(value(path.read_text("utf-8"), "smarttel_updated_time_seconds"))
        clock.turn(1)
    assert sorted(set(written)) == [0, INTERVAL, 2 * INTERVAL, 3 * INTERVAL, 4 * INTERVAL]


def test_nothing_is_written_through_a_link_that_somebody_left_there(path: Path) -> None:
    path.parent.mkdir()
    victim = path.parent / "victim"
    victim.write_text("mine")
    (path.parent / f".{path.name}.new").symlink_to(victim)
    path.symlink_to(victim)
    MetricsFile(str(path), HandClock()).write(STATUS)
    assert victim.read_text() == "mine"
    assert not path.is_symlink()


def test_the_collector_never_sees_the_file_that_is_being_made(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    rename = os.replace

    def noted(source: Path, target: Path) -> None:
        made.append(Path(source).name)
        rename(source, target)

    monkeypatch.setattr(os, "replace", noted)
    MetricsFile(str(path), HandClock()).write(STATUS)
    assert made and not any(name.endswith(".prom") for name in made)


def test_one_that_cannot_be_written_is_said_once_and_the_agent_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "metrics"
    blocked.write_text("a file where the folder should be")
    clock = HandClock()
    file = MetricsFile(str(blocked / "smarttel.prom"), clock)
    for _ in range(5):
        file.write(STATUS)
        clock.turn(INTERVAL)
    assert len(caplog.messages) == 1
    assert "correct metrics_file" in caplog.messages[0]
    blocked.unlink()
    file.write(STATUS)
    assert (blocked / "smarttel.prom").exists()


def test_a_name_that_the_collector_does_not_read_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = HandClock()
    for name in ("smarttel.prom", "smarttel.txt"):
        file = MetricsFile(str(tmp_path / name), clock)
        for _ in range(3):
            file.write(STATUS)
            clock.turn(INTERVAL)
        assert (tmp_path / name).exists()
    (said,) = caplog.messages
    assert "smarttel.txt does not end in .prom" in said


def test_without_a_path_nothing_is_written_or_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    file = MetricsFile(None, HandClock())
    file.write(STATUS)
    file.remove()
    assert caplog.messages == []


# The daemon.


def test_the_daemon_writes_it_and_a_reload_takes_it_elsewhere(gateway: Box) -> None:
    first, second = (gateway.folder / name / "smarttel.prom" for name in ("a", "b"))
    gateway.start(metrics_file=str(first))
    gateway.board.ring(1, PHONE)
    gateway.board.hang_up(1)
    gateway.wait_for_records(1)
    assert value(first.read_text(), "smarttel_start_time_seconds") > NOON
    gateway.configure(metrics_file=str(second), log={"format": "json"})
    gateway.signal(signal.SIGHUP)
    wait_until(second.exists, "it is written elsewhere")
    assert not first.exists()
    text = second.read_text()
    assert value(text, "smarttel_calls_total", direction="unknown") == 1
    assert value(text, "smarttel_board_lines_total", board="1") > 8
    assert '"message": "the configuration was read anew' in gateway.log
    assert gateway.stop() == 0
    assert second.read_text() == text, "it stays, and its age tells"


def test_while_the_ledger_fails_the_daemon_still_says_that_it_lives(gateway: Box) -> None:
    path = gateway.folder / "smarttel.prom"
    (gateway.folder / "state").write_text("a file where the state directory should be")
    gateway.launch(metrics_file=str(path))
    wait_until(path.exists, "the metrics are written")
    text = path.read_text()
    assert value(text, "smarttel_problems", code="state-unusable") == 1
    assert value(text, "smarttel_health", state="failing") == 1
    assert "smarttel_recordings_delivered_total" not in text
