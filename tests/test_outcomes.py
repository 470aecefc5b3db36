"""What a failure means: the table of DESIGN.md's rule that nothing is ever given up."""

from __future__ import annotations

import pytest

from agent.delivery.gate import OUTAGE_AFTER, Gate, Shut
from agent.delivery.outcomes import (
    BY_KIND,
    Blame,
    Remedy,
    learn_from,
    meaning,
)
from agent.platform.failures import FailureKind, PlatformFailure
from agent.platform.judging import judge
from agent.platform.wire import HttpAnswer
from agent.settings import Retry
from tests.clocks import HandClock

READ, ANEW, NONE, LOOK = (
    Remedy.READ_IDENTITY,
    Remedy.BOOK_ANEW,
    Remedy.NONE,
    Remedy.LOOK_AGAIN,
)


def judged(http_status: int, body: bytes = b"") -> PlatformFailure:
    with pytest.raises(PlatformFailure) as raised:
        judge(HttpAnswer(http_status, body, None, None), 0.0)
    return raised.value


@pytest.mark.parametrize(
    ("status", "blame", "remedy"),
    [
        (3001, Blame.ITEM, NONE),
        (3002, Blame.ITEM, READ),
        (3003, Blame.ITEM, ANEW),
        (3004, Blame.ITEM, NONE),
        (1, Blame.ITEM, NONE),
        (-1, Blame.ITEM, NONE),
        (-6, Blame.ITEM, NONE),
        (-2, Blame.CONFIGURATION, NONE),
    ],
)
def test_the_platforms_codes(status: int, blame: Blame, remedy: Remedy) -> None:
    found = meaning(judged(200, b'{"status": %d}' % status))
    assert (found.blame, found.remedy) == (blame, remedy)


@pytest.mark.parametrize(
    ("http_status", "blame"),
    [
        (301, Blame.PLATFORM),
        (302, Blame.PLATFORM),
        (307, Blame.PLATFORM),
        (400, Blame.ITEM),
        (401, Blame.CONFIGURATION),
        (403, Blame.CONFIGURATION),
        (404, Blame.EITHER),
        (405, Blame.EITHER),
        (407, Blame.CONFIGURATION),
        (408, Blame.EITHER),
        (413, Blame.ITEM),
        (415, Blame.ITEM),
        (418, Blame.EITHER),
        (422, Blame.ITEM),
        (429, Blame.PLATFORM),
        (500, Blame.EITHER),
        (502, Blame.PLATFORM),
        (503, Blame.PLATFORM),
        (504, Blame.PLATFORM),
    ],
)
def test_http_errors(http_status: int, blame: Blame) -> None:
    assert meaning(judged(http_status)).blame is blame


@pytest.mark.parametrize(
    ("body", "blame"),
    [
        (b"<html>Welcome to the hotel", Blame.EITHER),
        (b"", Blame.EITHER),
        (b"[]", Blame.EITHER),
        (b'{"status": 5, "message": "authentication failed"}', Blame.CONFIGURATION),
    ],
)
def test_answers_that_are_none(body: bytes, blame: Blame) -> None:
    assert meaning(judged(200, body)).blame is blame


@pytest.mark.parametrize(
    ("kind", "blame", "remedy"),
    [
        (FailureKind.NO_SUCH_HOST, Blame.PLATFORM, NONE),
        (FailureKind.CONNECTION_REFUSED, Blame.PLATFORM, NONE),
        (FailureKind.CONNECT_TIMEOUT, Blame.PLATFORM, NONE),
        (FailureKind.TLS, Blame.PLATFORM, NONE),
        (FailureKind.ANSWER_TIMEOUT, Blame.EITHER, NONE),
        (FailureKind.CONNECTION_CUT, Blame.EITHER, NONE),
        (FailureKind.UNUSABLE, Blame.EITHER, NONE),
        (FailureKind.IDENTITY_UNKNOWN, Blame.PLATFORM, READ),
        (FailureKind.FILE_CHANGED, Blame.NOBODY, LOOK),
        (FailureKind.FILE_UNREADABLE, Blame.FILE, LOOK),
        (FailureKind.ABANDONED, Blame.NOBODY, NONE),
    ],
)
def test_what_goes_wrong_without_an_answer(kind: FailureKind, blame: Blame, remedy: Remedy) -> None:
    found = meaning(PlatformFailure(kind, ""))
    assert (found.blame, found.remedy) == (blame, remedy)


