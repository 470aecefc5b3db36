"""What a fleet's monitoring reads: a text file for node_exporter's textfile collector.

The text is OpenMetrics 1.0, kept to what the collector's parser of the Prometheus text format 0.0.4
takes as well: no timestamps (it refuses a file that has one), no kinds but gauge and counter,
nothing after a sample's value. docs/metrics.md has the same table for people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

from msgspec import Struct

from agent import __version__
from agent.calls import Direction
from agent.problems import KINDS, Health
from agent.status import Status
from agent.text import printable

Labelled = tuple[tuple[object, ...], float | None]
"""A sample: the labels' values in their order, and its own; None: it is not known just now."""

_DIRECTIONS = {Direction.IN: "in", Direction.OUT: "out", Direction.UNKNOWN: "unknown"}


class Metric(Struct, frozen=True):
    """One line of the table of metrics."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    take: Callable[[Status], Iterable[Labelled]]
    labels: tuple[str, ...] = ()
    always: bool = False
    """Known also while the ledger can't be used; the others would fall to 0 and leap back."""

    def written(self, status: Status) -> Iterator[str]:
        """Yield the lines; none where there is nothing to say."""
        samples = [
            f"{self.name}{_labels(self.labels, values)} {_number(value)}\n"
            for values, value in self.take(status)
            if value is not None
        ]
        if samples:
            # OpenMetrics names a counter without what its samples end in.
            family = self.name.removesuffix("_total")
            yield f"# HELP {family} {self.help}\n# TYPE {family} {self.kind}\n"
            yield from samples


def _gauge(name: str, help_text: str, value: Callable[[Status], float | None]) -> Metric:
    return Metric(name, "gauge", help_text, lambda status: (((), value(status)),))


def _counter(name: str, help_text: str, value: Callable[[Status], float]) -> Metric:
    return Metric(name, "counter", help_text, lambda status: (((), value(status)),))


def _info(status: Status) -> Iterator[Labelled]:
    yield (__version__, status.satellite or ""), 1


def _problems(status: Status) -> Iterator[Labelled]:
    found = [problem.code for problem in status.problems]
    return (((code,), found.count(code)) for code in KINDS)


def _channel_states(status: Status) -> Iterator[Labelled]:
    for board, channels in status.channels.items():
        for view in channels:
            yield (board, view.channel), view.state


def _oldest_age(status: Status) -> float:
    oldest = status.queue.oldest_waiting
    return 0.0 if oldest is None else max(0.0, status.updated - oldest)


def _dials(status: Status) -> Iterator[Labelled]:
    dial = status.dial
    outcomes = (("placed", dial.placed), ("expired", dial.expired), ("failed", dial.failed))
    return (((outcome,), count) for outcome, count in outcomes)


