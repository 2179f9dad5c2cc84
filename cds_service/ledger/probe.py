"""Whether records can be written, found out by writing: a whole record that is undone, and a row that stays.

The first needs all that a record needs: locks, room in each table, triggers, the rights. The second is durable, so it
needs the log and its disk. What became of real writes counts as well, because a probe is smaller than they are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from cds_service.errors import LedgerError, LedgerUnavailable
from cds_service.ledger.record import CardRecord, Record

if TYPE_CHECKING:
    from cds_service.ledger.lane import Transaction
    from cds_service.ledger.store import Ledger

FRESH_SECONDS = 1.0
"""For which a write that succeeded vouches for the next."""
RECENT_SECONDS = 5.0
"""For which a write that failed counts, unless a later one succeeded."""
KEY = "probe"
_FUTURE = 1 << 53  # no clock ever forgets the row


class _Undone(LedgerError):
    """Nothing is to stay of a transaction in which all went well."""


class Probe:
    """Of one ledger; safe for threads."""

    def __init__(self, ledger: Ledger) -> None:
        self.clock_leeway = 5.0
        self._ledger = ledger
        self._lock = threading.Lock()
        self._failed: tuple[float, str] | None = None
        self._succeeded = float("-inf")

    def failed(self, error: LedgerError) -> None:
        """A write failed for the database's sake."""
        with self._lock:
            self._failed = (time.monotonic(), str(error))

    def succeeded(self) -> None:
        """A record was written."""
        with self._lock:
            self._failed, self._succeeded = None, time.monotonic()

    def ask(self) -> None:
        """Raise LedgerUnavailable when records cannot be written, or could not be just now, or the clock is wrong."""
        failed = self._failed
        if failed is not None and time.monotonic() - failed[0] < RECENT_SECONDS:
            raise LedgerUnavailable(f"A write failed {time.monotonic() - failed[0]:.0f} s ago: {failed[1]}")
        self._try(self._stay)
        if time.monotonic() - self._succeeded > FRESH_SECONDS:
            write = self._ledger._writing(_record())
            self._try(lambda tx: _undone(tx, write))

    def _try(self, work: Callable[[Transaction], Any]) -> None:
        """Without a word of it to `failed` and `succeeded`: they are about records."""
        try:
            self._ledger._on_lane(work)
        except _Undone:
            return

    def _stay(self, tx: Transaction) -> None:
        tx.run(tx.sql.probe, {"key": KEY, "expires": _FUTURE})
        if not self._ledger.database.is_sqlite:
            before = time.time()
            self._check_clock(before, float(tx.one(tx.sql.clock, {})[0]), time.time())

    def _check_clock(self, before: float, databases: float, after: float) -> None:
        """Expiry of tokens is judged by this machine's clock: one that is wrong admits what it must not."""
        off = max(before - databases, databases - after)
        if off > self.clock_leeway:
            ahead = "ahead of" if before > databases else "behind"
            raise LedgerUnavailable(f"This machine's clock is {off:.0f} s {ahead} the database's. Set it right.")


def _undone(tx: Transaction, write: Callable[[Transaction], None]) -> None:
    write(tx)
    raise _Undone


def _record() -> Record:
    """A record with one of everything, of a chain that is never there."""
    uuid, now = str(uuid4()), datetime.now(UTC)
    return Record(
        id=str(uuid4()),
        received=now,
        hook=KEY,
        hook_instance=KEY,
        service=KEY,
        client=None,
        request={},
        response={"cards": [{"uuid": uuid}]},
        cards=(CardRecord(uuid=uuid, finding=KEY, kind=KEY, indicator="info", order=""),),
        explanations={uuid: {"title": KEY}},
        timing={"total": 0.0},
        jti=(KEY, uuid, 0),
    )
