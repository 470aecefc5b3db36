"""The lane of call records: their bytes frozen, sent, booked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from urllib.parse import parse_qsl

from agent.clock import TrustedClock
from agent.delivery.freezing import Freezer
from agent.delivery.lane import Lane, Outcome, Surroundings
from agent.delivery.outcomes import Meaning, Remedy
from agent.language import said
from agent.ledger import LedgerError
from agent.ledger.rows import RecordToSend, State, StoredCall
from agent.parts import Alive
from agent.platform.client import PlatformClient
from agent.platform.failures import FailureKind, PlatformFailure
from agent.platform.wire import form
from agent.recordings.matching import Recorded

LONGEST_KEPT_BY_PLATFORM = 5400
"""Seconds: a sibling platform drops the record of a longer call (PROTOCOL.md 2.2)."""

log = logging.getLogger(__name__)


class RecordLane(Lane[RecordToSend]):
    """Each call's record.

    `being_recorded` tells of files that are still being written, `recordings_of` what a call's
    finished ones say of it.
    """

    kind = "record"

    def __init__(
        self,
        surroundings: Surroundings,
        time: TrustedClock,
        satellite: Callable[[], str | None],
        being_recorded: Callable[[StoredCall], bool],
        recordings_of: Callable[[StoredCall], Sequence[Recorded]],
    ) -> None:
        super().__init__(surroundings, surroundings.bells.records)
        self._time = time
        self._satellite = satellite
        self._being_recorded = being_recorded
        self._freezer = Freezer(
            surroundings.ledger, surroundings.clock, time, being_recorded, recordings_of
        )

    def closed_for(self) -> float:
        """Records wait for a clock: what is sent once stays so."""
        return self._time.ready_in()

    def choose(self, busy: set[int]) -> RecordToSend | None:
        """The record whose turn it is."""
        return self.around.ledger.deliveries.next_record(busy, self.pick())

    def number(self, item: RecordToSend) -> int:
        """The record's own number, which goes with it as `id`."""
        return item.stored.id

    def name(self, item: RecordToSend) -> str:
        """Its number and port; never the telephone number."""
        return f"record {item.stored.id} (port {item.stored.call.channel})"

    def send(self, item: RecordToSend, client: PlatformClient, alive: Alive) -> Outcome:
        """Send the record; the same bytes as ever where it was sent before."""
        body = item.body if item.body is not None else self._freeze(item)
        alive(self.around.longest_request)
        answer = client.record(body)
        name = self.name(item)

        def write() -> bool:
            followed = self.around.ledger.deliveries.booked(item.stored.id, answer.callid)
            log.info("%s is booked under callid %s", name, answer.callid)
            if item.stored.call.duration > LONGEST_KEPT_BY_PLATFORM:
                log.warning("%s is of a call over %d s", name, LONGEST_KEPT_BY_PLATFORM)
            return followed

        return write

    def accept_duplicate(self, item: RecordToSend, callid: str | None) -> bool:
        """The platform booked it before; a callid in that answer counts."""
        return self.around.ledger.deliveries.booked(item.stored.id, callid)

    def call_ended(self, number: int) -> None:
        """A call has ended: what its record says is fixed with that, where it can leave at once.

        So its end and its bytes are one write. To be called in the transaction that writes the end.
        Raises LedgerError.
        """
        item = self.around.ledger.deliveries.record(number)
        if item is not None and self._leaves_at_once(item):
            self._freeze(item)

    def _leaves_at_once(self, item: RecordToSend) -> bool:
        """Tell whether nothing that the record may say has to be waited for.

        While the platform is away a record is not fixed: it may still come to know more.
        """
        stored = item.stored
        if item.body is not None or not stored.clock_trusted or stored.end_uncertain:
            return False
        try:
            ready = not self._time.ready_in() and not self.around.gate.is_shut
            if not ready or self._satellite() is None:
                return False
            return item.state is State.RECORD_TO_SEND or self._being_recorded(stored)
        except LedgerError:
            raise
        except Exception:  # a fault of ours must not keep the end of a call from being written
            log.exception("record %d: what it says is fixed later", stored.id)
            return False

    def remedy(self, item: RecordToSend, failure: PlatformFailure, found: Meaning) -> bool:
        """Where the identity was missing, read it anew; the bytes change only if it did."""
        if found.remedy is Remedy.READ_IDENTITY:
            satellite = self.around.read_identity()
            sent = self.around.ledger.deliveries.frozen(item.stored.id)
            if satellite is not None and sent is not None:
                body = _with_satellite(sent, satellite)
                if body != sent:
                    self.around.ledger.deliveries.freeze(item.stored.id, body)
        return False

    def _freeze(self, item: RecordToSend) -> bytes:
        satellite = self._satellite()
        if satellite is None:
            words = said("the gateway's MAC address is not known: no network interface tells it")
            raise PlatformFailure(FailureKind.IDENTITY_UNKNOWN, words)
        return self._freezer.freeze(item, satellite)


def _with_satellite(body: bytes, satellite: str) -> bytes:
    fields = parse_qsl(body.decode("ascii"), keep_blank_values=True)
    return form((name, satellite if name == "satellite" else value) for name, value in fields)