METRICS: Sequence[Metric] = (
    Metric(
        "smarttel_agent_info",
        "gauge",
        "Always 1; the labels tell the agent's version and the gateway's MAC address.",
        _info,
        ("version", "satellite"),
        always=True,
    ),
    Metric(
        "smarttel_updated_time_seconds",
        "gauge",
        "UNIX time of this file: one that grows old tells of an agent that does not run.",
        lambda status: (((), status.updated),),
        always=True,
    ),
    _gauge(
        "smarttel_start_time_seconds",
        "UNIX time at which the agent started.",
        lambda status: status.started,
    ),
    Metric(
        "smarttel_health",
        "gauge",
        "1 for the state that is so: ok, degraded (nothing is being lost), or failing (calls or"
        " recordings may be lost).",
        lambda status: (((each.value,), each is status.health) for each in Health),
        ("state",),
        always=True,
    ),
    Metric(
        "smarttel_problems",
        "gauge",
        "Problems that stand, by code; 0 where there is none.",
        _problems,
        ("code",),
        always=True,
    ),
    _gauge(
        "smarttel_platform_reachable",
        "1: the platform answers as it should.",
        lambda status: status.gate.shut is None and status.gate.last_good is not None,
    ),
    _gauge(
        "smarttel_platform_last_answer_time_seconds",
        "UNIX time of the platform's last good answer.",
        lambda status: status.gate.last_good,
    ),
    _gauge(
        "smarttel_platform_clock_offset_seconds",
        "Seconds by which the platform's clock is ahead of the gateway's.",
        lambda status: status.clock.platform_ahead,
    ),
    _gauge(
        "smarttel_clock_trusted",
        "1: the gateway's clock is held by NTP or agrees with the platform's.",
        lambda status: status.clock.trusted,
    ),
    Metric(
        "smarttel_board_link_up",
        "gauge",
        "1: the board is heard.",
        lambda status: (((link.serial,), link.up) for link in status.links),
        ("board",),
    ),
    Metric(
        "smarttel_board_last_heard_time_seconds",
        "gauge",
        "UNIX time of the board's last good line.",
        lambda status: (((link.serial,), link.last_heard) for link in status.links),
        ("board",),
    ),
    Metric(
        "smarttel_board_lines_total",
        "counter",
        "Good lines heard from the board since the agent started.",
        lambda status: (((link.serial,), link.frames) for link in status.links),
        ("board",),
    ),
    Metric(
        "smarttel_board_bad_lines_total",
        "counter",
        "Damaged lines heard from the board since the agent started.",
        lambda status: (((link.serial,), link.bad_frames) for link in status.links),
        ("board",),
    ),
    Metric(
        "smarttel_channel_state",
        "gauge",
        "The port's state: 0 not connected, 1 idle, 2 in a call, 3 ringing, 4 answered, 5 line"
        " fault.",
        _channel_states,
        ("board", "channel"),
    ),
    Metric(
        "smarttel_calls_total",
        "counter",
        "Calls that ended since the agent started; of unknown direction are those nobody answered.",
        lambda status: (
            ((words,), status.calls.ended.get(direction, 0))
            for direction, words in _DIRECTIONS.items()
        ),
        ("direction",),
    ),
    _gauge(
        "smarttel_calls_unwritten",
        "Beginnings and ends of calls in memory that the ledger has not taken yet.",
        lambda status: status.calls.unwritten,
    ),
    _counter(
        "smarttel_calls_lost_total",
        "Calls lost since the agent started, as the ledger could not be written for too long.",
        lambda status: status.calls.dropped,
    ),
    Metric(
        "smarttel_disk_size_bytes",
        "gauge",
        "Size of the recordings' disk.",
        lambda status: (((), status.disk.size_bytes),),
        always=True,
    ),
    Metric(
        "smarttel_disk_free_bytes",
        "gauge",
        "Free room on the recordings' disk.",
        lambda status: (((), status.disk.free_bytes),),
        always=True,
    ),
    Metric(
        "smarttel_disk_status",
        "gauge",
        "0 normal, -1 no disk, -2 not mounted, -3 not writable, -4 full.",
        lambda status: (((), status.disk.status),),
        always=True,
    ),
    _gauge(
        "smarttel_queue_records",
        "Records of calls that wait for the platform.",
        lambda status: status.queue.records_waiting,
    ),
    _gauge(
        "smarttel_queue_recordings",
        "Recordings that wait for the platform.",
        lambda status: status.queue.files_waiting,
    ),
    _gauge(
        "smarttel_queue_bytes",
        "Size of the recordings that wait.",
        lambda status: status.queue.bytes_waiting,
    ),
    _gauge(
        "smarttel_queue_oldest_age_seconds",
        "How long the oldest waits; 0 where nothing does.",
        _oldest_age,
    ),
    _gauge(
        "smarttel_queue_attention",
        "Items that the platform refused retry.attention_after times; they are tried again.",
        lambda status: status.queue.attention,
    ),
    _gauge(
        "smarttel_recordings_kept",
        "Files that are kept and not sent: empty, not audio, or too short.",
        lambda status: status.queue.kept,
    ),
    _gauge(
        "smarttel_recordings_missing",
        "Recordings whose file was gone before it was delivered.",
        lambda status: status.queue.missing,
    ),
    _gauge(
        "smarttel_recordings_last_scan_time_seconds",
        "UNIX time of the last full scan of the recording directory.",
        lambda status: status.watcher.last_scan if status.watcher else None,
    ),
    _counter(
        "smarttel_recordings_delivered_total",
        "Recordings delivered since the ledger began.",
        lambda status: status.queue.delivered,
    ),
    _counter(
        "smarttel_recordings_delivered_bytes_total",
        "Size of the recordings delivered since the ledger began.",
        lambda status: status.queue.delivered_bytes,
    ),
    _gauge(
        "smarttel_dial_waiting",
        "Calls to place that wait for their port.",
        lambda status: status.dial.waiting,
    ),
    Metric(
        "smarttel_dials_total",
        "counter",
        "Calls to place that came to their end since the ledger began.",
        _dials,
        ("outcome",),
    ),
    _counter(
        "smarttel_entries_malformed_total",
        "Entries of the platform's lists that could not be understood since the agent started.",
        lambda status: status.malformed,
    ),
)
"""Every metric, in the file's order; none has a telephone number, nor a label of many values."""


def metrics_text(status: Status) -> str:
    """Write the whole file's text."""
    known = [metric for metric in METRICS if metric.always or not status.bare]
    return "".join(line for metric in known for line in metric.written(status)) + "# EOF\n"


def _labels(names: Sequence[str], values: Sequence[object]) -> str:
    if not names:
        return ""
    pairs = zip(names, values, strict=True)
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs) + "}"


def _escaped(value: object) -> str:
    return printable(str(value)).replace("\\", r"\\").replace('"', r"\"")


def _number(value: float) -> str:
    # Booleans and the states of ports and disks are whole numbers too.
    return str(int(value)) if isinstance(value, int) else str(round(value, 3))