def test_every_kind_of_failure_has_its_line() -> None:
    assert set(BY_KIND) == set(FailureKind)


def test_a_code_counts_only_in_a_proper_answer() -> None:
    """A server's error page may quote a code; what the server says with HTTP counts."""
    failure = PlatformFailure(FailureKind.HTTP_ERROR, "", status=3003, http_status=500)
    assert meaning(failure) is BY_KIND[FailureKind.HTTP_ERROR]


# What reports and polls teach the gate


class Learner:
    """A gate that is told of failures; remembers whether the identity was read anew."""

    def __init__(self) -> None:
        self.gate = Gate(Retry(first=2.0), HandClock(), lambda: None, lambda: 1.0)
        self.read = 0

    def learn(self, failure: PlatformFailure, what: str = "report 1") -> None:
        learn_from(failure, self.gate, what, self._read_identity)

    @property
    def shut(self) -> Shut | None:
        return self.gate.view().shut

    def _read_identity(self) -> None:
        self.read += 1


@pytest.mark.parametrize(
    ("failure", "shut"),
    [
        (PlatformFailure(FailureKind.CONNECTION_REFUSED, ""), Shut.OUTAGE),
        (PlatformFailure(FailureKind.AUTHENTICATION, ""), Shut.CONFIGURATION),
        (PlatformFailure(FailureKind.ANSWER_TIMEOUT, ""), None),
        (PlatformFailure(FailureKind.HTTP_ERROR, "", http_status=500), None),
        (PlatformFailure(FailureKind.REFUSED, "", status=3001), None),
        (PlatformFailure(FailureKind.ABANDONED, ""), None),
    ],
)
def test_a_failed_report_shuts_the_gate_only_where_it_is_certain(
    failure: PlatformFailure, shut: Shut | None
) -> None:
    told = Learner()
    told.learn(failure)
    assert told.shut is shut


LOG_IN_PAGE = PlatformFailure(FailureKind.UNUSABLE, "a log-in page")


def test_reports_that_fail_doubtfully_in_a_row_are_an_outage() -> None:
    """Where nothing waits to be sent, a hotel's log-in page shows itself to reports alone."""
    told = Learner()
    for number in range(OUTAGE_AFTER):
        assert told.shut is None
        told.learn(LOG_IN_PAGE, f"report {number}")
    assert told.shut is Shut.OUTAGE
    assert told.gate.view().reason == "a log-in page"


def test_a_list_that_the_platform_cannot_give_is_no_outage() -> None:
    told = Learner()
    for _ in range(OUTAGE_AFTER * 3):
        told.learn(PlatformFailure(FailureKind.HTTP_ERROR, "", http_status=404), "getCallList")
    assert told.shut is None


def test_a_good_answer_between_says_that_the_platform_is_well() -> None:
    told = Learner()
    for number in range(OUTAGE_AFTER * 3):
        told.learn(LOG_IN_PAGE, f"report {number}")
        told.gate.answered()
    assert told.shut is None


def test_a_refused_report_shows_that_the_platform_is_there() -> None:
    told = Learner()
    told.gate.failed(Shut.OUTAGE, "", None)
    told.learn(PlatformFailure(FailureKind.REFUSED, "", status=3001))
    assert told.shut is None


def test_a_doubtful_report_in_an_outage_opens_nothing() -> None:
    told = Learner()
    told.gate.failed(Shut.OUTAGE, "", None)
    told.learn(LOG_IN_PAGE)
    assert told.shut is Shut.OUTAGE
    assert told.gate.view().reason == "a log-in page"


def test_a_report_that_probed_and_was_stopped_leaves_the_next_one_its_turn() -> None:
    told = Learner()
    told.gate.failed(Shut.CONFIGURATION, "", None)
    told.gate.probe_now()
    assert told.gate.admit() == 0
    told.learn(PlatformFailure(FailureKind.ABANDONED, ""))
    assert told.gate.admit() == 0


@pytest.mark.parametrize(("status", "times"), [(3002, 1), (3001, 0)])
def test_the_identity_is_read_anew_where_the_platform_misses_it(status: int, times: int) -> None:
    told = Learner()
    told.learn(PlatformFailure(FailureKind.REFUSED, "", status=status))
    assert told.read == times
