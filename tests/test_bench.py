"""The bench: verdicts, the table and what makes it fail; its server, and peers that are missing."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from agent.recordings.audio import Verdict as AudioVerdict
from agent.recordings.audio import inspect
from agent.recordings.names import RecordingNames
from agent.simulation.bench import command, peers
from agent.simulation.bench.command import (
    Result,
    as_json,
    facts,
    failures,
    main,
    markdown,
    measure,
    table,
)
from agent.simulation.bench.daemon import TICKS, _kernel_time, wait_until
from agent.simulation.bench.figures import Bench, Figure, Row, Unmeasurable, Verdict
from agent.simulation.bench.rows import ROWS
from agent.simulation.bench.sink import SinkProcess, sink
from agent.simulation.bench.stock import A_MINUTE, Stock

MIB = 1024 * 1024
FIGURES = (
    Figure("memory", 41.0, "MiB", most=40.0, structural=True),
    Figure("speed", 0.5, "x curl", least=0.9),
    Figure("limit", 1.0, "x", most=1.05, least=0.95),
    Figure("curl", 0.123456, "s CPU"),
)


def row(figures: Sequence[Figure] = FIGURES, name: str = "row") -> Row:
    return Row(name, "A row", lambda bench: figures)


def result(trouble: str = "") -> Result:
    return Result(row(), () if trouble else FIGURES, trouble)


@pytest.fixture(scope="module")
def server() -> Iterator[SinkProcess]:
    with sink() as running:
        yield running


# Verdicts and the table.


@pytest.mark.parametrize(
    ("measured", "most", "least", "verdict"),
    [
        (1.0, 1.0, None, Verdict.REACHED),
        (1.01, 1.0, None, Verdict.MISSED),
        (0.9, None, 0.9, Verdict.REACHED),
        (0.89, None, 0.9, Verdict.MISSED),
        (1.06, 1.05, 0.95, Verdict.MISSED),
        (0.94, 1.05, 0.95, Verdict.MISSED),
        (0.0, 0.0, None, Verdict.REACHED),
        (7.0, None, None, Verdict.TOLD),
    ],
)
def test_a_figure_is_judged_by_its_target(
    measured: float, most: float | None, least: float | None, verdict: Verdict
) -> None:
    assert Figure("figure", measured, "", most=most, least=least).verdict is verdict


def test_each_figure_stands_beside_its_target_and_verdict() -> None:
    heading, *lines = table([result()])
    assert heading.split() == ["figure", "measured", "target", "verdict"]
    assert [line.split() for line in lines] == [
        ["row:", "memory", "41", "MiB", "at", "most", "40", "missed"],
        ["row:", "speed", "0.5", "x", "curl", "at", "least", "0.9", "missed"],
        ["row:", "limit", "1", "x", "at", "least", "0.95,", "at", "most", "1.05", "reached"],
        ["row:", "curl", "0.123", "s", "CPU", "told"],
    ]


def test_a_missed_figure_is_a_failure_and_names_itself() -> None:
    memory, speed = failures([result()], structural_only=False)
    assert memory == "row: memory: at most 40, and it is 41"
    assert speed.startswith("row: speed")


def test_in_the_short_form_a_time_is_no_failure() -> None:
    (memory,) = failures([result()], structural_only=True)
    assert memory.startswith("row: memory")


def test_a_row_that_was_not_measured_is_a_failure_in_both_forms() -> None:
    for structural_only in (True, False):
        (line,) = failures([result("it went wrong")], structural_only=structural_only)
        assert line == "row: it went wrong"


def test_in_the_short_form_a_missing_peer_is_no_failure() -> None:
    lacking = Result(row(), (), "curl is missing", lacking=True)
    assert failures([lacking], structural_only=True) == []
    assert failures([lacking], structural_only=False) == ["row: curl is missing"]


def test_the_document_has_the_machine_and_every_figure() -> None:
    text = markdown([result(), result("curl is missing")], {"kernel": "Linux 6"})
    assert "| kernel | Linux 6 |" in text
    assert "| `row` | memory | 41 MiB | at most 40 | **missed** |" in text
    assert "| `row` | curl | 0.123 s CPU |  |  |" in text
    assert "| `row` | curl is missing | | | not measured |" in text


def test_programs_read_all_of_it_as_json() -> None:
    told = json.loads(json.dumps(as_json([result()], facts())))
    assert told["rows"][0]["figures"][0] == {
        "name": "memory",
        "measured": 41.0,
        "unit": "MiB",
        "most": 40.0,
        "least": None,
        "structural": True,
        "verdict": "missed",
    }
    assert set(told["machine"]) >= {"processor", "kernel", "Python", "curl", "rclone"}


def test_what_is_missing_and_what_goes_wrong_ends_no_other_row(tmp_path: Path) -> None:
    def without(_bench: Bench) -> Sequence[Figure]:
        raise Unmeasurable("curl is missing")

    def late(_bench: Bench) -> Sequence[Figure]:
        raise TimeoutError("not within 1 s: the end")

    assert measure(Row("a", "A", without), tmp_path, short=True).trouble == "curl is missing"
    assert "not within 1 s" in measure(Row("b", "B", late), tmp_path, short=True).trouble
    assert measure(row(), tmp_path, short=True).figures == FIGURES
    assert list(tmp_path.iterdir()) == [], "each row's folder is removed"


def test_the_command_measures_the_rows_that_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = (Figure("size", 1.0, "bytes", most=2.0, structural=True),)
    monkeypatch.setattr(command, "ROWS", (row(), row(good, "good")))
    at = ["--directory", str(tmp_path)]
    assert main(["good", "--json", str(tmp_path / "told"), *at]) == 0
    assert [one["name"] for one in json.loads((tmp_path / "told").read_text())["rows"]] == ["good"]
    assert main(["row", "--markdown", str(tmp_path / "table"), *at]) == 1
    assert "**missed**" in (tmp_path / "table").read_text()
    assert "missed: row: speed" in capsys.readouterr().out


def test_a_row_that_there_is_not_is_an_error_that_names_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["drian"])
    assert ended.value.code == 2
    assert "drian" in capsys.readouterr().err


def test_rows_have_names_of_their_own() -> None:
    names = [one.name for one in ROWS]
    assert len(set(names)) == len(names)


# Peers.


@pytest.mark.parametrize(("program", "package"), peers.PACKAGES.items())
def test_a_missing_peer_names_its_package(
    program: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unmeasurable, match=f"{program} is missing.*apt-get install {package}"):
        peers.find(program)
    assert peers.version(program) == ""


# The stock.


def test_recordings_of_the_bench_are_good_audio_under_names_that_are_read(tmp_path: Path) -> None:
    stock = Stock(tmp_path)
    made = [*stock.make(9), stock.make_empty(MIB)]
    stock.put(made)
    names = RecordingNames(["{start:%Y%m%d-%H%M%S}_{channel}_{direction}_{phone}"])
    found = sorted(stock.directory.iterdir())
    assert len(found) == len(made) == len({path.name for path in made})
    for path in found:
        with path.open("rb") as file:
            audio = inspect(file, path.stat().st_size, path.name)
        assert audio.verdict is AudioVerdict.GOOD
        assert audio.duration in {A_MINUTE / 8000, MIB / 8000}
        assert None not in {names.facts(path.name).start, names.facts(path.name).channel}


# The server.


def post(server: SinkProcess, body: bytes, content_type: str) -> dict[str, object]:
    request = urllib.request.Request(server.url, body, {"Content-Type": content_type})
    with urllib.request.urlopen(request, timeout=10) as answer:
        told: dict[str, object] = json.load(answer)
    return told


def test_the_server_answers_as_the_protocol_wants_and_counts(server: SinkProcess) -> None:
    before = server.counts()
    told = post(server, b"cmd=upload&satellite=x", "application/x-www-form-urlencoded")
    assert told["status"] == 0
    assert told["callid"]
    post(server, b"cmd=getCallList&satellite=x", "application/x-www-form-urlencoded")
    post(server, b"x" * MIB, "multipart/form-data; boundary=x")
    after = server.counts()
    assert after.records - before.records == 1
    assert after.files - before.files == 1
    assert after.file_bytes - before.file_bytes == MIB
    assert after.requests - before.requests == 3
    assert after.latest_ended >= after.latest_began > 0


def test_the_server_keeps_a_connection_and_takes_a_body_after_its_leave(
    server: SinkProcess,
) -> None:
    host, port = server.origin.removeprefix("http://").split(":")
    head = b"PUT /recordings/a.wav HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head)
        assert b"100 Continue" in connection.recv(4096)
        connection.sendall(b"abcPROPFIND /recordings/a.wav HTTP/1.1\r\n\r\n")
        heard = b""
        while b"multistatus>" not in heard:
            heard += connection.recv(4096)
    assert b"201 Created" in heard
    assert b"<d:getcontentlength>3<" in heard


def test_a_limited_line_carries_no_more_than_it_may() -> None:
    with sink(rate=MIB) as server:
        wait_until(lambda: server.counts().files == 0, "the server answers")
        post(server, b"x" * (MIB // 2), "multipart/form-data; boundary=x")
        counts = server.counts()
        assert counts.latest_ended - counts.latest_began >= 0.4


def test_the_kernels_part_is_read_behind_a_name_that_holds_blanks_and_brackets(
    tmp_path: Path,
) -> None:
    stat = tmp_path / "stat"
    stat.write_text("7 (a b) c) S 1 7 7 0 -1 4194304 900 0 0 0 350 250 11 12 20 0 9 0 5400 1 2\n")
    assert _kernel_time(stat) == 250 / TICKS
