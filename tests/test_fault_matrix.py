"""Every command of the gateway against every fault of the platform and of the network, for real.

What is expected stands in `fault_table.py`, how a fault is made in `fault_makers.py`, and what
meets it in `fault_subjects.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.delivery.gate import OUTAGE_AFTER, SHORTEST_WAIT, Shut
from agent.delivery.outcomes import Blame, Remedy, meaning
from agent.delivery.pace import LONGEST_PACE, SLOW_AFTER
from agent.delivery.recordings import LOOK_AGAIN_AFTER
from tests.fault_makers import MAKERS, PASSWORD, TOKEN, USER, ListeningClient, client_at
from tests.fault_subjects import PHONE, SUBJECTS, Item, Listed, Report, Subject
from tests.fault_table import HEAD, TABLE, Command, Row, in_markdown
from tests.lanes import Bench, bench_in
from tests.ledgers import a_call

SHUT = {
    Blame.ITEM: None,
    Blame.EITHER: None,
    Blame.PLATFORM: Shut.OUTAGE,
    Blame.CONFIGURATION: Shut.CONFIGURATION,
}
MOMENT = 0.01
SECRETS = (USER, PASSWORD, TOKEN, PHONE, a_call().phone, "http://", "https://", "sa_password")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path, draw=lambda: 0.0) as made:
        yield made
        assert made.platform.violations == [], "the platform saw nothing that is forbidden"


@pytest.fixture
def well(bench: Bench) -> Iterator[ListeningClient]:
    """A client that meets no fault."""
    with client_at(bench.platform.url) as client:
        yield client


def requests(bench: Bench) -> int:
    return sum(bench.platform.requests.values())


@pytest.mark.parametrize("command", list(Command))
@pytest.mark.parametrize("row", TABLE, ids=[row.fault for row in TABLE])
def test_nothing_is_lost_or_doubled(
    row: Row,
    command: Command,
    bench: Bench,
    well: ListeningClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    subject = SUBJECTS[command](bench)
    with MAKERS[row.fault](bench.platform, command, tmp_path) as client:
        caplog.clear()
        asked = requests(bench)
        subject.attempt(client)
    if not row.is_fault_for(command):
        assert client.failures == []
        assert subject.done()
        subject.check(twice=False)
        return
    assert requests(bench) - asked <= 1, "no second request of its own accord"
    check_meaning(row, client)
    check_standing(row, subject, client.failures[0].message)
    check_log(caplog, client)
    check_wait(row, subject, well)
    if row.done and isinstance(subject, Listed):
        assert not subject.done(), "it was handed out, and its answer was lost"
        subject.list_it()
        subject.attempt(well)
    check_recovery(row, subject, well)


def check_meaning(row: Row, client: ListeningClient) -> None:
    (failure,) = client.failures
    found = meaning(failure)
    assert (failure.kind, found.blame) == (row.kind, row.blame)
    assert (failure.retry_after or 0.0) == row.pause
    assert failure.message


def check_standing(row: Row, subject: Subject, message: str) -> None:
    """The item is kept, and blamed or not; the gate is open or shut."""
    assert not subject.done()
    assert subject.bench.gate.view().shut is SHUT[row.blame]
    assert subject.refusals == (subject.kept and row.blame in {Blame.ITEM, Blame.EITHER})
    assert subject.identity_read == (row.remedy is Remedy.READ_IDENTITY)
    if isinstance(subject, Item) and subject.refusals:
        assert subject.bench.item(subject.number).trouble == message


def check_log(caplog: pytest.LogCaptureFixture, client: ListeningClient) -> None:
    (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    words = line.getMessage()
    assert words == words.strip()
    assert words.isprintable(), "one line"
    assert words.count(client.failures[0].message) == 1
    for secret in SECRETS:
        assert secret not in words


def check_wait(row: Row, subject: Subject, well: ListeningClient) -> None:
    """Nothing is asked before its time; at that time it is."""
    bench = subject.bench
    asked = requests(bench)
    if waits(row, subject):
        bench.clock.turn(row.at_least - MOMENT)
        subject.attempt(well)
        assert requests(bench) == asked, "too early"
        bench.clock.turn(2 * MOMENT)
        if isinstance(subject, Listed):
            # Polls wait until somebody else found the platform well.
            assert Report(bench).reporter.report(well)
            asked += 1
    subject.attempt(well)
    assert requests(bench) > asked


def waits(row: Row, subject: Subject) -> bool:
    """Whether a command rests after a fault, beyond its interval."""
    if subject.kept:
        return True
    if isinstance(subject, Report):
        return row.blame is Blame.CONFIGURATION or row.pause > 0
    return SHUT[row.blame] is not None


def check_recovery(row: Row, subject: Subject, well: ListeningClient) -> None:
    """The one attempt after the fault succeeded; and that was all."""
    bench = subject.bench
    assert subject.done()
    assert bench.gate.view().shut is None
    assert well.failures == []
    if subject.kept:
        asked = requests(bench)
        bench.clock.turn(1000)
        subject.attempt(well)
        assert requests(bench) == asked, "what is done is not sent again"
    subject.check(twice=row.done)


@pytest.mark.parametrize("fault", ["status 3003", "status 3001"])
def test_a_file_refused_with_3003_has_its_record_sent_again(
    fault: str, bench: Bench, well: ListeningClient, tmp_path: Path
) -> None:
    file = SUBJECTS[Command.FILE](bench)
    with MAKERS[fault](bench.platform, Command.FILE, tmp_path) as client:
        file.attempt(client)
    bench.clock.turn(1.0)
    file.attempt(well)
    assert file.done()
    assert bench.platform.repeats == (fault == "status 3003")


def test_the_matrix_stands_in_the_documents() -> None:
    text = (Path(__file__).parents[1] / "docs" / "delivery.md").read_text("utf-8")
    assert in_markdown(text, HEAD) == [row.cells() for row in TABLE]


def test_the_documents_say_what_is_tried_after_how_much() -> None:
    text = (Path(__file__).parents[1] / "docs" / "delivery.md").read_text("utf-8")
    one_line = " ".join(text.split())
    for words in (
        f"once {OUTAGE_AFTER} different things failed in a row",
        f"never under {SHORTEST_WAIT:g} seconds",
        f"Where {SLOW_AFTER} different records, or {SLOW_AFTER} different files, were refused",
        f"waits that grow to {LONGEST_PACE:g} seconds",
        f"that file, {LOOK_AGAIN_AFTER:g} s",
    ):
        assert words in one_line
